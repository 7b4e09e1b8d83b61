local now, class, ended, count = tonumber(ARGV[1]), ARGV[2], ARGV[3] == '1', 0
for i = B + 1, #KEYS do
  local r = load(KEYS[i])
  if r and (class == '' or r.class == class) and (ended or lives(r, now)) then count = count + 1 end
end
return count

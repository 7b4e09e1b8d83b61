-- How many of the sessions have a deadline that is still to come, ended or not.
local now, count = tonumber(ARGV[1]), 0
for i = B + 1, #KEYS do
  local r = load(KEYS[i])
  if r and r.idle > now then count = count + 1 end
end
return count

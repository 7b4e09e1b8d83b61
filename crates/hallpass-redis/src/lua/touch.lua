local now, changed = tonumber(ARGV[1]), 0
for i = 2, #ARGV do
  local r, at = load(KEYS[B + i - 1]), tonumber(ARGV[i])
  if lives(r, now) and r.seen < at then
    r.seen = at
    write(r)
    changed = changed + 1
  end
end
return changed

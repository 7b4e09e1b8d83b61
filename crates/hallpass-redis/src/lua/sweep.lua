local expired, before, removed = ARGV[1] == 'expired', tonumber(ARGV[2]), 0
local index = expired and K.x or K.z
for i = 0, (#ARGV - 2) / 2 - 1 do
  local id, user, k = ARGV[3 + 2 * i], ARGV[4 + 2 * i], B + 4 * i
  local score = redis.call('ZSCORE', index, id .. user)
  -- A renewal since the caller looked has moved it.
  if score and tonumber(score) <= before then
    redis.call('DEL', KEYS[k + 1])
    if expired then
      trim(id, user, KEYS[k + 2], KEYS[k + 3])
    else
      redis.call('ZREM', KEYS[k + 4], id)
      redis.call('ZREM', K.b, id .. user)
      redis.call('ZREM', K.z, id .. user)
    end
    removed = removed + 1
  end
end
return removed

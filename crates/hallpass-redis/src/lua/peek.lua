-- One answer for each group of keys, as in census.lua.
local function dead(index, before)
  local count = redis.call('ZCOUNT', index, '-inf', before)
  if count == 0 then return 0, 0 end
  return count, tonumber(redis.call('ZRANGE', index, '-inf', before, 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')[2])
end
local told = {}
for i = 1, #KEYS, 5 do
  local expired, oldest_expired = dead(KEYS[i + 1], ARGV[1])
  local ended, oldest_ended = dead(KEYS[i + 2], ARGV[2])
  told[#told + 1] = { redis.call('EXISTS', KEYS[i]), expired, oldest_expired, ended, oldest_ended,
    redis.call('EXISTS', KEYS[i + 3], KEYS[i + 4]) }
end
return told

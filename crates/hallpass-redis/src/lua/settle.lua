local mark, user, before, after, whole = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if redis.call('ZRANGE', K.mq, 0, 0)[1] ~= mark or (redis.call('GET', K.mc) or '') ~= before then return { 'again' } end
local n, written = number_of(mark, user), 0
local at, kind, by, reason = struct.unpack(END, mark, #user + 18)
for i = 0, (#ARGV - 5) / 2 - 1 do
  local id, owner, k = ARGV[6 + 2 * i], ARGV[7 + 2 * i], B + 4 * i
  local r = load(KEYS[k + 1])
  if not r or r.ended >= 0 then
    trim(id, owner, KEYS[k + 2], KEYS[k + 3])
  elseif r.epoch < n then
    finish(r, id, KEYS[k + 2], KEYS[k + 3], KEYS[k + 4], at, kind, by, reason)
    written = written + 1
  end
end
if whole == '1' then
  redis.call('ZREM', K.mq, mark)
  redis.call('ZREM', K.marks, mark)
  redis.call('DEL', K.mc)
  if redis.call('EXISTS', K.mq) == 0 then unmark() end
else
  redis.call('SET', K.mc, after)
end
return { 'settled', written }

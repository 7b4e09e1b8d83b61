if not DIRECT then
  if redis.call('EXISTS', KEYS[B + 1]) == 0 then return answer({ 'lost' }) end
  local this, last = string.sub(ARGV[6], 1, 24), redis.call('GET', K.ev)
  if last == this then return answer({ 'done', 0 }) end
  -- An older one that is over, or a number that was handed out twice.
  local number = last and struct.unpack('>i8', last) or 0
  if struct.unpack('>i8', this) <= number then return answer({ 'late', number }) end
  redis.call('SET', K.ev, this)
  redis.call('SET', K.eo, ARGV[6])
end
begin()
local now = tonumber(ARGV[2])
for i = B + 1, #KEYS, 4 do
  add_mark({ c = KEYS[i], mx = KEYS[i + 1], marks = KEYS[i + 2], mq = KEYS[i + 3] }, '', now, ARGV[3], ARGV[4], ARGV[5])
end
if DIRECT then return answer({ 'done', emit('a', '', now) }) end
return answer({ 'done', 0 })

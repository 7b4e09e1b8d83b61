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
  -- Behind a mark of a shard where nothing lives, there would be nothing.
  if redis.call('EXISTS', KEYS[i + 3]) == 1 then
    add_mark({ c = KEYS[i], marks = KEYS[i + 1], mq = KEYS[i + 2], mx = K.mx }, '', now, ARGV[3], ARGV[4], ARGV[5])
  end
end
if DIRECT then return answer({ 'done', emit('a', '', now) }) end
return answer({ 'done', 0 })

-- One revocation of everyone at a time, so that all shards and the log have them in one order. Answers the one that is under way.
-- Noted as number, name and end. ARGV[1] and ARGV[2] are name and end of a new one; ARGV[3] is one whose number a shard has seen before,
-- on another one, because this server lost what it had handed out; ARGV[4] is that number.
local pending = redis.call('GET', K.everyone)
if ARGV[3] ~= '' then
  if pending ~= ARGV[3] then return { 'over', '' } end
  redis.call('SET', K.ticket, text(math.max(tonumber(redis.call('GET', K.ticket) or '0'), tonumber(ARGV[4]))))
elseif pending then
  return { 'pending', pending }
end
local noted = struct.pack('>i8', redis.call('INCR', K.ticket)) .. ARGV[1] .. ARGV[2]
redis.call('SET', K.everyone, noted)
return { 'noted', noted }

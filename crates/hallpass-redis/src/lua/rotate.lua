local now, id = tonumber(ARGV[2]), ARGV[3]
local r = load(KEYS[B + 1])
if not lives(r, now) then return answer({ 'gone' }) end
if r.hash ~= ARGV[4] then return answer({ 'conflict' }) end
r.hash = ARGV[5]
if ARGV[6] == '' then
  write(r)
else
  r.absolute = tonumber(ARGV[7])
  r.idle = math.min(tonumber(ARGV[6]), r.absolute)
  r.authenticated, r.renewed, r.seen = now, now, math.max(r.seen, now)
  r.methods, r.source, r.ip, r.agent = ARGV[8], ARGV[9], ARGV[10], ARGV[11]
  write(r, px(r.idle, now))
  redis.call('ZADD', K.x, 'XX', text(r.idle), id .. r.user)
end
begin()
emit('c', id, now)
return answer({ 'done' })

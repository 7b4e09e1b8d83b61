local now = tonumber(ARGV[1])
local r = load(KEYS[B + 1])
if not lives(r, now) then return { 'gone' } end
if r.hash ~= ARGV[2] or r.renewed > tonumber(ARGV[3]) then return { 'not due' } end
r.idle = math.min(tonumber(ARGV[4]), r.absolute)
r.renewed = now
r.seen = math.max(r.seen, now)
write(r, px(r.idle, now))
redis.call('ZADD', K.x, 'XX', text(r.idle), ARGV[5] .. r.user)
return { 'renewed', r.idle }

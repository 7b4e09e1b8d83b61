if not DIRECT and redis.call('EXISTS', K.c) == 0 then return answer({ 'lost' }) end
begin()
local now, id, user = tonumber(ARGV[2]), ARGV[3], ARGV[4]
local r = load(KEYS[B + 1])
if not r or r.user ~= user or r.ended >= 0 or marked(r) then return answer({ 'nothing' }) end
local live = (r.idle > now and r.absolute > now) and 1 or 0
local n = emit('e', id, now)
finish(r, id, KEYS[B + 2], KEYS[B + 3], KEYS[B + 4], now, ARGV[5], ARGV[6], ARGV[7])
return answer({ 'done', n, live })

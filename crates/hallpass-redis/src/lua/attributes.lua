local now, id = tonumber(ARGV[2]), ARGV[3]
local r = load(KEYS[B + 1])
if not lives(r, now) then return answer({ 'gone' }) end
if r.version ~= tonumber(ARGV[4]) then return answer({ 'conflict' }) end
r.attributes, r.version = ARGV[5], r.version + 1
write(r)
begin()
emit('c', id, now)
return answer({ 'done', r.version })

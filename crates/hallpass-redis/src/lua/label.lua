local now, id = tonumber(ARGV[2]), ARGV[3]
local r = load(KEYS[B + 1])
if not lives(r, now) or r.user ~= ARGV[4] then return answer({ 'gone' }) end
r.label = ARGV[5]
write(r)
begin()
emit('c', id, now)
return answer({ 'done' })

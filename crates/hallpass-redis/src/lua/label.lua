local r = load(KEYS[B + 1])
if not lives(r, tonumber(ARGV[1])) or r.user ~= ARGV[2] then return { 'gone' } end
r.label = ARGV[3]
write(r)
return { 'done' }

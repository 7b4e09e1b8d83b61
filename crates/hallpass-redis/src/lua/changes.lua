local incarnation, head = redis.call('GET', K.inc), redis.call('GET', K.n) or '0'
if not incarnation then return { '' } end
local function position(entry) return tonumber(string.match(entry[1], '^%d+')) end
local oldest = redis.call('XRANGE', K.log, '-', '+', 'COUNT', 1)[1]
local entries = {}
if tonumber(ARGV[2]) > 0 then
  for _, entry in ipairs(redis.call('XRANGE', K.log, '(' .. ARGV[1] .. '-0', '+', 'COUNT', ARGV[2])) do
    local f = entry[2]
    entries[#entries + 1] = { position(entry), f[2], f[4], tonumber(f[6]) }
  end
end
return { incarnation, tonumber(head), oldest and position(oldest) or tonumber(head) + 1, entries }

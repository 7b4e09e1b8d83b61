-- The beginning of the log up to the first entry that is to stay, so that it never has a gap.
local before, last, count = tonumber(ARGV[1]), nil, 0
for _, entry in ipairs(redis.call('XRANGE', K.log, '-', '+', 'COUNT', ARGV[2])) do
  if tonumber(entry[2][6]) > before then break end
  last, count = tonumber(string.match(entry[1], '^%d+')), count + 1
end
if last then redis.call('XTRIM', K.log, 'MINID', text(last + 1)) end
return count

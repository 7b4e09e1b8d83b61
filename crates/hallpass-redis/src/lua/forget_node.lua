-- Only a node that has told nothing since its count was ARGV[2].
local told = redis.call('HGET', K.nodes, ARGV[1])
if not told or string.match(told, '%d+$') ~= ARGV[2] then return 0 end
redis.call('HDEL', K.nodes, ARGV[1])
return 1

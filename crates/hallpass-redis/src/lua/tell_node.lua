-- What a node tells of itself (ARGV[2]) under its id (ARGV[1]); with ARGV[3] it is entered, without only a node that is there is changed.
if ARGV[3] ~= '1' and redis.call('HEXISTS', K.nodes, ARGV[1]) == 0 then return 0 end
redis.call('HSET', K.nodes, ARGV[1], ARGV[2])
return 1

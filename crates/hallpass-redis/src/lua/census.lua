-- One answer for each group of keys: of all shards at once on one server, of one shard in a Cluster.
local told = {}
for i = 1, #KEYS, 4 do
  told[#told + 1] = { redis.call('EXISTS', KEYS[i]), redis.call('ZCOUNT', KEYS[i + 1], '(' .. ARGV[1], '+inf'),
    redis.call('ZCARD', KEYS[i + 2]), redis.call('ZCARD', KEYS[i + 3]) }
end
return told

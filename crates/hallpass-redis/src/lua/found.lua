-- Whose log it is; made when it is missing or, by ARGV[2], when a shard has lost its data.
follow(replid())
if ARGV[2] == '1' then redis.call('SET', K.inc, ARGV[1]) end
redis.call('SET', K.n, 0, 'NX')
return redis.call('GET', K.layout) or ''

return redis.call('HGETALL', K.nodes)

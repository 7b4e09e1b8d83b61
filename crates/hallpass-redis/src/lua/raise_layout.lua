-- From one version of the layout to a newer one; never back.
if redis.call('GET', K.layout) == ARGV[1] then redis.call('SET', K.layout, ARGV[2]) end
return redis.call('GET', K.layout) or ''

for i = 2, #ARGV do redis.call('LREM', K.o, 1, ARGV[i]) end
-- Only the revocation of everyone that was completed: a later one is still under way.
if ARGV[1] ~= '' and redis.call('GET', K.eo) == ARGV[1] then redis.call('DEL', K.eo) end
return 0

-- ARGV[2] is the replication id of the server that the entries come from, if it is known; ARGV[3] the revocation of everyone that is complete
-- with them. The other keys remember the positions of entries, so that each is appended once whoever brings it.
if ARGV[2] ~= '' then follow(ARGV[2]) end
follow(replid())
local positions = {}
for i = 4, #ARGV do
  local entry, known = ARGV[i], KEYS[B + i - 3]
  local n = redis.call('GET', known)
  if not n then
    n = append(string.sub(entry, 19, 19), string.sub(entry, 28), struct.unpack('>i8', entry, 20))
    redis.call('SET', known, text(n), 'PX', '7200000')
  end
  positions[#positions + 1] = tonumber(n)
end
if ARGV[3] ~= '' and redis.call('GET', K.everyone) == ARGV[3] then redis.call('DEL', K.everyone) end
return positions

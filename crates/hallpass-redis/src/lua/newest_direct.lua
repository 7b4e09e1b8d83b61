-- The newest mark of each shard that is not settled, 8 bytes for each shard, in one key: a check reads one for all its sessions. On
-- one server it may lie in any slot. Gone when nothing is marked.
local function at(k) return 8 * tonumber(string.match(k.marks, '{hp:(%x%x)}'), 16) end

local function newest()
  local n = redis.call('GETRANGE', K.newest, at(K), at(K) + 7)
  return n == '' and 0 or struct.unpack('>i8', n)
end

local function note(k, n) redis.call('SETRANGE', K.newest, at(k), struct.pack('>i8', n)) end

local function unmark()
  note(K, 0)
  local all = redis.call('GET', K.newest)
  if all == string.rep('\0', #all) then redis.call('DEL', K.newest) end
end

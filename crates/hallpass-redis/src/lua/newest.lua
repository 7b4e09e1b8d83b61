-- The newest mark of the shard that is not settled. Gone when nothing is marked.
local function newest() return tonumber(redis.call('GET', K.mx) or '0') end
local function note(k, n) redis.call('SET', k.mx, text(n)) end
local function unmark() redis.call('DEL', K.mx) end

-- On one server, the log is written in the same script as what it tells of.
local DIRECT = true
local function begin() follow(replid()) end
local function emit(kind, key, at) return append(kind, key, at) end
local function answer(result) return { result } end
-- Which shards have ever held a session: who asks them all asks these. One bit for each.
local function in_use() redis.call('SETBIT', K.used, tonumber(string.match(K.c, '{hp:(%x%x)}'), 16), 1) end

-- In a Cluster the log has a slot of its own. What it is to tell waits in the shard's outbox, written in the same script as the effect.
local DIRECT = false
local EMITTED = 0
local FOLLOWED = false
local function begin() FOLLOWED = true end
local function emit(kind, key, at)
  EMITTED = EMITTED + 1
  redis.call('RPUSH', K.o, ARGV[1] .. struct.pack('>I2', EMITTED) .. kind .. struct.pack('>i8', at) .. key)
  return 0
end
local function answer(result)
  local waiting, replid = redis.call('LRANGE', K.o, 0, 255), ''
  if FOLLOWED or #waiting > 0 then
    replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or ''
  end
  return { result, replid, waiting, redis.call('GET', K.eo) }
end
-- No key tells it of all shards: it would lie on another server.
local function in_use() end

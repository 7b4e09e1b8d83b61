-- The log's incarnation is random, and made anew when the log is missing or a server serves that never did before: after a fail-over
-- or a restart, writes may be lost and positions be used twice.
local function replid() return string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or '' end

local function follow(id)
  local known = redis.call('SISMEMBER', K.rid, id) == 1
  local first = redis.call('EXISTS', K.rid) == 0
  if not known then
    if redis.call('SCARD', K.rid) > 1000 then redis.call('DEL', K.rid) end
    redis.call('SADD', K.rid, id)
  end
  if redis.call('EXISTS', K.inc) == 0 or not (known or first) then redis.call('SET', K.inc, ARGV[1]) end
end

local function append(kind, key, at)
  local n = redis.call('INCR', K.n)
  redis.call('XADD', K.log, text(n) .. '-0', 'k', kind, 'd', key, 'a', text(at))
  return n
end

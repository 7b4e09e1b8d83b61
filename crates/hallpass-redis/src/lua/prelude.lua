-- What the scripts share. KEYS[1..B] are the keys of the shard in K; GRACE, RETENTION, NEVER and B come before this text.
local FIELDS = '>Bi8i8i8c32i8i8i8i8i8i8' .. string.rep('I4c0', 11)
local END = '>i8I4c0I4c0I4c0'

local function load(key)
  local v = redis.call('GET', key)
  if not v then return nil end
  if string.byte(v) ~= 1 then error('HPCORRUPT') end
  local r, layout = { key = key, text = v }, nil
  layout, r.idle, r.renewed, r.seen, r.hash, r.created, r.authenticated, r.absolute, r.epoch, r.version, r.ended, r.user,
    r.class, r.kind, r.by, r.reason, r.label, r.ip, r.methods, r.source, r.agent, r.attributes = struct.unpack(FIELDS, v)
  return r
end

-- XX: no write but create's makes a row. Without px the expiry stays; 0 is none at all.
local function write(r, px)
  local v = struct.pack(FIELDS, 1, r.idle, r.renewed, r.seen, r.hash, r.created, r.authenticated, r.absolute, r.epoch,
    r.version, r.ended, #r.user, r.user, #r.class, r.class, #r.kind, r.kind, #r.by, r.by, #r.reason, r.reason,
    #r.label, r.label, #r.ip, r.ip, #r.methods, r.methods, #r.source, r.source, #r.agent, r.agent,
    #r.attributes, r.attributes)
  if not px then redis.call('SET', r.key, v, 'XX', 'KEEPTTL')
  elseif px == 0 then redis.call('SET', r.key, v, 'XX')
  else redis.call('SET', r.key, v, 'XX', 'PX', text(px)) end
end

-- The native expiry of a row: relative, so that no clock of the server decides, and late, so that it never decides.
local function px(deadline, now)
  if deadline >= NEVER then return 0 end
  return math.max(deadline - now, 0) + GRACE
end

-- Marks: members user NUL n end, all with score 0, so that the lowest above an epoch is one seek. The user is empty for everyone.
local function mark_above(user, epoch)
  return redis.call('ZRANGE', K.marks, '[' .. user .. '\0' .. string.format('%016.0f', epoch + 1), '(' .. user .. '\0:',
    'BYLEX', 'LIMIT', 0, 1)[1]
end

local function number_of(mark, user) return tonumber(string.sub(mark, #user + 2, #user + 17)) end

local function end_of(mark, user) return string.sub(mark, #user + 18) end

-- How the lowest mark above the row's epoch ended it; nil for a row that is behind none.
local function marked(r)
  if newest() <= r.epoch then return nil end
  local own, all = mark_above(r.user, r.epoch), mark_above('', r.epoch)
  if own and (not all or number_of(own, r.user) < number_of(all, '')) then return end_of(own, r.user) end
  return all and end_of(all, '')
end

local function newest_mark(user)
  local newest = 0
  for _, name in ipairs({ user, '' }) do
    local mark = redis.call('ZRANGE', K.marks, '(' .. name .. '\0:', '[' .. name .. '\0', 'BYLEX', 'REV', 'LIMIT', 0, 1)[1]
    if mark then newest = math.max(newest, number_of(mark, name)) end
  end
  return newest
end

local function add_mark(k, user, at, kind, by, reason)
  local n = redis.call('INCR', k.c)
  local mark = user .. '\0' .. string.format('%016.0f', n) .. struct.pack(END, at, #kind, kind, #by, by, #reason, reason)
  redis.call('ZADD', k.marks, 0, mark)
  redis.call('ZADD', k.mq, text(n), mark)
  note(k, n)
  return n
end

local function lives(r, now)
  return r and r.ended < 0 and r.idle > now and r.absolute > now and not marked(r)
end

-- Writes the end into a row and moves it from the indexes of the living to those of the ended.
local function finish(r, id, u, e, h, at, kind, by, reason)
  local member = id .. r.user
  r.ended, r.kind, r.by, r.reason = at, kind, by, reason
  write(r, RETENTION)
  redis.call('ZREM', u, id)
  redis.call('ZREM', e, id)
  redis.call('ZREM', K.a, member)
  redis.call('ZREM', K.x, member)
  redis.call('ZADD', h, 0, id)
  redis.call('ZADD', K.b, 0, member)
  redis.call('ZADD', K.z, text(at), member)
end

-- Takes what no row stands behind any more out of the indexes of the living.
local function trim(id, user, u, e)
  redis.call('ZREM', u, id)
  redis.call('ZREM', e, id)
  redis.call('ZREM', K.a, id .. user)
  redis.call('ZREM', K.x, id .. user)
end

local key, u, e, h = KEYS[B + 1], KEYS[B + 2], KEYS[B + 3], KEYS[B + 4]
local now, id, user = tonumber(ARGV[2]), ARGV[3], ARGV[4]
if redis.call('EXISTS', key) == 1 then return answer({ 'duplicate' }) end
local evicted = {}
if ARGV[8] ~= '' then
  -- The rows that count are declared by the caller, who cannot know that they are all there are: if not, it is told which.
  local known, complete = #ARGV - 12, true
  for i = 1, known do complete = complete and redis.call('ZSCORE', u, ARGV[12 + i]) end
  if not complete or redis.call('ZCARD', u) ~= known then return answer({ 'again', redis.call('ZRANGE', u, 0, -1) }) end
  local counted = {}
  for i = 1, known do
    local other = ARGV[12 + i]
    local r = load(KEYS[B + 4 + i])
    if not r then
      trim(other, user, u, e)
    elseif r.class == ARGV[12] and r.renewed > tonumber(ARGV[10]) and r.authenticated > tonumber(ARGV[11]) and lives(r, now) then
      r.id = other
      counted[#counted + 1] = r
    end
  end
  table.sort(counted, function(a, b)
    if a.created ~= b.created then return a.created < b.created end
    return a.id < b.id
  end)
  local max = tonumber(ARGV[8])
  if #counted >= max then
    if ARGV[9] == '1' then return answer({ 'limit', #counted }) end
    begin()
    for i = 1, #counted + 1 - max do
      local r = counted[i]
      emit('e', r.id, now)
      finish(r, r.id, u, e, h, now, 'system', 'max_per_user', 'limit')
      evicted[i] = r.id
    end
  end
end
-- The epoch takes the place that was left for it.
local epoch = tonumber(redis.call('GET', K.c) or '0')
local row = string.sub(ARGV[5], 1, 81) .. struct.pack('>i8', epoch) .. string.sub(ARGV[5], 90)
if ARGV[6] == '0' then redis.call('SET', key, row, 'NX') else redis.call('SET', key, row, 'NX', 'PX', ARGV[6]) end
in_use()
redis.call('ZADD', u, 0, id)
redis.call('ZADD', e, text(epoch), id)
redis.call('ZADD', K.a, 0, id .. user)
redis.call('ZADD', K.x, ARGV[7], id .. user)
return answer({ 'created', evicted })

if not DIRECT and redis.call('EXISTS', K.c) == 0 then return answer({ 'lost' }) end
begin()
-- The log would tell of this one before the revocation of everyone that ended the same sessions.
if not DIRECT and redis.call('EXISTS', K.eo) == 1 then return answer({ 'pending' }) end
local now, user, keep, e = tonumber(ARGV[2]), ARGV[3], ARGV[7], KEYS[B + 1]
local kept
if keep ~= '' then
  kept = load(KEYS[B + 2])
  if not lives(kept, now) or kept.user ~= user then return answer({ 'keep' }) end
end
-- The epochs of what has not ended are the scores: at or above the newest mark is what no mark has ended yet.
local newest = text(newest_mark(user))
local unended = redis.call('ZCOUNT', e, newest, '+inf')
if unended == 0 or (kept and unended == 1) then return answer({ 'nothing' }) end
local ids = {}
if unended <= 50001 then ids = redis.call('ZRANGE', e, newest, '+inf', 'BYSCORE') end
local n = add_mark(K, user, now, ARGV[4], ARGV[5], ARGV[6])
if kept then
  kept.epoch = n
  write(kept)
  redis.call('ZADD', e, 'XX', text(n), keep)
end
return answer({ 'done', emit('u', user, now), ids })

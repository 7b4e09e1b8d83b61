local rows = {}
for i = 0, (#KEYS - B) / 2 - 1 do
  local sk, tk = KEYS[B + 1 + 2 * i], KEYS[B + 2 + 2 * i]
  local r = load(sk, tk)
  if r then
    rows[3 * i + 1], rows[3 * i + 2] = redis.call('GET', sk), redis.call('GET', tk)
    rows[3 * i + 3] = r.ended < 0 and marked(r) or ''
  else
    rows[3 * i + 1], rows[3 * i + 2], rows[3 * i + 3] = '', '', ''
  end
end
return rows

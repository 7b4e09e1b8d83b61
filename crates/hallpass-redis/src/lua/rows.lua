local rows = {}
for i = B + 1, #KEYS do
  local r = load(KEYS[i])
  rows[#rows + 1] = r and r.text or ''
  rows[#rows + 1] = r and r.ended < 0 and marked(r) or ''
end
return rows

-- One answer for each key, as in census.lua.
local told = {}
for i = 1, #KEYS do told[i] = { redis.call('EXISTS', KEYS[i]) } end
return told

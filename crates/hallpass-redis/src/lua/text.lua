-- Lua writes large numbers with an exponent, which no command takes.
local function text(n) return string.format('%.0f', n) end


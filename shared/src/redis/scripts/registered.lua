-- Says how many registrations have not lapsed, by Redis's own clock.
--
-- KEYS[1]  workers or gateways   sorted set: who → when its registration lapses, in Unix milliseconds
--
-- Returns how many.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZCOUNT', KEYS[1], now, '+inf')

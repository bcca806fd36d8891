-- Publishes the present position on a channel, behind everything that was announced before: whoever listens there has heard all that.
--
-- KEYS[1]  position   the last microsecond given out
-- KEYS[2]  the channel
--
-- Returns the position.
local time = redis.call('TIME')
local position = math.max(time[1] * 1000000 + time[2], tonumber(redis.call('GET', KEYS[1]) or '0') + 1)
local micros = string.format('%.0f', position)
redis.call('SET', KEYS[1], micros)
redis.call('SPUBLISH', KEYS[2], '{"tick":"' .. micros .. '-0"}')
return micros .. '-0'

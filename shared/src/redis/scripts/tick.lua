-- Publishes the present position on a channel, behind everything that was announced before: whoever listens there has heard all that.
--
-- KEYS[1]  position   the last microsecond given out
-- KEYS[2]  the channel
-- ARGV[1]  which of the caller's beats this is
--
-- Returns {the position, how many heard it}.
local time = redis.call('TIME')
local position = math.max(time[1] * 1000000 + time[2], tonumber(redis.call('GET', KEYS[1]) or '0') + 1)
local micros = string.format('%.0f', position)
redis.call('SET', KEYS[1], micros)
local heard = redis.call('SPUBLISH', KEYS[2], '{"tick":"' .. micros .. '-0","beat":' .. ARGV[1] .. '}')
return { micros .. '-0', heard }

-- Reads by which stays users are connected.
--
-- KEYS[1]  online   hash: user → the stays by which it is connected, comma-separated
-- ARGV     the users
--
-- Returns the present microsecond, and for each user its stays; nil if it is not connected.
local time = redis.call('TIME')
local answer = redis.call('HMGET', KEYS[1], unpack(ARGV))
table.insert(answer, 1, string.format('%.0f', time[1] * 1000000 + time[2]))
return answer

-- Renews the lease of a stay, by Redis's own clock, and answers whose have lapsed.
--
-- A lease that has lapsed is never renewed: its holder begins another stay, and what the former one left is for anybody to take out.
--
-- KEYS[1]  presence   sorted set: stay → when its lease lapses, in Unix milliseconds
-- ARGV[1]  the stay
-- ARGV[2]  for how long the lease is good from now on, in milliseconds
-- ARGV[3]  "new" if the stay begins
-- ARGV[4]  the most lapsed ones to answer
--
-- Returns "good", or "lapsed" if it was not renewed; and behind it the stays that have lapsed.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local until_then = redis.call('ZSCORE', KEYS[1], ARGV[1])
local is_good = ARGV[3] == 'new' or (until_then and tonumber(until_then) > now)
if is_good then
  redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
end
local answer = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[4])
table.insert(answer, 1, is_good and 'good' or 'lapsed')
return answer

-- Renews a worker's registration and answers who is alive, by Redis's own clock: workers' clocks need not agree.
--
-- KEYS[1]  workers   sorted set: worker → when its registration lapses, in Unix milliseconds
-- ARGV[1]  the worker
-- ARGV[2]  how long the registration is good for, in milliseconds; 0 takes it away
--
-- Returns the live workers, in the order of their ids.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if tonumber(ARGV[2]) > 0 then
  redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
else
  redis.call('ZREM', KEYS[1], ARGV[1])
end
local workers = redis.call('ZRANGE', KEYS[1], 0, -1)
table.sort(workers)
return workers

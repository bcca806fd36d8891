-- Says how much of a partition is left to do, and how long the oldest of it has waited. Changes nothing.
--
-- KEYS[1]  {p}:ingress   the stream
-- KEYS[2]  {p}:dead      what was set aside
-- KEYS[3]  {p}:lease     who owns the partition
-- ARGV[1]  the group
--
-- Returns {length, lag, oldest, dead, owned}: the entries in the stream; those that are not acknowledged, handed out or not; for how
-- many milliseconds the oldest entry has been there, by Redis' clock; the dead letters; and 1 if somebody owns the partition, else 0.
local length = redis.call('XLEN', KEYS[1])
-- What is acknowledged leaves the stream in the same step, so without a group that knows better everything in it waits.
local lag, oldest = length, 0
if length > 0 then
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local told = {}
    for i = 1, #group, 2 do
      told[group[i]] = group[i + 1]
    end
    -- Redis does not know the lag of a group when entries before its place were deleted out of order.
    if told['name'] == ARGV[1] and type(told['lag']) == 'number' then
      lag = math.min(length, told['pending'] + told['lag'])
    end
  end
  local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  local now = redis.call('TIME')
  oldest = math.max(0, now[1] * 1000 + math.floor(now[2] / 1000) - tonumber(string.match(first[1], '^%d+')))
end
return { length, lag, oldest, redis.call('XLEN', KEYS[2]), redis.call('EXISTS', KEYS[3]) }

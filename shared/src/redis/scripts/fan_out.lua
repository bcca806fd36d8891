-- Announces one batch's events: appends them to the rooms' histories and publishes them on the rooms' channels.
--
-- Every event gets a position that is unique and grows with time: a microsecond of Redis's clock for the call, and the event's
-- index within the call. The k-th event of a room's batch has the batch's index + k.
--
-- KEYS[1]  {p}:lease        who owns the partition
-- KEYS[2]  position         the last microsecond given out
-- KEYS[3]  history_window   for how long histories keep events
-- KEYS[4…] for each room: its channel, its history
-- ARGV[1]  the worker
-- ARGV[2]  how long events stay in a history, in milliseconds
-- ARGV[3…] for each room: the batch as JSON, the number of its events
--
-- Returns the position of the first event, or "lost" when another worker owns the partition: it will announce what matters. A lease
-- that nobody holds is no obstacle: Redis may have lost its memory, and with it whatever would make another worker announce this.
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then
  return 'lost'
end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local window = tonumber(ARGV[2])
local position = math.max(now, tonumber(redis.call('GET', KEYS[2]) or '0') + 1)
-- Doubles hold microseconds since 1970 exactly until the year 2255, but print them in full only when told to.
local micros = string.format('%.0f', position)
local oldest = string.format('%.0f', now - window * 1000)
redis.call('SET', KEYS[2], micros)
redis.call('SET', KEYS[3], ARGV[2])

local index = 0
for room = 1, (#KEYS - 3) / 2 do
  local channel, history = KEYS[room * 2 + 2], KEYS[room * 2 + 3]
  local batch = ARGV[room * 2 + 1]
  local id = micros .. '-' .. index
  local added = redis.pcall('XADD', history, 'MINID', '~', oldest, id, 'b', batch)
  if added.err then
    -- Its last id is from the future: positions were lost in a failover. Whoever needs what was before reads it from PostgreSQL.
    redis.call('DEL', history)
    redis.call('XADD', history, id, 'b', batch, 'x', '1')
  end
  redis.call('PEXPIRE', history, window + 60000)
  redis.call('SPUBLISH', channel, id .. '\n' .. batch)
  index = index + tonumber(ARGV[room * 2 + 2])
end
return micros .. '-0'

-- Tells users what concerns them: appends each notice to its user's history and publishes it on the user's channel.
--
-- Each notice gets a position of its own, in one order with the events of rooms.
--
-- KEYS[1]  position         the last microsecond given out
-- KEYS[2]  history_window   for how long histories keep events
-- KEYS[3…] for each notice: its user's channel, its user's history
-- ARGV[1]  how long notices stay in a history, in milliseconds
-- ARGV[2…] the notices as JSON
--
-- Returns the position of the first notice.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local window = tonumber(ARGV[1])
local position = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0') + 1)
local micros = string.format('%.0f', position)
local oldest = string.format('%.0f', now - window * 1000)
redis.call('SET', KEYS[1], micros)
redis.call('SET', KEYS[2], ARGV[1])

for index = 0, #ARGV - 2 do
  local channel, history, notice = KEYS[index * 2 + 3], KEYS[index * 2 + 4], ARGV[index + 2]
  local id = micros .. '-' .. index
  local added = redis.pcall('XADD', history, 'MINID', '~', oldest, id, 'n', notice)
  if added.err then
    redis.call('DEL', history)
    redis.call('XADD', history, id, 'n', notice, 'x', '1')
  end
  redis.call('PEXPIRE', history, window + 60000)
  redis.call('SPUBLISH', channel, id .. '\n' .. notice)
end
return micros .. '-0'

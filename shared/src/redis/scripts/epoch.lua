-- What Redis's memory is called; it is named if it has no name yet, or if this is not the process that had it named.
--
-- Another process (restarted from a snapshot, or a replica that was promoted) may lack what the former one had announced last.
--
-- KEYS[1]  epoch
-- KEYS[2]  position   the last microsecond given out
-- ARGV[1]  a random name
--
-- Returns "<microseconds when it was named>:<name>:<the process's run_id>".
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
local found = redis.call('GET', KEYS[1])
if found and string.match(found, '([^:]*)$') == run then
  return found
end
local time = redis.call('TIME')
local position = math.max(time[1] * 1000000 + time[2], tonumber(redis.call('GET', KEYS[2]) or '0') + 1)
local micros = string.format('%.0f', position)
redis.call('SET', KEYS[2], micros)
local named = micros .. ':' .. ARGV[1] .. ':' .. run
redis.call('SET', KEYS[1], named)
return named

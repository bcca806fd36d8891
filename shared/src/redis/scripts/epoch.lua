-- What Redis's memory is called; it is named if it has no name yet.
--
-- KEYS[1]  epoch
-- ARGV[1]  a random name
--
-- Returns "<microseconds when it was named>:<name>".
local found = redis.call('GET', KEYS[1])
if found then
  return found
end
local time = redis.call('TIME')
local named = string.format('%.0f', time[1] * 1000000 + time[2]) .. ':' .. ARGV[1]
redis.call('SET', KEYS[1], named)
return named

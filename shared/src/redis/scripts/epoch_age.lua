-- How long Redis has had its memory. What nodes note there again and again is missing from one that is young.
--
-- KEYS[1]  epoch   see epoch.lua
--
-- Returns microseconds; 0 if nobody has named the memory yet, or only by another process's name.
local found = redis.call('GET', KEYS[1])
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
if not found or string.match(found, '([^:]*)$') ~= run then
  return 0
end
local time = redis.call('TIME')
return math.max(0, time[1] * 1000000 + time[2] - tonumber(string.match(found, '^%d+')))

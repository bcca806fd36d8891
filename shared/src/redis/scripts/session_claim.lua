-- Says whose a session is whose client named it itself, and makes it the caller's if it is nobody's.
--
-- In a memory that is young a claim may be missing that its node is just about to note again: then nothing is made anybody's.
--
-- KEYS[1]  claim
-- KEYS[2]  epoch     see epoch.lua
-- ARGV[1]  the node that asks
-- ARGV[2]  for how long a claim is good, in milliseconds
-- ARGV[3]  how old the memory has to be for an absent claim to mean that there is none, in microseconds; 0 if it is known otherwise
--
-- Returns the node whose the session is, which may be the caller; '' if that cannot be told yet.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return holder
end
local settled = tonumber(ARGV[3])
if not holder and settled > 0 then
  local epoch = redis.call('GET', KEYS[2])
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
  if not epoch or string.match(epoch, '([^:]*)$') ~= run then
    return ''
  end
  local time = redis.call('TIME')
  if time[1] * 1000000 + time[2] - tonumber(string.match(epoch, '^%d+')) < settled then
    return ''
  end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]

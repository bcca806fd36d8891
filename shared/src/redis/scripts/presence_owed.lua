-- Takes over what others should have said long ago: whoever asks next sees it as fresh.
--
-- KEYS[1]  unsaid   see presence_put.lua
-- ARGV[1]  how long ago, in microseconds
-- ARGV[2]  the most users
--
-- Returns the users.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local found = redis.call('HRANDFIELD', KEYS[1], ARGV[2], 'WITHVALUES')
local users = {}
for index = 1, #found, 2 do
  local stamp, mark = string.match(found[index + 1], '^(%d+)(v?)$')
  if tonumber(stamp) <= now - tonumber(ARGV[1]) then
    redis.call('HSET', KEYS[1], found[index], string.format('%.0f', now) .. mark)
    users[#users + 1] = found[index]
  end
end
return users

-- The contacts of users were told; unless there has been a change since, that is that.
--
-- KEYS[1]  unsaid   see presence_put.lua
-- ARGV     for each user: who, and its entry as it was read
--
-- Returns of how many there is nothing more to be said.
local settled = 0
for index = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[index]) == ARGV[index + 1] then
    settled = settled + redis.call('HDEL', KEYS[1], ARGV[index])
  end
end
return settled

-- Somebody, or everybody, is in a public room on a node no more.
--
-- KEYS[1]  present:<room>   see room_enter.lua
-- KEYS[2]  the room's channel
-- ARGV[1]  the stay
-- ARGV[2]  how the announcement of each who is there by no other stay begins, up to the profile
-- ARGV[3]  the user; empty: everybody
--
-- Returns how many are present.
local known = {}
if ARGV[3] ~= '' then
  known = { ARGV[3], redis.call('HGET', KEYS[1], ARGV[3]) }
else
  known = redis.call('HGETALL', KEYS[1])
end
for index = 1, #known, 2 do
  local user, entry = known[index], known[index + 1]
  if entry then
    local nodes, profile = string.match(entry, '^(%S*) (.*)$')
    local others, was_there = {}, false
    for node in string.gmatch(nodes, '[^,]+') do
      if node == ARGV[1] then
        was_there = true
      else
        others[#others + 1] = node
      end
    end
    if was_there and #others > 0 then
      redis.call('HSET', KEYS[1], user, table.concat(others, ',') .. ' ' .. profile)
    elseif was_there then
      redis.call('HDEL', KEYS[1], user)
      local present = redis.call('HLEN', KEYS[1])
      redis.call('SPUBLISH', KEYS[2], '0-0\n' .. ARGV[2] .. profile .. ',"present":' .. present .. '}]}')
    end
  end
end
return redis.call('HLEN', KEYS[1])

-- Somebody is in a public room by a stay of a node.
--
-- KEYS[1]  present:<room>   who is in the room: user → stays, comma-separated, a space, and the profile as JSON
-- KEYS[2]  the room's channel
-- ARGV[1]  the user
-- ARGV[2]  the stay
-- ARGV[3]  the profile as JSON
-- ARGV[4]  the most people who may be present; 0: no limit
-- ARGV[5]  how the announcement begins, up to the profile
-- ARGV[6]  until when nothing is announced, in microseconds: what Redis forgot is put back
-- ARGV[7]  the node's former stays, comma-separated, by which it is there no more
--
-- Returns "first" if the user was nowhere in the room, "again" if it was, "full" if it is not let in; and how many are present.
local known = redis.call('HGET', KEYS[1], ARGV[1])
if known then
  local nodes, profile = string.match(known, '^(%S*) (.*)$')
  local stays = {}
  for stay in string.gmatch(nodes, '[^,]+') do
    if stay ~= ARGV[2] and not string.find(',' .. ARGV[7] .. ',', ',' .. stay .. ',', 1, true) then
      stays[#stays + 1] = stay
    end
  end
  stays[#stays + 1] = ARGV[2]
  redis.call('HSET', KEYS[1], ARGV[1], table.concat(stays, ',') .. ' ' .. profile)
  return { 'again', redis.call('HLEN', KEYS[1]) }
end
local present, most = redis.call('HLEN', KEYS[1]), tonumber(ARGV[4])
if most > 0 and present >= most then
  return { 'full', present }
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. ARGV[3])
present = present + 1
local time = redis.call('TIME')
if time[1] * 1000000 + time[2] >= tonumber(ARGV[6]) then
  redis.call('SPUBLISH', KEYS[2], '0-0\n' .. ARGV[5] .. ARGV[3] .. ',"present":' .. present .. '}]}')
end
return { 'first', present }

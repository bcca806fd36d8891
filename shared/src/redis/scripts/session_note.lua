-- Notes something in a socket's record, or strikes it out, and keeps the record from lapsing, if it is still the caller's.
--
-- KEYS[1]  session     the record
-- ARGV[1]  the node that has the socket
-- ARGV[2]  its turn
-- ARGV[3]  for how long the record is kept from now, in milliseconds
-- ARGV[4]  a field
-- ARGV[5]  what it says from now on; absent if it is struck out
--
-- Returns 'ok'.
--         'none': the record has lapsed, or something is there that an earlier turn left. It will be written anew, whole.
--         'taken': another node has taken it over.
local owner = redis.call('HMGET', KEYS[1], 'node', 'turn')
local turn, own = tonumber(owner[2] or '0'), tonumber(ARGV[2])
if not owner[1] or turn < own then
  return 'none'
end
if turn > own or owner[1] ~= ARGV[1] then
  return 'taken'
end
if ARGV[5] then
  redis.call('HSET', KEYS[1], ARGV[4], ARGV[5])
else
  redis.call('HDEL', KEYS[1], ARGV[4])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 'ok'

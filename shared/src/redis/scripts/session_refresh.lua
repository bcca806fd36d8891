-- Keeps a socket's record from lapsing, and notes what its client has surely received, if the record is still the caller's.
--
-- KEYS[1]  session     the record
-- ARGV[1]  the node that has the socket
-- ARGV[2]  its turn
-- ARGV[3]  for how long the record is kept from now, in milliseconds
-- ARGV[4]  what the client has received; '' if nothing more is known of it
--
-- Returns 'ok'.
--         'none': the record has lapsed, or something is there that an earlier turn left.
--         'taken': another node has taken it over.
local owner = redis.call('HMGET', KEYS[1], 'node', 'turn')
local turn, own = tonumber(owner[2] or '0'), tonumber(ARGV[2])
if not owner[1] or turn < own then
  return 'none'
end
if turn > own or owner[1] ~= ARGV[1] then
  return 'taken'
end
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[1], 'seen', ARGV[4])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 'ok'

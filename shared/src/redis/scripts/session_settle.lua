-- Notes that nothing is left of a socket on the nodes that had it before, and which rooms it is out of, if its record is still the caller's.
--
-- KEYS[1]  session     the record
-- ARGV[1]  the node that took it over
-- ARGV[2]  its turn
-- ARGV[3…] rooms' fields
--
-- Returns 1, or 0 if the record is another node's, or gone.
local owner = redis.call('HMGET', KEYS[1], 'node', 'turn')
if owner[1] ~= ARGV[1] or (owner[2] or '0') ~= ARGV[2] then
  return 0
end
redis.call('HDEL', KEYS[1], 'former')
for field = 3, #ARGV do
  redis.call('HDEL', KEYS[1], ARGV[field])
end
return 1

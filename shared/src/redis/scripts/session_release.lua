-- Gives a socket's record up, if it is still the caller's: its client may be elsewhere by now, and the record with it.
--
-- KEYS[1]  session     the record
-- ARGV[1]  the node that gives it up
-- ARGV[2]  its turn
-- ARGV[3]  for how long the record is kept from now, in milliseconds; 0 if it is of no use to anybody
--
-- Returns 1, or 0 if the record is another node's, or gone.
local owner = redis.call('HMGET', KEYS[1], 'node', 'turn')
if owner[1] ~= ARGV[1] or (owner[2] or '0') ~= ARGV[2] then
  return 0
end
if ARGV[3] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 1

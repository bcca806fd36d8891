-- Hands a socket's record to the node that its client came back to, if it is the same user in the same namespace.
--
-- KEYS[1]  session     the record
-- ARGV[1]  the user
-- ARGV[2]  the namespace
-- ARGV[3]  the node that takes it
-- ARGV[4]  for how long the record is kept from now, in milliseconds
--
-- Returns {"none", {}}: there is no such record for this user.
--         {"ok", fields}: the record before it changed hands, as HGETALL gives it.
local owner = redis.call('HMGET', KEYS[1], 'user', 'namespace')
if owner[1] ~= ARGV[1] or owner[2] ~= ARGV[2] then
  return { 'none', {} }
end
local record = redis.call('HGETALL', KEYS[1])
redis.call('HSET', KEYS[1], 'node', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return { 'ok', record }

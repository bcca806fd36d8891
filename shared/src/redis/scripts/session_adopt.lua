-- Hands a socket's record to the node that its client came back to, if it is the same user in the same namespace.
--
-- A record says in `turn` how often it has changed hands, and in `former` which nodes may still have something of the socket beside `node`.
-- Whoever takes it over has all of these end it, and may fail half way, or never hear this answer; so they stay there until it is noted that
-- they did (session_settle.lua).
--
-- KEYS[1]  session     the record
-- ARGV[1]  the user
-- ARGV[2]  the namespace
-- ARGV[3]  the node that takes it
-- ARGV[4]  for how long the record is kept from now, in milliseconds
-- ARGV[5]  how many nodes there may be in `former`
--
-- Returns {"none", {}}: there is no such record for this user, or nobody could say any more where the socket is.
--         {"ok", fields}: the record before it changed hands, as HGETALL gives it. Its turn is one more from now on.
local owner = redis.call('HMGET', KEYS[1], 'user', 'namespace', 'node', 'turn', 'former')
if owner[1] ~= ARGV[1] or owner[2] ~= ARGV[2] or not owner[3] then
  return { 'none', {} }
end
local record = redis.call('HGETALL', KEYS[1])
local former, count, is_known = owner[5] or '', 0, owner[3] == ARGV[3]
for node in string.gmatch(former, '%S+') do
  count = count + 1
  is_known = is_known or node == owner[3]
end
if not is_known then
  if count >= tonumber(ARGV[5]) then
    return { 'none', {} }
  end
  redis.call('HSET', KEYS[1], 'former', former .. ' ' .. owner[3])
end
local turn = string.format('%.0f', tonumber(owner[4] or '0') + 1)
redis.call('HSET', KEYS[1], 'node', ARGV[3], 'turn', turn)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return { 'ok', record }

-- Writes a socket's record anew, whole: what else stands there is of a memory that has been lost since. But a record that has changed hands
-- since the caller got it is another node's, and stays. A memory that was lost has lost the turns as well, and each node knows its own: in
-- whichever order they write, the latest stands in the end.
--
-- KEYS[1]  session     the record
-- ARGV[1]  the node that has the socket
-- ARGV[2]  its turn
-- ARGV[3]  for how long the record is kept from now, in milliseconds
-- ARGV[4…] names and values in turn, those of the node and the turn among them
--
-- Returns 1, or 0 if the record is another node's.
local owner = redis.call('HMGET', KEYS[1], 'node', 'turn')
if owner[1] then
  local turn, own = tonumber(owner[2] or '0'), tonumber(ARGV[2])
  if turn > own or (turn == own and owner[1] ~= ARGV[1]) then
    return 0
  end
end
redis.call('DEL', KEYS[1])
for field = 4, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[field], ARGV[field + 1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1

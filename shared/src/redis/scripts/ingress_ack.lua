-- Takes processed commands off a partition's pending list and out of its stream, both or neither.
--
-- KEYS[1]  {p}:ingress   the stream
-- ARGV[1]  the group
-- ARGV[2…] the entries' ids
--
-- Returns how many were pending.
local acked = 0
-- Lua's stack bounds the arguments of one call.
for first = 2, #ARGV, 1000 do
  local last = math.min(first + 999, #ARGV)
  acked = acked + redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, first, last))
  redis.call('XDEL', KEYS[1], unpack(ARGV, first, last))
end
return acked

-- Reads new commands of a partition for the worker that holds its lease, and for no other.
--
-- The check and the read are one step: a worker that slept through its lease cannot take entries away from the new owner, which
-- would break their order.
--
-- KEYS[1]  {p}:ingress   the stream
-- KEYS[2]  {p}:lease     who owns the partition
-- ARGV[1]  the worker; also the consumer's name
-- ARGV[2]  the group
-- ARGV[3]  the most entries to read
--
-- Returns {"ok", entries}: as XREADGROUP gives them, oldest first; they are pending now.
--         {"lost"}: the lease is not the worker's.
-- Fails with NOGROUP when the group vanished with Redis's memory.
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return { 'lost' }
end
local reply = redis.call('XREADGROUP', 'GROUP', ARGV[2], ARGV[1], 'COUNT', ARGV[3], 'STREAMS', KEYS[1], '>')
return { 'ok', reply and reply[1][2] or {} }

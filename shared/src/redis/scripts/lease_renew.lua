-- Extends a partition's lease, if it is still its holder's.
--
-- KEYS[1]  {p}:lease
-- ARGV[1]  the worker that holds it
-- ARGV[2]  for how long from now, in milliseconds
--
-- Returns 1, or 0 when the lease lapsed or is another's.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])

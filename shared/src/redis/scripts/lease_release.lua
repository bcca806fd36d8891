-- Gives a partition's lease up, if it is still its holder's.
--
-- KEYS[1]  {p}:lease
-- ARGV[1]  the worker that held it
--
-- Returns 1, or 0 when the lease had lapsed or is another's.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[1])

-- Gives up what is somebody's for a time, a partition or a session, if it still is.
--
-- KEYS[1]  {p}:lease, or a session's claim
-- ARGV[1]  the worker or node that held it
--
-- Returns 1, or 0 when it had lapsed or is another's.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[1])

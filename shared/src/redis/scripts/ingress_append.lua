-- Appends commands to a partition's ingress stream, unless Redis lost its memory since the caller last looked.
--
-- The check and the append are one step: after a FLUSHALL no command can slip in ahead of those that were lost with the stream
-- and that the gateway has yet to add again, so a sender's messages keep their order.
--
-- A process that began with a snapshot, or a replica that was promoted, has the epoch, but perhaps not the last commands: so the epoch
-- also has to have been given by this very process, with whose run_id it ends, see epoch.lua. That costs some 3 microseconds.
--
-- KEYS[1]  {p}:ingress   the stream
-- KEYS[2]  {p}:epoch     what Redis's memory is called on this slot
-- ARGV[1]  the epoch that the caller knows
-- ARGV[2]  the longest stream that still takes commands; 0: take them in any case (they were accepted before)
-- ARGV[3]  the run_id with which that epoch ends; empty where servers have none
-- ARGV[4…] the commands
--
-- Returns {"ok", n}: the first n commands are in the stream, the rest did not fit.
--         {"epoch", ""}: nothing was added; the epoch is another one, or another process's.
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return { 'epoch', '' }
end
-- Looked for as it stands: a pattern takes three times as long.
if not string.find(redis.call('INFO', 'server'), ARGV[3], 1, true) then
  return { 'epoch', '' }
end
local longest = tonumber(ARGV[2])
local count = #ARGV - 3
if longest > 0 then
  count = math.max(0, math.min(count, longest - redis.call('XLEN', KEYS[1])))
end
for i = 1, count do
  redis.call('XADD', KEYS[1], '*', 'c', ARGV[i + 3])
end
return { 'ok', count }

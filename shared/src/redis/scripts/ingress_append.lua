-- Appends commands to a partition's ingress stream, unless Redis lost its memory since the caller last looked.
--
-- The check and the append are one step: after a FLUSHALL no command can slip in ahead of those that were lost with the stream
-- and that the gateway has yet to add again, so a sender's messages keep their order.
--
-- Where a replica may be promoted it has the epoch, but perhaps not the last commands: there the epoch also has to be this process's.
-- It ends with the run_id of the one that it was made for, see epoch.lua.
--
-- KEYS[1]  {p}:ingress   the stream
-- KEYS[2]  {p}:epoch     what Redis's memory is called on this slot
-- ARGV[1]  the epoch that the caller knows
-- ARGV[2]  the longest stream that still takes commands; 0: take them in any case (they were accepted before)
-- ARGV[3]  "1" where a replica may be promoted; it costs some microseconds
-- ARGV[4…] the commands
--
-- Returns {"ok", n}: the first n commands are in the stream, the rest did not fit.
--         {"epoch", ""}: nothing was added; the epoch is another one, or another process's.
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return { 'epoch', '' }
end
if ARGV[3] == '1' and string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') ~= string.match(ARGV[1], '([^:]*)$') then
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

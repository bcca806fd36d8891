-- Appends commands to a partition's ingress stream, unless Redis lost its memory since the caller last looked.
--
-- The check and the append are one step: after a FLUSHALL no command can slip in ahead of those that were lost with the stream
-- and that the gateway has yet to add again, so a sender's messages keep their order.
--
-- KEYS[1]  {p}:ingress   the stream
-- KEYS[2]  {p}:epoch     what Redis's memory is called on this slot
-- ARGV[1]  the epoch that the caller knows
-- ARGV[2]  the longest stream that still takes commands; 0: take them in any case (they were accepted before)
-- ARGV[3…] the commands
--
-- Returns {"ok", n}: the first n commands are in the stream, the rest did not fit.
--         {"epoch", e}: nothing was added; the epoch is e, or "" when there is none.
local epoch = redis.call('GET', KEYS[2])
if epoch ~= ARGV[1] then
  return { 'epoch', epoch or '' }
end
local longest = tonumber(ARGV[2])
local count = #ARGV - 2
if longest > 0 then
  count = math.max(0, math.min(count, longest - redis.call('XLEN', KEYS[1])))
end
for i = 1, count do
  redis.call('XADD', KEYS[1], '*', 'c', ARGV[i + 2])
end
return { 'ok', count }

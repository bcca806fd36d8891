-- Takes over the oldest commands of a partition that were read but never acknowledged, for the worker that holds its lease.
--
-- Makes the group where there is none, so that this is all a new owner has to call. A crash while a batch is processed shows as
-- delivery counts that rise together; from `suspicion` on, entries come one at a time, so that only the culprit's count goes on
-- rising. When nothing is pending any more, the consumers of former owners are removed.
--
-- KEYS[1]  {p}:ingress   the stream
-- KEYS[2]  {p}:lease     who owns the partition
-- ARGV[1]  the worker; also the consumer's name
-- ARGV[2]  the group
-- ARGV[3]  the most entries to take over
-- ARGV[4]  suspicion: the delivery count from which entries are handed out singly
--
-- Returns {"ok", entries, counts}: entries as XCLAIM gives them, oldest first; counts: {id, deliveries} for each, this included.
--         {"done"}: nothing is pending.
--         {"lost"}: the lease is not the worker's.
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return { 'lost' }
end
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[2], '0', 'MKSTREAM')
if made.err and not string.find(made.err, 'BUSYGROUP', 1, true) then
  return made
end
while true do
  local oldest = redis.call('XPENDING', KEYS[1], ARGV[2], '-', '+', 1)[1]
  if not oldest then
    for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[2])) do
      -- A flat list of names and values: 1 name, 3 pending.
      if consumer[2] ~= ARGV[1] and consumer[4] == 0 then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[2], consumer[2])
      end
    end
    return { 'done' }
  end
  local count = ARGV[3]
  if oldest[4] >= tonumber(ARGV[4]) then
    count = 1
  end
  local entries = redis.call('XAUTOCLAIM', KEYS[1], ARGV[2], ARGV[1], 0, '0-0', 'COUNT', count)[2]
  -- Nothing claimed though something is pending: those entries were deleted, and claiming took them off the list. Look again.
  if #entries > 0 then
    local counts = {}
    for _, pending in ipairs(redis.call('XPENDING', KEYS[1], ARGV[2], entries[1][1], entries[#entries][1], #entries)) do
      counts[#counts + 1] = { pending[1], pending[4] }
    end
    return { 'ok', entries, counts }
  end
end

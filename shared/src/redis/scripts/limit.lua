-- Whether somebody may do something now; if so, it is counted. GCRA, with blocks for those who want more than they may.
--
-- Kept is when all will be free again; and if there were blocks lately, behind it, when the last one ends and how many there were in a
-- row. Times are microseconds of this clock.
--
-- KEYS[1]  limit:<class>:<subject>
-- ARGV[1]  how many may come at once
-- ARGV[2]  after how long each of them is free again, in microseconds
-- ARGV[3]  how many are wanted
-- ARGV[4]  how long the first block lasts, in microseconds; 0: nobody is blocked
-- ARGV[5]  how long the longest lasts
-- ARGV[6]  how long after the end of a block it is forgotten
--
-- Returns 0 if it may be, 1 if somebody is blocked, 2 if a block begins; how many are left; in how many milliseconds all are free
-- again; in how many it makes sense to ask again; how many blocks in a row.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local most, interval = tonumber(ARGV[1]), tonumber(ARGV[2])
local burst = most * interval
-- More than all can never be had: then all of it is.
local cost = math.min(tonumber(ARGV[3]), most) * interval

local free, freed, strikes, last = now, 0, 0, 0
local known = redis.call('GET', KEYS[1])
if known then
  local kept = tonumber(known)
  if not kept then
    local a, b, c = string.match(known, '^(%d+) (%d+) (%d+)$')
    kept, freed, strikes = tonumber(a or 0), tonumber(b or 0), tonumber(c or 0)
    -- A clock that was set back, or figures that were changed, leave nobody further behind than he could have come.
    freed = math.min(freed, now + math.max(tonumber(ARGV[5]), burst))
    last = freed + ARGV[6]
    if last <= now then
      freed, strikes, last = 0, 0, 0
    end
  end
  free = math.min(math.max(kept, now), now + burst)
end

if freed > now then
  return { 1, 0, math.ceil((free - now) / 1000), math.ceil((freed - now) / 1000), strikes }
end
local wait = free + cost - now - burst
if wait <= 0 then
  free = free + cost
  local value = string.format('%.0f', free)
  if strikes > 0 then
    value = string.format('%s %.0f %.0f', value, freed, strikes)
  end
  redis.call('SET', KEYS[1], value, 'PX', math.ceil((math.max(free, last) - now) / 1000))
  return { 0, math.floor((now + burst - free) / interval), math.ceil((free - now) / 1000), 0, strikes }
end

local first = tonumber(ARGV[4])
if first == 0 then
  return { 1, 0, math.ceil((free - now) / 1000), math.ceil(wait / 1000), strikes }
end
local block = math.min(first * 2 ^ strikes, tonumber(ARGV[5]))
strikes = strikes + 1
if wait > 2 * block then
  -- Nobody is told to come back when there is nothing for him yet.
  block = wait
elseif wait > block then
  -- Where it is nearly as long as the block, the block counts for it: who comes back when he is told to is let through.
  free = now + block + burst - cost
end
freed = now + block
last = math.max(free, freed + ARGV[6])
local value = string.format('%.0f %.0f %.0f', free, freed, strikes)
redis.call('SET', KEYS[1], value, 'PX', string.format('%.0f', math.ceil((last - now) / 1000)))
return { 2, 0, math.ceil((free - now) / 1000), math.ceil(block / 1000), strikes }

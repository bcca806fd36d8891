-- Whether somebody may do something now; if so, it is counted. GCRA, with blocks for those who want more than they may.
--
-- Kept is "<when all would be free again> <when the last block ends> <how many blocks in a row>", in microseconds of this clock.
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
local most, interval, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local first, longest, memory = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local burst = most * interval
-- More than all can never be had: then all of it is.
local cost = math.min(wanted, most) * interval

local free, freed, strikes = now, 0, 0
local known = redis.call('GET', KEYS[1])
if known then
  local a, b, c = string.match(known, '^(%d+) (%d+) (%d+)$')
  if a then
    -- A clock that was set back, or figures that were changed, leave nobody further behind than he could have come.
    free = math.min(math.max(tonumber(a), now), now + burst)
    freed = math.min(tonumber(b), now + math.max(longest, burst))
    strikes = tonumber(c)
    if freed + memory <= now then
      freed, strikes = 0, 0
    end
  end
end

local function answer(verdict, left, wait)
  return { verdict, left, math.ceil((free - now) / 1000), math.ceil(wait / 1000), strikes }
end

local function keep()
  local last = strikes > 0 and math.max(free, freed + memory) or free
  local value = string.format('%.0f %.0f %.0f', free, freed, strikes)
  redis.call('SET', KEYS[1], value, 'PX', string.format('%.0f', math.max(1, math.ceil((last - now) / 1000))))
end

if freed > now then
  return answer(1, 0, freed - now)
end
if free + cost - now <= burst then
  free = free + cost
  keep()
  return answer(0, math.floor((now + burst - free) / interval), 0)
end

-- It would be free again after this long.
local wait = free + cost - now - burst
if first == 0 then
  return answer(1, 0, wait)
end
strikes = strikes + 1
local block = math.min(first * 2 ^ (strikes - 1), longest)
if wait > 2 * block then
  -- Nobody is told to come back when there is nothing for him yet.
  block = wait
elseif wait > block then
  -- Where it is nearly as long as the block, the block counts for it: who comes back when he is told to is let through.
  free = now + block + burst - cost
end
freed = now + block
keep()
return answer(2, 0, block)

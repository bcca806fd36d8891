-- Whether some may do something now, one after the other; those who may are counted. GCRA, with blocks for those who want more than they may.
--
-- Kept is when all will be free again; and if there were blocks lately, behind it, when the last one ends and how many there were in a
-- row. Times are microseconds of this clock. On a Redis Cluster there is one call for each slot.
--
-- KEYS[n]  limit:<class>:<subject>
-- ARGV[1]  how long the first block lasts, in microseconds; 0: nobody is blocked
-- ARGV[2]  how long the longest lasts
-- ARGV[3]  how long after the end of a block it is forgotten
-- ARGV[4…] for each key: how many may come at once, after how long each of them is free again, in microseconds, and how many are wanted
--
-- Returns for each key, with spaces between: 0 if it may be, 1 if somebody is blocked, 2 if a block begins; how many are left; in how many
-- milliseconds all are free again; in how many it makes sense to ask again; how many blocks in a row.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local first, longest, memory = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local ceil, format = math.ceil, string.format

-- What is kept at a key: when all are free again, when the last block ends, how many blocks in a row.
local function read(key, burst)
  local known = redis.pcall('GET', key)
  local free = type(known) == 'string' and tonumber(known)
  if free then
    return math.min(math.max(free, now), now + burst), 0, 0
  end
  local a, b, c = string.match(type(known) == 'string' and known or '', '^(%d+) (%d+) (%d+)$')
  if not a then
    return now, 0, 0
  end
  -- A clock that was set back, or figures that were changed, leave nobody further behind than he could have come.
  free = math.min(math.max(tonumber(a), now), now + burst)
  local freed = math.min(tonumber(b), now + math.max(longest, burst))
  if freed + memory <= now then
    return free, 0, 0
  end
  return free, freed, tonumber(c)
end

local function keep(key, free, freed, strikes)
  local value, last = format('%.0f', free), free
  if strikes > 0 then
    value, last = format('%.0f %.0f %.0f', free, freed, strikes), math.max(free, freed + memory)
  end
  redis.call('SET', key, value, 'PX', format('%.0f', ceil((last - now) / 1000)))
end

local function ask(key, most, interval, wanted)
  local burst = most * interval
  -- More than all can never be had: then all of it is.
  local cost = math.min(wanted, most) * interval
  local free, freed, strikes = read(key, burst)
  if freed > now then
    return 1, 0, free, freed - now, strikes
  end
  local wait = free + cost - now - burst
  if wait <= 0 then
    free = free + cost
    keep(key, free, freed, strikes)
    return 0, math.floor((now + burst - free) / interval), free, 0, strikes
  end
  if first == 0 then
    return 1, 0, free, wait, strikes
  end
  local block = math.min(first * 2 ^ strikes, longest)
  if wait > 2 * block then
    -- Nobody is told to come back when there is nothing for him yet.
    block = wait
  elseif wait > block then
    -- Where it is nearly as long as the block, the block counts for it: who comes back when he is told to is let through.
    free = now + block + burst - cost
  end
  keep(key, free, now + block, strikes + 1)
  return 2, 0, free, block, strikes + 1
end

local answers = {}
for index = 1, #KEYS do
  local at = index * 3 + 1
  local verdict, left, free, wait, strikes = ask(KEYS[index], tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]))
  answers[index] = format('%.0f %.0f %.0f %.0f %.0f', verdict, left, ceil((free - now) / 1000), ceil(wait / 1000), strikes)
end
return answers

-- A user wants to be seen otherwise than before: its contacts are to be told if it is connected, or if they are not told yet that it is not.
--
-- KEYS[1]  online   hash: user → the stays by which it is connected, comma-separated
-- KEYS[2]  unsaid   hash: user → since when its contacts are to be told of a change, in microseconds; a "v" behind it if the user wants
--                   to be seen otherwise
-- ARGV[1]  the user
--
-- Returns 1 if they are, else 0.
local owed = redis.call('HGET', KEYS[2], ARGV[1])
if not owed and redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  return 0
end
local time = redis.call('TIME')
local stamp = time[1] * 1000000 + time[2]
if owed then
  stamp = math.max(stamp, tonumber(string.match(owed, '^%d+')) + 1)
end
redis.call('HSET', KEYS[2], ARGV[1], string.format('%.0f', stamp) .. 'v')
return 1

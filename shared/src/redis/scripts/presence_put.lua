-- Users are connected by a stay. Of those who were by none, their contacts are to be told.
--
-- KEYS[1]  online   hash: user → the stays by which it is connected, comma-separated
-- KEYS[2]  unsaid   hash: user → since when its contacts are to be told of a change, in microseconds; a "v" behind it if the user wants
--                   to be seen otherwise
-- KEYS[3]  the users of the stay
-- ARGV[1]  the stay
-- ARGV[2]  until when nobody is to be told, in microseconds: what Redis forgot is put back, and everybody is shown everything later
-- ARGV[3…] the users
--
-- Returns those whose contacts are to be told.
local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]

local function owe(user)
  local owed = redis.call('HGET', KEYS[2], user)
  local stamp, mark = micros, ''
  if owed then
    stamp = math.max(stamp, tonumber(string.match(owed, '^%d+')) + 1)
    mark = string.match(owed, 'v?$')
  end
  redis.call('HSET', KEYS[2], user, string.format('%.0f', stamp) .. mark)
end

local is_told = micros >= tonumber(ARGV[2])
local came = {}
for index = 3, #ARGV do
  local user = ARGV[index]
  local stays = redis.call('HGET', KEYS[1], user)
  if not stays then
    redis.call('HSET', KEYS[1], user, ARGV[1])
    if is_told then
      owe(user)
      came[#came + 1] = user
    end
  elseif not string.find(',' .. stays .. ',', ',' .. ARGV[1] .. ',', 1, true) then
    redis.call('HSET', KEYS[1], user, stays .. ',' .. ARGV[1])
  end
  redis.call('SADD', KEYS[3], user)
end
return came

-- Users are connected by a stay no more. Of those who are by none now, their contacts are to be told; also of those of whom Redis has
-- forgotten that they were.
--
-- KEYS[1]  online   hash: user → the stays by which it is connected, comma-separated
-- KEYS[2]  unsaid   hash: user → since when its contacts are to be told of a change, in microseconds; a "v" behind it if the user wants
--                   to be seen otherwise
-- KEYS[3]  the users of the stay
-- ARGV[1]  the stay
-- ARGV[2…] the users
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

local went = {}
for index = 2, #ARGV do
  local user = ARGV[index]
  local others = {}
  for stay in string.gmatch(redis.call('HGET', KEYS[1], user) or '', '[^,]+') do
    if stay ~= ARGV[1] then
      others[#others + 1] = stay
    end
  end
  if #others > 0 then
    redis.call('HSET', KEYS[1], user, table.concat(others, ','))
  else
    redis.call('HDEL', KEYS[1], user)
    owe(user)
    went[#went + 1] = user
  end
  redis.call('SREM', KEYS[3], user)
end
return went

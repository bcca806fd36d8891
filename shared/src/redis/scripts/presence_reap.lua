-- Takes out some of the users of a stay that is over. Several nodes may do this at once: each user is taken out by one of them.
--
-- KEYS[1]  online   hash: user → the stays by which it is connected, comma-separated
-- KEYS[2]  unsaid   hash: user → since when its contacts are to be told of a change, in microseconds; a "v" behind it if the user wants
--                   to be seen otherwise
-- KEYS[3]  the users of the stay
-- ARGV[1]  the stay
-- ARGV[2]  the most users
--
-- Returns how many were taken out, and those whose contacts are to be told.
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

local users = redis.call('SPOP', KEYS[3], ARGV[2])
local answer = { tostring(#users) }
for _, user in ipairs(users) do
  local others, was_here = {}, false
  for stay in string.gmatch(redis.call('HGET', KEYS[1], user) or '', '[^,]+') do
    if stay == ARGV[1] then
      was_here = true
    else
      others[#others + 1] = stay
    end
  end
  if was_here and #others > 0 then
    redis.call('HSET', KEYS[1], user, table.concat(others, ','))
  elseif was_here then
    redis.call('HDEL', KEYS[1], user)
    owe(user)
    answer[#answer + 1] = user
  end
end
return answer

-- Reads what is to be said of users: whether they are connected now, and since when it is to be said.
--
-- KEYS[1]  online   hash: user → the stays by which it is connected, comma-separated
-- KEYS[2]  unsaid   hash: user → since when its contacts are to be told of a change, in microseconds; a "v" behind it if the user wants
--                   to be seen otherwise
-- ARGV     the users
--
-- Returns the present microsecond; for each user "1" if it is connected, else "0", and its entry of KEYS[2], empty if there is none.
local time = redis.call('TIME')
local answer = { string.format('%.0f', time[1] * 1000000 + time[2]) }
for _, user in ipairs(ARGV) do
  answer[#answer + 1] = tostring(redis.call('HEXISTS', KEYS[1], user))
  answer[#answer + 1] = redis.call('HGET', KEYS[2], user) or ''
end
return answer

-- Confirms a change that is in the log.
-- KEYS: state, balances, waiting, answer, times of the answers, answers of the rebuild
-- ARGV: epoch, user, amount, field, reason, milliseconds for which an answer is kept, time in milliseconds
local state, balances, waiting, answer = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local epoch, user, amount, field = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

if redis.call('GET', state) ~= 'ready ' .. epoch then
  return {'not ready'}
end
local known = redis.call('GET', answer) or redis.call('HGET', KEYS[6], field)
if known then
  return {'known', known}
end
if redis.call('HDEL', waiting, field) == 0 then
  return {'unknown'}
end
if string.sub(amount, 1, 1) ~= '-' then
  redis.call('HINCRBY', balances, user, amount)
end
local balance = redis.call('HGET', balances, user) or '0'
local accepted = 'accepted\n' .. amount .. '\n' .. balance .. '\n' .. ARGV[5]
redis.call('SET', answer, accepted, 'PX', ARGV[6])
redis.call('ZADD', KEYS[5], ARGV[7], field)
return {'known', accepted}

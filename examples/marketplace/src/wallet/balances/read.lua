-- Reads from the data set of an epoch: the user's balance, an answer, and the changes that wait.
-- KEYS: state, balances, waiting, answer, times of the answers, answers of the rebuild
-- ARGV: epoch, what to read, user, field
local what = ARGV[2]
if redis.call('GET', KEYS[1]) ~= 'ready ' .. ARGV[1] then
  return {'not ready'}
end
if what == 'balance' then
  return {'ready', redis.call('HGET', KEYS[2], ARGV[3]) or '0'}
elseif what == 'waiting' then
  return {'ready', unpack(redis.call('HVALS', KEYS[3]))}
end
local known = redis.call('GET', KEYS[4]) or redis.call('HGET', KEYS[6], ARGV[4])
if known then
  return {'known', known}
end
return {'unknown'}

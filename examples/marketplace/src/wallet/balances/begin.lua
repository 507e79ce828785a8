-- Begins a change.
-- KEYS: state, balances, waiting, answer, times of the answers, answers of the rebuild
-- ARGV: epoch, user, amount, field, event, is new (1 or 0), maximum of waiting changes, maximum balance, reason,
--       time for which an answer is kept, in milliseconds
-- Amounts are decimal text, because Lua's numbers are not exact beyond 2^53. Redis computes with 64-bit integers.
local state, balances, waiting, answer = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local epoch, user, amount, field, event = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

if redis.call('GET', state) ~= 'ready ' .. epoch then
  return {'not ready'}
end
local known = redis.call('GET', answer) or redis.call('HGET', KEYS[6], field)
if known then
  return {'known', known}
end
local begun = redis.call('HGET', waiting, field)
if begun then
  return {'waiting', begun}
end
if ARGV[6] == '0' then
  return {'unknown'}
end
if redis.call('HLEN', waiting) >= tonumber(ARGV[7]) then
  return {'full'}
end
local balance = redis.call('HGET', balances, user) or '0'
if string.sub(amount, 1, 1) == '-' then
  -- Lua uses only the sign of the result, which is exact
  if redis.call('HINCRBY', balances, user, amount) < 0 then
    redis.call('HINCRBY', balances, user, string.sub(amount, 2))
    local refused = 'refused\n' .. amount .. '\n' .. balance .. '\n' .. ARGV[9]
    redis.call('SET', answer, refused, 'PX', ARGV[10])
    return {'known', refused}
  end
elseif tonumber(balance) + tonumber(amount) > tonumber(ARGV[8]) then
  return {'overflow'}
end
redis.call('HSET', waiting, field, event)
return {'begun'}

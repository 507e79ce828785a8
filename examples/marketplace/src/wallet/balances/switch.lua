-- Changes the state if it has not changed.
-- KEYS: state, lease, balances of the epoch, times of its answers, answers of the rebuild
-- ARGV: expected state, new state, number of balances or '' for no check
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
if ARGV[3] ~= '' then
  if redis.call('HLEN', KEYS[3]) ~= tonumber(ARGV[3]) then
    return 0
  end
  -- until now, the data expires, in case the rebuild does not finish
  redis.call('PERSIST', KEYS[3])
  redis.call('PERSIST', KEYS[4])
  redis.call('PERSIST', KEYS[5])
end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('DEL', KEYS[2])
return 1

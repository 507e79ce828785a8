-- Begins a rebuild if the state has not changed and no other rebuild makes progress.
-- KEYS: state, lease, data of the previous epoch
-- ARGV: observed state or '', new epoch, duration of the lease in milliseconds
local state = redis.call('GET', KEYS[1]) or ''
if state ~= ARGV[1] then
  return 0
end
if string.sub(state, 1, 11) == 'rebuilding ' and redis.call('EXISTS', KEYS[2]) == 1 then
  return 0
end
redis.call('SET', KEYS[1], 'rebuilding ' .. ARGV[2])
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
if KEYS[3] then
  redis.call('UNLINK', unpack(KEYS, 3))
end
return 1

-- A piece of long work (src/redis/jobs.rs). KEYS: the job, all jobs. ARGV: `begin`, `go_on`, `end` or `cancel`, the job's id, how
-- long it is remembered in milliseconds, how many are remembered, then names and values. Only one that is under way is changed. The
-- answer is its state, '' where there is none.
local now = redis.call('TIME')
local ms = string.format('%.0f', tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000))
local state = redis.call('HGET', KEYS[1], 'state')
if ARGV[1] == 'begin' and not state then
  redis.call('HSET', KEYS[1], 'state', 'running', 'begun_ms', ms)
  redis.call('ZADD', KEYS[2], ms, ARGV[2])
  redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - tonumber(ARGV[4]))
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', tonumber(ms) - tonumber(ARGV[3]))
  state = 'running'
end
if state ~= 'running' and state ~= 'cancelling' then return state or '' end
if ARGV[1] == 'cancel' then
  redis.call('HSET', KEYS[1], 'state', 'cancelling')
  return 'cancelling'
end
for at = 5, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1]) end
redis.call('HSET', KEYS[1], 'beat_ms', ms)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if ARGV[1] == 'end' then
  redis.call('HSET', KEYS[1], 'ended_ms', ms, 'state', state == 'cancelling' and 'cancelled' or 'done')
end
return redis.call('HGET', KEYS[1], 'state')

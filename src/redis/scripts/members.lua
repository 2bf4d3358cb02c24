-- KEYS: members, seen, reports. ARGV: instance, how long it lives in milliseconds, itself as JSON, its report as JSON or ''.
-- Returns every member that lives, as JSON. The time is Redis's own: nodes' clocks do not matter.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[2]), ARGV[1])
-- Written only when it changes: every write goes into Redis's file.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[3] then redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
if ARGV[4] ~= '' then redis.call('HSET', KEYS[3], ARGV[1], ARGV[4]) end
local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)
for _, instance in ipairs(gone) do
  redis.call('ZREM', KEYS[2], instance)
  redis.call('HDEL', KEYS[1], instance)
  redis.call('HDEL', KEYS[3], instance)
end
return redis.call('HVALS', KEYS[1])

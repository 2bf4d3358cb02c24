-- KEYS: meta. ARGV: version. It never goes back: an owner that works by an older one is refused.
if tonumber(redis.call('HGET', KEYS[1], 'version') or '0') < tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 'version', ARGV[1])
end
return 1

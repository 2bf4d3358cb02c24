-- KEYS: bind, lease. ARGV: destination, owner, token. 1 where it is stored, 0 where the lease is another's.
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1

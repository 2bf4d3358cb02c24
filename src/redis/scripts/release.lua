-- KEYS: lease. ARGV: owner. Only the holder gives a lease back.
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1

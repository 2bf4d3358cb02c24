-- KEYS: one key. ARGV: a write command, then what follows the key. What drains must work in a full Redis too.
return redis.call(ARGV[1], KEYS[1], unpack(ARGV, 2))

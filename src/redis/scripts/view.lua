-- KEYS: stream, meta, lanes, starts, bind. ARGV: token, destination id.
local list, trimmed = ensure_generation(KEYS[1], KEYS[2], ARGV[1])
return { list, trimmed, redis.call('HGET', KEYS[3], ARGV[2]), redis.call('HGET', KEYS[5], ARGV[2]),
  redis.call('HGETALL', KEYS[4]) }

-- KEYS: stream, meta, lanes, starts, bind, sides. ARGV: token, destination id.
local list = ensure_generation(KEYS[1], KEYS[2], ARGV[1])
notice_removal(KEYS[1], KEYS[2], stream_info(KEYS[1]))
local trimmed = redis.call('HGET', KEYS[2], 'trimmed')
return { list, trimmed, redis.call('HGET', KEYS[3], ARGV[2]), redis.call('HGET', KEYS[5], ARGV[2]),
  redis.call('HGETALL', KEYS[4]),
  redis.call('HLEN', KEYS[6]) > 0 and redis.call('HGETALL', KEYS[6]) or {} }

-- KEYS: stream, meta, lanes, plans, sides, parts. An application that is gone: nobody is to get what is left of it. What is known of its
-- generations and its version stays, so that one that comes back under the same name goes on from there.
if redis.call('HLEN', KEYS[3]) > 0 then return 0 end
if redis.call('EXISTS', KEYS[1]) == 1 then
  local last = stream_info(KEYS[1])['last-generated-id']
  redis.call('XTRIM', KEYS[1], 'MAXLEN', 0)
  redis.call('HSET', KEYS[2], 'trimmed', last)
  redis.call('HDEL', KEYS[2], 'removed')
end
redis.call('DEL', KEYS[4], KEYS[5], KEYS[6])
return 1

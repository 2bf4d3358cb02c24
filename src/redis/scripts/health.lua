-- KEYS: a destination's list of changes, newest first. ARGV: status, the change (JSON), how many are kept.
-- Several nodes may tell the same: it is kept once.
local last = redis.call('LINDEX', KEYS[1], 0)
if last and cjson.decode(last).status == ARGV[1] then return 0 end
redis.call('LPUSH', KEYS[1], ARGV[2])
redis.call('LTRIM', KEYS[1], 0, tonumber(ARGV[3]) - 1)
return 1

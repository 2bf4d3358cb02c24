-- KEYS: lease. ARGV: owner, milliseconds. 1 where it is mine now. The time is Redis's own: nodes' clocks do not matter.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1

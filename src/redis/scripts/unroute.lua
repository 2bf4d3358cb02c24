-- KEYS: starts, sides. ARGV: route. Forgets where a route begins; if no owner has taken it up yet, its place holds nothing back
-- from the next advance on.
local start = redis.call('HGET', KEYS[1], ARGV[1])
if not start then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], string.match(start, '(%S+)$') .. ' new ' .. ARGV[1])
return 1

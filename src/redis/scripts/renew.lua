-- KEYS: lease. ARGV: owner, milliseconds. 1 where it was mine still. Never takes one: a late renewal must not bring back a
-- lease that was given up.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])

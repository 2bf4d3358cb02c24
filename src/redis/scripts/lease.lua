-- KEYS: lease. ARGV: owner, milliseconds. 1 where it is mine now. The time is Redis's own: nodes' clocks do not matter.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  -- A clock that was set back, or that of a replica that took over, must not make the lease of one who is gone last for
  -- hours. One who lives renews it long before.
  redis.call('PEXPIRE', KEYS[1], 10 * ARGV[2], 'LT')
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1

-- KEYS: members, seen, reports. ARGV: instance.
for i, command in ipairs({ 'HDEL', 'ZREM', 'HDEL' }) do redis.call(command, KEYS[i], ARGV[1]) end
return 1

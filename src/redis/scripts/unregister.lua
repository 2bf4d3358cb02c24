-- KEYS: stream, meta, lanes, bind, lease, dead, commands, starts, sides, parts, lines of the dead, abandoned. ARGV: destination id,
-- prefix of its history streams.
-- History streams share the other keys' hash tag.
local _, _, _, group = parse_lane(redis.call('HGET', KEYS[3], ARGV[1]))
if group and group ~= '' and redis.call('EXISTS', KEYS[1]) == 1 then redis.call('XGROUP', 'DESTROY', KEYS[1], group) end
local tokens = parse_generations(redis.call('HGET', KEYS[2], 'generations'))
for _, token in ipairs(tokens) do redis.call('DEL', ARGV[2] .. token) end
for part in pairs(sides_of(KEYS[10], ARGV[1])) do
  for _, token in ipairs(tokens) do redis.call('DEL', ARGV[2] .. token .. ':' .. part) end
  redis.call('HDEL', KEYS[10], ARGV[1] .. ' ' .. part)
end
for name in pairs(sides_of(KEYS[9], ARGV[1])) do redis.call('HDEL', KEYS[9], ARGV[1] .. ' ' .. name) end
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('HDEL', KEYS[4], ARGV[1])
redis.call('DEL', KEYS[5], KEYS[6], KEYS[7], KEYS[11], KEYS[12])
local starts = redis.call('HGETALL', KEYS[8])
for i = 1, #starts, 2 do
  if string.match(starts[i + 1], '(%S+)$') == ARGV[1] then redis.call('HDEL', KEYS[8], starts[i]) end
end
return 1

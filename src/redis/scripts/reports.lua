-- KEYS: members, seen, reports. Every member that lives: itself and its report as JSON, the latter '' where it has none yet.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local answer = {}
for _, instance in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. string.format('%.0f', now), '+inf')) do
  local member = redis.call('HGET', KEYS[1], instance)
  if member then answer[#answer + 1] = { member, redis.call('HGET', KEYS[3], instance) or '' } end
end
return answer

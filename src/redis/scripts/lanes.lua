-- KEYS: stream, lanes. For every lane: destination, generation, id, entries above it, the first of them or ''.
local info, answer = stream_info(KEYS[1]), {}
local flat = redis.call('HGETALL', KEYS[2])
for i = 1, #flat, 2 do
  local generation, id, read = parse_lane(flat[i + 1])
  local first = info and redis.call('XRANGE', KEYS[1], '(' .. id, '+', 'COUNT', 1)[1]
  local waiting = first and math.max(1, math.min(info['entries-added'] - read, info.length)) or 0
  answer[#answer + 1] = { flat[i], generation, id, waiting, first and first[1] or '' }
end
return answer

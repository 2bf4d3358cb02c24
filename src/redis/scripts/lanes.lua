-- KEYS: stream, lanes, sides. For every lane, by where its main row stands: destination, generation, id, entries above it, the first of them or ''. A parallel
-- one stands where its group was handed out to, and what it has in hand waits too.
local info, answer = stream_info(KEYS[1]), {}
local flat = redis.call('HGETALL', KEYS[2])
for i = 1, #flat, 2 do
  local generation, id, read, _, mode = parse_lane(flat[i + 1])
  local main = redis.call('HGET', KEYS[3], flat[i] .. ' main')
  if main then generation, id = parse_lane(main) end
  local group = mode == 'parallel' and group_of(KEYS[1], flat[i])
  if group then
    id = group['last-delivered-id']
    read = group['entries-read'] or info['entries-added'] - entries_above(KEYS[1], id, info)
  end
  local first = info and redis.call('XRANGE', KEYS[1], '(' .. id, '+', 'COUNT', 1)[1]
  local waiting = first and math.max(1, math.min(info['entries-added'] - read, info.length)) or 0
  local oldest = first and first[1] or ''
  if group then
    local lowest, pending = lowest_pending(KEYS[1], group)
    oldest, waiting = lowest or oldest, waiting + pending
  end
  answer[#answer + 1] = { flat[i], generation, id, waiting, oldest }
end
return answer

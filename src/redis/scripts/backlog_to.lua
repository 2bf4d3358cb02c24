-- What waits for a destination, and how much of it lies at or below a place. Changes nothing but the generation.
-- KEYS: stream, meta, lanes, sides. ARGV: token, destination id, id or '' for the newest entry.
-- Returns {generation of the place, the place, entries that wait, those of them at or below the place, first that waits or '',
-- 1 where something stands beside the lane, 1 where the destination is parallel}.
local stream, destination = KEYS[1], ARGV[2]
local list, trimmed = ensure_generation(stream, KEYS[2], ARGV[1])
local tokens, afters = parse_generations(list)
local info = stream_info(stream)
local id = ARGV[3] == '' and info['last-generated-id'] or ARGV[3]
if below(info['last-generated-id'], id) then id = info['last-generated-id'] end
if below(id, trimmed) then id = trimmed end
local place = tokens[1]
for i = 1, #tokens do
  if not below(id, afters[i]) then place = tokens[i] end
end
local generation, stands, _, _, mode = parse_lane(redis.call('HGET', KEYS[3], destination))
local standing = sides_of(KEYS[4], destination)
if standing.main then generation, stands = parse_lane(standing.main) end
local group = mode == 'parallel' and group_of(stream, destination)
if group then stands = group['last-delivered-id'] end
if not stands or below(stands, trimmed) then stands = trimmed end
local waiting = entries_above(stream, stands, info)
local given = 0
if below(stands, id) then given = math.max(0, waiting - entries_above(stream, id, info)) end
local first = redis.call('XRANGE', stream, '(' .. stands, '+', 'COUNT', 1)[1]
local oldest = first and first[1] or ''
if group then
  local lowest, pending = lowest_pending(stream, group)
  if lowest then
    waiting, oldest = waiting + pending, lowest
    given = given + #redis.call('XPENDING', stream, destination, '-', id, 10000)
  end
end
return { place, id, waiting, given, oldest, next(standing) and 1 or 0, mode == 'parallel' and 1 or 0 }

-- Where a lane would go on, if an operator says so. Changes nothing but the generation.
-- KEYS: stream, meta, lanes. ARGV: token, destination id, 'last' | 'earliest' | 'now'.
-- Returns {'OK' | 'UNKNOWN', generation, id, entries above it, entries above the lane's position or -1, trimmed}.
local stream = KEYS[1]
local list, trimmed = ensure_generation(stream, KEYS[2], ARGV[1])
local tokens, afters = parse_generations(list)
local info = stream_info(stream)
local generation, id = parse_lane(redis.call('HGET', KEYS[3], ARGV[2]))
local waiting = -1
if id then waiting = entries_above(stream, below(id, trimmed) and trimmed or id, info) end
if ARGV[3] == 'last' then
  if not generation then return { 'UNKNOWN', '', '0-0', 0, -1, trimmed } end
elseif ARGV[3] == 'earliest' then
  generation, id = nil, trimmed
else
  generation, id = nil, info['last-generated-id']
end
-- What is gone is gone: nothing can be read from below the mark.
if below(id, trimmed) then generation, id = nil, trimmed end
if not generation then
  for i = 1, #tokens do
    if not below(id, afters[i]) then generation = tokens[i] end
  end
end
return { 'OK', generation or tokens[1], id, entries_above(stream, id, info), waiting, trimmed }

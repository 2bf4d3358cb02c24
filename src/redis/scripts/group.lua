-- KEYS: stream, meta, lanes. ARGV: token, destination, registry version.
-- Makes the consumer group of a parallel destination where it is missing, and marks its lane. The first time it begins where
-- the lane does; one that was lost begins at the trimmed mark: what is written again is the same row. 1 where it was made, 2
-- where the registry has moved on: the destination may have gone.
local stream, destination = KEYS[1], ARGV[2]
local list, trimmed = ensure_generation(stream, KEYS[2], ARGV[1])
local tokens, afters = parse_generations(list)
local generation, id, read, _, mode = parse_lane(redis.call('HGET', KEYS[3], destination))
local made = 0
if not group_of(stream, destination) then
  if tonumber(redis.call('HGET', KEYS[2], 'version') or '0') > tonumber(ARGV[3]) then return 2 end
  local at, newest = trimmed, #tokens
  -- An id of a stream that was lost since says nothing about this one.
  local valid = generation and (generation == tokens[newest] or not below(afters[newest], id))
  if valid and mode ~= 'parallel' and below(at, id) then at = id end
  local info = stream_info(stream)
  read = string.format('%.0f', info['entries-added'] - entries_above(stream, at, info))
  redis.call('XGROUP', 'CREATE', stream, destination, at, 'ENTRIESREAD', read)
  made = 1
  if not valid then generation, id = tokens[newest], at end
end
if mode ~= 'parallel' or made == 1 then
  if not generation then
    -- The group is there and its lane is not.
    generation, id = tokens[#tokens], group_of(stream, destination)['last-delivered-id']
  end
  read = read or 0
  redis.call('HSET', KEYS[3], destination, generation .. ' ' .. id .. ' ' .. read .. ' ' .. destination .. ' parallel')
end
return made

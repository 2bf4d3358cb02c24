-- KEYS: stream, meta, lanes, starts. ARGV: token, route id, destination id, 'now' | 'earliest' | 'restored' | milliseconds.
-- Returns {'OK', generation, id}, or {'TOO_EARLY', generation, id of the lane}.
local stream, lanes, starts = KEYS[1], KEYS[3], KEYS[4]
local route, destination, wanted = ARGV[2], ARGV[3], ARGV[4]
local list, trimmed = ensure_generation(stream, KEYS[2], ARGV[1])
local tokens, afters = parse_generations(list)
local info = stream_info(stream)

-- Ids of one stream only rise, so an id belongs to the last generation that starts at or below it.
local function generation_at(id)
  for i = #tokens, 1, -1 do
    if not below(id, afters[i]) then return tokens[i] end
  end
  return tokens[1]
end
local function rank(token)
  for i = 1, #tokens do
    if tokens[i] == token then return i end
  end
  return 0
end

local generation, id = parse_lane(redis.call('HGET', starts, route))
if not generation then
  if wanted == 'now' then
    id = info['last-generated-id']
  elseif wanted == 'earliest' or wanted == 'restored' then
    id = trimmed
  else
    id = just_below(wanted .. '-0')
    if below(id, trimmed) then id = trimmed end
  end
  generation = generation_at(id)
end
local lane_generation, lane_id, _, _, mode = parse_lane(redis.call('HGET', lanes, destination))
local group = mode == 'parallel' and group_of(stream, destination)
if group then
  -- What the group has handed out already was handed out without this route.
  lane_generation, lane_id = tokens[#tokens], group['last-delivered-id']
end
if not lane_generation then
  local read = info['entries-added'] - entries_above(stream, id, info)
  redis.call('HSET', lanes, destination, generation .. ' ' .. id .. ' ' .. string.format('%.0f', read))
else
  local start_rank, lane_rank = rank(generation), rank(lane_generation)
  if wanted ~= 'restored' and redis.call('HEXISTS', starts, route) == 0 and
    (start_rank < lane_rank or (start_rank == lane_rank and below(id, lane_id))) then
    return { 'TOO_EARLY', lane_generation, lane_id }
  end
end
redis.call('HSET', starts, route, generation .. ' ' .. id .. ' ' .. destination)
return { 'OK', generation, id }

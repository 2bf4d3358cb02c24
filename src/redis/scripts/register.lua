-- KEYS: stream, meta, lanes, starts, sides. ARGV: token, route id, destination id, 'now' | 'earliest' | 'restored' | milliseconds, and for
-- 'restored' the registry version that is restored.
-- A route that may begin below where its destination stands is marked `backfill`, and lowers the stored position at once: nothing
-- is trimmed that it was promised, until an owner that knows it has taken it up (advance.lua).
-- Returns {'OK', generation, id}, {'TOO_EARLY', generation, id of the group}, or {'PASSED', '', '0-0'}.
local stream, lanes, starts = KEYS[1], KEYS[3], KEYS[4]
local route, destination, wanted = ARGV[2], ARGV[3], ARGV[4]
local list, trimmed = ensure_generation(stream, KEYS[2], ARGV[1])
-- Somebody changed the registry meanwhile: what is restored may be gone for good, and nobody would forget it again.
if wanted == 'restored' and tonumber(redis.call('HGET', KEYS[2], 'version') or '0') > tonumber(ARGV[5]) then
  return { 'PASSED', '', '0-0' }
end
local tokens, afters = parse_generations(list)
local info = stream_info(stream)

-- Ids of one stream only rise, so an id belongs to the last generation that starts at or below it.
local function generation_at(id)
  for i = #tokens, 1, -1 do
    if not below(id, afters[i]) then return tokens[i] end
  end
  return tokens[1]
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
local mark = ''
if not lane_generation then
  local read = info['entries-added'] - entries_above(stream, id, info)
  redis.call('HSET', lanes, destination, generation .. ' ' .. id .. ' ' .. string.format('%.0f', read))
elseif wanted ~= 'restored' and redis.call('HEXISTS', starts, route) == 0 then
  local function is_below(other_generation, other_id)
    local start_rank, other_rank = rank_of(tokens, generation), rank_of(tokens, other_generation)
    return start_rank < other_rank or (start_rank == other_rank and below(id, other_id))
  end
  if mode == 'parallel' then
    if is_below(lane_generation, lane_id) then return { 'TOO_EARLY', lane_generation, lane_id } end
  elseif wanted ~= 'now' and below(id, info['last-generated-id']) then
    -- The database may stand above what is stored here: whether the route has anything to catch up, its owner finds out.
    mark = 'backfill '
    redis.call('HSETNX', KEYS[5], destination .. ' main', lane_generation .. ' ' .. lane_id)
    redis.call('HSET', KEYS[5], destination .. ' new ' .. route, generation .. ' ' .. id)
    if is_below(lane_generation, lane_id) then
      local rest = string.match(redis.call('HGET', lanes, destination), '^%w+ %d+%-%d+(.*)$')
      redis.call('HSET', lanes, destination, generation .. ' ' .. id .. rest)
    end
  end
end
if redis.call('HEXISTS', starts, route) == 0 then
  redis.call('HSET', starts, route, generation .. ' ' .. id .. ' ' .. mark .. destination)
end
return { 'OK', generation, id }

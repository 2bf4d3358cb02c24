-- KEYS: stream, meta, lanes, lease, starts, history of the part, dead, sides, parts, lines of the dead.
-- ARGV: destination, owner, version, newest, generation, id, entries, history record or '', group, part, generation of the
-- part, number of sides, number of known routes, id of the history record, then for each side its part, `generation id` and
-- JSON, then the known routes…, then void dead letters…
local stream, lanes = KEYS[1], KEYS[3]
local destination, generation, id, part = ARGV[1], ARGV[5], ARGV[6], ARGV[10]
local first_known = 15 + 3 * tonumber(ARGV[12])
local first_void = first_known + tonumber(ARGV[13])
if redis.call('GET', KEYS[4]) ~= ARGV[2] then return 'NOT_MINE' end
local meta = redis.call('HMGET', KEYS[2], 'generations', 'trimmed', 'version')
local tokens, afters = parse_generations(meta[1])
local info = stream_info(stream)
if not info or tokens[#tokens] ~= ARGV[4] then return 'NEW_GENERATION' end
if tonumber(meta[3] or '0') > tonumber(ARGV[3]) then return 'NEW_VERSION' end

local old_generation, old_id, old_read, old_group = parse_lane(redis.call('HGET', lanes, destination))
-- While something stands beside the lane, what is stored is the lowest place, and the main row's is kept apart.
local standing = sides_of(KEYS[8], destination)
if standing.main then old_generation, old_id = parse_lane(standing.main) end
local same = old_generation == generation and old_id == id
local function known()
  if same or id == meta[2] or id == info['last-generated-id'] then return true end
  for i = 1, #tokens do
    if afters[i] == id then return true end
  end
  if #redis.call('XRANGE', stream, id, id) == 1 then return true end
  for _, start in ipairs(redis.call('HVALS', KEYS[5])) do
    local start_generation, start_id = parse_lane(start)
    if start_generation == generation and start_id == id then return true end
  end
  return false
end
if not known() then return 'NO_SUCH_ENTRY' end

local added, entries, read = info['entries-added'], tonumber(ARGV[7]), nil
if id == info['last-generated-id'] then
  read = added
elseif same then
  read = old_read
elseif entries > 0 and old_generation == generation and below(old_id, id) then
  read = math.min(old_read + entries, added)
else
  read = added - entries_above(stream, id, info)
end
read = string.format('%.0f', read)

-- The position is the lowest of the main row, the side rows, and the routes that are registered to begin below the lane
-- and that this owner has not heard of.
local lowest_generation, lowest_id = generation, id
local function lower(other_generation, other_id)
  local mine, lowest = rank_of(tokens, other_generation), rank_of(tokens, lowest_generation)
  if mine < lowest or (mine == lowest and below(other_id, lowest_id)) then
    lowest_generation, lowest_id = other_generation, other_id
  end
end
local stays, routes = {}, {}
for at = 15, first_known - 1, 3 do
  local side_generation, side_id = parse_lane(ARGV[at + 1])
  lower(side_generation, side_id)
  stays[ARGV[at]] = true
  if standing[ARGV[at]] ~= ARGV[at + 2] then redis.call('HSET', KEYS[8], destination .. ' ' .. ARGV[at], ARGV[at + 2]) end
end
for at = first_known, first_void - 1 do routes['new ' .. ARGV[at]] = true end
for name, place in pairs(standing) do
  if string.sub(name, 1, 4) == 'new ' and not routes[name] then
    stays[name] = true
    local new_generation, new_id = parse_lane(place)
    lower(new_generation, new_id)
  end
end
for name in pairs(standing) do
  if name ~= 'main' and not stays[name] then redis.call('HDEL', KEYS[8], destination .. ' ' .. name) end
end
if next(stays) then
  redis.call('HSET', KEYS[8], destination .. ' main', generation .. ' ' .. id)
elseif standing.main then
  redis.call('HDEL', KEYS[8], destination .. ' main')
end
redis.call('HSET', lanes, destination, lowest_generation .. ' ' .. lowest_id .. ' ' .. read .. ' ' .. ARGV[9])

if ARGV[8] ~= '' then
  -- Refused where the batch is recorded already (a lost answer) or stands below the last one (a destination that was
  -- restored is sent its past again): the record of the first time stays.
  redis.pcall('XADD', KEYS[6], ARGV[14], 'r', ARGV[8])
  if part ~= 'main' then redis.call('HSET', KEYS[9], destination .. ' ' .. part, ARGV[11]) end
end
-- The group is for the eyes only: XINFO GROUPS shows its lag.
if old_group and old_group ~= '' and old_group ~= ARGV[9] then redis.call('XGROUP', 'DESTROY', stream, old_group) end
local moved = redis.pcall('XGROUP', 'SETID', stream, ARGV[9], id, 'ENTRIESREAD', read)
if type(moved) == 'table' and moved.err then
  redis.call('XGROUP', 'CREATE', stream, ARGV[9], id, 'ENTRIESREAD', read)
end
local gone = 0
for i = first_void, #ARGV do gone = gone + forget_letter(KEYS[7], KEYS[10], ARGV[i]) end
if gone > 0 then touch_letters(KEYS[10]) end
return 'OK'

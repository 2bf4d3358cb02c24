-- KEYS: stream, meta, lanes, lease, starts, history, dead.
-- ARGV: destination, owner, version, newest, generation, id, entries, history record or '', group, void dead letters…
local stream, lanes = KEYS[1], KEYS[3]
local destination, generation, id = ARGV[1], ARGV[5], ARGV[6]
if redis.call('GET', KEYS[4]) ~= ARGV[2] then return 'NOT_MINE' end
local meta = redis.call('HMGET', KEYS[2], 'generations', 'trimmed', 'version')
local tokens, afters = parse_generations(meta[1])
local info = stream_info(stream)
if not info or tokens[#tokens] ~= ARGV[4] then return 'NEW_GENERATION' end
if tonumber(meta[3] or '0') > tonumber(ARGV[3]) then return 'NEW_VERSION' end

local old_generation, old_id, old_read, old_group = parse_lane(redis.call('HGET', lanes, destination))
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
redis.call('HSET', lanes, destination, generation .. ' ' .. id .. ' ' .. read .. ' ' .. ARGV[9])
if ARGV[8] ~= '' then
  -- Refused where the batch is recorded already (a lost answer) or stands below the last one (a destination that was
  -- restored is sent its past again): the record of the first time stays.
  redis.pcall('XADD', KEYS[6], id, 'r', ARGV[8])
end
-- The group is for the eyes only: XINFO GROUPS shows its lag.
if old_group and old_group ~= '' and old_group ~= ARGV[9] then redis.call('XGROUP', 'DESTROY', stream, old_group) end
local moved = redis.pcall('XGROUP', 'SETID', stream, ARGV[9], id, 'ENTRIESREAD', read)
if type(moved) == 'table' and moved.err then
  redis.call('XGROUP', 'CREATE', stream, ARGV[9], id, 'ENTRIESREAD', read)
end
for i = 10, #ARGV do redis.call('HDEL', KEYS[7], ARGV[i]) end
return 'OK'

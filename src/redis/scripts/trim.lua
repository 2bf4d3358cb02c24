-- KEYS: stream, meta, lanes, starts, parts.
-- ARGV: registry version, retention in milliseconds or -1, retention in messages or -1, prefix of the history streams,
-- destination ids…
-- Returns {entries removed, 1 where more can be removed, why nothing may be or '', destinations not in the list…}.
local stream, lanes = KEYS[1], KEYS[3]
local keep_ms, keep_messages = tonumber(ARGV[2]), tonumber(ARGV[3])
local info = stream_info(stream)
if not info then return { 0, 0, '' } end
notice_removal(stream, KEYS[2], info)
local meta = redis.call('HMGET', KEYS[2], 'generations', 'trimmed', 'version', 'replid')
local tokens, afters = parse_generations(meta[1])
local newest = tokens[#tokens]
local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')
if not newest or meta[4] ~= replid then return { 0, 0, 'GENERATION' } end
if tonumber(meta[3] or '0') > tonumber(ARGV[1]) then return { 0, 0, 'VERSION' } end

-- Below which id this lane needs nothing any more; nil where nobody can tell.
local function needed_from(destination, text)
  local generation, id, _, _, mode = parse_lane(text)
  if mode ~= 'parallel' then return generation == newest and id or nil end
  local group = group_of(stream, destination)
  return group and (lowest_pending(stream, group) or group['last-delivered-id'])
end

local listed, lowest = {}, nil
for i = 5, #ARGV do
  local id = needed_from(ARGV[i], redis.call('HGET', lanes, ARGV[i]))
  if not id then return { 0, 0, ARGV[i] } end
  listed[ARGV[i]] = true
  if not lowest or below(id, lowest) then lowest = id end
end
-- A lane that is not in the list may be a destination that is just being registered: it counts too.
local answer = { 0, 0, '' }
local flat = redis.call('HGETALL', lanes)
for i = 1, #flat, 2 do
  if not listed[flat[i]] then
    answer[#answer + 1] = flat[i]
    local id = needed_from(flat[i], flat[i + 1])
    if not id then return { 0, 0, flat[i] } end
    if not lowest or below(id, lowest) then lowest = id end
  end
end

-- What every lane has passed ends at `limit`, which stays itself.
local everything = just_below('9007199254740991-0')
local limit = lowest or everything
local function cut_at(id)
  if below(id, limit) then limit = id end
end
local by_time = everything
if keep_ms >= 0 then
  local now = redis.call('TIME')
  local ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000) - keep_ms
  by_time = string.format('%.0f', math.max(0, ms)) .. '-0'
end
local surplus = keep_messages >= 0 and math.max(0, info.length - keep_messages) or 0
if keep_messages < 0 then
  cut_at(by_time)
elseif surplus == 0 then
  if keep_ms >= 0 then cut_at(by_time) else return answer end
else
  -- Whichever is less stays: go by number only as far as the time has not reached already. In small steps, since an
  -- entry can only be passed by reading it.
  local steps, from = math.min(surplus, 1000), '-'
  local count_cut = nil
  while steps > 0 do
    local chunk = redis.call('XRANGE', stream, from, '+', 'COUNT', math.min(steps, 20) + 1)
    if #chunk < 2 then break end
    count_cut = chunk[#chunk][1]
    from = count_cut
    steps = steps - (#chunk - 1)
    if not below(count_cut, limit) then break end
  end
  if keep_ms >= 0 and (not count_cut or below(count_cut, by_time)) then count_cut = by_time end
  if not count_cut then return answer end
  if surplus > 1000 and below(count_cut, limit) then answer[2] = 1 end
  cut_at(count_cut)
end

-- The mark is the last entry that goes, and nothing above it: a database that was restored to just there misses nothing.
-- Where nothing lies below the limit, Redis would go through the whole stream to find that out.
local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
if not first or not below(first[1], limit) then return answer end
local last = redis.call('XREVRANGE', stream, '(' .. limit, '-', 'COUNT', 1)[1]
if not last then return answer end
local trimmed = last[1]
answer[1] = redis.call('XTRIM', stream, 'MINID', '=', limit)
local removed = string.format('%.0f', info['entries-added'] - info.length + answer[1])
redis.call('HSET', KEYS[2], 'trimmed', trimmed, 'removed', removed)

-- Generations that hold nothing any more, and the history of what is gone. They stay in the list, for a database may be
-- restored to a time when they were read (lane.rs, `resume`); only the oldest of many are forgotten.
local kept_tokens, kept_afters, gone, ended = {}, {}, {}, {}
for i = 1, #tokens do
  local over = i < #tokens and not below(trimmed, afters[i + 1])
  if over and below(meta[2] or '0-0', afters[i + 1]) then ended[#ended + 1] = tokens[i] end
  if over and i <= #tokens - 32 then
    gone[#gone + 1] = tokens[i]
  else
    kept_tokens[#kept_tokens + 1], kept_afters[#kept_afters + 1] = tokens[i], afters[i]
  end
end
for i = 1, #flat, 2 do
  local history = ARGV[4] .. flat[i] .. ':'
  for _, token in ipairs(ended) do redis.call('DEL', history .. token) end
  for _, token in ipairs(kept_tokens) do
    if redis.call('EXISTS', history .. token) == 1 then
      -- A batch is filed under its last id: one that ends at or below the mark is gone as a whole.
      redis.call('XTRIM', history .. token, 'MINID', '=', trimmed)
    end
  end
end
-- The histories of parts go the same way; one that is empty is forgotten, since parts come and go.
local parts = redis.call('HGETALL', KEYS[5])
for i = 1, #parts, 2 do
  local destination, part = string.match(parts[i], '^(%S+) (.+)$')
  local left = false
  for _, token in ipairs(tokens) do
    local key = ARGV[4] .. destination .. ':' .. token .. ':' .. part
    if redis.call('EXISTS', key) == 1 then
      redis.call('XTRIM', key, 'MINID', '=', trimmed)
      if #redis.call('XRANGE', key, '-', '+', 'COUNT', 1) == 0 then redis.call('DEL', key) else left = true end
    end
  end
  if not left then redis.call('HDEL', KEYS[5], parts[i]) end
end
if #gone > 0 then
  redis.call('HSET', KEYS[2], 'generations', join_generations(kept_tokens, kept_afters))
  local was = {}
  for _, token in ipairs(gone) do was[token] = true end
  local starts = redis.call('HGETALL', KEYS[4])
  for i = 1, #starts, 2 do
    local generation, rest = string.match(starts[i + 1], '^(%w+) %d+%-%d+(.*)$')
    if was[generation] then
      -- Below where the generation begins: so a take-over can tell that the route began before all that is known.
      redis.call('HSET', KEYS[4], starts[i], kept_tokens[1] .. ' 0-0' .. rest)
    end
  end
end
return answer

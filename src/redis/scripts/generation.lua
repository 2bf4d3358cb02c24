-- Shared by every script that must know in which incarnation of Redis it runs: this text is put before theirs.

-- Whether stream id a is below b. Milliseconds are exact in a double; sequence numbers only need to compare.
local function below(a, b)
  local a_ms, a_seq = string.match(a, '^(%d+)-(%d+)$')
  local b_ms, b_seq = string.match(b, '^(%d+)-(%d+)$')
  a_ms, b_ms = tonumber(a_ms), tonumber(b_ms)
  if a_ms ~= b_ms then return a_ms < b_ms end
  return tonumber(a_seq) < tonumber(b_seq)
end

-- The id just below this one. Redis counts sequence numbers up to 2^64 - 1.
local function just_below(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  if seq ~= '0' then return ms .. '-' .. string.format('%.0f', tonumber(seq) - 1) end
  if ms == '0' then return '0-0' end
  return string.format('%.0f', tonumber(ms) - 1) .. '-18446744073709551615'
end

-- XINFO STREAM as a table, or nil where there is no stream.
local function stream_info(stream)
  if redis.call('EXISTS', stream) == 0 then return nil end
  local flat, info = redis.call('XINFO', 'STREAM', stream), {}
  for i = 1, #flat, 2 do info[flat[i]] = flat[i + 1] end
  return info
end

-- The generations as two arrays, oldest first: tokens, and the ids they start after.
local function parse_generations(list)
  local tokens, afters = {}, {}
  for token, after in string.gmatch(list or '', '(%w+) (%d+%-%d+)') do
    tokens[#tokens + 1], afters[#afters + 1] = token, after
  end
  return tokens, afters
end

local function join_generations(tokens, afters)
  local parts = {}
  for i = 1, #tokens do parts[i] = tokens[i] .. ' ' .. afters[i] end
  return table.concat(parts, ',')
end

-- Makes sure that the newest generation is this server's. Returns the list as it is stored, and the trimmed mark.
-- master_replid changes at every restart, restore and failover (Redis, INFO replication).
local function ensure_generation(stream, meta, token)
  local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')
  local stored = redis.call('HMGET', meta, 'replid', 'generations', 'trimmed')
  local list, trimmed = stored[2] or '', stored[3] or '0-0'
  if stored[1] == replid and list ~= '' and redis.call('EXISTS', stream) == 1 then return list, trimmed end
  local info, after = stream_info(stream), nil
  if info then
    after = info['last-generated-id']
    -- The mark still holds: ids of one stream never go back, so it is at or below where the generation starts.
    if below(after, trimmed) then trimmed = '0-0' end
  else
    redis.call('XGROUP', 'CREATE', stream, 'made', '0', 'MKSTREAM')
    redis.call('XGROUP', 'DESTROY', stream, 'made')
    -- A new stream holds nothing of the older generations, and its ids may be smaller than theirs.
    after, trimmed = '0-0', '0-0'
    list = string.gsub(list, ' %d+%-%d+', ' 0-0')
  end
  list = (list == '' and '' or list .. ',') .. token .. ' ' .. after
  redis.call('HSET', meta, 'replid', replid, 'generations', list, 'trimmed', trimmed)
  return list, trimmed
end

-- Notices entries that were removed by somebody else (XTRIM, or XDEL of the first ones): what Redis counted as added, is not
-- there, and was not removed by trim.lua. The trimmed mark then says so to every lane. Redis itself leaves no trace of it.
local function notice_removal(stream, meta, info)
  local gone = info['entries-added'] - info.length
  local stored = redis.call('HMGET', meta, 'removed', 'trimmed')
  local known = tonumber(stored[1])
  if known == gone then return end
  if known and known < gone then
    local first, trimmed = info['first-entry'], stored[2] or '0-0'
    local up_to = first and just_below(first[1]) or info['last-generated-id']
    if below(trimmed, up_to) then redis.call('HSET', meta, 'trimmed', up_to) end
  end
  redis.call('HSET', meta, 'removed', string.format('%.0f', gone))
end

-- Where a lane stands: generation, id, entries read, group, and 'parallel' or ''. A parallel lane stands where its group
-- does; what is stored is where it began.
local function parse_lane(text)
  if not text then return nil end
  local generation, id, read, group, mode = string.match(text, '^(%w+) (%d+%-%d+) ?(%d*) ?(%S*) ?(%S*)$')
  return generation, id, tonumber(read) or 0, group, mode
end

-- A consumer group as a table, or nil.
local function group_of(stream, name)
  if redis.call('EXISTS', stream) == 0 then return nil end
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local group = {}
    for i = 1, #flat, 2 do group[flat[i]] = flat[i + 1] end
    if group.name == name then return group end
  end
  return nil
end

-- What a group still needs: the lowest id that is not acknowledged and was handed out, or nil, and how many there are.
local function lowest_pending(stream, group)
  if group.pending == 0 then return nil, 0 end
  return redis.call('XPENDING', stream, group.name)[2], group.pending
end

-- Entries above an id: counted where they are few, else estimated from the clock in the ids. For display only.
local function entries_above(stream, id, info)
  if info.length == 0 or not below(id, info['last-generated-id']) then return 0 end
  local counted, from = 0, id
  while counted < 1000 do
    local chunk = redis.call('XRANGE', stream, '(' .. from, '+', 'COUNT', 50)
    counted = counted + #chunk
    if #chunk < 50 then return counted end
    from = chunk[50][1]
  end
  local first = info['first-entry']
  if not first or below(id, first[1]) then return info.length end
  local ms = function(text) return tonumber(string.match(text, '^%d+')) end
  local span = ms(info['last-generated-id']) - ms(first[1])
  if span <= 0 then return counted end
  local share = (ms(info['last-generated-id']) - ms(id)) / span
  return math.max(counted, math.floor(info.length * math.min(1, share)))
end

-- How old a generation is: 1 for the oldest that is known, 0 for one that is not known any more.
local function rank_of(tokens, token)
  for i = 1, #tokens do
    if tokens[i] == token then return i end
  end
  return 0
end

-- What stands beside a destination's lane, by name: `main`, `new route`, and the parts of its side rows.
local function sides_of(sides, destination)
  local found = {}
  if redis.call('HLEN', sides) == 0 then return found end
  local prefix, flat = destination .. ' ', redis.call('HGETALL', sides)
  for i = 1, #flat, 2 do
    if string.sub(flat[i], 1, #prefix) == prefix then found[string.sub(flat[i], #prefix + 1)] = flat[i + 1] end
  end
  return found
end

-- Notes that something of a destination's dead letters changed: by the server's clock, in a field that is no dead letter's.
local function touch_letters(lines)
  local now = redis.call('TIME')
  redis.call('HSET', lines, '#', now[1] .. '.' .. now[2])
end

-- Takes a dead letter away, and what lists say of it.
local function forget_letter(letters, lines, field)
  redis.call('HDEL', lines, field)
  return redis.call('HDEL', letters, field)
end

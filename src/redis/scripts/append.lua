-- Records of a request with an Idempotency-Key or with own ids: looked up and added in one step. Without allow-oom, so
-- that a full Redis refuses it as it refuses XADD.
-- KEYS: stream, meta, the idempotency key where there is one, then the key of every own id.
-- ARGV: 1 or 0 (idempotency key), digest of the body, seconds to remember, name of the entry's field, then 3 for each record:
-- own id, digest of the contents, value of the entry.
local keyed, remember, format, first = ARGV[1] == '1', ARGV[3], ARGV[4], 5
if keyed then
  local stored = redis.call('GET', KEYS[3])
  if stored then
    local digest, ids = string.match(stored, '^(%S+) (.*)$')
    if digest ~= ARGV[2] then return { 'KEY_REUSED', '' } end
    return { 'REPLAYED', ids }
  end
end
local list = newest_generations(KEYS[2])
local generation = string.match(list or '', '(%w+) %d+%-%d+$')
if not generation or redis.call('EXISTS', KEYS[1]) == 0 then return { 'NO_STREAM', '' } end

local known, own_keys, next_key = {}, {}, keyed and 4 or 3
for i = first, #ARGV, 3 do
  if ARGV[i] ~= '' then
    own_keys[i] = KEYS[next_key]
    next_key = next_key + 1
    local stored = redis.call('GET', own_keys[i])
    if stored then
      local digest, id = string.match(stored, '^(%S+) (.*)$')
      if digest ~= ARGV[i + 1] then return { 'ID_REUSED', tostring((i - first) / 3) } end
      known[i] = id
    end
  end
end

-- Ids that follow one another are kept as one run, `generation-ms-seqxN`: a request may have 10,000.
local runs, run_ms, run_seq, length = {}, nil, nil, 0
local function close()
  if length > 1 then runs[#runs] = runs[#runs] .. 'x' .. string.format('%.0f', length) end
  run_ms, length = nil, 0
end
for i = first, #ARGV, 3 do
  if known[i] then
    close()
    runs[#runs + 1] = known[i]
  else
    local id = redis.call('XADD', KEYS[1], 'NOMKSTREAM', '*', format, ARGV[i + 2])
    local ms, seq = string.match(id, '^(%d+)-(%d+)$')
    seq = tonumber(seq)
    if ms == run_ms and seq == run_seq + 1 then
      length = length + 1
    else
      close()
      runs[#runs + 1], length = generation .. '-' .. id, 1
    end
    run_ms, run_seq = ms, seq
    if own_keys[i] then
      redis.call('SET', own_keys[i], ARGV[i + 1] .. ' ' .. generation .. '-' .. id, 'EX', remember)
    end
  end
end
close()
local ids = table.concat(runs, ',')
if keyed then redis.call('SET', KEYS[3], ARGV[2] .. ' ' .. ids, 'EX', remember) end
return { 'OK', ids }

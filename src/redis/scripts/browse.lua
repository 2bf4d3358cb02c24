-- Entries from the newest down, those that match. Looks at some at a time, no more than one call may: entries may be large, and
-- nothing else runs meanwhile.
-- KEYS: stream. ARGV: begin at ('+', an id, or '(' and an id), end at (the same), most entries to look at, most to return, most
-- bytes to look at, key or '', own id or '', action letter or '', then topics (none: all).
-- Returns {entries looked at, id of the last of them or '', entries that match…}.
local most, wanted, bytes = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local key, own, action, topics = ARGV[6], ARGV[7], ARGV[8], nil
for at = 9, #ARGV do
  topics = topics or {}
  topics[ARGV[at]] = true
end
local all = key == '' and own == '' and action == '' and not topics

-- Topic, key, own id and action of an entry of either version (src/redis/stream/entry.rs).
local function head_of(fields)
  if fields[1] == '2' then
    local letter, t, k, o, at = string.match(fields[2], '^(%a) (%d+) (%d+) (%d+) %d+\n()')
    if not letter then return nil end
    t, k, o = tonumber(t), tonumber(k), tonumber(o)
    local text = fields[2]
    return string.sub(text, at, at + t - 1), string.sub(text, at + t, at + t + k - 1),
      string.sub(text, at + t + k, at + t + k + o - 1), letter
  end
  local named = {}
  for i = 1, #fields, 2 do named[fields[i]] = fields[i + 1] end
  return named.t, named.k, named.i, named.a
end

local function matches(fields)
  if all then return true end
  local t, k, o, a = head_of(fields)
  if not t then return false end
  return (not topics or topics[t]) and (key == '' or k == key or k == '"' .. key .. '"') and (own == '' or o == own)
    and (action == '' or a == action)
end

local answer, looked, size, from, step = { 0, '' }, 0, 0, ARGV[1], 10
while looked < most and size < bytes and #answer - 2 < wanted do
  local count = math.min(step, most - looked)
  if all then count = math.min(count, wanted - (#answer - 2)) end
  local chunk = redis.call('XREVRANGE', KEYS[1], from, ARGV[2], 'COUNT', count)
  for _, entry in ipairs(chunk) do
    looked = looked + 1
    answer[2], from = entry[1], '(' .. entry[1]
    for i = 2, #entry[2], 2 do size = size + #entry[2][i] end
    if matches(entry[2]) then
      answer[#answer + 1] = entry
      if #answer - 2 >= wanted then break end
    end
  end
  if #chunk < count then
    if #answer - 2 < wanted then answer[2] = '' end
    break
  end
  step = 100
end
answer[1] = looked
return answer

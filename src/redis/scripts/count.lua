-- KEYS: stream. ARGV: begin after, end at ('+' for all), topic, most entries to look at. Counts the records of a topic, some at
-- a time: entries may be large, and nothing else runs meanwhile. Returns {records, id of the last entry looked at or ''}.

-- Of an entry of either version (src/redis/stream/entry.rs).
local function topic_of(fields)
  if fields[1] == '2' then
    local length, at = string.match(fields[2], '^%a (%d+)[^\n]*\n()')
    return length and string.sub(fields[2], at, at + length - 1)
  end
  for i = 1, #fields, 2 do
    if fields[i] == 't' then return fields[i + 1] end
  end
end

local chunk = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], ARGV[2], 'COUNT', ARGV[4])
local records = 0
for _, entry in ipairs(chunk) do
  if topic_of(entry[2]) == ARGV[3] then records = records + 1 end
end
return { records, #chunk > 0 and chunk[#chunk][1] or '' }

-- KEYS: stream. ARGV: begin after, end at ('+' for all), topic, most entries to look at. Counts the records of a topic, some at
-- a time: entries may be large, and nothing else runs meanwhile. Returns {records, id of the last entry looked at or ''}.
local chunk = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], ARGV[2], 'COUNT', ARGV[4])
local records = 0
for _, entry in ipairs(chunk) do
  local fields = entry[2]
  for i = 1, #fields, 2 do
    if fields[i] == 't' and fields[i + 1] == ARGV[3] then records = records + 1 end
  end
end
return { records, #chunk > 0 and chunk[#chunk][1] or '' }

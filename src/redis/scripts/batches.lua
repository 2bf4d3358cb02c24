-- KEYS: the history of a part of a lane. ARGV: ids, highest first. The batches at or above them, each once, highest first: a
-- batch is filed under its last id and begins with its first (src/redis/history.rs).
local found, first, last = {}, nil, nil
for _, id in ipairs(ARGV) do
  if not first or below(id, first) then
    local entry = redis.call('XRANGE', KEYS[1], id, '+', 'COUNT', 1)[1]
    if entry and entry[1] ~= last then
      last, first = entry[1], string.match(entry[2][2], '^{"first":"(%d+%-%d+)"')
      found[#found + 1] = entry[2][2]
    end
  end
end
return found

-- KEYS: stream, lanes. ARGV: destination, id. Returns how many entries are above the id, and the first of them.
local info = stream_info(KEYS[1])
if not info then return { 0, false } end
local _, id, read, _, mode = parse_lane(redis.call('HGET', KEYS[2], ARGV[1]))
local group = mode == 'parallel' and group_of(KEYS[1], ARGV[1])
if group then
  -- What a parallel destination's nodes have in hand waits too.
  local last = group['last-delivered-id']
  local fresh = redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', 1)[1]
  local lowest, pending = lowest_pending(KEYS[1], group)
  local lag = fresh and math.max(1, group.lag or entries_above(KEYS[1], last, info)) or 0
  return { lag + pending, lowest or (fresh and fresh[1]) or false }
end
local first = redis.call('XRANGE', KEYS[1], '(' .. ARGV[2], '+', 'COUNT', 1)[1]
if not first then return { 0, false } end
local waiting
-- Between a commit and its advance the stored position is a batch behind: near enough for a number to look at.
if id then waiting = info['entries-added'] - read else waiting = entries_above(KEYS[1], ARGV[2], info) end
return { math.max(1, math.min(waiting, info.length)), first[1] }

-- Gives up what waits for a destination up to a place.
-- KEYS: stream, meta, lanes, sides, commands, abandoned. ARGV: destination id, generation, id, the command, and what is told of
-- messages that are given up (JSON without its places).
-- An ordered destination's owner moves its rows when it comes to the command, and then tells exactly what that passed; what is given up
-- may be trimmed at once, since a gap in it has an answer from now on, and until then it is told under `token queued` as far as is
-- known here. A parallel one's group is moved here and now.
-- Returns 'QUEUED', 'DONE', or 'GONE' where the generation is not known any more.
local stream, destination, id = KEYS[1], ARGV[1], ARGV[3]
local tokens, afters = parse_generations(redis.call('HGET', KEYS[2], 'generations'))
local rank = rank_of(tokens, ARGV[2])
local info = stream_info(stream)
if rank == 0 or not info then return 'GONE' end
local generation, stands, read, group, mode = parse_lane(redis.call('HGET', KEYS[3], destination))
local function read_to() return string.format('%.0f', info['entries-added'] - entries_above(stream, id, info)) end
if mode == 'parallel' then
  local found = group_of(stream, destination)
  if not found then return 'GONE' end
  local ids = {}
  for _ = 1, 100 do
    local some = redis.call('XPENDING', stream, destination, '-', id, 1000)
    if #some == 0 then break end
    local chunk = {}
    for i = 1, #some do
      chunk[i] = some[i][1]
      if #ids < 10000 then ids[#ids + 1] = some[i][1] end
    end
    redis.call('XACK', stream, destination, unpack(chunk))
  end
  local last = found['last-delivered-id']
  if below(last, id) then redis.call('XGROUP', 'SETID', stream, destination, id, 'ENTRIESREAD', read_to()) end
  if below(last, id) or #ids > 0 then
    local told = cjson.decode(ARGV[5])
    told.after = { generation = ARGV[2], id = last }
    told.to = { generation = ARGV[2], id = below(last, id) and id or last }
    if #ids > 0 then told.ids = ids end
    redis.call('HSET', KEYS[6], told.token .. ' ' .. ARGV[2] .. ' main', cjson.encode(told))
  end
  return 'DONE'
end
redis.call('RPUSH', KEYS[5], ARGV[4])
-- While something stands beside the lane its owner can write, and moves all of it together.
if generation and not next(sides_of(KEYS[4], destination)) then
  local mine = rank_of(tokens, generation)
  if mine < rank or (mine == rank and below(stands, id)) then
    redis.call('HSET', KEYS[3], destination, ARGV[2] .. ' ' .. id .. ' ' .. read_to() .. ' ' .. (group or ''))
    local told = cjson.decode(ARGV[5])
    told.part = 'queued'
    told.after = { generation = generation, id = stands }
    redis.call('HSET', KEYS[6], told.token .. ' queued', cjson.encode(told))
  end
end
return 'QUEUED'

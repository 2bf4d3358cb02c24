-- KEYS: stream, meta, dead, lines of the dead. ARGV: group, registry version, generation, number of ids, number of routes, number of payloads
-- that stand, then ids…, routes…, payloads that stand…, void payloads….
-- A node that does not know the newest registry may lack a route for these entries: refused.
if tonumber(redis.call('HGET', KEYS[2], 'version') or '0') > tonumber(ARGV[2]) then return 'NEW_VERSION' end
local ids, routes, standing = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
-- A node that has not noticed that Redis was emptied takes new entries for old ones: refused, they are its own still.
if ids > 0 then
  local tokens, afters = parse_generations(redis.call('HGET', KEYS[2], 'generations'))
  local generation = tokens[1]
  for at = 2, #tokens do
    if below(afters[at], ARGV[7]) then generation = tokens[at] end
  end
  if generation ~= ARGV[3] then return 'NEW_GENERATION' end
end
local first_route, gone = 7 + ids, 0
local first_standing = first_route + routes
for at = 7, first_route - 1, 1000 do
  redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, at, math.min(at + 999, first_route - 1)))
end
-- What an earlier delivery of these entries gave up, this one has written. Mostly there is nothing.
if redis.call('HLEN', KEYS[3]) > standing then
  local stands = {}
  for at = first_standing, first_standing + standing - 1 do stands[ARGV[at]] = true end
  for at = 7, first_route - 1 do
    for route = first_route, first_standing - 1 do
      local field = ARGV[3] .. ' ' .. ARGV[at] .. ' ' .. ARGV[route]
      if not stands[field] then gone = gone + forget_letter(KEYS[3], KEYS[4], field) end
    end
  end
end
for at = first_standing + standing, #ARGV do gone = gone + forget_letter(KEYS[3], KEYS[4], ARGV[at]) end
if gone > 0 then touch_letters(KEYS[4]) end
return 'OK'

-- KEYS: commands, dead letters, what became of a dead letter, what was given up. ARGV: the command, its dead letter's field or '',
-- `redriven` or `discarded`, how long that is remembered in milliseconds, the token of a giving up or ''. Takes the command off the list; where its dead letter is gone by
-- that, this is what became of it, also where somebody has taken the command off the list meanwhile.
local taken = redis.call('LREM', KEYS[1], 1, ARGV[1])
-- By now the owner has told exactly what it passed.
if ARGV[5] ~= '' then redis.call('HDEL', KEYS[4], ARGV[5] .. ' queued') end
if ARGV[2] ~= '' and redis.call('HEXISTS', KEYS[2], ARGV[2]) == 0 then
  local now = redis.call('TIME')
  local ms = string.format('%.0f', tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000))
  redis.call('SET', KEYS[3], ARGV[3] .. ' ' .. ms, 'PX', ARGV[4])
end
return taken

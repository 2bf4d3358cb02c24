-- What is said of dead letters in a list, without their records. KEYS: the dead letters. ARGV: their fields. A field that is
-- gone or cannot be read is false.
local told = {}
local function text(value)
  if value == nil or value == cjson.null then return false end
  if type(value) == 'number' then return string.format('%.0f', value) end
  return value
end
for place, field in ipairs(ARGV) do
  local json = redis.call('HGET', KEYS[1], field)
  local ok, letter = pcall(cjson.decode, json or '')
  if json and ok and type(letter) == 'table' and type(letter.reason) == 'table' then
    local superseded = text(letter.superseded_by)
    local blocked = type(letter.blocked_by) == 'table' and text(letter.blocked_by.id)
    told[place] = { letter.reason.code, text(letter.reason.column), letter.reason.message, text(letter.at_ms),
      text(letter.key), superseded and '1' or '0', blocked and '1' or '0', text(letter.redrive_error),
      text(letter.route_name), text(letter.attempts), text(letter.topic), text(letter.action), text(letter.table) }
  else
    told[place] = false
  end
end
return told

-- KEYS: stream. ARGV: a moment in milliseconds. Returns the last id that was given, and the entries since the moment (many
-- are an estimate).
local info = stream_info(KEYS[1])
if not info then return { '0-0', 0 } end
return { info['last-generated-id'], entries_above(KEYS[1], just_below(ARGV[1] .. '-0'), info) }

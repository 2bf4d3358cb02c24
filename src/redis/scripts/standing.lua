-- KEYS: stream, meta. What entries that were just read are worth: generations, trimmed mark, registry version.
local info = stream_info(KEYS[1])
if info then notice_removal(KEYS[1], KEYS[2], info) end
return redis.call('HMGET', KEYS[2], 'generations', 'trimmed', 'version')

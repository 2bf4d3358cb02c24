-- KEYS: stream, meta. What entries that were just read are worth: generations, trimmed mark, registry version; and the last id
-- that this server gave.
local info = stream_info(KEYS[1])
if info then notice_removal(KEYS[1], KEYS[2], info) end
local standing = redis.call('HMGET', KEYS[2], 'generations', 'trimmed', 'version')
standing[4] = info and info['last-generated-id'] or '0-0'
return standing

-- The generations where the newest is this server's, else nothing: then a new one must be made first.
local function newest_generations(meta)
  local stored = redis.call('HMGET', meta, 'replid', 'generations')
  local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')
  return stored[1] == replid and stored[2] or nil
end

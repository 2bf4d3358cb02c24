-- The generations as they are stored: who calls has looked over this connection whether they are this server's.
local function newest_generations(meta)
  return redis.call('HGET', meta, 'generations')
end

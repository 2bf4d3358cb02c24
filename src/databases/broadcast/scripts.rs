//! The scripts of broadcasts as a destination. Each is one transaction: Redis runs it whole or not at all, and whatever may stop it
//! is looked at before anything is written. All work in a full Redis, for what they write frees the records that it was made from.

use std::sync::LazyLock;

use redis::Script;

macro_rules! script {
    ($name:ident, $what:literal, $code:literal) => {
        #[doc = $what]
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(
                "#!lua flags=allow-oom\n",
                include_str!("../../redis/scripts/generation.lua"),
                "local clock = redis.call('TIME')\n",
                "local now = string.format('%.0f', tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000))\n",
                "local function row_of(text)\n",
                "  if not text then return nil end\n",
                "  return string.match(text, '^(%d+) (%S+) %d+ (.*)$')\n",
                "end\n",
                "local function row(epoch, id, owner) return epoch .. ' ' .. id .. ' ' .. now .. ' ' .. owner end\n",
                $code
            ))
        });
    };
}

script!(
    PROBE,
    "KEYS: any. A write that changes nothing: a replica refuses it, and so does a server that may not write.",
    "
redis.call('HDEL', KEYS[1], '')
return redis.status_reply('OK')
"
);

script!(
    TAKE_OVER,
    "KEYS: watermarks, dead rows, bindings. ARGV: owner, destination, a token. The destination's token, all rows, all dead rows.",
    "
redis.call('HSETNX', KEYS[3], ARGV[2], ARGV[3])
local flat = redis.call('HGETALL', KEYS[1])
for i = 2, #flat, 2 do
  local epoch, id = row_of(flat[i])
  if epoch then
    flat[i] = row(string.format('%.0f', tonumber(epoch) + 1), id, ARGV[1])
    redis.call('HSET', KEYS[1], flat[i - 1], flat[i])
  end
end
return {redis.call('HGET', KEYS[3], ARGV[2]), flat, redis.call('HGETALL', KEYS[2])}
"
);

script!(
    BEGIN,
    "KEYS: watermarks. ARGV: owner, the row's name, where it stands. 0 where a row is another's, or this one is there.",
    "
local flat, epoch = redis.call('HGETALL', KEYS[1]), 0
for i = 1, #flat, 2 do
  local theirs, _, owner = row_of(flat[i + 1])
  if flat[i] == ARGV[2] or owner ~= ARGV[1] then return 0 end
  epoch = math.max(epoch, tonumber(theirs))
end
redis.call('HSET', KEYS[1], ARGV[2], row(string.format('%.0f', math.max(epoch, 1)), ARGV[3], ARGV[1]))
return 1
"
);

script!(
    READ,
    "KEYS: rows, messages. ARGV: keys. The time, then for each the id that stands under it and the message.",
    "
local all = {now}
for _, key in ipairs(ARGV) do
  local id = redis.call('HGET', KEYS[1], key)
  all[#all + 1] = id or ''
  all[#all + 1] = id and redis.call('HGET', KEYS[2], id) or ''
end
return all
"
);

// What is written is a list of sections, each with its length before it.
script!(
    COMMIT,
    "KEYS: watermarks, dead rows, rows, messages, order, log, its meta, scheduled. ARGV: a token, then sections: fences (name, owner, previous, \
     new), the dead row to take back, rows to open (name, id), lanes to close, messages (id, what stands there, what is to stand, \
     place in the order, when it is due or nothing), rows (key, what stands there, what is to stand), entries of the log, what supersedes (table, key, by), \
     dead rows (name, body).",
    "
local at = 2
local function section(width)
  local many, all = tonumber(ARGV[at]), {}
  at = at + 1
  for i = 1, many do
    local one = {}
    for j = 1, width do one[j] = ARGV[at + j - 1] end
    all[i], at = one, at + width
  end
  return all
end
local fences, exhume, open, close = section(4), section(1), section(2), section(1)
local messages, rows, entries, supersede, bury = section(5), section(3), section(1), section(3), section(2)

local epochs = {}
for i, fence in ipairs(fences) do
  local epoch, id, owner = row_of(redis.call('HGET', KEYS[1], fence[1]))
  if owner ~= fence[2] or id ~= fence[3] then return 'FENCED' end
  epochs[i] = epoch
end
for _, dead in ipairs(exhume) do
  if redis.call('HEXISTS', KEYS[2], dead[1]) == 0 then return 'GONE' end
end
for _, side in ipairs(open) do
  if redis.call('HEXISTS', KEYS[1], side[1]) == 1 then return 'FENCED' end
end
for _, message in ipairs(messages) do
  if (redis.call('HGET', KEYS[4], message[1]) or '') ~= message[2] then return 'CHANGED' end
end
for _, one in ipairs(rows) do
  if (redis.call('HGET', KEYS[3], one[1]) or '') ~= one[2] then return 'CHANGED' end
end

for i, fence in ipairs(fences) do redis.call('HSET', KEYS[1], fence[1], row(epochs[i], fence[4], fence[2])) end
for _, dead in ipairs(exhume) do redis.call('HDEL', KEYS[2], dead[1]) end
for _, side in ipairs(open) do redis.call('HSET', KEYS[1], side[1], row(epochs[#fences], side[2], fences[#fences][2])) end
if #close > 0 then
  for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
    local lane = string.match(name, '^%S+ (.*)$')
    for _, gone in ipairs(close) do
      if lane == gone[1] then redis.call('HDEL', KEYS[1], name) end
    end
  end
end
for _, message in ipairs(messages) do
  redis.call('HSET', KEYS[4], message[1], message[3])
  redis.call('ZADD', KEYS[5], message[4], message[1])
  if message[5] ~= '' then redis.call('ZADD', KEYS[8], message[5], message[1]) else redis.call('ZREM', KEYS[8], message[1]) end
end
for _, one in ipairs(rows) do
  if one[3] == '' then redis.call('HDEL', KEYS[3], one[1]) else redis.call('HSET', KEYS[3], one[1], one[3]) end
end
if #entries > 0 then
  ensure_generation(KEYS[6], KEYS[7], ARGV[1])
  for _, entry in ipairs(entries) do redis.call('XADD', KEYS[6], '*', 'm', entry[1]) end
end
if #supersede > 0 then
  local flat = redis.call('HGETALL', KEYS[2])
  for i = 2, #flat, 2 do
    local dead = cjson.decode(flat[i])
    for _, later in ipairs(supersede) do
      if not dead.by and dead.table == later[1] and dead.key == later[2] then
        dead.by = later[3]
        redis.call('HSET', KEYS[2], flat[i - 1], cjson.encode(dead))
      end
    end
  end
end
for _, dead in ipairs(bury) do redis.call('HSET', KEYS[2], dead[1], dead[2]) end
return 'OK'
"
);

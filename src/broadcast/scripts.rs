//! The scripts of broadcasts. All but the one that takes new broadcasts in work in a full Redis. The time is Redis's own.

use std::sync::LazyLock;

use redis::Script;

macro_rules! code {
    ($flags:literal, $code:literal) => {
        concat!(
            "#!lua",
            $flags,
            "\n",
            include_str!("../redis/scripts/generation.lua"),
            "local clock = redis.call('TIME')\n",
            "local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)\n",
            "local function text(number) return string.format('%.0f', number) end\n",
            $code
        )
    };
}

macro_rules! script {
    ($name:ident, $what:literal, $code:literal) => {
        #[doc = $what]
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| Script::new(code!(" flags=allow-oom", $code)));
    };
}

// KEYS: log, its meta, messages, order, scheduled, then names that must not be used yet. ARGV: a token, the id, what stands
// there or nothing, what is to stand there, the log's entry or nothing, the place in the order, when it is due or nothing, how
// long names are remembered in ms, then for each name the digest of what it stands for.
macro_rules! change {
    () => {
        r"
for i = 6, #KEYS do
  local known = redis.call('GET', KEYS[i])
  if known then
    local digest, id = string.match(known, '^(%S+) (%S+)$')
    if digest == ARGV[i + 3] then return {'REPLAYED', id} end
    return {'REUSED', text(i - 6)}
  end
end
local there = redis.call('HGET', KEYS[3], ARGV[2]) or ''
if there == ARGV[4] then return {'OK', ''} end
if there ~= ARGV[3] then return {'CHANGED', there} end
if ARGV[5] ~= '' then
  ensure_generation(KEYS[1], KEYS[2], ARGV[1])
  redis.call('XADD', KEYS[1], '*', 'm', ARGV[5])
end
redis.call('HSET', KEYS[3], ARGV[2], ARGV[4])
redis.call('ZADD', KEYS[4], ARGV[6], ARGV[2])
if ARGV[7] ~= '' then redis.call('ZADD', KEYS[5], ARGV[7], ARGV[2]) else redis.call('ZREM', KEYS[5], ARGV[2]) end
for i = 6, #KEYS do
  redis.call('SET', KEYS[i], ARGV[i + 3] .. ' ' .. ARGV[2])
  redis.call('PEXPIRE', KEYS[i], ARGV[8])
end
return {'OK', ''}
"
    };
}

const HEAD: &str = code!("", "");

/// Takes a new broadcast in; a full Redis refuses it.
pub(super) static PUBLISH: LazyLock<Script> = LazyLock::new(|| Script::new(&format!("{HEAD}{}", change!())));

/// Changes one that is there: works in a full Redis, since it may be what is to be taken back.
pub(super) static CHANGE: LazyLock<Script> =
    LazyLock::new(|| Script::new(&format!("{}{}", code!(" flags=allow-oom", ""), change!())));

script!(
    LOAD,
    "KEYS: messages. ARGV: ids. The time, and what stands there.",
    "
local all = {text(now)}
for i, id in ipairs(ARGV) do all[i + 1] = redis.call('HGET', KEYS[1], id) or '' end
return all
"
);

script!(
    PAGE,
    "KEYS: order, messages. ARGV: highest place, lowest place, how many. Newest first: id, place, what stands there.",
    "
local found = redis.call('ZREVRANGEBYSCORE', KEYS[1], ARGV[1], ARGV[2], 'WITHSCORES', 'LIMIT', 0, ARGV[3])
local all = {}
for i = 1, #found, 2 do
  all[#all + 1] = found[i]
  all[#all + 1] = found[i + 1]
  all[#all + 1] = redis.call('HGET', KEYS[2], found[i]) or ''
end
return all
"
);

script!(
    RECEIPTS,
    "KEYS: messages, then receipts and tally of each broadcast. ARGV: for each its id, how many, then terminal and 1 or 0 for \
     confirmed. The first time wins.",
    "
local at = 1
for k = 2, #KEYS, 2 do
  local known = redis.call('HEXISTS', KEYS[1], ARGV[at]) == 1
  local many = tonumber(ARGV[at + 1])
  at = at + 2
  for _ = 1, many do
    local terminal, confirms = ARGV[at], ARGV[at + 1] == '1'
    at = at + 2
    if known then
      local there = redis.call('HGET', KEYS[k], terminal)
      local received, confirmed = string.match(there or '', '^(%d+) ?(%d*)$')
      if not received then
        received, confirmed = text(now), ''
        redis.call('HINCRBY', KEYS[k + 1], 'received', 1)
      end
      if confirms and confirmed == '' then
        confirmed = text(now)
        redis.call('HINCRBY', KEYS[k + 1], 'confirmed', 1)
      end
      local wanted = confirmed == '' and received or received .. ' ' .. confirmed
      if wanted ~= there then redis.call('HSET', KEYS[k], terminal, wanted) end
    end
  end
end
"
);

script!(
    MINE,
    "KEYS: receipts of broadcasts. ARGV: terminal. What it has said of each.",
    "
local all = {}
for i, key in ipairs(KEYS) do all[i] = redis.call('HGET', key, ARGV[1]) or '' end
return all
"
);

script!(
    TALLIES,
    "KEYS: tallies of broadcasts. How many have received and confirmed each.",
    "
local all = {}
for i, key in ipairs(KEYS) do
  local tally = redis.call('HMGET', key, 'received', 'confirmed')
  all[i] = (tally[1] or '0') .. ' ' .. (tally[2] or '0')
end
return all
"
);

script!(
    TICK,
    "KEYS: log, its meta, scheduled, beats, version of the terminals. ARGV: a token, then terminals that beat. The time, the \
     generations, the trimmed mark, the terminals' version, the newest entry, and what is due.",
    "
local list, trimmed = ensure_generation(KEYS[1], KEYS[2], ARGV[1])
for i = 2, #ARGV do redis.call('ZADD', KEYS[4], text(now), ARGV[i]) end
local due = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', text(now), 'LIMIT', 0, 100)
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
return {text(now), list, trimmed, redis.call('GET', KEYS[5]) or '0', newest and newest[1] or '0-0', due}
"
);

script!(
    ON,
    "KEYS: beats. ARGV: how long ago the last beat of one that is on may be, in ms. The time, and all with their last beats.",
    "
return {text(now), redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '+inf', 'WITHSCORES')}
"
);

script!(
    LOOK_UP,
    "KEYS: code, tries. ARGV: most wrong ones, for how long they are remembered in ms. What the code is for.",
    "
if tonumber(redis.call('GET', KEYS[2]) or '0') >= tonumber(ARGV[1]) then return {'LIMITED', '', text(now)} end
local found = redis.call('GET', KEYS[1])
if found then return {'FOUND', found, text(now)} end
redis.call('INCR', KEYS[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return {'UNKNOWN', '', text(now)}
"
);

script!(
    ENROL,
    "KEYS: code, terminals, their version, the list of codes. ARGV: what the code is for, the terminal's id and record, the code's \
     id. Uses the code up.",
    "
if redis.call('HGET', KEYS[2], ARGV[2]) == ARGV[3] then return 1 end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HDEL', KEYS[4], ARGV[4])
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
redis.call('INCR', KEYS[3])
return 1
"
);

script!(
    TERMINAL,
    "KEYS: terminals, their version. ARGV: id, what stands there or nothing, what is to stand there. What stands there then.",
    "
local there = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if there ~= ARGV[2] then return there end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('INCR', KEYS[2])
return ARGV[3]
"
);

script!(
    OFFER,
    "KEYS: code, the list of codes. ARGV: what it is for, how long it is good in ms, its id.",
    "
redis.call('SET', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('HSET', KEYS[2], ARGV[3], text(now + tonumber(ARGV[2])) .. ' ' .. KEYS[1] .. ' ' .. ARGV[1])
return text(now)
"
);

script!(
    OFFERS,
    "KEYS: the list of codes. Those that are still good; the others are forgotten.",
    "
local open = {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if tonumber(string.match(all[i + 1], '^%d+') or '0') > now then
    open[#open + 1] = all[i + 1]
  else
    redis.call('HDEL', KEYS[1], all[i])
  end
end
return open
"
);

script!(
    WITHDRAW,
    "KEYS: code, the list of codes. ARGV: its id. Whether it could still have been used.",
    "
redis.call('HDEL', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])
"
);

script!(
    FORGET,
    "KEYS: messages, order, then receipts and tally of each. ARGV: ids.",
    "
for i, id in ipairs(ARGV) do
  redis.call('HDEL', KEYS[1], id)
  redis.call('ZREM', KEYS[2], id)
  redis.call('DEL', KEYS[1 + 2 * i])
  redis.call('DEL', KEYS[2 + 2 * i])
end
return redis.call('TIME')
"
);

script!(
    FORGET_ROWS,
    "KEYS: rows. ARGV: for each its key and the id that goes.",
    "
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then redis.call('HDEL', KEYS[1], ARGV[i]) end
end
return text(now)
"
);

script!(
    TRIM,
    "KEYS: log, its meta. ARGV: a token, the id up to which it is forgotten, how many entries at most.",
    "
local _, trimmed = ensure_generation(KEYS[1], KEYS[2], ARGV[1])
local gone = redis.call('XTRIM', KEYS[1], 'MINID', ARGV[2])
if gone > 0 then
  local up_to = just_below(ARGV[2])
  if below(trimmed, up_to) then redis.call('HSET', KEYS[2], 'trimmed', up_to) end
end
return gone
"
);

// The image must still be there when somebody opens an old message, so each use of it counts its time anew, and none
// shortens that of another.
pub(super) static IMAGE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "#!lua
local left = redis.call('PTTL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.max(left, tonumber(ARGV[2]))))
",
    )
});

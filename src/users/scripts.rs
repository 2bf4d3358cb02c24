//! The scripts behind signing in. All work in a full Redis: whoever wants to mend it must be able to sign in. The time is
//! Redis's own, so nodes whose clocks differ agree; in a cluster all keys are in the registry's slot.

use std::sync::LazyLock;

use redis::Script;

macro_rules! script {
    ($name:ident, $what:literal, $code:literal) => {
        #[doc = $what]
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(
                "#!lua flags=allow-oom\n",
                "local clock = redis.call('TIME')\n",
                "local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)\n",
                "local function text(number) return string.format('%.0f', number) end\n",
                // Takes one wrong attempt back; below the limit nobody is locked out.
                "local function take_back(key, limit)\n",
                "  local wrong = tonumber(redis.call('HGET', key, 'wrong') or '0') - 1\n",
                "  if wrong < 1 then redis.call('DEL', key) return end\n",
                "  redis.call('HSET', key, 'wrong', text(wrong))\n",
                "  if wrong < tonumber(limit) then redis.call('HDEL', key, 'until') end\n",
                "end\n",
                $code
            ))
        });
    };
}

// KEYS: wrong attempts of the user, and of the address. ARGV: how many each may have, the shortest and the longest lock in
// ms, how long they are remembered in ms. Every attempt counts as wrong until it proves right, so many at a time gain
// nothing. Answers with 0, or with the time until which it is locked and the time now.
script!(
    ATTEMPT,
    "Counts an attempt, or says until when there may be none.",
    "
local longest = tonumber(ARGV[4])
local locked = 0
for i = 1, 2 do
  local till = tonumber(redis.call('HGET', KEYS[i], 'until') or '0')
  -- One that lies further ahead than any lock lasts was set by another clock.
  if till > now and till <= now + longest and till > locked then locked = till end
end
if locked > 0 then return {text(locked), text(now)} end
for i = 1, 2 do
  local wrong = tonumber(redis.call('HGET', KEYS[i], 'wrong') or '0') + 1
  redis.call('HSET', KEYS[i], 'wrong', text(wrong))
  local over = wrong - tonumber(ARGV[i])
  if over >= 0 then
    redis.call('HSET', KEYS[i], 'until', text(now + math.min(tonumber(ARGV[3]) * 2 ^ over, longest)))
  end
  redis.call('PEXPIRE', KEYS[i], ARGV[5])
end
return {'0', text(now)}
"
);

// KEYS and the first two of ARGV as above.
script!(
    TAKE_BACK,
    "Takes an attempt back that was neither right nor wrong.",
    "
take_back(KEYS[1], ARGV[1])
take_back(KEYS[2], ARGV[2])
"
);

// KEYS: session, wrong attempts of the user, of the address, last sign-ins. ARGV: user, epoch, CSRF token, idle time in ms,
// how many wrong attempts the address may have, where from. Answers with the time now.
script!(
    OPEN,
    "Begins a session.",
    "
redis.call('HSET', KEYS[1], 'user', ARGV[1], 'epoch', ARGV[2], 'csrf', ARGV[3], 'since', text(now), 'seen', text(now))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('DEL', KEYS[2])
take_back(KEYS[3], ARGV[5])
redis.call('HSET', KEYS[4], ARGV[1], text(now) .. ' ' .. ARGV[6])
return text(now)
"
);

// KEYS: session, the registry's document. ARGV: idle time, longest time, and how often its use is noted, in ms.
script!(
    LOOK,
    "A session that is not over, and which document tells whether its user still may.",
    "
local found = redis.call('HMGET', KEYS[1], 'user', 'epoch', 'csrf', 'since', 'seen')
if not found[5] then return false end
local idle, since, seen = tonumber(ARGV[1]), tonumber(found[4]), tonumber(found[5])
local left = since + tonumber(ARGV[2]) - now
if left <= 0 or now - seen >= idle then
  redis.call('DEL', KEYS[1])
  return false
end
-- Every write goes into Redis's file, so not every use is noted.
if now - seen >= tonumber(ARGV[3]) then
  seen = now
  redis.call('HSET', KEYS[1], 'seen', text(now))
  redis.call('PEXPIRE', KEYS[1], text(math.min(idle, left)))
end
local document = redis.call('HMGET', KEYS[2], 'version', 'installation', 'digest')
return {found[1], found[2], found[3], text(since), text(seen), document[1] or '', document[2] or '', document[3] or ''}
"
);

// KEYS: last used time steps. ARGV: user, time step.
script!(
    USE_CODE,
    "Whether a code of this time step may be used: it is newer than the last that was.",
    "
if tonumber(ARGV[2]) <= tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0') then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
"
);

// KEYS: the link. ARGV: how long it lives in ms.
script!(
    FIRST,
    "Remembers a one-time link.",
    "redis.call('SET', KEYS[1], '1')\nredis.call('PEXPIRE', KEYS[1], ARGV[1])\n"
);

// KEYS: last sign-ins, then the wrong attempts of each user. ARGV: the users.
script!(
    SEEN,
    "When each user last signed in and where from, and until when they are locked out.",
    "
local all = {}
for i, user in ipairs(ARGV) do
  local till = tonumber(redis.call('HGET', KEYS[i + 1], 'until') or '0')
  all[i] = {redis.call('HGET', KEYS[1], user) or '', till > now and text(till) or ''}
end
return all
"
);

// KEYS: wrong attempts of the user, last used time steps, last sign-ins. ARGV: user.
script!(
    FORGET,
    "Forgets what stands beside a user.",
    "
redis.call('DEL', KEYS[1])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
"
);

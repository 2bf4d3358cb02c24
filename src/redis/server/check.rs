//! `tidegate check` on Redis, step by step: names, TCP, sentinels, TLS, login, role, version, files, memory, rights. It
//! writes nothing.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use redis::{RedisError, Script, cmd};
use tokio::{net::TcpStream, time::timeout};

use super::{Address, Connection, Form, Limits, Server, sentence, sentinel};
use crate::databases::CheckStep;

/// Longest time for each step.
const LIMIT: Duration = Duration::from_secs(3);

/// What Tidegate asks of Redis, each command with what follows its key, as the rule in docs/operations.md lists them.
/// `KEY` stands for one of our keys.
pub(crate) const RIGHTS: &[&str] = &[
    "DEL KEY",
    "EXISTS KEY",
    "GET KEY",
    "SET KEY v",
    "HDEL KEY f",
    "HEXISTS KEY f",
    "HGET KEY f",
    "HGETALL KEY",
    "HINCRBY KEY f 1",
    "HKEYS KEY",
    "HLEN KEY",
    "HMGET KEY f",
    "HSET KEY f v",
    "HSCAN KEY 0",
    "HSETNX KEY f v",
    "HVALS KEY",
    "INCR KEY",
    "LINDEX KEY 0",
    "LPUSH KEY v",
    "LRANGE KEY 0 0",
    "LREM KEY 1 v",
    "LTRIM KEY 0 0",
    "MGET KEY",
    "RPUSH KEY v",
    "EXPIRE KEY 1",
    "PERSIST KEY",
    "PEXPIRE KEY 1",
    "XACK KEY g 0",
    "XADD KEY * f v",
    "XAUTOCLAIM KEY g c 0 0",
    "XDEL KEY 0",
    "XGROUP CREATE KEY g 0",
    "XGROUP DELCONSUMER KEY g c",
    "XGROUP DESTROY KEY g",
    "XGROUP SETID KEY g 0",
    "XINFO CONSUMERS KEY g",
    "XINFO GROUPS KEY",
    "XINFO STREAM KEY",
    "XLEN KEY",
    "XPENDING KEY g",
    "XRANGE KEY - +",
    "XREAD STREAMS KEY 0",
    "XREADGROUP GROUP g c STREAMS KEY 0",
    "XREVRANGE KEY + -",
    "XTRIM KEY MINID 0",
    "ZADD KEY 0 v",
    "ZRANGEBYSCORE KEY 0 0",
    "ZREM KEY v",
    "ZREMRANGEBYRANK KEY 0 0",
    "ZREMRANGEBYSCORE KEY 0 0",
    "ZREVRANGE KEY 0 0",
    "ZREVRANGEBYSCORE KEY 0 0",
    "INFO replication",
    "MULTI",
    "EXEC",
    "PING",
    "TIME",
];

/// Asks Redis itself whether this user may; one that lacks the right is answered. KEYS: one of ours. ARGV: the commands.
const MAY: &str = r"#!lua flags=no-writes,allow-oom
local refused = {}
for _, line in ipairs(ARGV) do
  local words = {}
  for word in string.gmatch(line, '%S+') do words[#words + 1] = word == 'KEY' and KEYS[1] or word end
  if not redis.acl_check_cmd(unpack(words)) then refused[#refused + 1] = line end
end
return refused
";

/// All steps, up to the first that nothing can follow on.
pub async fn check(server: &Server, prefix: &str) -> Vec<CheckStep> {
    let address = server.address.as_ref();
    let mut steps = Vec::new();
    if !reach(address, server, &mut steps).await {
        return steps;
    }
    let shown = address.to_string();
    let connected = timeout(LIMIT * 2, server.connect(Limits { connect: LIMIT, response: Some(LIMIT) })).await;
    let mut connection =
        match connected.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into())) {
            Ok(connection) => connection,
            Err(error) => {
                let step = if address.tls && !is_refusal(&error) { "tls" } else { "login" };
                steps.push(CheckStep { step, subject: shown, outcome: Err(in_words(&error)) });
                return steps;
            }
        };
    if address.tls {
        let found =
            if address.ca.is_some() { "the certificate is by `redis_ca`" } else { "the certificate is trusted" };
        steps.push(CheckStep { step: "tls", subject: shown.clone(), outcome: Ok(found.into()) });
    }
    // An old server or one that wants a password lets us connect without; the first command tells.
    let infos = connection.ask_masters::<String>(&cmd("INFO")).await;
    let user = address.login.user().map_or("the default user".to_owned(), |user| format!("user {user}"));
    let outcome = infos.as_ref().map(|_| user).map_err(in_words);
    steps.push(CheckStep { step: "login", subject: shown, outcome });
    let Ok(infos) = infos else { return steps };
    let infos: Vec<HashMap<&str, &str>> = infos.iter().map(|info| fields(info)).collect();
    let subject = if infos.len() == 1 { "server".to_owned() } else { format!("{} masters", infos.len()) };
    let mut add = |step, outcome| steps.push(CheckStep { step, subject: subject.clone(), outcome });
    add("role", worst(&infos, |info| role(info, address)));
    add("version", worst(&infos, version));
    add("memory", worst(&infos, memory));
    let files = match worst(&infos, files) {
        Ok(found) if found == "append-only file" => Ok(fsync(&mut connection).await),
        other => other,
    };
    add("files", files);
    add("rights", rights(&mut connection, prefix).await);
    steps
}

/// The first that is wrong; else what was found, of all the same once.
fn worst(
    infos: &[HashMap<&str, &str>],
    look: impl Fn(&HashMap<&str, &str>) -> Result<String, String>,
) -> Result<String, String> {
    let mut all: Vec<String> = infos.iter().map(look).collect::<Result<_, _>>()?;
    all.sort();
    all.dedup();
    Ok(all.join("; "))
}

fn fields(info: &str) -> HashMap<&str, &str> {
    info.lines().filter_map(|line| line.trim().split_once(':')).collect()
}

fn role(info: &HashMap<&str, &str>, address: &Address) -> Result<String, String> {
    let clustered = info.get("cluster_enabled") == Some(&"1");
    match (info.get("role").copied(), clustered, &address.form) {
        (Some("slave"), ..) => {
            Err("it is a replica, which takes no writes; give the address of the master, or of the sentinels".into())
        }
        (_, true, Form::Single | Form::Sentinel { .. }) => {
            Err("it is a node of a cluster; begin `redis_url` with redis+cluster or rediss+cluster".into())
        }
        _ => match info.get("connected_slaves").copied() {
            None | Some("0") => Ok("master without a replica".into()),
            Some(number) => Ok(format!("master, replicas: {number}")),
        },
    }
}

fn version(info: &HashMap<&str, &str>) -> Result<String, String> {
    let version = info.get("redis_version").copied().unwrap_or("unknown");
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major < 7) {
        return Err(format!("Redis {version} is too old; Tidegate needs 7.0 or later, or Valkey"));
    }
    Ok(version.to_owned())
}

fn memory(info: &HashMap<&str, &str>) -> Result<String, String> {
    match info.get("maxmemory_policy").copied() {
        None | Some("noeviction") => {}
        Some(policy) => {
            return Err(format!(
                "maxmemory-policy is {policy}, so a full Redis would throw records away; set `maxmemory-policy noeviction`"
            ));
        }
    }
    Ok(match info.get("maxmemory_human") {
        None | Some(&"0B") => "no limit: set `maxmemory`, or the machine's memory is the limit".into(),
        Some(limit) => format!("limit {limit}, noeviction"),
    })
}

fn files(info: &HashMap<&str, &str>) -> Result<String, String> {
    Ok(match info.get("aof_enabled") {
        Some(&"0") => "a restart loses records: set `appendonly yes`, `appendfsync always`".into(),
        _ => "append-only file".into(),
    })
}

/// Not every account may read settings; then nothing is said of it.
async fn fsync(connection: &mut Connection) -> String {
    let modes = connection.ask_masters::<Vec<String>>(cmd("CONFIG").arg("GET").arg("appendfsync")).await;
    let modes = modes.unwrap_or_default();
    match modes.iter().filter_map(|pair| pair.get(1)).find(|mode| *mode != "always") {
        Some(mode) => format!(
            "append-only file; appendfsync is {mode}, so a crash can lose the records of the last moments: set `appendfsync always`"
        ),
        None => "append-only file".into(),
    }
}

async fn rights(connection: &mut Connection, prefix: &str) -> Result<String, String> {
    let key = format!("{prefix}:{{registry}}:document");
    let script = Script::new(MAY);
    let refused: Vec<String> =
        script.key(&key).arg(RIGHTS).invoke_async(connection).await.map_err(|error| in_words(&error))?;
    if refused.is_empty() {
        return Ok(format!("all that is needed on keys that begin with {prefix}:"));
    }
    let names: Vec<String> =
        refused.iter().map(|line| line.split(" KEY").next().unwrap_or(line).to_ascii_lowercase()).collect();
    Err(format!("this user may not: {}; give it the rule in docs/operations.md, *Rights in Redis*", names.join(", ")))
}

/// Names, TCP and sentinels; false where nothing is left to connect to.
async fn reach(address: &Address, server: &Server, steps: &mut Vec<CheckStep>) -> bool {
    let mut reached = address.hosts.is_empty();
    for (host, port) in &address.hosts {
        reached |= reach_one(host, *port, steps).await;
    }
    let Form::Sentinel { master } = &address.form else { return reached };
    if !reached {
        return false;
    }
    let found = match server.certificates().await {
        Ok(certificates) => sentinel::look_up(address, master, &certificates).await,
        Err(error) => Err(error),
    };
    match found {
        Ok((host, port)) => {
            let outcome = Ok(format!("the master is {host}:{port}"));
            steps.push(CheckStep { step: "sentinel", subject: master.clone(), outcome });
            reach_one(&host, port, steps).await
        }
        Err(error) => {
            steps.push(CheckStep { step: "sentinel", subject: master.clone(), outcome: Err(in_words(&error)) });
            false
        }
    }
}

async fn reach_one(host: &str, port: u16, steps: &mut Vec<CheckStep>) -> bool {
    let addresses: Vec<SocketAddr> = match timeout(LIMIT, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(found)) => found.collect(),
        _ => Vec::new(),
    };
    let Some(address) = addresses.first() else {
        let outcome =
            Err("no address is known for this name; check the host in `redis_url`, and this machine's DNS".into());
        steps.push(CheckStep { step: "name", subject: host.to_owned(), outcome });
        return false;
    };
    steps.push(CheckStep { step: "name", subject: host.to_owned(), outcome: Ok(address.ip().to_string()) });
    let started = Instant::now();
    let mut outcome = Err(String::new());
    for address in &addresses {
        outcome = match timeout(LIMIT, TcpStream::connect(address)).await {
            Ok(Ok(_)) => Ok(format!("connected in {} ms", started.elapsed().as_millis())),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                Err("nothing listens there; is it running, and is `redis_url` right?".into())
            }
            Ok(Err(error)) => Err(format!("{error}; check the route and the firewalls between here and there")),
            Err(_) => Err("no answer; a firewall on the way probably drops the packets".into()),
        };
        if outcome.is_ok() {
            break;
        }
    }
    let reached = outcome.is_ok();
    steps.push(CheckStep { step: "tcp", subject: format!("{host}:{port}"), outcome });
    reached
}

fn is_refusal(error: &RedisError) -> bool {
    error.kind() == redis::ErrorKind::AuthenticationFailed || error.code().is_some()
}

fn in_words(error: &RedisError) -> String {
    if error.is_timeout() {
        return "it does not answer; is it overloaded or stopped?".into();
    }
    sentence(error).unwrap_or_else(|| error.to_string())
}

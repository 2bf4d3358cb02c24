//! Finding the master that the sentinels name. All of them are asked at once, and the answer of the latest configuration
//! counts, so that neither a dead sentinel nor one that was cut off leads the wrong way. Looked up for every connection.

use std::{collections::HashMap, time::Duration};

use futures_util::future::join_all;
use redis::{ErrorKind, RedisError, RedisResult, TlsCertificates, Value, aio::MultiplexedConnection, cmd};
use tokio::time::timeout;

use super::{Address, Limits, connect_to};

/// Longest time for one sentinel to answer, connecting included.
const ANSWER_WITHIN: Duration = Duration::from_millis(600);

/// Where the master is, by one sentinel.
struct Named {
    host: String,
    port: u16,
    /// The number of failovers that this sentinel knows of.
    epoch: u64,
}

/// Connects to the master; a server that is none (any more) is refused.
pub(super) async fn connect(
    address: &Address,
    master: &str,
    certificates: &Option<TlsCertificates>,
    limits: Limits,
) -> RedisResult<MultiplexedConnection> {
    let (host, port) = look_up(address, master, certificates).await?;
    let info = address.info(&host, port, &address.login, address.db)?;
    let mut connection = connect_to(info, certificates, limits).await?;
    let role = timeout(limits.connect, cmd("ROLE").query_async::<Vec<Value>>(&mut connection))
        .await
        .map_err(|_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut)))??;
    match role.first() {
        Some(Value::BulkString(role)) if role == b"master" => Ok(connection),
        _ => Err(is_replica(master, &host, port)),
    }
}

/// What the sentinels say does not fit what the server says.
pub(super) fn is_replica(master: &str, host: &str, port: u16) -> RedisError {
    RedisError::from((
        ErrorKind::MasterNameNotFoundBySentinel,
        "a failover is under way",
        format!("the sentinels name {host}:{port} as `{master}`, but it is a replica"),
    ))
}

/// The master's address.
pub(super) async fn look_up(
    address: &Address,
    master: &str,
    certificates: &Option<TlsCertificates>,
) -> RedisResult<(String, u16)> {
    let answers = join_all(address.hosts.iter().map(async |(host, port)| {
        let asked = timeout(ANSWER_WITHIN, ask(address, host, *port, master, certificates)).await;
        asked.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
    }))
    .await;
    let mut best: Option<Named> = None;
    let mut last = None;
    for (answer, (host, port)) in answers.into_iter().zip(&address.hosts) {
        match answer {
            Ok(named) if best.as_ref().is_none_or(|best| named.epoch > best.epoch) => best = Some(named),
            Ok(_) => {}
            Err(error) => last = Some((error, format!("{host}:{port}"))),
        }
    }
    if let Some(Named { host, port, .. }) = best {
        return Ok((host, port));
    }
    let Some((error, sentinel)) = last else {
        return Err(RedisError::from((ErrorKind::EmptySentinelList, "no sentinel is given")));
    };
    let detail = match error.code() {
        _ if error.is_timeout() => format!("the last that was asked, {sentinel}, does not answer"),
        _ if error.is_connection_refusal() => format!("nothing listens at the last that was asked, {sentinel}"),
        Some("NOAUTH" | "WRONGPASS") => format!(
            "sentinel {sentinel} wants a user and password of its own; give `?sentinel_user=…&sentinel_password=…`"
        ),
        Some("NOPERM") => format!("sentinel {sentinel} does not let this user ask; allow `+sentinel|master`"),
        _ if error.to_string().contains("No such master") => {
            format!("sentinel {sentinel} knows no master `{master}`; give the name that its `sentinel monitor` gives")
        }
        _ => format!("sentinel {sentinel}: {error}"),
    };
    Err(RedisError::from((ErrorKind::MasterNameNotFoundBySentinel, "no sentinel names the master", detail)))
}

async fn ask(
    address: &Address,
    host: &str,
    port: u16,
    master: &str,
    certificates: &Option<TlsCertificates>,
) -> RedisResult<Named> {
    let info = address.info(host, port, &address.sentinel_login, 0)?;
    let limits = Limits { connect: ANSWER_WITHIN, response: Some(ANSWER_WITHIN) };
    let mut connection = connect_to(info, certificates, limits).await?;
    let fields: HashMap<String, String> =
        cmd("SENTINEL").arg("MASTER").arg(master).query_async(&mut connection).await?;
    let named = fields.get("ip").zip(fields.get("port").and_then(|port| port.parse().ok()));
    let epoch = fields.get("config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
    let (host, port) = named.ok_or_else(|| RedisError::from((ErrorKind::Parse, "it names no address")))?;
    Ok(Named { host: host.clone(), port, epoch })
}

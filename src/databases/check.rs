//! The steps of a connection check: those that are alike for all kinds of database, then the kind's own.
//!
//! Each step says what was looked at, what was found or what is wrong, and what to do; the first that fails ends the check.

use std::{net::SocketAddr, time::Instant};

use tokio::{net::TcpStream, time::timeout};

use super::{CheckStep, Connection, Kind};

/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// All steps for one database, up to the first that fails.
pub async fn check(kind: &Kind, connection: &Connection) -> Vec<CheckStep> {
    let mut steps = reach(kind, connection).await;
    if steps.iter().any(|step| step.outcome.is_err()) {
        return steps;
    }
    // The kind's steps connect, log in and ask a few questions: none may wait for ever.
    let allowed = connection.connect_timeout * 3;
    match timeout(allowed, (kind.check)(connection)).await {
        Ok(own) => steps.extend(own),
        Err(_) => steps.push(CheckStep {
            step: "login",
            subject: connection.name.clone(),
            outcome: Err(format!(
                "{} accepted the connection and did not answer within {} s; look at its load and its log",
                kind.title,
                allowed.as_secs()
            )),
        }),
    }
    steps
}

/// Name resolution and TCP, for kinds that are reached over a network; no steps for a file or a Unix socket.
async fn reach(kind: &Kind, connection: &Connection) -> Vec<CheckStep> {
    // `postgres://user@%2Frun%2Fpostgresql/db`, `?host=/run/postgresql`, `?socket=/run/mysqld/mysqld.sock`
    let is_path = |text: &str| text.starts_with('/') || text.to_ascii_lowercase().starts_with("%2f");
    if connection.url.host_str().is_some_and(is_path)
        || connection.url.query_pairs().any(|(name, value)| matches!(&*name, "host" | "socket") && is_path(&value))
    {
        return Vec::new();
    }
    let Some(host) = connection.url.host_str().filter(|host| !host.is_empty()) else { return Vec::new() };
    let Some(port) = connection.url.port().or(kind.port) else { return Vec::new() };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let mut steps = Vec::new();
    let addresses = match resolve(host, port, connection).await {
        Ok(addresses) => {
            let found = addresses.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(", ");
            steps.push(CheckStep { step: "name", subject: host.to_owned(), outcome: Ok(found) });
            addresses
        }
        Err(why) => {
            steps.push(CheckStep { step: "name", subject: host.to_owned(), outcome: Err(why) });
            return steps;
        }
    };
    for (index, address) in addresses.iter().enumerate() {
        let outcome = connect(*address, connection).await;
        let last = outcome.is_ok() || index + 1 == addresses.len();
        if last {
            steps.push(CheckStep { step: "tcp", subject: address.to_string(), outcome });
            break;
        }
    }
    steps
}

async fn resolve(host: &str, port: u16, connection: &Connection) -> Result<Vec<SocketAddr>, String> {
    match timeout(connection.connect_timeout, tokio::net::lookup_host((host, port))).await {
        Err(_) => Err(format!(
            "the name server did not answer within {} s; check this machine's DNS",
            connection.connect_timeout.as_secs()
        )),
        Ok(Err(error)) => {
            Err(format!("no address is known for this name ({error}); check the host in the destination's url"))
        }
        Ok(Ok(found)) => {
            let found: Vec<SocketAddr> = found.take(MAX_ADDRESSES).collect();
            if found.is_empty() {
                return Err("this name has no address; check the host in the destination's url".into());
            }
            Ok(found)
        }
    }
}

async fn connect(address: SocketAddr, connection: &Connection) -> Result<String, String> {
    let started = Instant::now();
    match timeout(connection.connect_timeout, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(format!("connected in {} ms", started.elapsed().as_millis())),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Err("nothing listens there; is the server running, on this port, and for other machines too?".into())
        }
        Ok(Err(error)) => Err(format!("{error}; check the route and the firewalls between here and there")),
        Err(_) => Err(format!(
            "no answer within {} s; a firewall on the way probably drops the packets",
            connection.connect_timeout.as_secs()
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::time::Duration;

    use super::*;

    fn kind(check: for<'a> fn(&'a Connection) -> futures_util::future::LocalBoxFuture<'a, Vec<CheckStep>>) -> Kind {
        Kind { port: Some(1), check, ..super::super::postgres::KIND }
    }

    fn to(url: &str) -> Connection {
        Connection {
            name: "rooms".into(),
            url: url.parse().unwrap(),
            password: None,
            tls: None,
            connect_timeout: Duration::from_millis(300),
            session_timeout: Duration::from_millis(300),
        }
    }

    #[tokio::test]
    async fn a_name_without_an_address_ends_the_check() {
        let never = kind(|_| Box::pin(async { panic!("not reached") }));
        let steps = check(&never, &to("postgres://writer@no-such-host.invalid/db")).await;
        assert_eq!(steps.len(), 1);
        assert_eq!((steps[0].step, steps[0].subject.as_str()), ("name", "no-such-host.invalid"));
        assert!(steps[0].outcome.as_ref().unwrap_err().contains("check the host"), "{steps:?}");
    }

    #[tokio::test]
    async fn a_closed_port_is_told_from_a_wrong_name() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let never = kind(|_| Box::pin(async { panic!("not reached") }));
        let steps = check(&never, &to(&format!("postgres://writer@127.0.0.1:{free}/db"))).await;
        assert_eq!(steps.iter().map(|step| step.step).collect::<Vec<_>>(), ["name", "tcp"]);
        assert!(steps[1].outcome.as_ref().unwrap_err().starts_with("nothing listens there"), "{steps:?}");
    }

    #[tokio::test]
    async fn a_server_that_never_answers_is_given_up() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = kind(|_| Box::pin(std::future::pending()));
        let address = format!("postgres://writer@{}/db", listener.local_addr().unwrap());
        let steps = check(&silent, &to(&address)).await;
        assert_eq!(steps.iter().map(|step| step.step).collect::<Vec<_>>(), ["name", "tcp", "login"]);
        assert!(steps[1].outcome.is_ok() && steps[2].outcome.is_err(), "{steps:?}");
    }

    #[tokio::test]
    async fn files_and_sockets_have_no_network_steps() {
        for socket in ["postgres://writer@%2Frun%2Fpostgresql/db", "mysql://writer@localhost/db?socket=/run/my.sock"] {
            assert_eq!(check(&kind(|_| Box::pin(async { vec![] })), &to(socket)).await, []);
        }
        assert_eq!(
            check(&Kind { port: None, ..kind(|_| Box::pin(async { vec![] })) }, &to("sqlite:///srv/rooms.db")).await,
            []
        );
    }
}

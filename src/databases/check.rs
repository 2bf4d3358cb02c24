//! The steps of a connection check: those that are alike for all kinds of database, then the kind's own.
//!
//! Each step says what was looked at, what was found or what is wrong, and what to do; the first that fails ends the check.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Instant,
};

use tokio::{net::TcpStream, time::timeout};

use super::{CheckStep, Connection, Kind};
use crate::{config::LocalDestinations, resources::TlsMode};

/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// All steps for one database, up to the first that fails.
pub async fn check(kind: &Kind, connection: &Connection) -> Vec<CheckStep> {
    let mut steps = Vec::new();
    check_each(kind, connection, LocalDestinations::All, &mut |step| steps.push(step)).await;
    steps
}

/// The same, each told as it is done, and never to an address that the rule forbids.
pub async fn check_each(
    kind: &Kind,
    connection: &Connection,
    rule: LocalDestinations,
    tell: &mut dyn FnMut(CheckStep),
) {
    let mut well = true;
    let mut told = |step: CheckStep| {
        well &= step.outcome.is_ok();
        tell(step);
    };
    let reached = reach(kind, connection, rule, &mut told).await;
    if !well {
        return;
    }
    let connection = &reached.map_or_else(|| connection.clone(), |address| to_address(connection, address));
    // The kind's steps connect, log in and ask a few questions: none may wait for ever.
    let allowed = connection.connect_timeout * 3;
    match timeout(allowed, (kind.check)(connection)).await {
        Ok(own) => own.into_iter().for_each(tell),
        Err(_) => tell(CheckStep {
            step: "login",
            subject: connection.name.clone(),
            outcome: Err(format!(
                "{} accepted the connection and did not answer within {} s; look at its load and its log",
                kind.title,
                allowed.as_secs()
            )),
        }),
    }
}

/// The same connection to the very address that was looked at: a name may lead elsewhere the next time it is asked for. Where
/// the server's certificate is verified the name is needed for that, and keeps others from answering to it.
fn to_address(connection: &Connection, address: SocketAddr) -> Connection {
    let verified = match &connection.tls {
        Some(tls) => tls.mode == TlsMode::Verify,
        None => !address.ip().is_loopback(),
    };
    let mut there = connection.clone();
    if !verified && there.url.set_ip_host(address.ip()).is_err() {
        // Addresses of other schemes take a host as a text.
        let host = if address.is_ipv6() { format!("[{}]", address.ip()) } else { address.ip().to_string() };
        let _ = there.url.set_host(Some(&host));
    }
    there
}

/// Why this address must not be asked, if it must not.
fn forbidden(address: IpAddr, rule: LocalDestinations) -> Option<&'static str> {
    let address = match address {
        IpAddr::V6(six) => six.to_ipv4_mapped().map_or(IpAddr::V6(six), IpAddr::V4),
        four => four,
    };
    let of_the_cloud = match address {
        // Where clouds tell a machine its secrets.
        IpAddr::V4(four) => {
            four.is_link_local()
                || four.is_broadcast()
                || four == Ipv4Addr::new(100, 100, 100, 200)
                || four == Ipv4Addr::new(168, 63, 129, 16)
        }
        IpAddr::V6(six) => six.is_unicast_link_local() || six == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    };
    if rule != LocalDestinations::All && (of_the_cloud || address.is_multicast()) {
        return Some("a link-local or metadata address, which is never a database");
    }
    let here = address.is_loopback() || address.is_unspecified();
    (here && rule == LocalDestinations::Deny).then_some(
        "this machine itself, which destinations given here must not lead to; set `local_destinations` to `loopback` where that is \
         meant",
    )
}

/// Where a connection leads.
enum Way<'a> {
    /// To a file or a Unix socket.
    OnThisMachine,
    /// To a host at these addresses.
    To(&'a str, Vec<SocketAddr>),
    /// Nobody knows: which name, and why.
    Unknown(&'a str, String),
    /// Where the rule forbids it: which name, and why.
    Forbidden(&'a str, String),
}

async fn way<'a>(kind: &Kind, connection: &'a Connection, rule: LocalDestinations) -> Way<'a> {
    // `postgres://user@%2Frun%2Fpostgresql/db`, `?host=/run/postgresql`, `?socket=/run/mysqld/mysqld.sock`
    let is_path = |text: &str| text.starts_with('/') || text.to_ascii_lowercase().starts_with("%2f");
    if connection.url.host_str().is_some_and(is_path)
        || connection.url.query_pairs().any(|(name, value)| matches!(&*name, "host" | "socket") && is_path(&value))
    {
        if rule == LocalDestinations::Deny {
            let why = "a socket of this machine; destinations given here must not lead to it (`local_destinations`)";
            return Way::Forbidden(&connection.name, why.into());
        }
        return Way::OnThisMachine;
    }
    let host = connection.url.host_str().filter(|host| !host.is_empty());
    let Some((host, port)) = host.zip(connection.url.port().or(kind.port)) else { return Way::OnThisMachine };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match resolve(host, port, connection).await {
        Ok(addresses) => {
            // All of them: whichever is tried must be one that may be.
            let wrong = addresses.iter().find_map(|one| forbidden(one.ip(), rule).map(|why| (one.ip(), why)));
            match wrong {
                Some((address, why)) => Way::Forbidden(host, format!("it leads to {address}: {why}")),
                None => Way::To(host, addresses),
            }
        }
        Err(why) => Way::Unknown(host, why),
    }
}

/// Whether a database may be asked.
#[allow(clippy::large_enum_variant, reason = "one at a time, and gone at once")]
pub enum Allowed {
    /// Like this: to the very address that was looked at, where no certificate is verified.
    At(Connection),
    /// It is not known where it is.
    Unknown(String),
    /// It must not be asked.
    Never(String),
}

/// Whether the rule lets a database be asked. Nothing connects.
pub async fn allowed(kind: &Kind, connection: &Connection, rule: LocalDestinations) -> Allowed {
    match way(kind, connection, rule).await {
        Way::OnThisMachine => Allowed::At(connection.clone()),
        Way::To(_, addresses) => {
            let first = addresses.first();
            Allowed::At(first.map_or_else(|| connection.clone(), |address| to_address(connection, *address)))
        }
        Way::Unknown(_, why) => Allowed::Unknown(why),
        Way::Forbidden(_, why) => Allowed::Never(why),
    }
}

/// Name resolution and TCP, for kinds that are reached over a network; no steps for a file or a Unix socket. The address that
/// answered.
async fn reach(
    kind: &Kind,
    connection: &Connection,
    rule: LocalDestinations,
    tell: &mut impl FnMut(CheckStep),
) -> Option<SocketAddr> {
    let addresses = match way(kind, connection, rule).await {
        Way::OnThisMachine => return None,
        Way::To(host, addresses) => {
            let found = addresses.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(", ");
            tell(CheckStep { step: "name", subject: host.to_owned(), outcome: Ok(found) });
            addresses
        }
        Way::Unknown(host, why) | Way::Forbidden(host, why) => {
            tell(CheckStep { step: "name", subject: host.to_owned(), outcome: Err(why) });
            return None;
        }
    };
    for (index, address) in addresses.iter().enumerate() {
        let outcome = connect(*address, connection).await;
        let reached = outcome.is_ok();
        if reached || index + 1 == addresses.len() {
            tell(CheckStep { step: "tcp", subject: address.to_string(), outcome });
            return reached.then_some(*address);
        }
    }
    None
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
            home: None,
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

    #[test]
    fn what_is_no_database_is_never_asked() {
        use LocalDestinations::{All, Deny, Loopback};
        let table: &[(&str, [bool; 3])] = &[
            ("10.0.0.5", [true, true, true]),
            ("2001:db8::1", [true, true, true]),
            ("127.0.0.1", [false, true, true]),
            ("::1", [false, true, true]),
            ("::ffff:127.0.0.1", [false, true, true]),
            ("0.0.0.0", [false, true, true]),
            ("169.254.169.254", [false, false, true]),
            ("::ffff:169.254.169.254", [false, false, true]),
            ("fe80::1", [false, false, true]),
            ("fd00:ec2::254", [false, false, true]),
            ("100.100.100.200", [false, false, true]),
        ];
        for (address, allowed) in table {
            for (rule, allowed) in [Deny, Loopback, All].into_iter().zip(allowed) {
                assert_eq!(forbidden(address.parse().unwrap(), rule).is_none(), *allowed, "{address} {rule:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_forbidden_address_is_not_connected_to() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let never = kind(|_| Box::pin(async { panic!("not reached") }));
        let url = format!("postgres://writer@localhost:{}/db", listener.local_addr().unwrap().port());
        let mut steps = Vec::new();
        check_each(&never, &to(&url), LocalDestinations::Deny, &mut |step| steps.push(step)).await;
        assert_eq!(steps.iter().map(|step| step.step).collect::<Vec<_>>(), ["name"]);
        assert!(steps[0].outcome.as_ref().unwrap_err().contains("local_destinations"), "{steps:?}");
        assert!(listener.accept().is_err(), "nobody came");
    }

    #[test]
    fn what_was_looked_at_is_what_is_connected_to() {
        let there: SocketAddr = "10.0.0.5:5432".parse().unwrap();
        let off = Connection {
            tls: Some(crate::resources::Tls { mode: TlsMode::Off, ca: None }),
            ..to("postgres://writer@db.example/cars")
        };
        assert_eq!(to_address(&off, there).url.as_str(), "postgres://writer@10.0.0.5/cars");
        assert_eq!(to_address(&to("postgres://writer@db.example/cars"), there).url.host_str(), Some("db.example"));
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

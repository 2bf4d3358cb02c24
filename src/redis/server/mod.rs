//! How Redis is reached, whatever its form: one server, the master that Sentinel names, or a cluster. [`Server`] is what
//! `redis_url` says; [`Connection`] is a way to it that everything else in Tidegate uses without asking for the form.

mod address;
mod check;
mod sentinel;
mod socket;
mod words;

use std::{fmt, path::Path, sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionInfo, ErrorKind, FromRedisValue, Pipeline,
    RedisError, RedisFuture, RedisResult, TlsCertificates, TlsMode, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::{ClusterClientBuilder, ClusterConfig},
    cluster_async::ClusterConnection,
    cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo},
};

pub use self::check::check;
pub(crate) use self::{
    address::{Address, Form},
    socket::Socket,
    words::sentence,
};

/// An address that cannot be used: "is …; give …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("setting `redis_url` {0}")]
pub struct AddressError(pub(crate) String);

/// How long a connection may take to come about, and an answer over it. `None` is for ever.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// To connect and log in, of each server.
    pub connect: Duration,
    /// To answer.
    pub response: Option<Duration>,
}

/// A connection in whatever form. Clones share it.
#[derive(Clone)]
pub enum Connection {
    /// To one server: the only one, or the master.
    Server(MultiplexedConnection),
    /// To the nodes of a cluster. Nothing is sent twice: an answer that is lost is an error, as with one server.
    Cluster(ClusterConnection),
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Server(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Server(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Server(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

impl Connection {
    /// Asks every master the same: of one server, that one. The answers in no order.
    ///
    /// # Errors
    /// One of them can't be reached or refuses.
    pub async fn ask_masters<T: FromRedisValue>(&mut self, cmd: &Cmd) -> RedisResult<Vec<T>> {
        match self {
            Self::Server(connection) => Ok(vec![cmd.query_async(connection).await?]),
            Self::Cluster(connection) => {
                let all = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                match connection.route_command(cmd.clone(), all).await? {
                    Value::Map(answers) => {
                        answers.into_iter().map(|(_, answer)| Ok(T::from_redis_value(answer)?)).collect()
                    }
                    answer => Ok(vec![T::from_redis_value(answer)?]),
                }
            }
        }
    }
}

/// Where Redis is and in which form. Cheap to clone; connects when asked to.
#[derive(Clone)]
pub struct Server {
    address: Arc<Address>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({})", self.address)
    }
}

impl fmt::Display for Server {
    /// The address without its password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl Server {
    /// Understands an address. Nothing connects, no file is read.
    ///
    /// # Errors
    /// What is wrong with it, and the remedy.
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        Ok(Self { address: Arc::new(Address::parse(url).map_err(AddressError)?) })
    }

    /// Whether keys of different slots must not meet in one command, and a connection may go on with another server.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        matches!(self.address.form, Form::Cluster)
    }

    /// Connects; in Sentinel form to the server that is the master now. Files of certificates are read each time, so that
    /// renewed ones count.
    ///
    /// # Errors
    /// It can't be reached, or it refuses.
    pub async fn connect(&self, limits: Limits) -> RedisResult<Connection> {
        self.connected(limits).await.map_err(|error| words::of_connecting(error, self.address.tls))
    }

    async fn connected(&self, limits: Limits) -> RedisResult<Connection> {
        let address = &*self.address;
        match &address.form {
            Form::Single | Form::Unix(_) => {
                let (host, port) = address.hosts.first().map_or(("", 0), |(host, port)| (host.as_str(), *port));
                let info = address.info(host, port, &address.login, address.db)?;
                Ok(Connection::Server(connect_to(info, &self.certificates().await?, limits).await?))
            }
            Form::Sentinel { master } => {
                let certificates = self.certificates().await?;
                sentinel::connect(address, master, &certificates, limits).await.map(Connection::Server)
            }
            Form::Cluster => self.connect_cluster(limits).await.map(Connection::Cluster),
        }
    }

    async fn connect_cluster(&self, limits: Limits) -> RedisResult<ClusterConnection> {
        let address = &*self.address;
        let nodes = address.hosts.iter().map(|(host, port)| address.info(host, *port, &address.login, 0));
        let nodes: Vec<ConnectionInfo> = nodes.collect::<RedisResult<_>>()?;
        // No retries: a record whose answer was lost must not be added once more behind the caller's back.
        let mut builder = ClusterClientBuilder::new(nodes).retries(0);
        if address.tls {
            builder = builder.tls(TlsMode::Secure);
        }
        if let Some(user) = address.login.user() {
            builder = builder.username(user);
        }
        if let Some(password) = address.login.password() {
            builder = builder.password(password);
        }
        if let Some(certificates) = self.certificates().await? {
            builder = builder.certs(certificates);
        }
        let mut config = ClusterConfig::new().set_connection_timeout(limits.connect);
        if let Some(response) = limits.response {
            config = config.set_response_timeout(response);
        }
        // The first node may be away, and then the next one is asked.
        let whole = limits.connect * (u32::try_from(address.hosts.len()).unwrap_or(1) + 1);
        match tokio::time::timeout(whole, builder.build()?.get_async_connection_with_config(config)).await {
            Ok(connected) => connected,
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        }
    }

    async fn certificates(&self) -> RedisResult<Option<TlsCertificates>> {
        let Address { ca, cert, key, .. } = &*self.address;
        let client_tls = match (cert, key) {
            (Some(cert), Some(key)) => {
                Some(ClientTlsConfig { client_cert: read(cert).await?, client_key: read(key).await? })
            }
            _ => None,
        };
        let root_cert = match ca {
            Some(ca) => Some(read(ca).await?),
            None => None,
        };
        Ok((client_tls.is_some() || root_cert.is_some()).then_some(TlsCertificates { client_tls, root_cert }))
    }
}

async fn read(file: &Path) -> RedisResult<Vec<u8>> {
    tokio::fs::read(file).await.map_err(|error| {
        let detail = format!("{}: {error}; check its path and who may read it", file.display());
        RedisError::from((ErrorKind::InvalidClientConfig, "cannot read the file", detail))
    })
}

async fn connect_to(
    info: ConnectionInfo,
    certificates: &Option<TlsCertificates>,
    limits: Limits,
) -> RedisResult<MultiplexedConnection> {
    let client = match certificates {
        Some(certificates) => Client::build_with_tls(info, certificates.clone())?,
        None => Client::open(info)?,
    };
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(limits.connect)).set_response_timeout(limits.response);
    client.get_multiplexed_async_connection_with_config(&config).await
}

//! A bare connection to the server, or the master: TCP, TLS or a socket file, logged in as the crate's connections are, with the
//! same errors. For the log's reader, which takes answers apart itself; everything else uses [`super::Connection`].

use std::{io, sync::Arc, time::Duration};

use bytes::{Buf as _, BytesMut};
use redis::{ClientTlsConfig, ErrorKind, RedisError, RedisResult, ServerError, TlsCertificates, Value};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{Address, Form, Server, address::Login, sentinel, words};
use crate::redis::resp::{Stop, length};

/// Room for one read. An answer of many entries comes in a few of them.
const READ_BYTES: usize = 128 << 10;
/// A buffer that a large record has made larger than this is given back.
const KEPT_BYTES: usize = 1 << 20;

/// Any of the three kinds of wire.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// One connection. What was asked and not read to its end makes it useless: then drop it.
pub(crate) struct Socket {
    wire: Box<dyn Wire>,
    /// What has come in and was not taken yet.
    pub(crate) buffer: BytesMut,
}

impl Socket {
    fn over(wire: impl Wire + 'static) -> Self {
        Self { wire: Box::new(wire), buffer: BytesMut::new() }
    }

    /// Sends this whole.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> RedisResult<()> {
        self.wire.write_all(bytes).await?;
        Ok(self.wire.flush().await?)
    }

    /// Waits for more bytes. The buffer grows with what comes, never by what is announced.
    pub(crate) async fn more(&mut self) -> RedisResult<()> {
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BYTES {
            self.buffer = BytesMut::new();
        }
        self.buffer.reserve(READ_BYTES);
        match self.wire.read_buf(&mut self.buffer).await? {
            0 => Err(io::Error::from(io::ErrorKind::BrokenPipe).into()),
            _ => Ok(()),
        }
    }

    /// Waits for a short answer; one that is an error is a value too.
    pub(crate) async fn value(&mut self) -> RedisResult<Value> {
        loop {
            match length(&self.buffer) {
                Ok(length) => {
                    let value = redis::parse_redis_value(&self.buffer[..length])?;
                    self.buffer.advance(length);
                    return Ok(value);
                }
                Err(Stop::Short) => self.more().await?,
                Err(Stop::Other) => return Err((ErrorKind::Parse, "this is not Redis's protocol").into()),
            }
        }
    }

    /// As `redis_url` says; what is sent for it is in the order of the answers.
    async fn log_in(&mut self, login: &Login, db: i64, must_be_master: bool) -> RedisResult<bool> {
        let mut pipe = redis::pipe();
        if let Some(password) = login.password() {
            let command = pipe.cmd("AUTH");
            if let Some(user) = login.user() {
                command.arg(user);
            }
            command.arg(password);
        }
        if db != 0 {
            pipe.cmd("SELECT").arg(db);
        }
        // Not every account may say its name; that it may not is no error.
        pipe.cmd("CLIENT").arg("SETINFO").arg("LIB-NAME").arg("tidegate");
        pipe.cmd("CLIENT").arg("SETINFO").arg("LIB-VER").arg(env!("CARGO_PKG_VERSION"));
        if must_be_master {
            pipe.cmd("ROLE");
        }
        self.send(&pipe.get_packed_pipeline()).await?;
        if login.password().is_some() && matches!(self.value().await?, Value::ServerError(_)) {
            return Err((ErrorKind::AuthenticationFailed, "Password authentication failed").into());
        }
        if db != 0
            && let Value::ServerError(error) = self.value().await?
        {
            return Err(not_that_database(&error));
        }
        for _ in 0..2 {
            self.value().await?;
        }
        if !must_be_master {
            return Ok(true);
        }
        match self.value().await? {
            Value::ServerError(error) => Err(error.into()),
            Value::Array(parts) => Ok(matches!(parts.first(), Some(Value::BulkString(role)) if role == b"master")),
            _ => Ok(false),
        }
    }
}

fn not_that_database(error: &ServerError) -> RedisError {
    let detail = error.details().unwrap_or_default().to_owned();
    (redis::ServerErrorKind::ResponseError.into(), "Redis server refused to switch database", detail).into()
}

impl Server {
    /// Connects; in Sentinel form to the server that is the master now. `None` in a cluster, whose redirections are the crate's
    /// business.
    ///
    /// # Errors
    /// It can't be reached, or it refuses.
    pub(crate) async fn open(&self, connect: Duration) -> RedisResult<Option<Socket>> {
        self.opened(connect).await.map_err(|error| words::of_connecting(error, self.address.tls))
    }

    async fn opened(&self, connect: Duration) -> RedisResult<Option<Socket>> {
        let address = &*self.address;
        match &address.form {
            Form::Cluster => Ok(None),
            Form::Single | Form::Unix(_) => {
                let (host, port) = address.hosts.first().map_or(("", 0), |(host, port)| (host.as_str(), *port));
                let certificates = self.certificates().await?;
                open_to(address, (host, port), &certificates, connect, false).await.map(|(socket, _)| Some(socket))
            }
            Form::Sentinel { master } => {
                let certificates = self.certificates().await?;
                let (host, port) = sentinel::look_up(address, master, &certificates).await?;
                match open_to(address, (&host, port), &certificates, connect, true).await? {
                    (socket, true) => Ok(Some(socket)),
                    (_, false) => Err(sentinel::is_replica(master, &host, port)),
                }
            }
        }
    }
}

/// Connects and logs in; whether it is a master, where that must be.
async fn open_to(
    address: &Address,
    host: (&str, u16),
    certificates: &Option<TlsCertificates>,
    connect: Duration,
    must_be_master: bool,
) -> RedisResult<(Socket, bool)> {
    let open = async {
        let mut socket = match &address.form {
            Form::Unix(path) => Socket::over(UnixStream::connect(path).await?),
            _ => {
                let wire = TcpStream::connect(host).await?;
                // A question is one small packet, and waits for nothing.
                wire.set_nodelay(true)?;
                if address.tls {
                    let connector = TlsConnector::from(Arc::new(tls(certificates)?));
                    Socket::over(connector.connect(ServerName::try_from(host.0)?.to_owned(), wire).await?)
                } else {
                    Socket::over(wire)
                }
            }
        };
        let master = socket.log_in(&address.login, address.db, must_be_master).await?;
        Ok((socket, master))
    };
    let opened = timeout(connect, open).await;
    opened.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
}

/// Whom we trust, and who we are.
fn tls(certificates: &Option<TlsCertificates>) -> RedisResult<ClientConfig> {
    let wrong = |what: &str, error: &dyn std::fmt::Display| io::Error::other(format!("{what}: {error}"));
    let mut trusted = RootCertStore::empty();
    match certificates.as_ref().and_then(|certificates| certificates.root_cert.as_ref()) {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| wrong("Unable to parse root certificate PEM", &error))?;
                trusted.add(certificate).map_err(|error| wrong("Unable to parse TLS trust anchors", &error))?;
            }
        }
        None => {
            let mut found = rustls_native_certs::load_native_certs();
            if let Some(error) = found.errors.pop() {
                return Err(error.into());
            }
            for certificate in found.certs {
                trusted.add(certificate).map_err(|error| wrong("Unable to parse TLS trust anchors", &error))?;
            }
        }
    }
    let config = ClientConfig::builder().with_root_certificates(trusted);
    let own = certificates.as_ref().and_then(|certificates| certificates.client_tls.as_ref());
    let Some(ClientTlsConfig { client_cert, client_key }) = own else { return Ok(config.with_no_client_auth()) };
    let chain = CertificateDer::pem_slice_iter(client_cert)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong("Unable to parse client certificate chain PEM", &error))?;
    let key = PrivateKeyDer::from_pem_slice(client_key)
        .map_err(|error| wrong("Unable to extract private key from PEM file", &error))?;
    config.with_client_auth_cert(chain, key).map_err(|error| {
        let what = "Unable to build client with TLS parameters provided.";
        RedisError::from((ErrorKind::InvalidClientConfig, what, error.to_string()))
    })
}

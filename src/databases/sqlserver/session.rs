//! The one connection of a destination: how it is made and secured, what is asked of the session, and one request at a time.
//!
//! A session in use is out of its owner's hands, so that a future dropped halfway closes the connection; the server then
//! rolls back what it had begun.

use std::time::Duration;

use futures_util::TryStreamExt;
use secrecy::ExposeSecret;
use tiberius::{AuthMethod, Client, Config, EncryptionLevel, QueryItem, Row, ToSql};
use tidegate_actors::ports::{Fault, WriteError};
use tokio::{net::TcpStream, time::timeout};
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

use super::{
    address::{self, PORT},
    batch::Batch,
    errors,
};
use crate::{databases::Connection, resources::TlsMode};

/// Azure's gateway sends a client on to the node that has the database, once.
const MAX_HOPS: usize = 3;

/// Bytes of one packet; the server may give less. Beyond 16 KiB it refuses encrypted ones.
const PACKET_BYTES: u32 = 8_000;

/// A request may take this many times as long as a lock wait before the connection is given up: it writes a whole batch.
const REQUEST_PER_SESSION_TIMEOUT: u32 = 5;

/// SQL Server 2016: the first with OPENJSON, which also needs a database of that level.
const OLDEST_VERSION: i32 = 13;
const OLDEST_LEVEL: i32 = 130;

/// The edition number of Azure SQL Database, whose version number stands still at 12.
const AZURE: i32 = 5;

/// Why no session came about.
#[derive(Debug)]
pub(super) struct Unopened {
    /// The step that failed: `tls` (which includes reaching the server) or `login`.
    pub(super) step: &'static str,
    /// Why.
    pub(super) why: WriteError,
}

/// What a server says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Server {
    /// `SERVERPROPERTY('ProductVersion')`.
    pub(super) version: String,
    /// `SERVERPROPERTY('Edition')`.
    pub(super) edition: String,
}

/// A connection that is logged in and set up.
pub(super) struct Session {
    client: Client<Compat<TcpStream>>,
    /// The server.
    pub(super) server: Server,
    /// Whether IDENTITY_INSERT may have been left on.
    suspect: bool,
}

/// One result set.
pub(super) struct Set {
    /// The columns' names.
    pub(super) columns: Vec<String>,
    /// The rows.
    pub(super) rows: Vec<Row>,
}

/// Everything a request came to: its result sets, and the error it ended with.
#[derive(Default)]
pub(super) struct Answer {
    /// The result sets.
    pub(super) sets: Vec<Set>,
    /// What it ended with.
    pub(super) error: Option<tiberius::error::Error>,
}

impl Session {
    /// Connects, logs in and sets the session up, within the time allowed.
    pub(super) async fn open(settings: &Connection) -> Result<Self, Unopened> {
        let limit = settings.connect_timeout;
        timeout(limit, Self::open_slowly(settings)).await.unwrap_or_else(|_| {
            let message = format!(
                "{}: SQL Server did not answer within {}: check the address, the network and the server's load",
                settings.name,
                humantime::format_duration(limit)
            );
            Err(Unopened { step: "tls", why: WriteError::Retry(Fault::lost(message)) })
        })
    }

    async fn open_slowly(settings: &Connection) -> Result<Self, Unopened> {
        let name = &settings.name;
        let ca = read_ca(settings).await.map_err(|why| Unopened { step: "tls", why })?;
        let (mut host, mut port) = (address::host(&settings.url).to_owned(), settings.url.port().unwrap_or(PORT));
        let mut hops = 0;
        let client = loop {
            match connect(settings, ca.as_deref(), &host, port).await {
                Ok(client) => break client,
                Err(tiberius::error::Error::Routing { host: there, port: at }) if hops < MAX_HOPS => {
                    // `server\instance`: the port says the same.
                    host = there.split('\\').next().unwrap_or_default().to_owned();
                    port = at;
                    hops += 1;
                }
                Err(error) => {
                    // An answer in words means that TLS was done with.
                    let step = if matches!(error, tiberius::error::Error::Server(_)) { "login" } else { "tls" };
                    return Err(Unopened { step, why: errors::of_connecting(name, &error) });
                }
            }
        };
        let mut session = Self { client, server: Server::default(), suspect: false };
        session.set_up(settings).await.map_err(|why| Unopened { step: "login", why })?;
        Ok(session)
    }

    /// What a session must be like, whatever the server's and the login's defaults are.
    async fn set_up(&mut self, settings: &Connection) -> Result<(), WriteError> {
        let name = &settings.name;
        let unsettled = |error: &tiberius::error::Error| errors::of_connecting(name, error);
        self.text(&settings_text(settings.session_timeout)).await.map_err(|error| unsettled(&error))?;
        let answer = self.ask(&Batch::named("SESSION").with(ABOUT_SERVER)).await;
        if let Some(error) = &answer.error {
            return Err(unsettled(error));
        }
        let row = answer.only_row().ok_or_else(|| errors::out_of_turn(name))?;
        let number = |at| row.try_get::<i32, _>(at).ok().flatten().unwrap_or_default();
        let word = |at| row.try_get::<&str, _>(at).ok().flatten().unwrap_or_default().to_owned();
        let (major, edition, level, delayed) = (number(0), number(1), number(2), number(3));
        self.server = Server { version: word(4), edition: word(5) };
        let wait = |message: String| Err(WriteError::Retry(Fault::new(format!("{name}: {message}"))));
        if major < OLDEST_VERSION && edition != AZURE {
            return wait(format!("SQL Server {} is too old: 2016 or later is needed", self.server.version));
        }
        if level < OLDEST_LEVEL {
            return wait(format!(
                "the database's compatibility level is {level}, and {OLDEST_LEVEL} or later is needed: a DBA must run \
                 ALTER DATABASE … SET COMPATIBILITY_LEVEL = {OLDEST_LEVEL}"
            ));
        }
        // A commit that is answered must be on disk: Redis forgets its records.
        if delayed == 2 {
            return wait(
                "the database forces delayed durability, so that a commit could be lost: a DBA must run ALTER \
                         DATABASE … SET DELAYED_DURABILITY = ALLOWED"
                    .into(),
            );
        }
        Ok(())
    }

    /// Statements without parameters, as they are; nothing of their results.
    pub(super) async fn text(&mut self, text: &str) -> Result<(), tiberius::error::Error> {
        self.client.simple_query(text).await?.into_results().await.map(drop)
    }

    /// One request with its parameters, read to its end.
    pub(super) async fn ask(&mut self, batch: &Batch) -> Answer {
        self.suspect |= batch.sets_identity_insert;
        let parameters: Vec<&dyn ToSql> = batch.parameters.iter().map(|value| value as &dyn ToSql).collect();
        let mut answer = Answer::default();
        let mut stream = match self.client.query(batch.text.as_str(), &parameters).await {
            Ok(stream) => stream,
            Err(error) => return Answer { error: Some(error), ..answer },
        };
        loop {
            match stream.try_next().await {
                Ok(Some(QueryItem::Metadata(about))) => {
                    let columns = about.columns().iter().map(|column| column.name().to_owned()).collect();
                    answer.sets.push(Set { columns, rows: Vec::new() });
                }
                Ok(Some(QueryItem::Row(row))) => answer.sets.last_mut().map_or((), |set| set.rows.push(row)),
                Ok(None) => break,
                Err(error) => {
                    answer.error = Some(error);
                    break;
                }
            }
        }
        self.suspect &= answer.error.is_some();
        answer
    }

    /// After a failed request: makes certain that no transaction is left open. False: the session is of no more use.
    pub(super) async fn settle_after_failure(&mut self) -> bool {
        !self.suspect && self.text("IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION;").await.is_ok()
    }
}

impl Answer {
    /// The rows of the last result set, where it has these columns. (A trigger may send result sets of its own before.)
    pub(super) fn told(&self, columns: &[&str]) -> Option<&[Row]> {
        self.sets.last().filter(|set| set.columns == columns).map(|set| set.rows.as_slice())
    }

    /// The only row of the only result set.
    pub(super) fn only_row(&self) -> Option<&Row> {
        match self.sets.as_slice() {
            [set] => set.rows.first().filter(|_| set.rows.len() == 1),
            _ => None,
        }
    }
}

pub(super) const ABOUT_SERVER: &str = "SELECT CONVERT(int, SERVERPROPERTY('ProductMajorVersion')), \
    CONVERT(int, SERVERPROPERTY('EngineEdition')), CONVERT(int, d.compatibility_level), CONVERT(int, d.delayed_durability), \
    CONVERT(nvarchar(128), SERVERPROPERTY('ProductVersion')), CONVERT(nvarchar(128), SERVERPROPERTY('Edition')) \
    FROM sys.databases AS d WHERE d.database_id = DB_ID();";

/// The session's settings. The ANSI ones are what indexes over computed columns and views need, XACT_ABORT makes every error
/// end the transaction, and a fixed language keeps the words of errors readable for us.
fn settings_text(lock_timeout: Duration) -> String {
    format!(
        "SET LANGUAGE us_english; SET DATEFORMAT ymd; SET TEXTSIZE 2147483647; SET NOCOUNT ON; SET XACT_ABORT ON; \
         SET IMPLICIT_TRANSACTIONS OFF; SET ANSI_NULLS ON; SET ANSI_PADDING ON; SET ANSI_WARNINGS ON; SET ARITHABORT ON; \
         SET CONCAT_NULL_YIELDS_NULL ON; SET QUOTED_IDENTIFIER ON; SET NUMERIC_ROUNDABORT OFF; SET ROWCOUNT 0; \
         SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET LOCK_TIMEOUT {};",
        lock_timeout.as_millis()
    )
}

/// The certificate authority's file.
async fn read_ca(settings: &Connection) -> Result<Option<Vec<u8>>, WriteError> {
    let Some(ca) = settings.tls.as_ref().and_then(|tls| tls.ca.as_ref()) else { return Ok(None) };
    tokio::fs::read(ca).await.map(Some).map_err(|error| {
        let name = &settings.name;
        WriteError::Retry(Fault::new(format!(
            "{name}: the certificate authority's file {ca} can't be read ({error}): correct the destination's `tls.ca`"
        )))
    })
}

async fn connect(
    settings: &Connection,
    ca: Option<&[u8]>,
    host: &str,
    port: u16,
) -> Result<Client<Compat<TcpStream>>, tiberius::error::Error> {
    let tcp = TcpStream::connect((host, port)).await?;
    tcp.set_nodelay(true)?;
    let config = config(settings, ca, host, port);
    Client::connect(config, tcp.compat_write()).await
}

fn config(settings: &Connection, ca: Option<&[u8]>, host: &str, port: u16) -> Config {
    let mut config = Config::new();
    config.host(host);
    config.port(port);
    config.database(address::database(&settings.url));
    let password = settings.password.as_ref().map_or("", |password| password.expose_secret());
    config.authentication(AuthMethod::sql_server(address::user(&settings.url), password));
    let name: String = settings.name.chars().filter(char::is_ascii_graphic).collect();
    config.application_name(format!("tidegate/{name}"));
    config.packet_size(PACKET_BYTES);
    // The time to connect is ours to bound, together with everything before and after the log-in.
    config.handshake_timeout(None);
    config.command_timeout(Some(settings.session_timeout * REQUEST_PER_SESSION_TIMEOUT));
    match address::tls_mode(settings) {
        TlsMode::Verify => {
            config.encryption(EncryptionLevel::Required);
            if let Some(ca) = ca {
                config.trust_cert_ca_bundle(ca);
            }
        }
        TlsMode::Require => {
            config.encryption(EncryptionLevel::Required);
            config.trust_cert();
        }
        // A server that insists on encryption gets it, unchecked.
        TlsMode::Off => {
            config.encryption(EncryptionLevel::NotSupported);
            config.trust_cert();
        }
    }
    config
}

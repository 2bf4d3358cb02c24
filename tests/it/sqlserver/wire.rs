//! SQL Server's protocol with scripted answers: a `MockTdsServer` that logs clients in and answers what nobody scripted, and a
//! wire in front of it that hears every request, puts messages of several packets together (the mock reads one packet a
//! message), and answers, loses, delays or cuts as a test says.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use mssql_mock_tds::{
    ColumnDefinition, ColumnValue, ConnectionStore, MockTdsServer, QueryResponse, Row, SqlDataType,
    protocol::{PACKET_HEADER_SIZE, PacketHeader, PacketType, build_query_result, build_terminal_error_tokens},
    query_response::TerminalError,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Longest message that a packet holds.
const MAX_PACKET_BYTES: usize = 65_000;
/// The last packet of a message.
const END: u8 = 1;
const LOGIN: u8 = 0x10;
const PRELOGIN: u8 = 0x12;

/// What becomes of a request.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    /// This answer comes back, and the server never hears of it.
    Answer(Vec<u8>),
    /// The server hears of it; its answer is lost with the connection.
    LoseAnswer,
    /// The connection is cut before the server hears of it.
    Cut,
    /// Nothing ever comes back.
    Silence,
}

/// A request as it went over the wire.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// Which connection, from 0.
    pub(super) connection: usize,
    /// The packets' type: 1 a batch of text, 3 a call with parameters.
    pub(super) kind: u8,
    body: Vec<u8>,
}

impl Request {
    /// Whether this text is in it, in UTF-16 as the protocol has it.
    pub(super) fn says(&self, text: &str) -> bool {
        let needle: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        self.body.windows(needle.len()).any(|window| window == needle)
    }
}

#[derive(Default)]
struct Script {
    /// Deeds for requests that have this text, in their order.
    once: VecDeque<(String, Deed)>,
    always: Vec<(String, Deed)>,
    heard: Vec<Request>,
    connections: usize,
}

impl Script {
    fn deed(&mut self, request: Request) -> Option<Deed> {
        let once = self.once.iter().position(|(text, _)| request.says(text)).and_then(|at| self.once.remove(at));
        let deed = once.or_else(|| self.always.iter().find(|(text, _)| request.says(text)).cloned());
        self.heard.push(request);
        deed.map(|(_, deed)| deed)
    }
}

/// A server with scripted answers; it ends when it is dropped.
pub(super) struct Wire {
    /// Where to connect.
    pub(super) port: u16,
    /// What clients said when they logged in.
    pub(super) logins: Arc<tokio::sync::Mutex<ConnectionStore>>,
    /// The mock's own answers.
    pub(super) registry: Arc<tokio::sync::Mutex<mssql_mock_tds::QueryRegistry>>,
    script: Arc<Mutex<Script>>,
    _alive: tokio::sync::oneshot::Sender<()>,
}

impl Wire {
    /// A server that logs everybody in, of this version and compatibility level.
    pub(super) fn start() -> Self {
        let (alive, ended) = tokio::sync::oneshot::channel();
        let (ready, started) = std::sync::mpsc::channel();
        let script = Arc::new(Mutex::new(Script::default()));
        let scripted = script.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mock = MockTdsServer::new("127.0.0.1:0").await.unwrap();
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let port = listener.local_addr().unwrap().port();
                ready.send((port, mock.connection_store(), mock.query_registry())).unwrap();
                let server = mock.local_addr();
                tokio::select! {
                    _ = mock.run() => {}
                    () = serve(listener, server, scripted) => {}
                    _ = ended => {}
                }
            });
        });
        let (port, logins, registry) = started.recv().unwrap();
        let wire = Self { port, logins, registry, script, _alive: alive };
        wire.always("TIDEGATE SESSION", Deed::Answer(about(16, 160, 0)));
        wire.always("TIDEGATE OWN TABLES", Deed::Answer(answer(&[set(&[("name", Of::Text)], &[])], None)));
        wire
    }

    /// What becomes of the next request with this text.
    pub(super) fn once(&self, text: &str, deed: Deed) {
        self.script.lock().unwrap().once.push_back((text.to_owned(), deed));
    }

    /// What becomes of every request with this text.
    pub(super) fn always(&self, text: &str, deed: Deed) {
        self.script.lock().unwrap().always.insert(0, (text.to_owned(), deed));
    }

    /// The requests with this text so far.
    pub(super) fn heard(&self, text: &str) -> Vec<Request> {
        self.script.lock().unwrap().heard.iter().filter(|request| request.says(text)).cloned().collect()
    }

    /// Connections so far.
    pub(super) fn connections(&self) -> usize {
        self.script.lock().unwrap().connections
    }
}

async fn serve(listener: TcpListener, server: std::net::SocketAddr, script: Arc<Mutex<Script>>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let script = script.clone();
        tokio::spawn(async move {
            let number = {
                let mut script = script.lock().unwrap();
                script.connections += 1;
                script.connections - 1
            };
            // A side that goes away ends the connection.
            let _ = converse(client, server, number, &script).await;
        });
    }
}

async fn converse(
    mut client: TcpStream,
    server: std::net::SocketAddr,
    connection: usize,
    script: &Mutex<Script>,
) -> std::io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    loop {
        let (kind, body) = message(&mut client).await?;
        let request = Request { connection, kind, body: body.clone() };
        let login = matches!(kind, LOGIN | PRELOGIN);
        // A log-in's text is its own affair: the deeds for it go by these names.
        let deed = if login {
            let mut script = script.lock().unwrap();
            let name = if kind == LOGIN { "the log-in" } else { "the first packet" };
            let at = script.once.iter().position(|(text, _)| text == name);
            at.and_then(|at| script.once.remove(at)).map(|(_, deed)| deed)
        } else {
            script.lock().unwrap().deed(request)
        };
        match deed {
            Some(Deed::Answer(bytes)) => client.write_all(&bytes).await?,
            Some(Deed::Cut) => return Ok(()),
            Some(Deed::Silence) => {
                // Until the client has had enough.
                while client.read(&mut [0; 1024]).await? > 0 {}
                return Ok(());
            }
            deed @ (Some(Deed::LoseAnswer) | None) => {
                server.write_all(&packet(kind, &body[..body.len().min(MAX_PACKET_BYTES)])).await?;
                let (kind, body) = message(&mut server).await?;
                if deed.is_some() {
                    return Ok(());
                }
                client.write_all(&packet(kind, &body)).await?;
            }
        }
    }
}

/// One message: its packets' bodies put together.
async fn message(from: &mut TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let mut body = Vec::new();
    loop {
        let mut header = [0; PACKET_HEADER_SIZE];
        from.read_exact(&mut header).await?;
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let start = body.len();
        body.resize(start + length - PACKET_HEADER_SIZE, 0);
        from.read_exact(&mut body[start..]).await?;
        if header[1] & END != 0 {
            return Ok((header[0], body));
        }
    }
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + PACKET_HEADER_SIZE).unwrap().to_be_bytes();
    [&[kind, END, length[0], length[1], 0, 0, 1, 0][..], body].concat()
}

/// A column's type in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Int,
    BigInt,
    Text,
}

/// A result set; `∅` is NULL.
pub(super) fn set(columns: &[(&str, Of)], rows: &[&[&str]]) -> QueryResponse {
    let definition = |(name, of): &(&str, Of)| {
        let of = match of {
            Of::Int => SqlDataType::Int,
            Of::BigInt => SqlDataType::BigInt,
            Of::Text => SqlDataType::NVarCharMax,
        };
        ColumnDefinition::new(*name, of)
    };
    let value = |(of, text): (Of, &str)| match (of, text) {
        (Of::Text, "∅") => ColumnValue::NVarCharMaxNull,
        (Of::Text, "") => ColumnValue::NVarCharMax(Vec::new()),
        (Of::Text, text) => ColumnValue::NVarCharMax(vec![text.encode_utf16().collect()]),
        (_, "∅") => ColumnValue::Null,
        (Of::Int, number) => ColumnValue::Int(number.parse().unwrap()),
        (Of::BigInt, number) => ColumnValue::BigInt(number.parse().unwrap()),
    };
    let row = |row: &&[&str]| Row::new(columns.iter().map(|(_, of)| *of).zip(row.iter().copied()).map(value).collect());
    QueryResponse::new(columns.iter().map(definition).collect(), rows.iter().map(row).collect())
}

/// Result sets, one after the other, and the error they end with.
pub(super) fn answer(sets: &[QueryResponse], error: Option<TerminalError>) -> Vec<u8> {
    const DONE_BYTES: usize = 13;
    const MORE: u8 = 1;
    let mut tokens = Vec::new();
    for (at, set) in sets.iter().enumerate() {
        tokens.extend_from_slice(&build_query_result(set)[PACKET_HEADER_SIZE..]);
        if at + 1 < sets.len() || error.is_some() {
            let done = tokens.len() - DONE_BYTES;
            tokens[done + 1] |= MORE;
        }
    }
    if let Some(error) = error {
        tokens.extend_from_slice(&build_terminal_error_tokens(&error));
    }
    let length = u16::try_from(tokens.len() + PACKET_HEADER_SIZE).unwrap();
    let mut packet = bytes::BytesMut::new();
    PacketHeader::new(PacketType::TabularResult, length, 1).write(&mut packet);
    packet.extend_from_slice(&tokens);
    packet.to_vec()
}

/// An error, alone.
pub(super) fn error(number: u32, severity: u8, words: &str) -> Vec<u8> {
    answer(&[], Some(TerminalError::new(number, severity, words)))
}

/// What a server says of itself at the beginning of a session.
pub(super) fn about(version: i32, level: i32, delayed_durability: i32) -> Vec<u8> {
    let columns = [("", Of::Int), ("", Of::Int), ("", Of::Int), ("", Of::Int), ("", Of::Text), ("", Of::Text)];
    let numbers = [version, 3, level, delayed_durability].map(|number| number.to_string());
    let [version, edition, level, delayed] = &numbers;
    let row: [&str; 6] = [version, edition, level, delayed, "16.0.4135.4", "Developer Edition (64-bit)"];
    answer(&[set(&columns, &[&row])], None)
}

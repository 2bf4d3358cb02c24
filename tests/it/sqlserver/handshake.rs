//! The mock wraps its side of a TLS handshake in packets of type 4, where SQL Server and the driver have type 18, and goes on
//! wrapping for as long as it has heard nothing unwrapped, where TLS 1.3 has the server speak once more. This relay sets both
//! right, as SQL Server has it; what is encrypted goes through untouched.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use mssql_mock_tds::protocol::PACKET_HEADER_SIZE;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

const PRELOGIN: u8 = 0x12;
const ANSWER: u8 = 0x04;
/// TLS's record of encrypted data; within a handshake only 1.3 has it, and from a client only at its end.
const ENCRYPTED: u8 = 0x17;

/// Listens, and relays every connection to the mock; the port.
pub(super) async fn relay(mock: SocketAddr) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(mock).await.unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            let client_is_done = Arc::new(AtomicBool::new(false));
            // Either side may go away at any time.
            tokio::spawn(from_the_client(from_client, to_server, client_is_done.clone()));
            tokio::spawn(from_the_server(from_server, to_client, client_is_done));
        }
    });
    port
}

/// One packet whose first byte has been read, or `None` where it is no packet but TLS.
async fn packet(from: &mut OwnedReadHalf, kind: u8, first: u8) -> std::io::Result<Option<Vec<u8>>> {
    if first != kind {
        return Ok(None);
    }
    let mut packet = vec![first; PACKET_HEADER_SIZE];
    from.read_exact(&mut packet[1..]).await?;
    let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    packet.resize(length, 0);
    from.read_exact(&mut packet[PACKET_HEADER_SIZE..]).await?;
    Ok(Some(packet))
}

async fn from_the_client(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    is_done: Arc<AtomicBool>,
) -> std::io::Result<()> {
    loop {
        let first = from.read_u8().await?;
        let Some(packet) = packet(&mut from, PRELOGIN, first).await? else {
            to.write_all(&[first]).await?;
            tokio::io::copy(&mut from, &mut to).await?;
            return Ok(());
        };
        if records(&packet[PACKET_HEADER_SIZE..]).contains(&ENCRYPTED) {
            is_done.store(true, Ordering::SeqCst);
        }
        to.write_all(&packet).await?;
    }
}

async fn from_the_server(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    client_is_done: Arc<AtomicBool>,
) -> std::io::Result<()> {
    let mut handshake = false;
    loop {
        let first = from.read_u8().await?;
        let Some(mut packet) = packet(&mut from, ANSWER, first).await? else {
            to.write_all(&[first]).await?;
            tokio::io::copy(&mut from, &mut to).await?;
            return Ok(());
        };
        match (handshake, client_is_done.load(Ordering::SeqCst)) {
            // The answer to the first packet of all.
            (false, _) => to.write_all(&packet).await?,
            (true, true) => to.write_all(&packet[PACKET_HEADER_SIZE..]).await?,
            (true, false) => {
                packet[0] = PRELOGIN;
                to.write_all(&packet).await?;
            }
        }
        handshake = true;
    }
}

/// The types of the TLS records in these bytes.
fn records(mut bytes: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    while let [kind, _, _, high, low, rest @ ..] = bytes {
        types.push(*kind);
        bytes = rest.get(usize::from(u16::from_be_bytes([*high, *low]))..).unwrap_or_default();
    }
    types
}

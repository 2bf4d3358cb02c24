//! A TCP proxy between two parties, to cut the wire between them: in silence, as a network does that loses every packet, or
//! with a refusal, as a machine does on which nobody listens. It lives on a thread of its own, so that nothing a test does
//! keeps it waiting.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// What happens to the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    /// They go through.
    Whole,
    /// Nothing goes through, either way, and nobody is told. What was sent meanwhile arrives once it is mended, as it does
    /// by TCP's own repetitions.
    Cut,
    /// What the client sends goes through; what the server answers does not.
    Deaf,
    /// Every connection is closed, new ones at once.
    Refused,
    /// The proxy ends.
    Gone,
}

/// A running proxy; it ends when it is dropped.
pub(crate) struct Proxy {
    port: u16,
    wire: watch::Sender<Wire>,
}

impl Proxy {
    /// A proxy to this port of 127.0.0.1.
    pub(crate) fn to(server: u16) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (wire, said) = watch::channel(Wire::Whole);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { serve(TcpListener::from_std(listener).unwrap(), server, said).await });
        });
        Self { port, wire }
    }

    /// Where the client connects instead of to the server.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Loses everything from now on, both ways, without a word.
    pub(crate) fn cut(&self) {
        self.wire.send_replace(Wire::Cut);
    }

    /// Loses the answers from now on; what the client sends still arrives.
    pub(crate) fn lose_answers(&self) {
        self.wire.send_replace(Wire::Deaf);
    }

    /// Closes all connections, and every new one.
    pub(crate) fn refuse(&self) {
        self.wire.send_replace(Wire::Refused);
    }

    /// Lets everything through again, on the old connections as well.
    pub(crate) fn mend(&self) {
        self.wire.send_replace(Wire::Whole);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.wire.send_replace(Wire::Gone);
    }
}

async fn serve(listener: TcpListener, server: u16, mut wire: watch::Receiver<Wire>) {
    loop {
        let now = *wire.borrow_and_update();
        tokio::select! {
            _ = wire.changed() => {}
            // While the wire is cut, the kernel lets clients in and nobody answers them.
            accepted = listener.accept(), if matches!(now, Wire::Whole | Wire::Deaf | Wire::Refused) => {
                let Ok((client, _)) = accepted else { continue };
                if now != Wire::Refused {
                    tokio::spawn(connection(client, server, wire.clone()));
                }
            }
        }
        if *wire.borrow() == Wire::Gone {
            return;
        }
    }
}

async fn connection(client: TcpStream, server: u16, mut wire: watch::Receiver<Wire>) {
    let Ok(server) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], server))).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let there = pump(from_client, to_server, wire.clone(), |wire| matches!(wire, Wire::Whole | Wire::Deaf));
    let back = pump(from_server, to_client, wire.clone(), |wire| wire == Wire::Whole);
    tokio::select! {
        () = async { tokio::join!(there, back); } => {}
        _ = wire.wait_for(|wire| matches!(wire, Wire::Refused | Wire::Gone)) => {}
    }
}

/// Carries bytes one way while the wire lets them through.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut wire: watch::Receiver<Wire>,
    open: impl Fn(Wire) -> bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        // Bytes that were on their way when it was cut wait here.
        if wire.wait_for(|wire| open(*wire)).await.is_err() || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
    let _ = wire.wait_for(|wire| open(*wire)).await;
    let _ = to.shutdown().await;
}

#[tokio::test]
async fn a_cut_wire_is_silent_and_a_mended_one_brings_what_was_sent() {
    let a_while = std::time::Duration::from_millis(100);
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::to(server.local_addr().unwrap().port());
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    let (mut accepted, _) = server.accept().await.unwrap();
    client.write_all(b"one").await.unwrap();
    let mut buffer = [0; 3];
    accepted.read_exact(&mut buffer).await.unwrap();
    proxy.cut();
    client.write_all(b"two").await.unwrap();
    let silence = tokio::time::timeout(a_while, accepted.read_exact(&mut buffer)).await;
    assert!(silence.is_err(), "nothing goes through, and the connection is still there");
    proxy.mend();
    accepted.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"two");
    proxy.lose_answers();
    client.write_all(b"ask").await.unwrap();
    accepted.read_exact(&mut buffer).await.unwrap();
    accepted.write_all(b"yes").await.unwrap();
    let silence = tokio::time::timeout(a_while, client.read_exact(&mut buffer)).await;
    assert!(silence.is_err(), "the answer is lost");
    proxy.refuse();
    assert_eq!(client.read(&mut buffer).await.unwrap_or(0), 0, "the connection is closed");
}

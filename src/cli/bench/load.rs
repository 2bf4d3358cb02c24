//! The load: as many connections as wanted, each of which sends the same bytes again as soon as the answer is there, for
//! some time. It only counts answers, so that it costs little beside what it measures.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use futures_util::future::try_join_all;
use redis::aio::MultiplexedConnection;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// What is sent.
pub(super) enum Task {
    /// A whole request of HTTP.
    Http(Vec<u8>),
    /// Packed commands of Redis, each answered with one bulk string; how many.
    Pipeline(Vec<u8>, usize),
}

impl Task {
    /// Records to a node.
    pub(super) fn post(key: &str, content_type: &str, body: &str) -> Self {
        let head = format!(
            "POST /v1/messages HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\nContent-Type: {content_type}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Self::Http(head.into_bytes())
    }
}

/// What a load came to.
pub(super) struct Done {
    /// Requests that were answered.
    pub(super) requests: u64,
    pub(super) time: Duration,
}

/// One connection.
pub(super) struct Wire {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Wire {
    /// To a port of this machine.
    pub(super) async fn open(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await;
        let stream = stream.with_context(|| format!("port {port} of this machine takes no connection"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, answer: Vec::with_capacity(64 * 1024) })
    }

    pub(super) async fn open_all(port: u16, connections: usize) -> anyhow::Result<Vec<Self>> {
        try_join_all((0..connections).map(|_| Self::open(port))).await
    }

    /// Sends it once, and waits for the whole answer.
    pub(super) async fn send(&mut self, task: &Task) -> anyhow::Result<()> {
        match task {
            Task::Http(request) => {
                self.stream.write_all(request).await?;
                self.accepted().await
            }
            Task::Pipeline(commands, replies) => {
                self.stream.write_all(commands).await?;
                self.answered(*replies).await
            }
        }
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        if self.stream.read_buf(&mut self.answer).await? == 0 {
            bail!("a connection of the load was closed by the server");
        }
        Ok(())
    }

    async fn accepted(&mut self) -> anyhow::Result<()> {
        self.answer.clear();
        let mut whole = None;
        while whole.is_none_or(|whole| self.answer.len() < whole) {
            self.read().await?;
            whole = whole.or_else(|| length(&self.answer));
        }
        if !self.answer.starts_with(b"HTTP/1.1 202") {
            let text = String::from_utf8_lossy(&self.answer);
            let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            bail!("the node refused a record: {} {body}", text.lines().next().unwrap_or_default());
        }
        Ok(())
    }

    /// A bulk string is two lines; an error is one that begins with a minus.
    async fn answered(&mut self, replies: usize) -> anyhow::Result<()> {
        let (mut lines, mut at_start) = (0, true);
        while lines < 2 * replies {
            self.answer.clear();
            self.read().await?;
            for &byte in &self.answer {
                if at_start && byte == b'-' {
                    let text = String::from_utf8_lossy(&self.answer);
                    bail!("Redis refused a command of the load: {}", text.lines().next_back().unwrap_or_default());
                }
                at_start = byte == b'\n';
                lines += usize::from(at_start);
            }
        }
        Ok(())
    }
}

/// How long the answer is, once its head is there.
fn length(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    Some(head + length.unwrap_or(0))
}

/// On all connections for this long.
pub(super) async fn send(wires: &mut [Wire], task: &Task, time: Duration) -> anyhow::Result<Done> {
    let start = Instant::now();
    let each = wires.iter_mut().map(async |wire| {
        let mut requests = 0;
        while start.elapsed() < time {
            wire.send(task).await?;
            requests += 1;
        }
        anyhow::Ok(requests)
    });
    let requests = try_join_all(each).await?.into_iter().sum();
    Ok(Done { requests, time: start.elapsed() })
}

/// One command, from so many tasks that share a connection.
pub(super) async fn command(
    connection: &MultiplexedConnection,
    command: &redis::Cmd,
    tasks: usize,
    time: Duration,
) -> anyhow::Result<Done> {
    let start = Instant::now();
    let each = (0..tasks).map(async |_| {
        let (mut connection, mut requests) = (connection.clone(), 0);
        while start.elapsed() < time {
            command.query_async::<redis::Value>(&mut connection).await?;
            requests += 1;
        }
        anyhow::Ok(requests)
    });
    let requests = try_join_all(each).await?.into_iter().sum();
    Ok(Done { requests, time: start.elapsed() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A server that says this to whatever comes.
    async fn wire_to(answer: &'static [u8]) -> Wire {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_u8().await.unwrap();
            // In pieces, as a network may deliver it.
            for piece in answer.chunks(7) {
                stream.write_all(piece).await.unwrap();
                stream.flush().await.unwrap();
                tokio::task::yield_now().await;
            }
            stream.read_to_end(&mut Vec::new()).await.unwrap();
        });
        Wire::open(port).await.unwrap()
    }

    #[tokio::test]
    async fn an_answer_that_is_no_acceptance_stops_the_load() {
        let task = Task::post("k", "application/json", "{}");
        let accepted = b"HTTP/1.1 202 Accepted\r\nContent-Length: 3\r\n\r\n{}\n";
        wire_to(accepted).await.send(&task).await.unwrap();
        let refused = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nfull";
        let error = wire_to(refused).await.send(&task).await.unwrap_err().to_string();
        assert!(error.contains("503") && error.ends_with("full"), "{error}");
    }

    #[tokio::test]
    async fn an_error_among_the_replies_stops_the_load() {
        let task = Task::Pipeline(b"x".to_vec(), 2);
        wire_to(b"$3\r\n1-0\r\n$3\r\n2-0\r\n").await.send(&task).await.unwrap();
        let error = wire_to(b"$3\r\n1-0\r\n-OOM too much\r\n").await.send(&task).await.unwrap_err().to_string();
        assert!(error.contains("Redis refused"), "{error}");
    }
}

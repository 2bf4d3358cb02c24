//! Open-loop load: requests are due at fixed times, whether the ones before them were answered or not, and a request's time
//! runs from when it was due. A load that waits for an answer before it sends again leaves out just those requests that
//! would have waited longest (coordinated omission).
//!
//! Each connection is a thread that sleeps, writes and reads: the sleep of the kernel is more exact than a runtime's timers.
//! A thread that was awake in time counts from when it sends, so that the length of its sleep is not taken for the node's.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

/// What is sent, and how much of it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) port: u16,
    pub(crate) key: String,
    /// Records a second, in all.
    pub(crate) rate: f64,
    pub(crate) time: Duration,
    pub(crate) connections: usize,
    /// Records in one request.
    pub(crate) in_one: usize,
    /// The id of the first record.
    pub(crate) first_id: usize,
}

/// One request that was answered with 202.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// The id of its first record.
    pub(crate) id: usize,
    /// When it was due.
    pub(crate) due: Instant,
    /// When its answer was there.
    pub(crate) answered: Instant,
}

/// Sends all of it; panics if any answer was not 202.
pub(crate) fn run(plan: &Plan) -> Vec<Request> {
    let requests = ((plan.rate * plan.time.as_secs_f64()) as usize / plan.in_one).max(1);
    let plan = Arc::new(plan.clone());
    let start = Instant::now() + Duration::from_millis(20);
    let threads: Vec<_> = (0..plan.connections)
        .map(|place| {
            let plan = Arc::clone(&plan);
            std::thread::spawn(move || connection(&plan, place, requests, start))
        })
        .collect();
    threads.into_iter().flat_map(|thread| thread.join().expect("a connection of the load failed")).collect()
}

fn connection(plan: &Plan, place: usize, requests: usize, start: Instant) -> Vec<Request> {
    let mut stream = TcpStream::connect(("127.0.0.1", plan.port)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let content_type = if plan.in_one == 1 { "application/json" } else { "application/x-ndjson" };
    let mut sent = Vec::with_capacity(requests / plan.connections + 1);
    let (mut answer, mut request, mut body) = (vec![0; 64 * 1024], String::new(), String::new());
    for number in (place..requests).step_by(plan.connections) {
        let id = plan.first_id + number * plan.in_one;
        body.clear();
        for record in id..id + plan.in_one {
            body.push_str(&crate::node::message(record));
            body.push('\n');
        }
        request.clear();
        request.push_str(&format!(
            "POST /v1/messages HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\nContent-Type: {content_type}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            plan.key,
            body.len()
        ));
        let wanted = start + Duration::from_secs_f64((number * plan.in_one) as f64 / plan.rate);
        let early = wanted.saturating_duration_since(Instant::now());
        let due = if early.is_zero() {
            wanted
        } else {
            std::thread::sleep(early);
            Instant::now()
        };
        stream.write_all(request.as_bytes()).unwrap();
        accepted(&mut stream, &mut answer);
        sent.push(Request { id, due, answered: Instant::now() });
    }
    sent
}

/// Reads one answer.
fn accepted(stream: &mut TcpStream, buffer: &mut Vec<u8>) {
    let mut have = 0;
    let mut whole = None;
    while whole.is_none_or(|whole| have < whole) {
        if have == buffer.len() {
            buffer.resize(have * 2, 0);
        }
        let got = stream.read(&mut buffer[have..]).unwrap();
        assert!(got > 0, "the node closed a connection of the load");
        have += got;
        whole = whole.or_else(|| length(&buffer[..have]));
    }
    let status = String::from_utf8_lossy(&buffer[..have.min(400)]);
    assert!(status.starts_with("HTTP/1.1 202"), "{status}");
}

/// How long the answer is, once its head is there.
fn length(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&answer[..head]).unwrap().to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap();
    Some(head + length.trim().parse::<usize>().unwrap())
}

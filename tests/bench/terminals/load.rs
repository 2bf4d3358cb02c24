//! The load: thousands of terminals on one thread, over bare sockets. Each is what the web terminal is to a node: a stream that is
//! opened again with its cursor, at the other node where one is gone, and a second connection for receipts (within a quarter of a
//! second, repeated until they are answered) and for a beat every 20 s, kept as long as the node keeps it.
//!
//! It checks as it goes: every terminal must be told every number, in order and once.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{Error, ErrorKind},
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::{
    net::TcpStream,
    sync::{Notify, Semaphore},
    task::LocalSet,
    time::{sleep, timeout},
};

use super::events::{Events, Said};

/// Terminals that open their stream at the same moment, at the start.
const AT_ONCE: usize = 100;
const BEAT: Duration = Duration::from_secs(20);
/// Receipts of one moment go together, as in the web terminal.
const GATHER_MS: u64 = 250;
/// The first pause of a terminal that has lost its node, and the longest, as in the web terminal.
const FIRST_MS: u64 = 300;
const MOST_MS: u64 = 5_000;
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Complaints that are kept.
const MOST_FAULTS: usize = 20;

/// What the terminals have seen so far.
pub(super) struct Seen {
    begun: Instant,
    /// For each number the moments at which terminals were told it, in microseconds since the start.
    told: Mutex<Vec<Vec<u32>>>,
    /// The least number of messages that any terminal has, by terminal.
    have: Vec<AtomicU32>,
    /// Streams that are open, and when the last was opened anew, in microseconds since the start.
    open: AtomicUsize,
    returned: AtomicU32,
    /// Receipts that no node has answered yet.
    owed: AtomicUsize,
    refused: AtomicUsize,
    beats: AtomicUsize,
    faults: Mutex<Vec<String>>,
    ended: AtomicBool,
}

impl Seen {
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How long after this moment the last stream was opened.
    pub(super) fn returned_after(&self, moment: Instant) -> Duration {
        let returned = Duration::from_micros(self.returned.load(Ordering::Relaxed).into());
        returned.saturating_sub(moment - self.begun)
    }

    pub(super) fn owed(&self) -> usize {
        self.owed.load(Ordering::Relaxed)
    }

    /// Receipts and beats that a node has turned away for the moment.
    pub(super) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    pub(super) fn beats(&self) -> usize {
        self.beats.load(Ordering::Relaxed)
    }

    /// How many terminals have so many messages.
    pub(super) fn with(&self, messages: u32) -> usize {
        self.have.iter().filter(|have| have.load(Ordering::Relaxed) == messages).count()
    }

    /// When each terminal was told this number, in milliseconds since a moment, the earliest first.
    pub(super) fn told_ms(&self, number: u32, since: Instant) -> Vec<f64> {
        let since = (since - self.begun).as_secs_f64() * 1e3;
        let told = self.told.lock().unwrap();
        let mut all: Vec<f64> = told[number as usize].iter().map(|at| f64::from(*at) / 1e3 - since).collect();
        all.sort_by(f64::total_cmp);
        all
    }

    /// What went wrong: the first of it.
    pub(super) fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap().clone()
    }

    fn fault(&self, what: String) {
        let mut faults = self.faults.lock().unwrap();
        if faults.len() < MOST_FAULTS {
            faults.push(what);
        }
    }

    fn now_us(&self) -> u32 {
        self.begun.elapsed().as_micros() as u32
    }
}

/// The terminals at work; they end with it.
pub(super) struct Load {
    pub(super) seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Load {
    fn drop(&mut self) {
        self.seen.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Load {
    /// Starts a terminal for each of these tokens, evenly over the nodes.
    pub(super) fn start(tokens: Vec<String>, nodes: Vec<SocketAddr>) -> Self {
        let seen = Arc::new(Seen {
            begun: Instant::now(),
            told: Mutex::default(),
            have: tokens.iter().map(|_| AtomicU32::new(0)).collect(),
            open: AtomicUsize::new(0),
            returned: AtomicU32::new(0),
            owed: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            beats: AtomicUsize::new(0),
            faults: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&seen);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, async {
                let turns = Rc::new(Semaphore::new(AT_ONCE));
                for (place, token) in tokens.into_iter().enumerate() {
                    let terminal = Rc::new(Terminal {
                        place,
                        token,
                        nodes: nodes.clone(),
                        node: RefCell::new(place % nodes.len()),
                        seen: Arc::clone(&of_thread),
                        owes: RefCell::default(),
                        rung: Notify::new(),
                    });
                    tokio::task::spawn_local(Rc::clone(&terminal).listen(Rc::clone(&turns)));
                    tokio::task::spawn_local(terminal.answer());
                }
                while !of_thread.ended.load(Ordering::Relaxed) {
                    sleep(Duration::from_millis(50)).await;
                }
            });
        });
        Self { seen, thread: Some(thread) }
    }
}

thread_local! {
    /// What a socket has is read into this and taken apart at once, so that a terminal that waits needs no buffer.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 << 10]);
}

struct Terminal {
    place: usize,
    token: String,
    nodes: Vec<SocketAddr>,
    /// The node that it is at.
    node: RefCell<usize>,
    seen: Arc<Seen>,
    /// Ids of broadcasts whose receipt was not answered yet.
    owes: RefCell<VecDeque<String>>,
    rung: Notify,
}

impl Terminal {
    fn address(&self) -> SocketAddr {
        self.nodes[*self.node.borrow()]
    }

    /// Listens for ever.
    async fn listen(self: Rc<Self>, turns: Rc<Semaphore>) {
        let (mut events, mut tries) = (Events::default(), 0_u32);
        let mut turn = Some(turns.acquire().await.unwrap());
        loop {
            let mut opened = false;
            let error = self.stream(&mut events, || opened = true, || drop(turn.take())).await.err();
            if opened {
                self.seen.open.fetch_sub(1, Ordering::Relaxed);
                tries = 0;
            } else if events.status.is_some_and(|status| status != 200) {
                self.seen.fault(format!("terminal {}: {:?}, {error:?}", self.place, events.status));
            }
            let most = MOST_MS.min(FIRST_MS << tries.min(10));
            tries += 1;
            sleep(Duration::from_millis(most / 2 + rand::random_range(0..most / 2))).await;
            let next = (*self.node.borrow() + 1) % self.nodes.len();
            *self.node.borrow_mut() = next;
        }
    }

    /// One stream until it ends.
    async fn stream(
        &self,
        events: &mut Events,
        mut opened: impl FnMut(),
        mut first: impl FnMut(),
    ) -> Result<(), Error> {
        events.begin();
        let stream = timeout(ANSWER_WITHIN, TcpStream::connect(self.address())).await??;
        let cursor =
            if events.cursor.is_empty() { String::new() } else { format!("Last-Event-ID: {}\r\n", events.cursor) };
        let request = format!(
            "GET /terminal/events HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nAccept: text/event-stream\r\n{cursor}\r\n",
            self.address(),
            self.token
        );
        write(&stream, request.as_bytes()).await?;
        loop {
            stream.readable().await?;
            let read = BUFFER.with_borrow_mut(|buffer| {
                let read = stream.try_read(buffer)?;
                events.take(&buffer[..read], &mut |said| match said {
                    Said::Hello => {
                        self.seen.open.fetch_add(1, Ordering::Relaxed);
                        self.seen.returned.fetch_max(self.seen.now_us(), Ordering::Relaxed);
                        opened();
                        first();
                    }
                    Said::Message(number, id) => self.told(number, id),
                    Said::Other(name) if name == "redis" => {}
                    Said::Other(name) => self.seen.fault(format!("terminal {}: event `{name}`", self.place)),
                });
                Ok::<_, Error>(read)
            });
            match read {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn told(&self, number: u32, id: String) {
        let wanted = self.seen.have[self.place].load(Ordering::Relaxed);
        if number != wanted {
            self.seen.fault(format!("terminal {}: told {number}, where {wanted} was due", self.place));
        }
        self.seen.have[self.place].store(number + 1, Ordering::Relaxed);
        {
            let mut told = self.seen.told.lock().unwrap();
            while told.len() <= number as usize {
                told.push(Vec::with_capacity(self.seen.have.len()));
            }
            told[number as usize].push(self.seen.now_us());
        }
        self.seen.owed.fetch_add(1, Ordering::Relaxed);
        self.owes.borrow_mut().push_back(id);
        self.rung.notify_one();
    }

    /// Gives receipts and beats for ever.
    async fn answer(self: Rc<Self>) {
        let mut connection = None;
        // Not all at the same moment.
        let mut beat = Instant::now() + BEAT.mul_f64(rand::random());
        loop {
            let (path, body, receipts) = if self.owes.borrow().is_empty() {
                let left = beat.saturating_duration_since(Instant::now());
                if timeout(left, self.rung.notified()).await.is_ok() {
                    sleep(Duration::from_millis(rand::random_range(0..GATHER_MS))).await;
                    continue;
                }
                beat = Instant::now() + BEAT;
                self.seen.beats.fetch_add(1, Ordering::Relaxed);
                ("beat", "{}".to_owned(), 0)
            } else {
                let owes = self.owes.borrow();
                let all: Vec<String> = owes.iter().map(|id| format!(r#"{{"id":"{id}","confirmed":false}}"#)).collect();
                ("receipts", format!(r#"{{"receipts":[{}]}}"#, all.join(",")), all.len())
            };
            match timeout(ANSWER_WITHIN, self.post(&mut connection, path, &body)).await {
                Ok(Ok(204)) => {
                    self.owes.borrow_mut().drain(..receipts);
                    self.seen.owed.fetch_sub(receipts, Ordering::Relaxed);
                    continue;
                }
                Ok(Ok(503)) => drop(self.seen.refused.fetch_add(1, Ordering::Relaxed)),
                Ok(Ok(status)) => self.seen.fault(format!("terminal {}: {path} was answered {status}", self.place)),
                _ => {}
            }
            connection = None;
            sleep(Duration::from_millis(rand::random_range(250..750))).await;
        }
    }

    /// The status of the answer, which has no body where all is well.
    async fn post(&self, kept: &mut Option<(SocketAddr, TcpStream)>, path: &str, body: &str) -> Result<u16, Error> {
        let address = self.address();
        if kept.as_ref().is_none_or(|(of, _)| *of != address) {
            *kept = Some((address, TcpStream::connect(address).await?));
        }
        let Some((_, stream)) = kept else { return Err(ErrorKind::NotConnected.into()) };
        let request = format!(
            "POST /terminal/{path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        write(stream, request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            stream.readable().await?;
            let read = BUFFER.with_borrow_mut(|buffer| {
                let read = stream.try_read(buffer)?;
                head.extend_from_slice(&buffer[..read]);
                Ok::<_, Error>(read)
            });
            match read {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
        // The node may end the connection with its answer.
        if head.split(|byte| *byte == b'\n').any(|line| line.trim_ascii().eq_ignore_ascii_case(b"connection: close")) {
            *kept = None;
        }
        let status = head.get(9..12).and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
        status.ok_or_else(|| ErrorKind::InvalidData.into())
    }
}

async fn write(stream: &TcpStream, mut bytes: &[u8]) -> Result<(), Error> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

//! The work: the stream of events, opened again for ever; receipts, repeated until they are answered; beats; Enter, and the
//! desktop's button.
//!
//! A message is shown before its place counts and before its receipt goes out, so a power cut may show one again, and loses none.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    time::Duration,
};

use anyhow::bail;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tidegate_actors::retry::Backoff;
use tokio::{
    sync::{Notify, mpsc},
    time::{sleep, timeout},
};

use super::{
    events::{Event, Events},
    kept::{Arrival, Keeper, Kept, Message},
    named,
    node::{Nodes, Stream, Trouble, TroubleWith},
    show::{Screen, Why, note},
};

/// The first pause after a failure, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(300);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A stream on which nothing came for so long is dead: a node gives a sign of life every 15 s.
const SILENCE: Duration = Duration::from_secs(35);
/// Where a terminal is not told how often it should beat.
const BEAT: Duration = Duration::from_secs(20);
/// Receipts of one request.
const MOST_RECEIPTS: usize = 200;
/// Receipts of one moment go together; thousands of terminals do not answer in the same millisecond. This is where a node does not
/// say how far to spread.
const ANSWER_WITHIN_MS: u64 = 250;
/// Failures in a row before it is said that the connection is lost.
const QUIET_TRIES: u32 = 2;

/// All that is at work.
pub(super) struct Work {
    nodes: Nodes,
    keeper: RefCell<Keeper>,
    screen: Screen,
    /// Enter confirms.
    by_enter: bool,
    beat: Cell<Duration>,
    /// Milliseconds.
    answer_within: Cell<u64>,
    /// Receipts wait.
    owed: Notify,
    /// It was said that the connection is lost.
    said_lost: Cell<bool>,
    said_hello: Cell<bool>,
}

impl Work {
    pub(super) fn new(nodes: Nodes, keeper: Keeper, screen: Screen, by_enter: bool) -> Self {
        Self {
            nodes,
            keeper: RefCell::new(keeper),
            screen,
            by_enter,
            beat: Cell::new(BEAT),
            answer_within: Cell::new(ANSWER_WITHIN_MS),
            owed: Notify::new(),
            said_lost: Cell::new(false),
            said_hello: Cell::new(false),
        }
    }

    /// Works until this terminal may see nothing any more, or nothing can be shown or kept. `pressed` tells which messages somebody
    /// confirms on the desktop.
    pub(super) async fn run(self, pressed: Option<mpsc::UnboundedReceiver<String>>) -> anyhow::Result<()> {
        let open: Vec<Message> = self.keeper.borrow().kept.open.iter().cloned().collect();
        for message in open {
            self.screen.message(&message, Why::StillOpen, self.by_enter)?;
        }
        tokio::select! {
            ended = self.listen() => match ended? {},
            ended = self.answer() => match ended? {},
            ended = self.live() => match ended? {},
            ended = self.enter(), if self.by_enter => match ended? {},
            ended = self.pressed(pressed) => match ended? {},
        }
    }

    async fn listen(&self) -> anyhow::Result<Infallible> {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut tries = 0;
        loop {
            match self.stream(&mut backoff, &mut tries).await? {
                // In good order, as every few minutes.
                None => {}
                Some(trouble) => {
                    self.end_by(&trouble)?;
                    tries += 1;
                    if tries == QUIET_TRIES {
                        note(&format!("The connection is lost ({}); it is tried again.", trouble.why));
                        self.said_lost.set(true);
                    }
                    self.nodes.turn();
                }
            }
            sleep(backoff.next(&mut rand::rng())).await;
        }
    }

    /// One stream to its end, and the trouble that it ended by.
    async fn stream(&self, backoff: &mut Backoff, tries: &mut u32) -> anyhow::Result<Option<Trouble>> {
        if self.screen.categories.borrow().is_empty() {
            match self.nodes.me().await {
                Ok(me) => self.learn(&me),
                Err(trouble) => return Ok(Some(trouble)),
            }
        }
        let cursor = self.keeper.borrow().kept.cursor.clone();
        let mut stream: Stream = match self.nodes.events(cursor.as_deref()).await {
            Ok(stream) => stream,
            Err(trouble) => return Ok(Some(trouble)),
        };
        let mut events = Events::default();
        loop {
            let bytes = match timeout(SILENCE, stream.next()).await {
                Ok(Some(Ok(bytes))) => bytes,
                Ok(None) => return Ok(None),
                // The node may be back in a moment, and if not that is seen with the next try.
                Ok(Some(Err(_))) => return Ok(None),
                Err(_) => {
                    let why = "nothing comes any more".to_owned();
                    return Ok(Some(Trouble { with: TroubleWith::Way, why }));
                }
            };
            let mut changed = false;
            for event in events.take(&bytes) {
                if event.name == "hello" {
                    backoff.reset();
                    *tries = 0;
                }
                changed |= self.take(&event)?;
            }
            let mut keeper = self.keeper.borrow_mut();
            if events.cursor.is_some() && keeper.kept.cursor != events.cursor {
                keeper.kept.cursor.clone_from(&events.cursor);
                changed = true;
            }
            if changed {
                keeper.save()?;
                self.owed.notify_one();
            }
        }
    }

    fn learn(&self, me: &Value) {
        self.screen.learn(me);
        if let Some(seconds) = me["beat_s"].as_u64().filter(|seconds| *seconds > 0) {
            self.beat.set(Duration::from_secs(seconds));
        }
    }

    /// What an event comes to; whether something is to be kept.
    fn take(&self, event: &Event) -> anyhow::Result<bool> {
        let Ok(data) = serde_json::from_str::<Value>(&event.data) else { return Ok(false) };
        let id = data["id"].as_str().unwrap_or_default();
        match event.name.as_str() {
            "hello" => self.hello(&data),
            "message" | "correct" => {
                let Ok(message) = serde_json::from_value::<Message>(data.clone()) else { return Ok(false) };
                let arrival = self.keeper.borrow_mut().kept.arrive(&message);
                let why = match arrival {
                    Arrival::New => Why::New,
                    Arrival::Corrected => Why::Corrected,
                    Arrival::Known => return Ok(true),
                };
                self.screen.message(&message, why, self.by_enter)?;
                return Ok(true);
            }
            "recall" => {
                let message = self.keeper.borrow_mut().kept.recall(id);
                self.screen.recalled(id, message.as_ref())?;
                return Ok(true);
            }
            "remind" => {
                let message = self.keeper.borrow_mut().kept.remind(id);
                if let Some(message) = message {
                    self.screen.message(&message, Why::Reminder, self.by_enter)?;
                }
                return Ok(true);
            }
            "gap" => self.screen.gap()?,
            "redis" if data["up"] == false => note("Head office can't be reached right now; it is tried again."),
            "redis" => note("Head office can be reached again."),
            "revoked" => match self.revoked()? {},
            // What a later version adds.
            _ => {}
        }
        Ok(false)
    }

    fn hello(&self, data: &Value) {
        if let Some(within) = data["answer_within_ms"].as_u64().filter(|within| *within > 0) {
            self.answer_within.set(within);
        }
        if !self.said_hello.replace(true) {
            note(&format!("Connected as {}.", named(&data["terminal"])));
        } else if self.said_lost.get() {
            note("Connected again.");
        }
        self.said_lost.set(false);
    }

    /// Head office has taken this terminal's access away: its token is good for nothing any more.
    fn revoked(&self) -> anyhow::Result<Infallible> {
        let path = {
            let mut keeper = self.keeper.borrow_mut();
            // The code it came from stays known as one that is used up.
            keeper.kept = Kept { code: std::mem::take(&mut keeper.kept.code), ..Kept::default() };
            keeper.save()?;
            keeper.path().display().to_string()
        };
        bail!(
            "head office has revoked this terminal: nothing more is shown here, and {path} holds no token any more; to use this \
             computer again, ask for a new code and give it with --code"
        )
    }

    /// Whether this is the end of it all.
    fn end_by(&self, trouble: &Trouble) -> anyhow::Result<()> {
        match &trouble.with {
            TroubleWith::Refusal { status: 401, code } if code == "revoked" => {
                self.revoked().map(|never| match never {})
            }
            TroubleWith::Refusal { status: 401, .. } => bail!(
                "this terminal is not known at {}: {}; is it the console of the installation that it was enrolled with? If so, ask \
                 for a new code and give it with --code",
                self.nodes.address(),
                trouble.why
            ),
            _ => Ok(()),
        }
    }

    async fn answer(&self) -> anyhow::Result<Infallible> {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let part: Vec<(String, bool)> = {
                let keeper = self.keeper.borrow();
                keeper
                    .kept
                    .receipts
                    .iter()
                    .take(MOST_RECEIPTS)
                    .map(|(id, confirmed)| (id.clone(), *confirmed))
                    .collect()
            };
            if part.is_empty() {
                self.owed.notified().await;
                sleep(Duration::from_millis(rand::random_range(0..self.answer_within.get()))).await;
                continue;
            }
            let receipts: Vec<Value> =
                part.iter().map(|(id, confirmed)| json!({"id": id, "confirmed": confirmed})).collect();
            match self.nodes.post("receipts", &json!({"receipts": receipts})).await {
                Err(trouble) if trouble.is_the_end() => self.end_by(&trouble)?,
                Err(Trouble { with: TroubleWith::Way, .. }) => {
                    sleep(backoff.next(&mut rand::rng())).await;
                    continue;
                }
                Err(Trouble { with: TroubleWith::Refusal { status: 429 | 408, .. }, .. }) => {
                    sleep(backoff.next(&mut rand::rng())).await;
                    continue;
                }
                // What can't be understood now never will be.
                Ok(_) | Err(_) => {}
            }
            backoff.reset();
            let mut keeper = self.keeper.borrow_mut();
            keeper.kept.answered(&part);
            keeper.save()?;
        }
    }

    async fn live(&self) -> anyhow::Result<Infallible> {
        loop {
            sleep(self.beat.get()).await;
            if let Err(trouble) = self.nodes.post("beat", &json!({})).await {
                self.end_by(&trouble)?;
            }
        }
    }

    async fn enter(&self) -> anyhow::Result<Infallible> {
        let mut lines = lines();
        loop {
            if lines.recv().await.is_none() {
                // Nobody is at the keyboard any more.
                std::future::pending::<()>().await;
            }
            self.confirm(None)?;
        }
    }

    async fn pressed(&self, ids: Option<mpsc::UnboundedReceiver<String>>) -> anyhow::Result<Infallible> {
        if let Some(mut ids) = ids {
            while let Some(id) = ids.recv().await {
                self.confirm(Some(&id))?;
            }
        }
        std::future::pending().await
    }

    /// Confirms this message, or the oldest that must be.
    fn confirm(&self, id: Option<&str>) -> anyhow::Result<()> {
        let (message, left) = {
            let mut keeper = self.keeper.borrow_mut();
            let message = keeper.kept.confirm(id);
            keeper.save()?;
            (message, keeper.kept.open.len())
        };
        if let Some(message) = message {
            self.screen.confirmed(&message, left)?;
            self.owed.notify_one();
        }
        Ok(())
    }
}

/// Lines of standard input, from a thread of their own: a read from a keyboard can't be called off.
fn lines() -> mpsc::UnboundedReceiver<()> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            if line.is_err() || sender.send(()).is_err() {
                return;
            }
        }
    });
    receiver
}

//! Notifications of the desktop, over the freedesktop interface of D-Bus, beside all else: a desktop that does not answer delays
//! nothing, and where there is none, that is said once.
//!
//! A message is one notification: its correction takes its place, its recall closes it, and one that must be confirmed has a button
//! for that where the desktop has buttons. What is shown is known again until another desktop takes over, whatever this one refuses.

use std::{collections::HashMap, time::Duration};

use futures_util::StreamExt as _;
use tokio::{
    sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel},
    time::timeout,
};
use zbus::{
    Connection, MatchRule, MessageStream, Variant,
    message::{Message, Type},
    names::OwnedUniqueName,
};

use super::show::note;

/// The interface, which is the name on the bus too.
const NOTIFICATIONS: &str = "org.freedesktop.Notifications";
const PATH: &str = "/org/freedesktop/Notifications";
/// Longest wait for the desktop's answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// What waits for its turn; more is left out, since all is on the terminal.
const MOST_WAITING: usize = 100;
/// Notifications that are known again.
const MOST_SHOWN: usize = 1_000;
/// What our button is called on the bus.
const CONFIRM: &str = "confirm";

/// Something to show.
pub(super) struct Notice {
    /// The message's id.
    pub(super) id: String,
    pub(super) title: String,
    pub(super) body: String,
    /// It stays until somebody closes it, and has a button to confirm it.
    pub(super) must_confirm: bool,
}

enum Ask {
    Show(Notice),
    Close(String),
}

/// The desktop.
pub(super) struct Desktop(Sender<Ask>);

impl Desktop {
    /// The desktop, and the ids of messages that somebody confirms there.
    pub(super) fn start() -> (Self, UnboundedReceiver<String>) {
        let (sender, receiver) = channel(MOST_WAITING);
        let (confirms, confirmed) = unbounded_channel();
        actix_rt::spawn(work(receiver, confirms));
        (Self(sender), confirmed)
    }

    pub(super) fn show(&self, notice: Notice) {
        let _ = self.0.try_send(Ask::Show(notice));
    }

    /// Takes a message's notification away, where it is shown still.
    pub(super) fn close(&self, id: &str) {
        let _ = self.0.try_send(Ask::Close(id.to_owned()));
    }
}

async fn work(mut asks: Receiver<Ask>, confirms: UnboundedSender<String>) {
    let (mut bus, mut said) = (None, false);
    while let Some(ask) = next(&mut asks, &mut bus, &confirms).await {
        if bus.is_none() {
            bus = match timeout(ANSWER_WITHIN, Bus::connect()).await {
                Ok(Ok(connected)) => Some(connected),
                Ok(Err(error)) => {
                    complain(&mut said, &error.to_string());
                    None
                }
                Err(_) => {
                    complain(&mut said, "it does not answer");
                    None
                }
            };
        }
        let Some(at) = &mut bus else { continue };
        let carried_out = async {
            match ask {
                Ask::Show(notice) => at.show(notice).await,
                Ask::Close(id) => at.close(&id).await,
            }
        };
        let failed = match timeout(ANSWER_WITHIN, carried_out).await {
            Ok(Ok(())) => {
                said = false;
                continue;
            }
            Ok(Err(error)) => error,
            // It may be busy; what it shows is there still.
            Err(_) => {
                complain(&mut said, "it does not answer");
                continue;
            }
        };
        complain(&mut said, &failed.to_string());
        // A refusal is an answer: it tells nothing of the bus, nor of what is shown.
        if !matches!(failed, zbus::Error::MethodError(..)) {
            bus = None;
        }
    }
}

/// What is to be done next; what the desktop tells meanwhile is passed on.
async fn next(asks: &mut Receiver<Ask>, bus: &mut Option<Bus>, confirms: &UnboundedSender<String>) -> Option<Ask> {
    loop {
        let Some(at) = bus else { return asks.recv().await };
        tokio::select! {
            ask = asks.recv() => return ask,
            told = at.signals.next() => match told {
                Some(Ok(message)) => {
                    if let Some(id) = at.told(&message) {
                        let _ = confirms.send(id);
                    }
                }
                // The session has ended; another one may begin.
                Some(Err(_)) | None => *bus = None,
            },
        }
    }
}

/// Says it once, until something was shown again.
fn complain(said: &mut bool, why: &str) {
    if !std::mem::replace(said, true) {
        note(&format!("No notification could be shown on the desktop: {why}"));
    }
}

/// A connection to the session's bus.
struct Bus {
    connection: Connection,
    signals: MessageStream,
    /// Who shows notifications there, once something was shown.
    desktop: Option<OwnedUniqueName>,
    /// Messages that it shows, by its numbers for them.
    shown: HashMap<u32, String>,
}

impl Bus {
    async fn connect() -> zbus::Result<Self> {
        let connection = Connection::session().await?;
        let rule = MatchRule::builder().msg_type(Type::Signal).interface(NOTIFICATIONS).path(PATH).build()?;
        let signals = MessageStream::for_match_rule(rule, &connection, None).await?;
        Ok(Self { connection, signals, desktop: None, shown: HashMap::new() })
    }

    async fn ask<B>(&self, whom: &str, method: &'static str, body: &B) -> zbus::Result<Message>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType,
    {
        self.connection.call_method(Some(whom), PATH, Some(NOTIFICATIONS), method, body).await
    }

    /// Who shows notifications now, and what that one can do. Another one than before knows none of the numbers.
    async fn find(&mut self) -> zbus::Result<(OwnedUniqueName, Vec<String>)> {
        let answer = self.ask(NOTIFICATIONS, "GetCapabilities", &()).await?;
        let able = answer.body().deserialize()?;
        let found: OwnedUniqueName = answer.header().sender().ok_or(zbus::Error::MissingField)?.to_owned().into();
        if self.desktop.as_ref() != Some(&found) {
            self.shown.clear();
            self.desktop = Some(found.clone());
        }
        Ok((found, able))
    }

    async fn show(&mut self, notice: Notice) -> zbus::Result<()> {
        // Asked each time: a desktop may be replaced by another one while we run.
        let (desktop, able) = self.find().await?;
        let can = |what: &str| able.iter().any(|one| one == what);
        // Some desktops read a small language of markup in the text: what came stays text.
        let body = if can("body-markup") { escaped(&notice.body) } else { notice.body };
        let buttons: &[&str] = if notice.must_confirm && can("actions") { &[CONFIRM, "Confirm"] } else { &[] };
        // Critical ones stay; the time is the desktop's own affair otherwise.
        let (urgency, lasts) = if notice.must_confirm { (2_u8, 0) } else { (1, -1) };
        let hints = HashMap::from([("urgency", Variant::from(urgency))]);
        let instead_of = self.number(&notice.id).unwrap_or(0);
        let content = ("Tidegate", instead_of, "dialog-information", &notice.title, &body, buttons, hints, lasts);
        let number: u32 = self.ask(&desktop, "Notify", &content).await?.body().deserialize()?;
        if self.shown.len() >= MOST_SHOWN {
            self.shown.clear();
        }
        self.shown.insert(number, notice.id);
        Ok(())
    }

    async fn close(&mut self, id: &str) -> zbus::Result<()> {
        let (Some(number), Some(desktop)) = (self.number(id), self.desktop.clone()) else { return Ok(()) };
        self.shown.remove(&number);
        match self.ask(&desktop, "CloseNotification", &number).await {
            // Somebody has closed it already, or it went with its desktop.
            Ok(_) | Err(zbus::Error::MethodError(..)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn number(&self, id: &str) -> Option<u32> {
        self.shown.iter().find(|(_, shown)| *shown == id).map(|(number, _)| *number)
    }

    /// The message that somebody confirms, where that is what the desktop tells.
    fn told(&mut self, message: &Message) -> Option<String> {
        let header = message.header();
        if header.sender().map(|sender| sender.as_str()) != self.desktop.as_ref().map(|desktop| desktop.as_str()) {
            return None;
        }
        match header.member()?.as_str() {
            "ActionInvoked" => {
                let (number, button) = message.body().deserialize::<(u32, String)>().ok()?;
                (button == CONFIRM).then(|| self.shown.get(&number).cloned()).flatten()
            }
            "NotificationClosed" => {
                let (number, _) = message.body().deserialize::<(u32, u32)>().ok()?;
                self.shown.remove(&number);
                None
            }
            _ => None,
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

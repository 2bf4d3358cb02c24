//! Notifications of the desktop, over the freedesktop interface of D-Bus, beside all else: a desktop that does not answer delays
//! nothing, and where there is none, that is said once.
//!
//! A message is one notification: its correction takes its place, its recall closes it, and one that must be confirmed has a button
//! for that where the desktop has buttons.

use std::{collections::HashMap, time::Duration};

use futures_util::StreamExt as _;
use tokio::{
    sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel},
    time::timeout,
};
use zbus::{
    Connection, MatchRule, MessageStream, Variant,
    message::{Message, Type},
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
                Ok(Err(error)) => complain(&mut said, &error.to_string()),
                Err(_) => complain(&mut said, "it does not answer"),
            };
        }
        let Some(at) = &mut bus else { continue };
        let carried_out = async {
            match ask {
                Ask::Show(notice) => at.show(notice).await,
                Ask::Close(id) => at.close(&id).await,
            }
        };
        match timeout(ANSWER_WITHIN, carried_out).await {
            Ok(Ok(())) => said = false,
            Ok(Err(error)) => bus = complain(&mut said, &error.to_string()),
            Err(_) => bus = complain(&mut said, "it does not answer"),
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
fn complain(said: &mut bool, why: &str) -> Option<Bus> {
    if !std::mem::replace(said, true) {
        note(&format!("No notification could be shown on the desktop: {why}"));
    }
    None
}

/// A connection to the session's bus.
struct Bus {
    connection: Connection,
    signals: MessageStream,
    /// Messages that are shown, by the desktop's numbers for them.
    shown: HashMap<u32, String>,
    markup: bool,
    buttons: bool,
}

impl Bus {
    async fn connect() -> zbus::Result<Self> {
        let connection = Connection::session().await?;
        let rule = MatchRule::builder().msg_type(Type::Signal).interface(NOTIFICATIONS).path(PATH).build()?;
        let signals = MessageStream::for_match_rule(rule, &connection, None).await?;
        let mut bus = Self { connection, signals, shown: HashMap::new(), markup: false, buttons: false };
        let able: Vec<String> = bus.ask("GetCapabilities", &()).await?.body().deserialize()?;
        bus.markup = able.iter().any(|one| one == "body-markup");
        bus.buttons = able.iter().any(|one| one == "actions");
        Ok(bus)
    }

    async fn ask<B>(&self, method: &'static str, body: &B) -> zbus::Result<Message>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType,
    {
        self.connection.call_method(Some(NOTIFICATIONS), PATH, Some(NOTIFICATIONS), method, body).await
    }

    async fn show(&mut self, notice: Notice) -> zbus::Result<()> {
        // Some desktops read a small language of markup in the text: what came stays text.
        let body = if self.markup { escaped(&notice.body) } else { notice.body };
        let buttons: &[&str] = if notice.must_confirm && self.buttons { &[CONFIRM, "Confirm"] } else { &[] };
        // Critical ones stay; the time is the desktop's own affair otherwise.
        let (urgency, lasts) = if notice.must_confirm { (2_u8, 0) } else { (1, -1) };
        let hints = HashMap::from([("urgency", Variant::from(urgency))]);
        let instead_of = self.number(&notice.id).unwrap_or(0);
        let content = ("Tidegate", instead_of, "dialog-information", &notice.title, &body, buttons, hints, lasts);
        let number: u32 = self.ask("Notify", &content).await?.body().deserialize()?;
        if self.shown.len() >= MOST_SHOWN {
            self.shown.clear();
        }
        self.shown.insert(number, notice.id);
        Ok(())
    }

    async fn close(&mut self, id: &str) -> zbus::Result<()> {
        let Some(number) = self.number(id) else { return Ok(()) };
        self.shown.remove(&number);
        match self.ask("CloseNotification", &number).await {
            // Somebody has closed it already.
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

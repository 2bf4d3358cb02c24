//! Notifications of the desktop: a private session bus, and on it a desktop that shows what it is told to show, and whose buttons
//! the test presses.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    process::{Child, Command, Stdio},
    rc::Rc,
    time::Duration,
};

use futures_util::StreamExt as _;
use tidegate::admin::broadcasts::changes;
use zbus::{
    Connection, MessageStream, OwnedVariant,
    message::{Message, Type},
};

use super::{Listener, Scene, file};
use crate::{
    broadcast::{draft, head_office, to_shops},
    servers::{Guard, temp_dir, wait_for},
};

const NOTIFICATIONS: &str = "org.freedesktop.Notifications";
const PATH: &str = "/org/freedesktop/Notifications";
const PATIENCE: Duration = Duration::from_secs(20);

/// A session bus of the test's own.
struct SessionBus {
    daemon: Child,
    address: String,
    _guard: Guard,
    _folder: tempfile::TempDir,
}

impl SessionBus {
    async fn start() -> Self {
        let folder = temp_dir();
        let socket = folder.path().join("bus");
        let address = format!("unix:path={}", socket.display());
        // Without the folders of services that this machine's own session bus would start by name, its desktop among them.
        let config = folder.path().join("bus.conf");
        let text = format!(
            "<busconfig><type>session</type><listen>{address}</listen><policy context=\"default\"><allow send_destination=\"*\" \
             eavesdrop=\"true\"/><allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>"
        );
        std::fs::write(&config, text).unwrap();
        let daemon = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--nopidfile"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon is installed (Debian: dbus-daemon)");
        let guard = Guard::new(&format!("kill -9 {}", daemon.id()));
        wait_for("the bus", PATIENCE, async || socket.exists().then_some(())).await;
        Self { daemon, address, _guard: guard, _folder: folder }
    }

    async fn connect(&self) -> Connection {
        let address = self.address.as_str();
        let connect = async || zbus::connection::Builder::address(address).build().await.ok();
        wait_for("a connection to the bus", PATIENCE, connect).await
    }

    /// A terminal of shop `s1` that runs in this session, and is connected.
    async fn listener(&self, scene: &Scene) -> Listener {
        let (base, code, file) = (scene.base("a"), scene.code("s1").await, file(scene));
        let arguments = [base.as_str(), "--code", &code, "--json", "--token-file", file.to_str().unwrap()];
        let mut command = Listener::command(scene, &arguments);
        command.env("DBUS_SESSION_BUS_ADDRESS", &self.address);
        let listener = Listener::spawn(command);
        listener.is_connected().await;
        listener
    }
}

impl Drop for SessionBus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// A notification on the screen.
#[derive(Clone, Debug, PartialEq)]
struct Shown {
    number: u32,
    title: String,
    body: String,
    buttons: Vec<String>,
    urgency: u8,
    lasts: i32,
}

/// A desktop that shows notifications.
struct Desktop {
    connection: Connection,
    screen: Rc<RefCell<Vec<Shown>>>,
    /// Whether it shows no more for now.
    refuses: Rc<Cell<bool>>,
    /// What it refused so far.
    refused: Rc<Cell<usize>>,
    task: actix_rt::task::JoinHandle<()>,
}

impl Drop for Desktop {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Desktop {
    /// One that can do this.
    async fn start(bus: &SessionBus, able: &'static [&'static str]) -> Self {
        let connection = bus.connect().await;
        let mut calls = MessageStream::from(&connection);
        let screen = Rc::new(RefCell::new(Vec::new()));
        let refuses = Rc::new(Cell::new(false));
        let refused = Rc::new(Cell::new(0));
        let (here, of_task) = (connection.clone(), Rc::clone(&screen));
        let (no_more, so_far) = (Rc::clone(&refuses), Rc::clone(&refused));
        let task = actix_rt::spawn(async move {
            let mut number = 0;
            while let Some(Ok(call)) = calls.next().await {
                if call.header().message_type() == Type::MethodCall {
                    number += 1;
                    let notify = call.header().member().is_some_and(|member| member == "Notify");
                    if notify && no_more.get() {
                        so_far.set(so_far.get() + 1);
                        let name = "org.freedesktop.Notifications.Error.ExcessNotificationGeneration";
                        here.reply_error(&call.header(), name, &"too many").await.unwrap();
                        continue;
                    }
                    answer(&here, &call, able, number, &of_task).await;
                }
            }
        });
        connection.request_name(NOTIFICATIONS).await.unwrap();
        Self { connection, screen, refuses, refused, task }
    }

    fn titles(&self) -> Vec<String> {
        self.screen.borrow().iter().map(|shown| shown.title.clone()).collect()
    }

    async fn shows(&self, wanted: &[&str]) -> Vec<Shown> {
        let begun = std::time::Instant::now();
        while self.titles() != wanted {
            assert!(begun.elapsed() < PATIENCE, "{wanted:?} wanted, shown is {:?}", self.screen.borrow());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.screen.borrow().clone()
    }

    /// Ends it, as somebody does who signs out of it.
    async fn end(self) {
        self.connection.release_name(NOTIFICATIONS).await.unwrap();
        self.connection.clone().close().await.unwrap();
    }

    async fn press(&self, number: u32, button: &str) {
        self.connection
            .emit_signal(None::<&str>, PATH, NOTIFICATIONS, "ActionInvoked", &(number, button))
            .await
            .unwrap();
    }
}

async fn answer(here: &Connection, call: &Message, able: &[&str], number: u32, screen: &RefCell<Vec<Shown>>) {
    let (header, body) = (call.header(), call.body());
    match header.member().map(|member| member.as_str()) {
        Some("GetCapabilities") => here.reply(&header, &able).await.unwrap(),
        Some("Notify") => {
            type Given = (String, u32, String, String, String, Vec<String>, HashMap<String, OwnedVariant>, i32);
            let (app, instead_of, _, title, body, buttons, hints, lasts): Given = body.deserialize().unwrap();
            assert_eq!(app, "Tidegate");
            let urgency = u8::try_from(&hints["urgency"]).unwrap();
            let shown = |number| Shown { number, title, body, buttons, urgency, lasts };
            let number = {
                let mut screen = screen.borrow_mut();
                match screen.iter_mut().find(|known| known.number == instead_of) {
                    Some(known) => {
                        *known = shown(instead_of);
                        instead_of
                    }
                    None => {
                        screen.push(shown(number));
                        number
                    }
                }
            };
            here.reply(&header, &number).await.unwrap();
        }
        Some("CloseNotification") => {
            let number: u32 = body.deserialize().unwrap();
            screen.borrow_mut().retain(|shown| shown.number != number);
            here.reply(&header, &()).await.unwrap();
            here.emit_signal(None::<&str>, PATH, NOTIFICATIONS, "NotificationClosed", &(number, 3_u32)).await.unwrap();
        }
        _ => {}
    }
}

#[actix_web::test]
async fn a_message_is_a_notification_that_is_replaced_confirmed_and_closed() {
    let bus = SessionBus::start().await;
    let desktop = Desktop::start(&bus, &["body", "body-markup", "actions"]).await;
    let scene = Scene::start(&["a"]).await;
    let listener = bus.listener(&scene).await;
    scene.send("Closed on Monday").await;
    let shown = desktop.shows(&["Announcement: Closed on Monday"]).await;
    // What came is no markup, and there is nothing to press.
    assert_eq!(shown[0].body, "Line one\nline &lt;b&gt;two&lt;/b&gt;");
    assert_eq!((shown[0].buttons.len(), shown[0].urgency, shown[0].lasts), (0, 1, -1));
    let mut draft = to_shops("Rice", &["s1"]);
    (draft.category, draft.must_confirm) = ("price".into(), true);
    let id = scene.send_draft(&draft).await;
    let shown = desktop.shows(&["Announcement: Closed on Monday", "Price information: Rice"]).await;
    assert_eq!((shown[1].urgency, shown[1].lasts), (2, 0), "it stays");
    assert_eq!(shown[1].buttons, ["confirm", "Confirm"]);
    // A correction takes its place.
    draft.title = "Rice, dearer".into();
    let admin = scene.admin().await;
    changes::correct(&admin, &head_office(), &id, &draft).await.unwrap();
    let corrected =
        desktop.shows(&["Announcement: Closed on Monday", "Price information: Rice, dearer (corrected)"]).await;
    assert_eq!(corrected[1].number, shown[1].number);
    // Its button confirms it, and it goes.
    scene.has_receipts(&id, 1, 0).await;
    desktop.press(corrected[1].number, "confirm").await;
    scene.has_receipts(&id, 1, 1).await;
    desktop.shows(&["Announcement: Closed on Monday"]).await;
    assert_eq!(listener.told().last().unwrap(), "confirmed Rice, dearer");
    // A recall closes it.
    let gone = scene.send("Never mind").await;
    desktop.shows(&["Announcement: Closed on Monday", "Announcement: Never mind"]).await;
    changes::recall(&admin, &head_office(), &gone).await.unwrap();
    desktop.shows(&["Announcement: Closed on Monday"]).await;
    assert!(!listener.notes().contains("No notification"), "{}", listener.notes());
}

#[actix_web::test]
async fn without_a_desktop_it_is_said_once_and_one_that_comes_later_is_used() {
    let bus = SessionBus::start().await;
    let scene = Scene::start(&["a"]).await;
    let listener = bus.listener(&scene).await;
    let ids = [scene.send_draft(&draft("one")).await, scene.send_draft(&draft("two")).await];
    listener.until_told(&["message one", "message two"]).await;
    for id in &ids {
        scene.has_receipts(id, 1, 0).await;
    }
    let complaints = || listener.notes().matches("No notification could be shown on the desktop").count();
    wait_for("it is said", PATIENCE, async || (complaints() == 1).then_some(())).await;
    // A plain desktop, which reads no markup and has no buttons.
    let desktop = Desktop::start(&bus, &["body"]).await;
    let mut must = draft("three");
    must.must_confirm = true;
    scene.send_draft(&must).await;
    let shown = desktop.shows(&["Announcement: three"]).await;
    assert_eq!((shown[0].body.as_str(), shown[0].buttons.len()), ("Line one\nline <b>two</b>", 0));
    assert_eq!(complaints(), 1);
}

#[actix_web::test]
async fn what_a_desktop_refuses_is_told_once_and_what_it_shows_is_known_still() {
    let bus = SessionBus::start().await;
    let desktop = Desktop::start(&bus, &["body", "actions"]).await;
    let scene = Scene::start(&["a"]).await;
    let listener = bus.listener(&scene).await;
    let mut rice = draft("Rice");
    rice.must_confirm = true;
    let id = scene.send_draft(&rice).await;
    let shown = desktop.shows(&["Announcement: Rice"]).await;
    desktop.refuses.set(true);
    scene.send("one too many").await;
    scene.send("two too many").await;
    listener.until_told(&["message Rice", "message one too many", "message two too many"]).await;
    let complaints = || listener.notes().matches("ExcessNotificationGeneration").count();
    wait_for("both to be refused", PATIENCE, async || (desktop.refused.get() == 2).then_some(())).await;
    wait_for("it is said", PATIENCE, async || (complaints() == 1).then_some(())).await;
    desktop.refuses.set(false);
    // A correction still takes its place, and its button still confirms it.
    rice.title = "Rice, dearer".into();
    changes::correct(&scene.admin().await, &head_office(), &id, &rice).await.unwrap();
    let corrected = desktop.shows(&["Announcement: Rice, dearer (corrected)"]).await;
    assert_eq!(corrected[0].number, shown[0].number);
    scene.has_receipts(&id, 1, 0).await;
    desktop.press(corrected[0].number, "confirm").await;
    scene.has_receipts(&id, 1, 1).await;
    desktop.shows(&[]).await;
    assert_eq!(complaints(), 1, "{}", listener.notes());
}

#[actix_web::test]
async fn a_desktop_that_takes_over_is_asked_what_it_can_do_and_keeps_what_is_its_own() {
    let bus = SessionBus::start().await;
    let first = Desktop::start(&bus, &["body", "body-markup", "actions"]).await;
    let scene = Scene::start(&["a"]).await;
    let listener = bus.listener(&scene).await;
    let old = scene.send("Closed on Monday").await;
    let before = first.shows(&["Announcement: Closed on Monday"]).await;
    assert_eq!(before[0].body, "Line one\nline &lt;b&gt;two&lt;/b&gt;");
    first.end().await;
    // It reads no markup, and counts its notifications from the beginning.
    let second = Desktop::start(&bus, &["body"]).await;
    scene.send("Rice").await;
    let shown = second.shows(&["Announcement: Rice"]).await;
    assert_eq!(shown[0].body, "Line one\nline <b>two</b>");
    assert_eq!(shown[0].number, before[0].number, "the same number stands for another one");
    changes::recall(&scene.admin().await, &head_office(), &old).await.unwrap();
    scene.send("Sugar").await;
    second.shows(&["Announcement: Rice", "Announcement: Sugar"]).await;
    assert!(!listener.notes().contains("No notification"), "{}", listener.notes());
}

//! `tidegate listen` as a shop runs it: with real nodes, real codes, and its own process stopped and started.

mod desktop;

use std::{
    io::{BufRead as _, BufReader, Read, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::Value;
use tidegate::admin::broadcasts::{changes, terminals as acts};

use super::{Scene, draft, head_office, to_shops};
use crate::servers::wait_for;

/// A running `tidegate listen`, and what it has said so far.
struct Listener {
    process: Child,
    out: Arc<Mutex<Vec<String>>>,
    err: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn gather(from: impl Read + Send + 'static) -> (Arc<Mutex<Vec<String>>>, JoinHandle<()>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let of_thread = Arc::clone(&lines);
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            of_thread.lock().unwrap().push(line);
        }
    });
    (lines, reader)
}

impl Listener {
    fn start(scene: &Scene, arguments: &[&str]) -> Self {
        Self::spawn(Self::command(scene, arguments))
    }

    fn command(scene: &Scene, arguments: &[&str]) -> Command {
        let mut command = scene.installation.command(&["listen"]);
        // It is run in a shop, where nothing is known of Redis.
        command
            .env_remove("TIDEGATE_REDIS_URL")
            .env_remove("TIDEGATE_MASTER_KEY")
            .env_remove("DBUS_SESSION_BUS_ADDRESS");
        command.args(arguments);
        command
    }

    fn spawn(mut command: Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let (out, reads_out) = gather(process.stdout.take().unwrap());
        let (err, reads_err) = gather(process.stderr.take().unwrap());
        Self { process, out, err, readers: vec![reads_out, reads_err] }
    }

    fn lines(&self) -> Vec<String> {
        self.out.lock().unwrap().clone()
    }

    fn notes(&self) -> String {
        self.err.lock().unwrap().join("\n")
    }

    /// `event title` of all that came.
    fn told(&self) -> Vec<String> {
        let lines = self.lines().into_iter().map(|line| serde_json::from_str::<Value>(&line).unwrap());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        lines.map(|line| format!("{} {}", text(&line["event"]), text(&line["title"])).trim().to_owned()).collect()
    }

    async fn until_told(&self, wanted: &[&str]) {
        let begun = Instant::now();
        while self.told() != wanted {
            let (told, notes) = (self.told(), self.notes());
            assert!(begun.elapsed() < Duration::from_secs(20), "{wanted:?} wanted, told was {told:?}; {notes}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn is_connected(&self) {
        let begun = Instant::now();
        while !self.notes().contains("Connected as Till 1 (Shop One).") {
            assert!(begun.elapsed() < Duration::from_secs(20), "{}", self.notes());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn enter(&mut self) {
        self.process.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    async fn ends(&mut self) -> ExitStatus {
        let status = wait_for("it ends", Duration::from_secs(20), async || self.process.try_wait().unwrap()).await;
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        status
    }
}

/// Where the token is kept.
fn file(scene: &Scene) -> PathBuf {
    scene.installation.dir.path().join("shop/listen.json")
}

#[actix_web::test]
async fn a_computer_is_enrolled_once_and_shows_what_its_shop_is_sent() {
    let scene = Scene::start(&["a"]).await;
    let (base, code, file) = (scene.base("a"), scene.code("s1").await, file(&scene));
    let arguments =
        [base.as_str(), "--code", &code, "--json", "--no-notifications", "--token-file", file.to_str().unwrap()];
    let listener = Listener::start(&scene, &arguments);
    listener.is_connected().await;
    assert!(listener.notes().contains("is enrolled as Till 1 (Shop One)"), "{}", listener.notes());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    scene.send_draft(&to_shops("of another shop", &["s2"])).await;
    let id = scene.send("for all").await;
    listener.until_told(&["message for all"]).await;
    scene.has_receipts(&id, 1, 0).await;
    let line: Value = serde_json::from_str(&listener.lines()[0]).unwrap();
    assert_eq!(line["text"], "Line one\nline <b>two</b>");
    assert_eq!(
        (line["category"].as_str(), line["category_title"].as_str()),
        (Some("announcement"), Some("Announcement"))
    );
    wait_for("it beats", Duration::from_secs(10), async || {
        let all = acts::list(&scene.admin().await, &head_office(), &acts::Query::default()).await.unwrap();
        ((all.all, all.on) == (1, 1)).then_some(())
    })
    .await;
    drop(listener);
    // The code stays in the command; it is not used twice.
    let again = Listener::start(&scene, &arguments);
    again.is_connected().await;
    scene.send("the next").await;
    again.until_told(&["message the next"]).await;
}

#[actix_web::test]
async fn what_came_while_the_node_or_the_program_was_off_comes_in_order_and_once() {
    let mut scene = Scene::start(&["a"]).await;
    let (base, code, file) = (scene.base("a"), scene.code("s1").await, file(&scene));
    let arguments =
        [base.as_str(), "--code", &code, "--json", "--no-notifications", "--token-file", file.to_str().unwrap()];
    let listener = Listener::start(&scene, &arguments);
    listener.is_connected().await;
    let mut ids = vec![scene.send("n0").await];
    listener.until_told(&["message n0"]).await;
    scene.node("a").kill();
    ids.push(scene.send("n1").await);
    ids.push(scene.send("n2").await);
    wait_for("it is said", Duration::from_secs(20), async || {
        listener.notes().contains("The connection is lost").then_some(())
    })
    .await;
    let installation = &scene.installation;
    scene.nodes.get_mut("a").unwrap().0.start(installation);
    scene.nodes["a"].0.ready().await;
    listener.until_told(&["message n0", "message n1", "message n2"]).await;
    for id in &ids {
        scene.has_receipts(id, 1, 0).await;
    }
    // Killed, with nothing said to anybody.
    drop(listener);
    ids.push(scene.send("n3").await);
    ids.push(scene.send("n4").await);
    let again = Listener::start(&scene, &arguments);
    again.until_told(&["message n3", "message n4"]).await;
    ids.push(scene.send("n5").await);
    again.until_told(&["message n3", "message n4", "message n5"]).await;
    for id in &ids {
        scene.has_receipts(id, 1, 0).await;
    }
}

#[actix_web::test]
async fn it_goes_on_at_another_address_when_a_node_dies() {
    let mut scene = Scene::start(&["a", "b"]).await;
    let (one, two, code, file) = (scene.base("a"), scene.base("b"), scene.code("s1").await, file(&scene));
    let link = format!("{one}/terminal/#code={code}");
    let arguments = [link.as_str(), &two, "--json", "--no-notifications", "--token-file", file.to_str().unwrap()];
    let listener = Listener::start(&scene, &arguments);
    listener.is_connected().await;
    scene.send("before").await;
    listener.until_told(&["message before"]).await;
    scene.node("a").kill();
    let begun = Instant::now();
    let id = scene.send("after").await;
    listener.until_told(&["message before", "message after"]).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    scene.has_receipts(&id, 1, 0).await;
}

#[actix_web::test]
async fn enter_confirms_the_oldest_that_must_be_and_what_is_open_is_shown_again() {
    let scene = Scene::start(&["a"]).await;
    let (base, code, file) = (scene.base("a"), scene.code("s1").await, file(&scene));
    let arguments = [
        base.as_str(),
        "--code",
        &code,
        "--json",
        "--confirm",
        "--no-notifications",
        "--token-file",
        file.to_str().unwrap(),
    ];
    let mut listener = Listener::start(&scene, &arguments);
    listener.is_connected().await;
    let mut ids = Vec::new();
    for title in ["first", "second"] {
        let mut draft = to_shops(title, &["s1"]);
        draft.must_confirm = true;
        ids.push(scene.send_draft(&draft).await);
    }
    scene.send("without").await;
    listener.until_told(&["message first", "message second", "message without"]).await;
    scene.has_receipts(&ids[0], 1, 0).await;
    listener.enter();
    scene.has_receipts(&ids[0], 1, 1).await;
    scene.has_receipts(&ids[1], 1, 0).await;
    assert_eq!(listener.told().last().unwrap(), "confirmed first");
    drop(listener);
    let mut again = Listener::start(&scene, &arguments);
    again.until_told(&["open second"]).await;
    again.is_connected().await;
    again.enter();
    scene.has_receipts(&ids[1], 1, 1).await;
    again.enter();
    scene.send("at last").await;
    again.until_told(&["open second", "confirmed second", "message at last"]).await;
}

#[actix_web::test]
async fn lines_for_people_are_plain_and_follow_corrections_and_recalls() {
    let scene = Scene::start(&["a"]).await;
    let (base, code, file) = (scene.base("a"), scene.code("s1").await, file(&scene));
    let listener = Listener::start(
        &scene,
        &[base.as_str(), "--code", &code, "--no-notifications", "--token-file", file.to_str().unwrap()],
    );
    listener.is_connected().await;
    let mut sent = to_shops("Tomatoes", &["s1"]);
    sent.category = "price".into();
    sent.text = "12.500 <b>each</b>\nfrom Monday on".into();
    sent.must_confirm = true;
    let id = scene.send_draft(&sent).await;
    let shows = async |what: &str| {
        wait_for(what, Duration::from_secs(20), async || listener.lines().join("\n").contains(what).then_some(()))
            .await;
    };
    shows("Price information  Tomatoes\n    12.500 <b>each</b>\n    from Monday on\n    [Must be confirmed").await;
    sent.text = "12.900 each".into();
    changes::correct(&scene.admin().await, &head_office(), &id, &sent).await.unwrap();
    shows("Tomatoes (corrected)\n    12.900 each").await;
    changes::remind(&scene.admin().await, &head_office(), &id).await.unwrap();
    shows("Tomatoes (reminder)\n    12.900 each").await;
    changes::recall(&scene.admin().await, &head_office(), &id).await.unwrap();
    shows("Recalled: Tomatoes").await;
}

#[actix_web::test]
async fn it_ends_with_a_clear_sentence_when_it_is_revoked_or_was_never_enrolled() {
    let scene = Scene::start(&["a"]).await;
    let (base, code, file) = (scene.base("a"), scene.code("s1").await, file(&scene));
    let kept = ["--no-notifications", "--token-file", file.to_str().unwrap()];
    let with = |more: &[&str]| {
        let mut listener = Listener::start(&scene, &[&[base.as_str()], &kept[..], more].concat());
        async move {
            let status = listener.ends().await;
            (status.code(), listener.notes())
        }
    };
    let (status, said) = with(&[]).await;
    assert!(status == Some(1) && said.contains("holds no token; make a code in the console"), "{status:?} {said}");
    let (status, said) = with(&["--code", "ABCD-EFGH-JKLM"]).await;
    assert!(status == Some(1) && said.contains("was not enrolled: This code is wrong"), "{status:?} {said}");

    let mut listener = Listener::start(&scene, &[&[base.as_str(), "--code", &code], &kept[..]].concat());
    listener.is_connected().await;
    let all = acts::list(&scene.admin().await, &head_office(), &acts::Query::default()).await.unwrap();
    acts::revoke(&scene.admin().await, &head_office(), &all.rows[0].id).await.unwrap();
    let status = listener.ends().await;
    let said = listener.notes();
    assert!(status.code() == Some(1) && said.contains("head office has revoked this terminal"), "{status} {said}");
    // The same command does not enrol it again with a code that is used up.
    let (status, said) = with(&["--code", &code]).await;
    assert!(status == Some(1) && said.contains("holds no token"), "{status:?} {said}");
    let fresh = scene.code("s1").await;
    let again = Listener::start(&scene, &[&[base.as_str(), "--code", &fresh], &kept[..]].concat());
    again.is_connected().await;
    scene.send_draft(&draft("welcome back")).await;
    wait_for("it is shown", Duration::from_secs(20), async || {
        again.lines().join("\n").contains("Announcement  welcome back").then_some(())
    })
    .await;
}

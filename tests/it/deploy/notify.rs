//! A real node under a stand-in for systemd: a datagram socket that is read as systemd reads it.

use std::{
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

use crate::{
    e2e::installation::{Installation, get},
    servers::{free_port, wait_for},
};

/// How often systemd wants to hear from the node.
const WATCHDOG: Duration = Duration::from_secs(2);

/// A node that was given `NOTIFY_SOCKET`, and the socket's other end.
struct Unit {
    socket: UnixDatagram,
    node: Child,
    listen: u16,
    heard: Vec<String>,
}

impl Unit {
    fn start(installation: &Installation) -> Self {
        let path = installation.dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let listen = free_port();
        Self { node: serve(installation, &path, listen), socket, listen, heard: Vec::new() }
    }

    /// Every line that has come by now.
    fn listen_in(&mut self) -> &[String] {
        let mut datagram = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut datagram) {
            let text = std::str::from_utf8(&datagram[..length]).unwrap();
            self.heard.extend(text.lines().map(str::to_owned));
        }
        &self.heard
    }

    fn pings(&mut self) -> usize {
        self.listen_in().iter().filter(|line| *line == "WATCHDOG=1").count()
    }

    async fn hear(&mut self, what: &str, wanted: impl Fn(&str) -> bool) {
        wait_for(what, Duration::from_secs(30), async || {
            self.listen_in().iter().any(|line| wanted(line)).then_some(())
        })
        .await;
    }

    /// Waits for so many more pings, and holds their pace against what systemd wants.
    async fn more_pings(&mut self, more: usize) {
        for _ in 0..more {
            let (before, begun) = (self.pings(), Instant::now());
            wait_for("a ping", Duration::from_secs(30), async || (self.pings() > before).then_some(())).await;
            assert!(begun.elapsed() < WATCHDOG, "systemd would have killed it: {:?} without a ping", begun.elapsed());
        }
    }

    async fn terminate(&mut self) -> ExitStatus {
        crate::servers::run(Command::new("kill").arg(self.node.id().to_string())).unwrap();
        self.hear("STOPPING=1", |line| line == "STOPPING=1").await;
        wait_for("the node ends", Duration::from_secs(30), async || self.node.try_wait().unwrap()).await
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        let _ = self.node.kill();
        let _ = self.node.wait();
    }
}

/// As systemd starts it: the process id in `WATCHDOG_PID` is the node's own, because the shell becomes the node.
fn serve(installation: &Installation, socket: &Path, listen: u16) -> Child {
    let of_node = installation.command(&["serve"]);
    let mut command = Command::new("sh");
    command.args(["-c", "WATCHDOG_PID=$$ exec \"$0\" serve"]).arg(of_node.get_program());
    for (name, value) in of_node.get_envs() {
        command.env(name, value.unwrap());
    }
    let log = std::fs::File::create(installation.dir.path().join("node.log")).unwrap();
    command
        .current_dir(installation.dir.path())
        .env("NOTIFY_SOCKET", socket)
        .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())
        .env("TIDEGATE_LISTEN", format!("127.0.0.1:{listen}"))
        .env("TIDEGATE_CONSOLE", "127.0.0.1:0")
        .env("TIDEGATE_ADMIN", format!("127.0.0.1:{}", free_port()))
        .env("TIDEGATE_CONSOLE", "127.0.0.1:0")
        .env("TIDEGATE_DRAIN_DELAY_S", "3")
        .stdin(std::process::Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

#[actix_web::test]
async fn systemd_hears_that_the_node_serves_gets_on_and_stops() {
    let installation = Installation::new().await;
    let mut unit = Unit::start(&installation);
    let live = format!("http://127.0.0.1:{}/healthz/live", unit.listen);
    unit.hear("READY=1", |line| line == "READY=1").await;
    assert_eq!(get(&live).await.expect("the port answers as soon as the node says that it is ready").0, 200);
    unit.hear("a line for people", |line| line.starts_with("STATUS=serving on 127.0.0.1:")).await;
    unit.more_pings(3).await;

    let before = unit.listen_in().len();
    let status = unit.terminate().await;
    assert!(status.success(), "{status}");
    assert_eq!(unit.listen_in()[..before].iter().filter(|line| *line == "READY=1").count(), 1);
    let heard = unit.listen_in();
    let stopping = heard.iter().position(|line| line == "STOPPING=1").unwrap();
    assert!(stopping >= before, "it did not say so before it was told");
    assert!(heard[stopping..].iter().any(|line| line == "WATCHDOG=1"), "it still gets on while it drains: {heard:?}");
    assert!(heard[stopping..].iter().any(|line| line.contains("draining")), "{heard:?}");
}

#[actix_web::test]
async fn redis_and_a_database_that_are_away_do_not_stop_the_pings() {
    let mut installation = Installation::new().await;
    let target = installation.sqlite("lite").await;
    let _ = installation.register(std::slice::from_ref(&target));
    let mut unit = Unit::start(&installation);
    unit.hear("READY=1", |line| line == "READY=1").await;
    unit.hear("the destination", |line| line.contains("1 up")).await;
    std::fs::rename(installation.dir.path().join("lite.db"), installation.dir.path().join("away")).unwrap();
    installation.redis.pause();
    unit.hear("not ready", |line| line.starts_with("STATUS=not ready")).await;
    unit.more_pings(5).await;
    installation.redis.kill();
    unit.more_pings(3).await;
    let heard = unit.listen_in().len();
    installation.redis.restart().await;
    wait_for("it serves again", Duration::from_secs(30), async || {
        unit.listen_in()[heard..].iter().any(|line| line.starts_with("STATUS=serving")).then_some(())
    })
    .await;
    unit.more_pings(1).await;
}

#[actix_web::test]
async fn a_node_that_stands_still_is_not_heard() {
    let installation = Installation::new().await;
    let mut unit = Unit::start(&installation);
    unit.more_pings(1).await;
    let pid = unit.node.id().to_string();
    crate::servers::run(Command::new("kill").args(["-STOP", &pid])).unwrap();
    let _ = unit.pings();
    let before = unit.pings();
    tokio::time::sleep(WATCHDOG).await;
    assert_eq!(unit.pings(), before, "systemd would kill it now");
    crate::servers::run(Command::new("kill").args(["-CONT", &pid])).unwrap();
    unit.more_pings(1).await;
}

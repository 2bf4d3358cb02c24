//! Real servers for the tests: private ones, on 127.0.0.1, on free ports, in their own temporary folders.
//!
//! `tests/run.sh` sets `TIDEGATE_TEST_DIR`: servers that are shared between test processes live there, one folder
//! each, and leave an executable `stop` in it that `run.sh` calls at the end. Without it a server ends with the
//! process that started it, however that ends: see [`Guard`].
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

use std::{
    io,
    net::TcpListener,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

pub(crate) mod haproxy;
pub(crate) mod mariadb;
pub(crate) mod postgres;
pub(crate) mod proxy;
pub(crate) mod redis;
pub(crate) mod redis_cluster;
pub(crate) mod redis_sentinel;
pub(crate) mod redis_tls;

/// How long a port is kept from other tests: whoever asked for it listens on it by then, or has ended.
const PORT_KEPT: Duration = Duration::from_secs(600);

/// A port of 127.0.0.1 that nobody listened on a moment ago, below those that Linux gives to outgoing connections. No other test,
/// in whatever process, is given it for a while: some begin to listen much later, or listen again after a pause.
pub(crate) fn free_port() -> u16 {
    let kept = shared_dir().unwrap_or_else(std::env::temp_dir).join("tidegate-ports");
    std::fs::create_dir_all(&kept).unwrap();
    let _ = open_to_others(&kept);
    loop {
        let port = rand::random_range(20_000..32_000);
        let mark = kept.join(port.to_string());
        let age = std::fs::metadata(&mark).and_then(|mark| mark.modified()).map(|at| at.elapsed().unwrap_or_default());
        if age.is_ok_and(|age| age > PORT_KEPT) {
            let _ = std::fs::remove_file(&mark);
        }
        let mine = std::fs::File::create_new(&mark).is_ok();
        if mine && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Whether the tests run as root, in which case servers run as a user of their own.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// A new temporary folder that the user of a server may enter; removed when dropped.
pub(crate) fn temp_dir() -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix("tidegate-").tempdir().unwrap();
    let _ = open_to_others(dir.path());
    dir
}

/// The folder for servers shared between test processes, where `tests/run.sh` has set one up.
pub(crate) fn shared_dir() -> Option<PathBuf> {
    let dir = PathBuf::from(std::env::var_os("TIDEGATE_TEST_DIR")?);
    std::fs::create_dir_all(&dir).unwrap();
    let _ = open_to_others(&dir); // another test process may be the owner
    Some(dir)
}

/// Lets another user pass through the folder.
fn open_to_others(dir: &Path) -> io::Result<()> {
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755))
}

/// Runs a program to its end; its output where it fails.
pub(crate) fn run(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(text) } else { Err(format!("{command:?}: {}: {text}", output.status)) }
}

/// Waits until the question is answered with a value; panics with `what` after `limit`.
pub(crate) async fn wait_for<T>(what: &str, limit: Duration, mut question: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = question().await {
            return answer;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs a shell script when it is dropped or when this process ends in whatever way, kill -9 included: the script
/// waits for the end of a pipe whose other end only this process holds.
pub(crate) struct Guard(Child);

impl Guard {
    /// A guard over what `script` puts an end to.
    pub(crate) fn new(script: &str) -> Self {
        let child = Command::new("sh")
            .args(["-c", &format!("trap '' INT TERM; cat >/dev/null; {script}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

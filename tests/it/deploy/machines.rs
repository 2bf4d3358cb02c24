//! What can be run here of what the machines run: the start-up scripts as bash reads them, the unit as systemd's own tools
//! see it, and Redis with the settings and the user that the script writes.

use std::{
    process::{Child, Command},
    time::Duration,
};

use super::files::{Files, UNIT};
use crate::{
    e2e::{
        installation::{Installation, get, manifest, settle},
        load::Load,
    },
    servers::{free_port, run, temp_dir, wait_for},
};

const LIMIT: Duration = Duration::from_secs(30);

/// A process that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One command, as on redis-cli, from a user (`name:password@`).
async fn ask(port: u16, user: &str, command: &str) -> Result<redis::Value, String> {
    let client = redis::Client::open(format!("redis://{user}127.0.0.1:{port}")).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.map_err(|error| error.to_string())?;
    let mut words = command.split(' ');
    let mut call = redis::cmd(words.next().unwrap());
    words.for_each(|word| {
        call.arg(word);
    });
    call.query_async(&mut connection).await.map_err(|error| error.to_string())
}

/// The start-up script of a node.
pub(super) fn node(files: &Files) -> String {
    let values = [
        ("unit", files.text(UNIT)),
        ("listen", "0.0.0.0:8080"),
        ("admin", "0.0.0.0:9090"),
        ("redis", "10.80.0.2:6379"),
        ("release", "gs://releases/tidegate"),
        ("sha256", "0000"),
        ("master_key", "tidegate-master-key"),
        ("redis_password", "tidegate-redis-password"),
        ("admin_token", "tidegate-admin-token"),
    ];
    files.render("gcp/shared/node.sh.tftpl", &values)
}

fn redis_machine(files: &Files) -> String {
    let values = [
        ("port", "6379"),
        ("address", "10.80.0.2"),
        ("memory_mb", "64"),
        ("disk", "redis-data"),
        ("secret", "tidegate-redis-password"),
    ];
    files.render("gcp/shared/redis.sh.tftpl", &values)
}

/// What stands between `<<WORD` and `WORD` in a script.
fn written(script: &str, word: &str) -> String {
    let (_, rest) = script.split_once(&format!("<<{word}\n")).unwrap_or_else(|| panic!("no <<{word}"));
    rest.split_once(&format!("\n{word}\n")).unwrap().0.to_owned() + "\n"
}

fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

#[test]
fn bash_reads_the_start_up_scripts() {
    let files = Files::read();
    let dir = temp_dir();
    for (name, script) in [("node.sh", node(&files)), ("redis.sh", redis_machine(&files))] {
        let path = dir.path().join(name);
        std::fs::write(&path, &script).unwrap();
        run(Command::new("bash").arg("-n").arg(&path)).unwrap();
        assert!(!script.contains("${"), "{name}: everything is filled in");
    }
    let (_, unit) = node(&files).split_once("<<'UNIT'\n").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert!(unit.starts_with(files.text(UNIT)), "the machines run deploy/tidegate.service as it is");
}

/// A machine for a start-up script: a folder in the place of `/`, and stand-ins for what only a machine of Google's has,
/// which note how they were called.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(temp_dir());
        for folder in [
            "bin",
            "etc/systemd/system",
            "etc/redis",
            "etc/sysctl.d",
            "usr/local/bin",
            "var/lib",
            "dev/disk/by-id",
            "sys/kernel/mm/transparent_hugepage",
        ] {
            std::fs::create_dir_all(machine.path(folder)).unwrap();
        }
        for (name, does) in [
            ("gcloud", r#"case "$1" in secrets) echo "value-of${5#--secret=}";; *) cp "$PROGRAM" "$4";; esac"#),
            ("mountpoint", "[ -e $MOUNTED ]"),
            ("mount", "touch $MOUNTED"),
            ("blkid", "[ -e $MOUNTED ]"),
            ("redis-server", "true"),
            ("mkfs.ext4", "true"),
            ("systemctl", "true"),
            ("sysctl", "true"),
            ("chown", "true"),
        ] {
            let path = machine.path("bin").join(name);
            std::fs::write(&path, format!("#!/bin/sh\necho \"{name} $*\" >>$CALLS\n{does}\n")).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        machine
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.0.path().join(path)
    }

    fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    /// Runs a start-up script to its end; what it called.
    fn start(&self, script: &str, program: &std::path::Path) -> String {
        let root = self.0.path().display();
        let script = ["/etc/", "/usr/local/", "/var/lib/", "/dev/disk/", "/sys/kernel/"]
            .into_iter()
            .fold(script.to_owned(), |script, path| script.replace(path, &format!("{root}{path}")));
        std::fs::write(self.path("start.sh"), script).unwrap();
        let calls = self.path("calls");
        std::fs::write(&calls, "").unwrap();
        let mut command = Command::new("bash");
        command
            .arg(self.path("start.sh"))
            .env("PATH", format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap()))
            .env("CALLS", &calls)
            .env("MOUNTED", self.path("mounted"))
            .env("PROGRAM", program);
        run(&mut command).unwrap();
        self.text("calls")
    }
}

#[test]
fn a_machine_becomes_a_node_and_only_a_change_restarts_it() {
    let files = Files::read();
    let machine = Machine::new();
    let program = machine.path("release");
    std::fs::write(&program, "the program").unwrap();
    let digest = run(Command::new("sha256sum").arg(&program)).unwrap();
    let script = node(&files).replace("0000", digest.split(' ').next().unwrap());

    let calls = machine.start(&script, &program);
    assert!(
        calls.contains("systemctl restart tidegate") && calls.contains("systemctl enable --quiet tidegate"),
        "{calls}"
    );
    assert_eq!(machine.text("usr/local/bin/tidegate"), "the program");
    assert_eq!(machine.text("etc/tidegate/master.key"), "value-oftidegate-master-key\n");
    let settings = machine.text("etc/tidegate/tidegate.env");
    assert!(settings.contains("redis://tidegate:value-oftidegate-redis-password@10.80.0.2:6379/0\n"), "{settings}");
    for secret in ["etc/tidegate/tidegate.env", "etc/tidegate/master.key"] {
        let mode = std::os::unix::fs::PermissionsExt::mode(&machine.path(secret).metadata().unwrap().permissions());
        assert_eq!(mode & 0o077, 0, "{secret} is for root alone");
    }
    assert!(machine.text("etc/systemd/system/tidegate.service").contains("Type=notify"));

    let calls = machine.start(&script, &program);
    assert!(calls.contains("systemctl start tidegate") && !calls.contains("restart"), "nothing changed: {calls}");
    assert!(!calls.contains("storage cp"), "the program is there already: {calls}");

    let other = script.replace("0.0.0.0:9090", "0.0.0.0:9190");
    let calls = machine.start(&other, &program);
    assert!(calls.contains("systemctl restart tidegate"), "a setting changed: {calls}");
}

#[test]
fn a_program_with_another_digest_is_not_started() {
    let machine = Machine::new();
    let program = machine.path("release");
    std::fs::write(&program, "another program").unwrap();
    let script = node(&Files::read()).replace("0000", &"ab".repeat(32));
    let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| machine.start(&script, &program)));
    let calls = machine.text("calls");
    assert!(refused.is_err() && !calls.contains("systemctl"), "{calls}");
    assert_eq!(machine.text("usr/local/bin/tidegate"), "");
}

#[test]
fn a_machine_becomes_redis_and_keeps_its_disk() {
    let script = redis_machine(&Files::read());
    let machine = Machine::new();
    std::fs::write(machine.path("dev/disk/by-id/google-redis-data"), "").unwrap();
    std::fs::write(machine.path("etc/fstab"), "").unwrap();
    let nothing = machine.path("release");

    let calls = machine.start(&script, &nothing);
    assert!(
        calls.contains("mkfs.ext4") && calls.contains("mount ") && calls.contains("systemctl restart redis-server"),
        "{calls}"
    );
    let digest = run(Command::new("sh").args(["-c", "printf %s value-oftidegate-redis-password | sha256sum"])).unwrap();
    let users = machine.text("etc/redis/users.acl");
    assert!(users.contains(&format!("user tidegate on #{} ", digest.split(' ').next().unwrap())), "{users}");
    assert!(machine.text("etc/systemd/system/redis-server.service.d/disk.conf").contains("ConditionPathIsMountPoint="));

    let calls = machine.start(&script, &nothing);
    assert!(!calls.contains("mkfs.ext4"), "a disk with data is never made anew: {calls}");
    assert!(calls.contains("systemctl start redis-server") && !calls.contains("restart"), "nothing changed: {calls}");
    assert_eq!(machine.text("etc/fstab").lines().count(), 1);
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    if !is_installed("systemd-analyze") {
        println!("skipped: there is no systemd-analyze here");
        return;
    }
    let dir = temp_dir();
    let unit = dir.path().join("tidegate.service");
    // The program is not installed where the unit has it; all else is as it is.
    let text = Files::read().text(UNIT).replace("/usr/local/bin/tidegate", env!("CARGO_BIN_EXE_tidegate"));
    std::fs::write(&unit, text).unwrap();
    let said = run(Command::new("systemd-analyze").arg("verify").arg("--man=no").arg(&unit)).unwrap();
    assert!(!said.contains("tidegate.service"), "{said}");
    // In tenths; 0 is sealed, 100 is wide open.
    let command = ["security", "--offline=true", "--threshold=20", "--no-pager"];
    run(Command::new("systemd-analyze").args(command).arg(&unit)).unwrap();
}

#[test]
fn terraform_finds_the_files_in_its_own_form() {
    if !is_installed("terraform") {
        println!("skipped: there is no terraform here; the files are parsed by the other tests");
        return;
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/gcp");
    run(Command::new("terraform").args(["fmt", "-check", "-recursive", "-diff", folder])).unwrap();
}

#[actix_web::test]
async fn a_node_works_with_redis_as_the_machine_runs_it_and_with_no_more_rights() {
    let script = redis_machine(&Files::read());
    let dir = temp_dir();
    let digest = run(Command::new("sh").args(["-c", "printf %s 5ecret | sha256sum | cut -d ' ' -f 1"])).unwrap();
    let users = dir.path().join("users.acl");
    std::fs::write(&users, written(&script, "ACL").replace("$digest", digest.trim())).unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let port = free_port();
    let settings = written(&script, "CONF")
        .replace("$data", data.to_str().unwrap())
        .replace("/etc/redis/users.acl", users.to_str().unwrap())
        .replace("port 6379", &format!("port {port}"))
        .replace(" 10.80.0.2", "");
    for wanted in ["appendonly yes", "appendfsync always", "maxmemory-policy noeviction", "maxmemory 64mb"] {
        assert!(settings.lines().any(|line| line == wanted), "gcp/shared/redis.sh.tftpl has no `{wanted}`");
    }
    let file = dir.path().join("redis.conf");
    std::fs::write(&file, settings).unwrap();

    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let _server = Ended(Command::new("redis-server").arg(&file).stdout(log).spawn().unwrap());
    wait_for("Redis to answer", LIMIT, async || ask(port, "tidegate:5ecret@", "PING").await.ok()).await;
    assert!(ask(port, "", "PING").await.is_err(), "nobody gets in without a name");
    for forbidden in ["FLUSHALL", "CONFIG SET appendfsync no", "SHUTDOWN", "KEYS *", "SET other:key 1"] {
        let refused = ask(port, "tidegate:5ecret@", forbidden).await.expect_err(forbidden);
        assert!(refused.contains("NOPERM") || refused.contains("permissions"), "{forbidden}: {refused}");
    }

    // The installation's own Redis is not used: every command is given this one.
    let installation = Installation::new().await;
    let target = installation.sqlite("lite").await;
    let file = dir.path().join("resources.toml");
    std::fs::write(&file, manifest(std::slice::from_ref(&target))).unwrap();
    let here = |arguments: &[&str]| {
        let mut command = installation.command(arguments);
        command.env("TIDEGATE_REDIS_URL", format!("redis://tidegate:5ecret@127.0.0.1:{port}/0"));
        command
    };
    run(&mut here(&["apply", file.to_str().unwrap()])).unwrap();
    let key = run(&mut here(&["key", "create", "car-app"])).unwrap();
    let listen = free_port();
    let logged = dir.path().join("node.log");
    let mut command = here(&["serve"]);
    command
        .env("TIDEGATE_LISTEN", format!("127.0.0.1:{listen}"))
        .env("TIDEGATE_CONSOLE", "127.0.0.1:0")
        .env("TIDEGATE_ADMIN", "127.0.0.1:0")
        .stderr(std::fs::File::create(&logged).unwrap());
    let _node = Ended(command.spawn().unwrap());
    let url = format!("http://127.0.0.1:{listen}");
    wait_for("the node is ready", LIMIT, async || {
        get(&format!("{url}/healthz/ready")).await.filter(|(status, _)| *status == 200)
    })
    .await;
    let load = Load { producers: 2, keys: 10, ..Load::new(&url, key.trim()) };
    let producers = load.start();
    wait_for("enough is sent", LIMIT, async || (producers.sent() > 100).then_some(())).await;
    let acknowledged = producers.stop().await;
    settle(&[target], &acknowledged).await;
    let logged = std::fs::read_to_string(logged).unwrap();
    assert!(!logged.contains("NOPERM") && !logged.contains("permission"), "it has all the rights it wants: {logged}");
}

//! The commands as an operator runs them: separate processes, their output and their exit status.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use tidegate::{registry::keys, resources::Document};

use super::store;
use crate::servers::{free_port, redis::RedisServer};

/// Nothing that a command prints or writes may hold these.
const SECRETS: [&str; 3] = ["canary-password-one", "canary-password-two", "canary-redis-password"];

/// A folder with a master key, and a Redis that wants a password.
pub(super) struct Site {
    pub(super) server: RedisServer,
    folder: tempfile::TempDir,
}

/// What a command came to.
pub(super) struct Ran {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

impl Site {
    pub(super) async fn new() -> Self {
        let server = RedisServer::start().await;
        let site = Self { server, folder: tempfile::tempdir().unwrap() };
        let key = site.run(&["key", "generate-master"]);
        assert!(key.out.starts_with("tgmk_"), "{}", key.out);
        std::fs::write(site.folder.path().join("master.key"), key.out).unwrap();
        site
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "", &[("ROOMS_PASSWORD", SECRETS[0])])
    }

    fn run_with(&self, arguments: &[&str], input: &str, environment: &[(&str, &str)]) -> Ran {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(arguments)
            .env_clear()
            .env("USER", "operator")
            .env("TIDEGATE_NODE", "a")
            .env("TIDEGATE_REDIS_URL", self.server.url())
            .env("TIDEGATE_PREFIX", "test")
            .env("TIDEGATE_MASTER_KEY_FILE", self.folder.path().join("master.key"))
            .envs(environment.iter().copied())
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        let ran = Ran {
            code: status.code().unwrap(),
            out: String::from_utf8(stdout).unwrap(),
            err: String::from_utf8(stderr).unwrap(),
        };
        if arguments.first() != Some(&"key") {
            let master = std::fs::read_to_string(self.folder.path().join("master.key")).unwrap_or("no key yet".into());
            for secret in SECRETS.into_iter().chain([master.trim()]) {
                assert!(
                    !ran.out.contains(secret) && !ran.err.contains(secret),
                    "{arguments:?}: {}{}",
                    ran.out,
                    ran.err
                );
            }
        }
        ran
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    pub(super) async fn document(&self) -> Document {
        store(&self.server).load().await.unwrap().unwrap_or_default()
    }
}

fn manifest(port: u16) -> String {
    format!(
        r#"
[[application]]
name = "car-app"
topics = ["cars"]

[[destination]]
name = "rooms"
kind = "postgres"
url = "postgres://writer@127.0.0.1:{port}/rooms"
password = {{ env = "ROOMS_PASSWORD" }}

[[route]]
name = "rooms-cars"
application = "car-app"
topic = "cars"
destination = "rooms"
table = "cars"
key = ["id"]
columns = {{ id = "id", car_name = {{ from = "name", clean = ["trim"] }} }}
"#
    )
}

#[tokio::test]
async fn apply_shows_does_and_repeats_without_changes() {
    let site = Site::new().await;
    site.write("rooms.toml", &manifest(free_port()));
    let dry = site.run(&["apply", "rooms.toml", "--dry-run"]);
    assert_eq!(dry.code, 0, "{}", dry.err);
    assert!(dry.out.contains("create route `rooms-cars`") && dry.out.contains("dry run"), "{}", dry.out);
    assert_eq!(site.document().await, Document::default(), "a dry run writes nothing");

    let done = site.run(&["apply", "rooms.toml"]);
    assert_eq!((done.code, done.out.lines().count()), (0, 4), "{}{}", done.out, done.err);
    let first = site.document().await;
    assert_eq!((first.version, first.routes.len()), (1, 1));
    let again = site.run(&["apply", "rooms.toml"]);
    assert_eq!((again.code, again.out.as_str()), (0, "No changes.\n"));
    assert_eq!(site.document().await, first);

    // What export prints needs no password to be applied.
    let exported = site.run(&["export"]);
    assert!(exported.out.contains("password = { kept = true }"), "{}", exported.out);
    let kept = site.run_with(&["apply", "-", "--prune"], &exported.out, &[]);
    assert_eq!((kept.code, kept.out.as_str()), (0, "No changes.\n"), "{}", kept.err);

    let changed = site.run_with(&["apply", "rooms.toml"], "", &[("ROOMS_PASSWORD", SECRETS[1])]);
    assert_eq!(changed.out, "update destination `rooms`: password changed\nApplied.\n");
    assert_eq!(site.document().await.destinations[0].revision, 2);
    let audit = store(&site.server).changes(10).await.unwrap();
    assert_eq!((audit[0].who.as_str(), audit[0].from.as_deref()), ("operator@a", Some("tidegate apply")));
    assert_eq!(audit[0].what, "update destination `rooms`: password changed");
    let kept = format!("{audit:?}{}", serde_json::to_string(&site.document().await).unwrap());
    assert!(SECRETS.iter().all(|secret| !kept.contains(secret)), "{kept}");
}

#[tokio::test]
async fn only_prune_removes_and_says_what() {
    let site = Site::new().await;
    site.write("rooms.toml", &manifest(free_port()));
    site.run(&["apply", "rooms.toml"]);
    site.write("less.toml", "[[application]]\nname = \"car-app\"\ntopics = [\"cars\"]\n");
    let left = site.run(&["apply", "less.toml"]);
    assert!(
        left.out.contains("left as it is, since the file lacks it: route `rooms-cars` (--prune removes it)"),
        "{}",
        left.out
    );
    assert_eq!(site.document().await.routes.len(), 1);
    let dry = site.run(&["apply", "less.toml", "--prune", "--dry-run"]);
    assert!(dry.out.starts_with("remove route `rooms-cars`\nremove destination `rooms`\n"), "{}", dry.out);
    assert_eq!(site.document().await.routes.len(), 1);
    let pruned = site.run(&["apply", "less.toml", "--prune"]);
    assert!(pruned.out.starts_with("remove route `rooms-cars`\nremove destination `rooms`\n"), "{}", pruned.out);
    let document = site.document().await;
    assert_eq!((document.applications.len(), document.destinations.len(), document.routes.len()), (1, 0, 0));
}

#[tokio::test]
async fn mistakes_are_told_with_their_lines_and_change_nothing() {
    let site = Site::new().await;
    site.write("rooms.toml", &manifest(1).replace("table =", "tabel =").replace("postgres\"", "postgers\""));
    let wrong = site.run(&["apply", "rooms.toml"]);
    assert_eq!((wrong.code, wrong.out.as_str()), (1, ""));
    assert!(wrong.err.starts_with("tidegate: rooms.toml has 3 mistakes; nothing was changed:\n"), "{}", wrong.err);
    assert!(
        wrong.err.contains("line 8, column 8: `postgers` is not a kind of database; did you mean `postgres`?"),
        "{}",
        wrong.err
    );
    assert!(wrong.err.contains("line 17, column 1: a route has no `tabel`; did you mean `table`?"), "{}", wrong.err);

    site.write("rooms.toml", &manifest(1));
    let unset = site.run_with(&["apply", "rooms.toml"], "", &[]);
    assert!(unset.err.contains("the environment variable ROOMS_PASSWORD is not set here"), "{}", unset.err);
    let keyless = site.run_with(
        &["apply", "rooms.toml"],
        "",
        &[("TIDEGATE_MASTER_KEY_FILE", "missing.key"), ("ROOMS_PASSWORD", SECRETS[0])],
    );
    assert!(keyless.err.contains("cannot read the master key from missing.key"), "{}", keyless.err);
    let in_url = manifest(1).replace("writer@", &format!("writer:{}@", SECRETS[0]));
    let refused = site.run_with(&["apply", "-"], &in_url, &[]);
    assert!(refused.err.contains("`url` holds a password"), "{}", refused.err);
    let missing = site.run(&["apply", "no-such.toml"]);
    assert!(
        missing.err.starts_with("tidegate: cannot read no-such.toml; check the path and its rights: No such file"),
        "{}",
        missing.err
    );
    assert_eq!(site.document().await, Document::default());
}

#[tokio::test]
async fn keys_are_made_listed_and_revoked() {
    let site = Site::new().await;
    site.write("rooms.toml", &manifest(1));
    site.run(&["apply", "rooms.toml"]);
    let made = site.run(&["key", "create", "car-app", "--expires", "90d"]);
    let key = made.out.strip_suffix('\n').unwrap();
    assert_eq!((made.code, made.err.as_str()), (0, ""));
    let document = site.document().await;
    let (application, kept) =
        keys::authenticate(&document.applications, key, document.applications[0].keys[0].created_at_ms).unwrap();
    assert_eq!(application.name, "car-app");
    assert!(kept.expires_at_ms.is_some());

    let listed = site.run(&["key", "list", "--json"]);
    let line: serde_json::Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!((line["application"].as_str(), line["state"].as_str()), (Some("car-app"), Some("active")));
    assert!(!listed.out.contains(&key[16..]));
    let table = site.run(&["key", "list", "car-app"]);
    assert!(table.out.lines().nth(1).unwrap().starts_with("car-app"), "{}", table.out);

    let revoked = site.run(&["key", "revoke", "car-app"]);
    assert_eq!(revoked.out, format!("revoked {}\n", kept.id));
    let document = site.document().await;
    assert!(keys::authenticate(&document.applications, key, 0).is_none());
    let again = site.run(&["key", "revoke", "car-app", key]);
    assert!(again.code == 1 && !again.err.contains(key), "{}", again.err);
    let unknown = site.run(&["key", "create", "car-ap"]);
    assert_eq!(unknown.err, "tidegate: there is no application `car-ap`; did you mean `car-app`?\n");
    assert_eq!(unknown.out, "");
}

#[tokio::test]
async fn check_says_which_step_failed_and_what_to_do() {
    let site = Site::new().await;
    let nothing = site.run(&["check"]);
    assert_eq!(nothing.code, 0, "{}", nothing.out);
    assert!(nothing.out.contains("✓ registry") && nothing.out.contains("nothing was applied yet"), "{}", nothing.out);

    let closed = free_port();
    site.write("rooms.toml", &manifest(closed));
    site.run(&["apply", "rooms.toml"]);
    let checked = site.run(&["check"]);
    assert_eq!(checked.code, 1);
    assert!(
        checked.out.contains(&format!("  ✗ tcp      127.0.0.1:{closed}: nothing listens there")),
        "{}",
        checked.out
    );
    let json = site.run(&["check", "--json", "rooms"]);
    let last: serde_json::Value = serde_json::from_str(json.out.lines().last().unwrap()).unwrap();
    assert_eq!((&last["destination"], &last["step"], &last["ok"]), (&"rooms".into(), &"tcp".into(), &false.into()));

    let other_key = site.run(&["key", "generate-master"]).out;
    std::fs::write(site.folder.path().join("other.key"), other_key).unwrap();
    let sealed = site.run_with(&["check"], "", &[("TIDEGATE_MASTER_KEY_FILE", "other.key")]);
    assert!(sealed.code == 1 && sealed.out.contains("it was sealed with the master key"), "{}", sealed.out);
    let unknown = site.run(&["check", "roms"]);
    assert!(unknown.err.contains("did you mean `rooms`?"), "{}", unknown.err);
}

#[tokio::test]
async fn a_redis_that_is_away_or_wants_a_password_is_told_without_showing_it() {
    let site = Site::new().await;
    let closed = format!("redis://u:{}@127.0.0.1:{}", SECRETS[2], free_port());
    for arguments in [&["export"][..], &["check"], &["key", "list"]] {
        let away = site.run_with(arguments, "", &[("TIDEGATE_REDIS_URL", &closed)]);
        let told = format!("{}{}", away.out, away.err);
        assert!(away.code == 1 && told.contains("nothing listens there; is it running"), "{told}");
        assert!(!told.contains(SECRETS[2]), "{told}");
    }
    site.server.ask::<()>("CONFIG SET requirepass right-one").await;
    let wrong = format!("redis://:{}@127.0.0.1:{}", SECRETS[2], site.server.port());
    let refused = site.run_with(&["export"], "", &[("TIDEGATE_REDIS_URL", &wrong)]);
    assert!(refused.code == 1 && refused.err.contains("put the right ones into `redis_url`"), "{}", refused.err);
    let without = site.run(&["export"]);
    assert!(without.code == 1 && without.err.contains("put the right ones into `redis_url`"), "{}", without.err);
    site.write("tidegate.toml", "lease_s = \"soon\"");
    let settings = site.run(&["export"]);
    assert!(
        settings.err.starts_with("tidegate: setting `lease_s` is `soon` (from the file tidegate.toml)"),
        "{}",
        settings.err
    );
}

//! `tidegate user` as an operator runs it.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use super::{OTHER, PASSWORD, Scene, home};
use tidegate::users::Rules;

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn run(scene: &Scene, arguments: &[&str], input: &str) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .arg("user")
        .args(arguments)
        .env_clear()
        .env("USER", "operator")
        .env("TIDEGATE_NODE", "a")
        .env("TIDEGATE_REDIS_URL", scene.server.url())
        .env("TIDEGATE_PREFIX", "test")
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have ended without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let ran = Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    };
    for secret in [PASSWORD, OTHER, "argon2"] {
        assert!(!ran.out.contains(secret) && !ran.err.contains(secret), "{arguments:?}: {}{}", ran.out, ran.err);
    }
    ran
}

#[tokio::test]
async fn users_are_added_listed_changed_and_removed() {
    let scene = Scene::empty(Rules::default()).await;
    let ran = |arguments: &[&str], input: &str| {
        let ran = run(&scene, arguments, input);
        assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.err);
        ran.out
    };
    let refused = |arguments: &[&str], input: &str, why: &str| {
        let ran = run(&scene, arguments, input);
        assert!(ran.code == 1 && ran.err.contains(why), "{arguments:?}: {} {}", ran.code, ran.err);
    };
    refused(&["add", "ana", "--role", "admin"], PASSWORD, "give it with --password-stdin");
    refused(&["add", "an a", "--role", "admin", "--password-stdin"], "short\n", "the password is too short");
    let added = ran(&["add", "Ana", "--role", "admin", "--password-stdin"], &format!("{PASSWORD}\n"));
    assert_eq!(added, "added ana\n");
    ran(&["add", "budi", "--role", "viewer", "--password-stdin"], PASSWORD);
    refused(&["add", "budi", "--role", "viewer", "--password-stdin"], PASSWORD, "there is a user `budi` already");
    let session = scene.sign_in("budi", PASSWORD).await.unwrap();

    let list = ran(&["list"], "");
    let words: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0][..3], ["USER", "ROLE", "CODE"]);
    assert_eq!(words[1][..4], ["ana", "admin", "no", "never"]);
    assert_eq!(words[2][..3], ["budi", "viewer", "no"]);
    let json = ran(&["list", "--json"], "");
    let budi: serde_json::Value = serde_json::from_str(json.lines().nth(1).unwrap()).unwrap();
    assert_eq!((budi["role"].as_str(), budi["signed_in_from"].as_str()), (Some("viewer"), Some("10.1.2.3")));

    ran(&["role", "budi", "operator"], "");
    assert_eq!(scene.session(&session).await, None);
    ran(&["password", "budi", "--password-stdin"], OTHER);
    let session = scene.sign_in("budi", OTHER).await.unwrap();
    ran(&["end-sessions", "budi"], "");
    assert_eq!(scene.session(&session).await, None);
    ran(&["totp", "off", "budi"], "");
    refused(&["role", "ana", "viewer"], "", "last admin");
    refused(&["remove", "ana"], "", "last admin");
    refused(&["password", "bud", "--password-stdin"], OTHER, "did you mean `budi`?");
    ran(&["remove", "budi"], "");
    assert!(scene.users.sign_in("budi", OTHER.into(), None, home()).await.is_err());
    let changes = scene.changes().await;
    assert_eq!((changes[0].who.as_str(), changes[0].from.as_deref()), ("operator@a", Some("tidegate user remove")));
}

#[tokio::test]
async fn a_lock_ends_with_a_password_that_is_set_from_the_command_line() {
    let scene = Scene::new().await;
    for _ in 0..5 {
        let _ = scene.sign_in("ana", "wrong and wrong again").await;
    }
    assert!(scene.sign_in("ana", PASSWORD).await.is_err());
    assert!(run(&scene, &["list"], "").out.lines().nth(1).unwrap().split_whitespace().last().unwrap().ends_with('Z'));
    assert_eq!(run(&scene, &["password", "ana", "--password-stdin"], OTHER).code, 0);
    scene.sign_in("ana", OTHER).await.unwrap();
}

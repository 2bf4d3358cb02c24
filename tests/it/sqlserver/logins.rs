//! Reaching a server: settings, TLS, the log-in, what a session needs, and the steps of a connection check.

use std::time::Duration;

use mssql_mock_tds::{MockTdsServer, create_test_identity};
use tidegate::{
    databases::{Connection, check, kind},
    resources::{Tls, TlsMode},
};

use super::{
    Deed, Of, PASSWORD, answer, handshake, open, retried, settings,
    wire::{Wire, about, error, set},
};
use crate::servers::{free_port, redis_tls::certificates, temp_dir};

/// What a probe that fails says.
async fn refused(settings: Connection) -> String {
    let (lost, words) = retried(open(settings).probe().await.unwrap_err());
    assert!(lost || words.contains("compatibility") || words.contains("durability"), "{words}");
    words
}

#[tokio::test]
async fn the_log_in_names_the_database_and_nothing_else_is_asked_of_the_server() {
    let wire = Wire::start();
    wire.always("TIDEGATE PROBE", Deed::Answer(answer(&[set(&[("", Of::Text)], &[&["READ_WRITE"]])], None)));
    open(settings(wire.port)).probe().await.unwrap();
    let logins = wire.logins.lock().await;
    let login = logins.all().values().next().unwrap();
    assert_eq!(login.received_database.as_deref(), Some("shop"));
    assert!(wire.heard(PASSWORD).is_empty());
}

#[tokio::test]
async fn a_wrong_password_is_said_and_not_shown() {
    let wire = Wire::start();
    wire.once("the log-in", Deed::Answer(error(18_456, 14, "Login failed for user 'writer'.")));
    let words = refused(settings(wire.port)).await;
    assert!(words.contains("18456") && words.contains("password") && !words.contains(PASSWORD), "{words}");
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_given_up() {
    for stage in ["the first packet", "the log-in", "TIDEGATE SESSION"] {
        let wire = Wire::start();
        wire.once(stage, Deed::Silence);
        let mut impatient = settings(wire.port);
        impatient.connect_timeout = Duration::from_millis(300);
        let words = refused(impatient).await;
        assert!(words.contains("did not answer within 300ms"), "{stage}: {words}");
        let wire = Wire::start();
        wire.once(stage, Deed::Cut);
        refused(settings(wire.port)).await;
    }
    refused(settings(free_port())).await;
}

#[tokio::test]
async fn a_server_that_lacks_what_we_need_says_which() {
    for (said, words) in [
        (about(11, 110, 0), "2016 or later"),
        (about(16, 120, 0), "COMPATIBILITY_LEVEL = 130"),
        (about(16, 160, 2), "DELAYED_DURABILITY"),
    ] {
        let wire = Wire::start();
        wire.always("TIDEGATE SESSION", Deed::Answer(said));
        let heard = retried(open(settings(wire.port)).probe().await.unwrap_err()).1;
        assert!(heard.contains(words), "{heard}");
    }
}

#[tokio::test]
async fn a_gateway_sends_its_clients_on() {
    let wire = Wire::start();
    wire.always("TIDEGATE PROBE", Deed::Answer(answer(&[set(&[("", Of::Text)], &[&["READ_WRITE"]])], None)));
    let gateway = MockTdsServer::new_with_redirection("127.0.0.1:0", "127.0.0.1", wire.port).await.unwrap();
    let port = gateway.local_addr().port();
    let running = tokio::spawn(gateway.run());
    open(settings(port)).probe().await.unwrap();
    running.abort();
    // One that sends in circles is left alone.
    let own = free_port();
    let circle = MockTdsServer::new_with_redirection(&format!("127.0.0.1:{own}"), "127.0.0.1", own).await.unwrap();
    let running = tokio::spawn(circle.run());
    assert!(refused(settings(own)).await.contains("from one address to another"));
    running.abort();
}

/// A mock that speaks TLS, with a certificate by an authority of its own; its port, and where the files are.
async fn secured() -> (u16, tempfile::TempDir, tokio::task::JoinHandle<std::io::Result<()>>) {
    let dir = temp_dir();
    for name in ["right", "wrong"] {
        certificates(dir.path(), name);
    }
    let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    let identity = create_test_identity(&read("right.crt"), &read("right.key")).unwrap();
    let mock = MockTdsServer::new_with_tls("127.0.0.1:0", Some(identity)).await.unwrap();
    let port = handshake::relay(mock.local_addr()).await;
    mock.query_registry().lock().await.register("/* TIDEGATE PROBE */", set(&[("", Of::Text)], &[&["READ_WRITE"]]));
    let columns = [("", Of::Int), ("", Of::Int), ("", Of::Int), ("", Of::Int), ("", Of::Text), ("", Of::Text)];
    let row = ["16", "3", "160", "0", "16.0.4135.4", "Developer Edition"];
    mock.query_registry().lock().await.register("/* TIDEGATE SESSION */", set(&columns, &[&row]));
    (port, dir, tokio::spawn(mock.run()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_checked_against_its_authority() {
    let (port, dir, running) = secured().await;
    let with = |mode, ca: Option<&str>| {
        let mut settings = settings(port);
        settings.url = format!("sqlserver://writer@localhost:{port}/shop").parse().unwrap();
        settings.tls = Some(Tls { mode, ca: ca.map(|name| dir.path().join(name).display().to_string()) });
        settings
    };
    open(with(TlsMode::Verify, Some("right-ca.crt"))).probe().await.unwrap();
    open(with(TlsMode::Require, None)).probe().await.unwrap();
    for ca in [Some("wrong-ca.crt"), None] {
        let words = refused(with(TlsMode::Verify, ca)).await;
        assert!(words.contains("TLS failed") && words.contains("tls.ca") && !words.contains("trust_cert"), "{words}");
    }
    let missing = retried(open(with(TlsMode::Verify, Some("no-such.crt"))).probe().await.unwrap_err()).1;
    assert!(missing.contains("no-such.crt"), "{missing}");
    // Another name than the certificate has.
    let mut elsewhere = with(TlsMode::Verify, Some("right-ca.crt"));
    elsewhere.url = format!("sqlserver://writer@127.0.0.2:{port}/shop").parse().unwrap();
    assert!(retried(open(elsewhere).probe().await.unwrap_err()).0);
    running.abort();
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_wanted() {
    let wire = Wire::start();
    for mode in [TlsMode::Verify, TlsMode::Require] {
        let mut strict = settings(wire.port);
        strict.tls = Some(Tls { mode, ca: None });
        let words = refused(strict).await;
        assert!(words.contains("offers no encryption"), "{words}");
    }
}

async fn steps(settings: &Connection) -> Vec<(&'static str, Result<String, String>)> {
    let steps = check::check(kind("sqlserver").unwrap(), settings).await;
    let told: String = steps.iter().map(|step| format!("{step:?}")).collect();
    assert!(!told.contains(PASSWORD), "{told}");
    steps.into_iter().map(|step| (step.step, step.outcome)).collect()
}

#[tokio::test]
async fn a_check_goes_as_far_as_it_can() {
    let wire = Wire::start();
    wire.always("TIDEGATE PROBE", Deed::Answer(answer(&[set(&[("", Of::Text)], &[&["READ_WRITE"]])], None)));
    wire.always("TIDEGATE RIGHTS", Deed::Answer(answer(&[set(&[("", Of::Text)], &[])], None)));
    let found = steps(&settings(wire.port)).await;
    assert_eq!(found.iter().map(|(step, _)| *step).collect::<Vec<_>>(), ["name", "tcp", "tls", "login", "rights"]);
    assert!(found.iter().all(|(_, outcome)| outcome.is_ok()), "{found:?}");
    assert_eq!(found[3].1.as_deref(), Ok("logged in; SQL Server 16.0.4135.4 Developer Edition (64-bit)"));

    wire.once(
        "TIDEGATE RIGHTS",
        Deed::Answer(answer(&[set(&[("", Of::Text)], &[&["UPDATE on tidegate_dead"]])], None)),
    );
    let lacking = steps(&settings(wire.port)).await;
    assert!(lacking[4].1.as_ref().unwrap_err().contains("UPDATE on tidegate_dead"), "{lacking:?}");

    wire.once("the log-in", Deed::Answer(error(18_456, 14, "Login failed for user 'writer'.")));
    let denied = steps(&settings(wire.port)).await;
    assert_eq!(denied.len(), 4, "{denied:?}");
    assert!(denied[2].1.is_ok() && denied[3].1.as_ref().unwrap_err().contains("18456"), "{denied:?}");

    let mut strict = settings(wire.port);
    strict.tls = Some(Tls { mode: TlsMode::Verify, ca: None });
    let bare = steps(&strict).await;
    assert_eq!(bare.len(), 3, "{bare:?}");
    assert!(bare[2].1.as_ref().unwrap_err().contains("TLS failed"), "{bare:?}");
}

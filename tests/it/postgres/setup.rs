//! Settings, login, TLS and rights: what `tidegate check` says and what the adapter does with few of them.

use std::{process::Command, time::Duration};

use tidegate::{
    databases::{CheckStep, Connection, postgres::KIND},
    resources::{Tls, TlsMode},
};
use tidegate_actors::ports::WriteError;

use super::settings;
use crate::servers::{is_root, postgres::PostgresServer, run};

fn failed(steps: &[CheckStep]) -> (&'static str, String) {
    let last = steps.last().unwrap();
    (last.step, last.outcome.clone().expect_err("the last step fails"))
}

async fn execute(server: &PostgresServer, database: &str, sql: String) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut server.connect(database).await).await.unwrap();
}

#[tokio::test]
async fn a_user_without_the_right_to_create_uses_the_tables_a_dba_made() {
    let server = PostgresServer::shared().await;
    let database = server.database().await;
    let user = format!("writer_{database}");
    execute(server, &database, format!("CREATE ROLE {user} LOGIN")).await;
    let url = server.url(&database).replace("postgres@", &format!("{user}@"));

    let (step, what) = failed(&(KIND.check)(&settings(&url)).await);
    assert!(step == "rights" && what.contains("CREATE"), "{step}: {what}");
    let refused = (KIND.open)(settings(&url)).take_over("inst00000001", "dest00000001", "me").await;
    assert!(matches!(refused, Err(WriteError::Hold(_))), "{refused:?}");

    execute(server, &database, KIND.ddl.to_owned()).await;
    let (step, what) = failed(&(KIND.check)(&settings(&url)).await);
    assert!(step == "rights" && what.contains("SELECT on tidegate_watermark"), "{step}: {what}");

    let grants = KIND.grants.replace("{user}", &user).replace("{database}", &database);
    execute(server, &database, grants.lines().filter(|line| !line.contains("CREATE")).collect()).await;
    let steps = (KIND.check)(&settings(&url)).await;
    assert_eq!(steps.iter().map(|step| step.step).collect::<Vec<_>>(), ["tls", "login", "rights"]);
    assert!(steps.iter().all(|step| step.outcome.is_ok()), "{steps:?}");
    (KIND.open)(settings(&url)).take_over("inst00000001", "dest00000001", "me").await.unwrap();
}

#[tokio::test]
async fn a_database_or_user_that_is_not_there_is_said_so() {
    let server = PostgresServer::shared().await;
    let (step, what) = failed(&(KIND.check)(&settings(&server.url("nowhere"))).await);
    assert!(step == "login" && what.contains("nowhere") && what.contains("create the database"), "{step}: {what}");
    let url = server.url("postgres").replace("postgres@", "nobody@");
    let (step, what) = failed(&(KIND.check)(&settings(&url)).await);
    assert!(step == "login" && what.contains("nobody"), "{step}: {what}");
    assert!(matches!((KIND.open)(settings(&url)).probe().await, Err(WriteError::Retry(_))));
}

#[tokio::test]
async fn settings_are_checked_before_anything_connects() {
    let check = |url: &str| (KIND.validate)(&settings(url));
    check("postgres://writer@[::1]:5432/sales?search_path=a,b").unwrap();
    check("postgresql://writer@db.example.org/sales").unwrap();
    for (url, word) in [
        ("mysql://writer@host/sales", "mysql"),
        ("postgres:///sales", "host"),
        ("postgres://host/sales", "user"),
        ("postgres://writer@host", "database"),
        ("postgres://writer@host/", "database"),
        ("postgres://writer@host/sales?sslmode=disable", "sslmode"),
    ] {
        let error = check(url).expect_err(url);
        assert!(error.contains(word), "{url}: {error}");
    }
}

#[tokio::test]
async fn the_search_path_of_the_url_decides_where_tables_are_found_and_made() {
    let server = PostgresServer::shared().await;
    let database = server.database().await;
    execute(
        server,
        &database,
        "CREATE SCHEMA sales; CREATE TABLE sales.cars (id int); CREATE TABLE cars (no int)".into(),
    )
    .await;
    let mut destination = (KIND.open)(settings(&format!("{}?search_path=sales,public", server.url(&database))));
    destination.take_over("inst00000001", "dest00000001", "me").await.unwrap();
    assert_eq!(destination.table("cars").await.unwrap().schema, "sales");
    assert_eq!(destination.table("public.cars").await.unwrap().columns[0].name, "no");
    assert_eq!(destination.table("tidegate_dead").await.unwrap().schema, "sales");
}

#[tokio::test]
async fn a_servers_certificate_is_checked_as_the_settings_say() {
    let server = PostgresServer::private();
    let (certificate, key) = (server.dir().join("server.crt"), server.dir().join("server.key"));
    run(Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args([
            "-subj",
            "/CN=rooms",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key))
    .unwrap();
    if is_root() {
        run(Command::new("chown").arg("postgres").arg(&certificate).arg(&key)).unwrap();
    }
    let tls = |mode, ca: Option<&std::path::Path>| Connection {
        tls: Some(Tls { mode, ca: ca.map(|path| path.display().to_string()) }),
        connect_timeout: Duration::from_secs(5),
        ..settings(&server.url("postgres"))
    };
    let (step, what) = failed(&(KIND.check)(&tls(TlsMode::Require, None)).await);
    assert!(step == "tls" && what.contains("TLS"), "{step}: {what}");

    server.configure(&[
        ("ssl", "on"),
        ("ssl_cert_file", certificate.to_str().unwrap()),
        ("ssl_key_file", key.to_str().unwrap()),
    ]);
    server.stop();
    server.start();
    for settings in [tls(TlsMode::Require, None), tls(TlsMode::Off, None), tls(TlsMode::Verify, Some(&certificate))] {
        (KIND.open)(settings).probe().await.unwrap();
    }
    let unknown = tls(TlsMode::Verify, None);
    let (step, what) = failed(&(KIND.check)(&unknown).await);
    assert!(step == "tls" && what.contains("tls.ca"), "{step}: {what}");
    let (step, what) = failed(&(KIND.check)(&tls(TlsMode::Verify, Some(&server.dir().join("nothing.pem")))).await);
    assert!(step == "tls" && what.contains("nothing.pem"), "{step}: {what}");
    let another_name = Connection {
        url: server.url("postgres").replace("127.0.0.1", "localhost").parse().unwrap(),
        ..tls(TlsMode::Verify, Some(&certificate))
    };
    assert_eq!(failed(&(KIND.check)(&another_name).await).0, "tls");
}

//! Tables as the catalogue has them; rights, log-ins and TLS, and what the check says of them.

use std::{path::Path, process::Command};

use secrecy::SecretString;
use sqlx::AssertSqlSafe;
use tidegate::{
    databases::{Connection, kind},
    resources::{Tls, TlsMode},
};
use tidegate_actors::{
    ports::WriteError,
    schema::{ColumnType, TableSchema},
};

use super::{World, open, settings};
use crate::servers::{is_root, mariadb::MariadbServer, run};

fn kind_of(table: &TableSchema, name: &str) -> ColumnType {
    table.columns[table.column(name).unwrap()].kind.clone()
}

#[tokio::test]
async fn columns_are_what_the_catalogue_says() {
    let server = MariadbServer::shared().await;
    let ddl = "CREATE TABLE kinds (id bigint unsigned AUTO_INCREMENT PRIMARY KEY, flag tinyint(1) NOT NULL, small tinyint, \
               bits bit(1), more bit(12), y year, body json, t text, l text CHARACTER SET latin1, s set('a','b'), \
               net inet6, b binary(4), at timestamp NULL, made datetime NOT NULL DEFAULT now(), \
               twice int GENERATED ALWAYS AS (small * 2) VIRTUAL, UNIQUE (flag, small), UNIQUE (t(3)))";
    let mut world = World::new(server, &[ddl]).await;
    let table = world.destination.table("kinds").await.unwrap();
    assert_eq!(kind_of(&table, "id"), ColumnType::Int { min: 0, max: i128::from(u64::MAX) });
    assert_eq!(kind_of(&table, "flag"), ColumnType::Bool);
    assert_eq!(kind_of(&table, "small"), ColumnType::Int { min: -128, max: 127 });
    assert_eq!(kind_of(&table, "bits"), ColumnType::Bool);
    assert_eq!(kind_of(&table, "more"), ColumnType::Int { min: 0, max: 4095 });
    assert_eq!(kind_of(&table, "body"), ColumnType::Json { nul: true });
    assert_eq!(kind_of(&table, "t"), ColumnType::Text { max_chars: None, max_bytes: Some(65_535), nul: true });
    assert_eq!(kind_of(&table, "l"), ColumnType::Text { max_chars: None, max_bytes: None, nul: true });
    assert_eq!(kind_of(&table, "s"), ColumnType::Other);
    assert_eq!(kind_of(&table, "net"), ColumnType::Other);
    assert_eq!(kind_of(&table, "at"), ColumnType::Timestamp { zone: false });
    assert_eq!(table.unique_keys, [vec!["id".to_owned()], vec!["flag".into(), "small".into()]]);
    let of = |name: &str| &table.columns[table.column(name).unwrap()];
    assert!(of("id").has_default && of("made").has_default && !of("flag").has_default && !of("t").has_default);
    assert!(of("twice").generated && !of("made").generated);

    let other = world.destination.table(&format!("{}.kinds", table.schema)).await.unwrap();
    assert_eq!(other, table);
}

#[tokio::test]
async fn a_table_without_transactions_is_held() {
    let server = MariadbServer::shared().await;
    let mut world = World::new(server, &["CREATE TABLE cars (id int PRIMARY KEY) ENGINE=MyISAM"]).await;
    match world.destination.table("cars").await {
        Err(WriteError::Hold(fault)) => assert!(fault.message.contains("ENGINE=InnoDB"), "{fault}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_account_without_create_works_once_the_tables_are_there_and_says_so_before() {
    let server = MariadbServer::shared().await;
    let database = server.database().await;
    let mut root = server.connect(&database).await;
    let user = format!("u{}", &database[5..15]);
    let grants = format!(
        "CREATE TABLE cars (id int PRIMARY KEY); CREATE USER {user}@localhost IDENTIFIED BY 'pw'; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON {database}.* TO {user}@localhost"
    );
    sqlx::raw_sql(AssertSqlSafe(grants)).execute(&mut root).await.unwrap();
    let mut settings = settings(&server.url(&database).replace("root@", &format!("{user}@")));
    settings.password = Some(SecretString::from("pw"));
    let kind = kind("mysql").unwrap();

    match open(settings.clone()).take_over("inst", "dest", "me").await {
        Err(WriteError::Hold(fault)) => assert!(fault.message.contains("GRANT CREATE"), "{fault}"),
        other => panic!("{other:?}"),
    }
    let steps = (kind.check)(&settings).await;
    assert_eq!(steps.iter().map(|step| step.step).collect::<Vec<_>>(), ["tls", "login", "rights"]);
    assert!(steps[2].outcome.as_ref().unwrap_err().contains("grant CREATE"), "{steps:?}");

    sqlx::raw_sql(AssertSqlSafe(kind.ddl)).execute(&mut root).await.unwrap();
    let first = open(settings.clone()).take_over("inst", "dest", "me").await.unwrap();
    let second = open(settings.clone()).take_over("inst", "dest", "me").await.unwrap();
    assert_eq!(first.bind, second.bind);
    let steps = (kind.check)(&settings).await;
    assert!(steps.iter().all(|step| step.outcome.is_ok()), "{steps:?}");

    settings.password = Some(SecretString::from("wrong"));
    let steps = (kind.check)(&settings).await;
    assert_eq!(steps.last().unwrap().step, "login");
    assert!(steps.last().unwrap().outcome.as_ref().unwrap_err().contains("password"), "{steps:?}");
    match open(settings.clone()).probe().await {
        Err(WriteError::Retry(fault)) => assert!(fault.connection_lost && !fault.message.contains("wrong"), "{fault}"),
        other => panic!("{other:?}"),
    }
    settings.tls = Some(Tls { mode: TlsMode::Verify, ca: None });
    let steps = (kind.check)(&settings).await;
    assert_eq!(steps.last().unwrap().step, "tls", "{steps:?}");
}

#[tokio::test]
async fn a_servers_certificate_is_checked_as_the_settings_say() {
    let server = MariadbServer::private();
    let (certificate, key) = (server.dir().join("server.crt"), server.dir().join("server.key"));
    run(Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=rooms", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key))
    .unwrap();
    if is_root() {
        run(Command::new("chown").arg("mysql").arg(&certificate).arg(&key)).unwrap();
    }
    let database = server.database().await;
    let tls = |mode, ca: Option<&Path>| Connection {
        tls: Some(Tls { mode, ca: ca.map(|path| path.display().to_string()) }),
        ..settings(&server.url(&database))
    };
    let check = kind("mysql").unwrap().check;
    let failed = async |settings: Connection| {
        let last = check(&settings).await.pop().unwrap();
        (last.step, last.outcome.unwrap_err())
    };
    let (step, what) = failed(tls(TlsMode::Require, None)).await;
    assert!(step == "tls" && what.contains("TLS"), "{step}: {what}");

    server.stop();
    let (cert, private) = (format!("--ssl-cert={}", certificate.display()), format!("--ssl-key={}", key.display()));
    server.start_with(&[&cert, &private]);
    for settings in [tls(TlsMode::Require, None), tls(TlsMode::Off, None), tls(TlsMode::Verify, Some(&certificate))] {
        let steps = check(&settings).await;
        assert!(steps.iter().all(|step| step.outcome.is_ok()), "{steps:?}");
        open(settings).probe().await.unwrap();
    }
    let (step, what) = failed(tls(TlsMode::Verify, None)).await;
    assert!(step == "tls" && what.contains("tls.ca"), "{step}: {what}");
    let (step, what) = failed(tls(TlsMode::Verify, Some(&server.dir().join("nothing.pem")))).await;
    assert!(step == "tls" && what.contains("nothing.pem"), "{step}: {what}");
    let another_name = Connection {
        url: server.url(&database).replace("127.0.0.1", "localhost").parse().unwrap(),
        ..tls(TlsMode::Verify, Some(&certificate))
    };
    assert_eq!(failed(another_name).await.0, "tls");
}

//! `tidegate bench`, as an operator runs it: every figure is there, and nothing is left, neither here nor in a database of theirs.

use std::{
    process::{Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _};
use tidegate::databases::kind;

use crate::{
    demo::anybody_in,
    servers::{mariadb::MariadbServer, postgres::PostgresServer, temp_dir, wait_for},
};

fn bench(folder: &tempfile::TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["bench", "--short"]).args(arguments).env("TMPDIR", folder.path()).stdin(Stdio::null());
    command
}

fn lines(output: &Output) -> Vec<Value> {
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn assert_nothing_is_left(folder: &tempfile::TempDir) {
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the folder is gone");
    assert!(!anybody_in(&folder.path().display().to_string()), "something is left running");
}

fn assert_positive(of: &Value, what: &str) {
    for name in ["median", "least", "greatest"] {
        assert!(of[name].as_f64().is_some_and(|figure| figure > 0.0), "{what}: {name} in {of}");
    }
}

#[test]
fn the_smallest_bench_gives_every_figure_and_leaves_nothing() {
    let folder = temp_dir();
    let lines = lines(&bench(&folder, &["--json"]).output().unwrap());
    let steps: Vec<&str> = lines.iter().map(|line| line["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["ingest", "NDJSON", "delivery", "memory", "disk", "machine"]);
    for line in &lines[..4] {
        for side in ["tidegate", "limit"] {
            assert_positive(&line[side]["spread"], side);
        }
        assert_positive(&line["ratio"], "ratio");
        assert!(!line["ratio_of"].as_str().unwrap().is_empty() && !line["unit"].as_str().unwrap().is_empty());
        for process in ["node", "redis"] {
            let us = line["tidegate"]["cpu_us_per_record"][process].as_f64();
            assert!(us.is_some_and(|us| us > 0.0), "{process} of {line}");
        }
    }
    assert_positive(&lines[4]["spread"], "disk");
    assert_nothing_is_left(&folder);
}

#[tokio::test]
async fn a_bench_that_is_interrupted_leaves_nothing_running() {
    let folder = temp_dir();
    let mut bench = bench(&folder, &[]).stdout(Stdio::piped()).spawn().unwrap();
    let name = folder.path().display().to_string();
    wait_for("a node is started", Duration::from_secs(60), async || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let mut settings = processes.filter_map(|process| std::fs::read(process.path().join("environ")).ok());
        settings
            .any(|all| {
                let all = String::from_utf8_lossy(&all).into_owned();
                all.contains("TIDEGATE_STATE_DIR") && all.contains(&name)
            })
            .then_some(())
    })
    .await;
    assert!(Command::new("kill").args(["-INT", &bench.id().to_string()]).status().unwrap().success());
    assert_eq!(bench.wait().unwrap().code(), Some(130));
    assert_nothing_is_left(&folder);
}

/// In a database where a destination of another installation is at home.
#[tokio::test]
async fn what_stood_in_an_operators_postgresql_stands_there_afterwards() {
    let (server, folder) = (PostgresServer::shared().await, temp_dir());
    let name = server.database().await;
    let mut connection = server.connect(&name).await;
    let theirs = "INSERT INTO tidegate_watermark (lane, generation, epoch, owner, last_id) VALUES ('a/b/c/main', 'g', 1, 'o', '1-0')";
    let set_up = format!("{};{theirs}", kind("postgres").unwrap().ddl);
    sqlx::raw_sql(AssertSqlSafe(set_up)).execute(&mut connection).await.unwrap();

    let lines = lines(&bench(&folder, &["--json", "--into", &server.url(&name)]).output().unwrap());
    assert_positive(&lines[2]["ratio"], "ratio");
    assert!(lines[2]["ratio_of"].as_str().unwrap().contains("PostgreSQL"), "{}", lines[2]);
    let tables: Vec<String> = sqlx::query_scalar("SELECT relname::text FROM pg_stat_user_tables ORDER BY 1")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(tables, ["tidegate_binding", "tidegate_dead", "tidegate_watermark"]);
    let left: Vec<String> = sqlx::query_scalar(
        "SELECT lane FROM tidegate_watermark UNION ALL SELECT lane FROM tidegate_dead UNION ALL SELECT token FROM tidegate_binding",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(left, ["a/b/c/main"]);
    assert_nothing_is_left(&folder);
}

#[tokio::test]
async fn nothing_is_left_in_an_operators_mariadb_and_their_own_table_is_not_touched() {
    let (server, folder) = (MariadbServer::shared().await, temp_dir());
    let name = server.database().await;
    let mut connection = server.connect(&name).await;
    let lines = lines(&bench(&folder, &["--json", "--into", &server.url(&name)]).output().unwrap());
    assert_positive(&lines[2]["ratio"], "ratio");
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!(tables, 0);

    sqlx::raw_sql("CREATE TABLE bench_of_tidegate (no int); INSERT INTO bench_of_tidegate VALUES (7)")
        .execute(&mut connection)
        .await
        .unwrap();
    let output = bench(&folder, &["--into", &server.url(&name)]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("has a table `bench_of_tidegate` already"), "{said}");
    let kept: i32 = sqlx::query_scalar("SELECT no FROM bench_of_tidegate").fetch_one(&mut connection).await.unwrap();
    assert_eq!(kept, 7);
    connection.close().await.unwrap();
    assert_nothing_is_left(&folder);
}

#[test]
fn what_cannot_be_measured_is_said_with_the_remedy() {
    let folder = temp_dir();
    let refused = |arguments: &[&str]| {
        let output = bench(&folder, arguments).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = refused(&["--into", "postgres://me:secret@127.0.0.1/sales"]);
    assert!(said.contains("TIDEGATE_BENCH_PASSWORD") && !said.contains("secret"), "{said}");
    assert!(refused(&["--into", "oracle://127.0.0.1/sales"]).contains("postgres:// and mysql://"));
    let port = crate::servers::free_port();
    let said = refused(&["--into", &format!("postgres://me@127.0.0.1:{port}/sales")]);
    assert!(said.contains("--into can't be used: tcp"), "{said}");
    assert_nothing_is_left(&folder);
}

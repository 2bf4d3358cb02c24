//! Dead letters as an operator meets them: many bad records among good ones, by cause; a table mended and a group redriven; one
//! edited; the rest discarded with a reason.

use std::{collections::BTreeMap, io::Write as _, process::Stdio, time::Duration};

use serde_json::{Value, json};

use super::{
    installation::{Installation, Node},
    ledger::Target,
};
use crate::servers::{mariadb::MariadbServer, postgres::PostgresServer, wait_for};

const RECORDS: i64 = 20_000;
const ONE_IN: i64 = 100;
/// How often each of the ten ways comes.
const EACH: u64 = (RECORDS / ONE_IN / 10) as u64;

async fn create(target: &Target) {
    target.execute("CREATE TABLE owners (id int PRIMARY KEY)").await;
    target.execute("INSERT INTO owners VALUES (1)").await;
    target
        .execute(
            "CREATE TABLE cars (id bigint PRIMARY KEY, name varchar(40) NOT NULL, plate varchar(20), stock int CHECK (stock >= 0), \
             owner int, sold date, note varchar(200), CONSTRAINT plates UNIQUE (plate), FOREIGN KEY (owner) REFERENCES owners (id))",
        )
        .await;
    target.execute("INSERT INTO cars (id, name, plate) VALUES (-1, 'first', 'TAKEN')").await;
    if target.kind == "postgres" {
        target
            .execute(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 IF NEW.note = 'refuse' THEN RAISE EXCEPTION 'no such note'; END IF; RETURN NEW; END $$; \
                 CREATE TRIGGER refuse BEFORE INSERT ON cars FOR EACH ROW EXECUTE FUNCTION refuse()",
            )
            .await;
    } else {
        target
            .execute(
                "CREATE TRIGGER refuse BEFORE INSERT ON cars FOR EACH ROW IF NEW.note = 'refuse' THEN \
                 SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no such note'; END IF",
            )
            .await;
    }
}

fn message(id: i64) -> Value {
    let mut data = json!({"id": id, "name": "Toyota Avanza", "plate": format!("B {id}"), "stock": 5, "owner": 1,
        "sold": "2025-06-01", "note": "good"});
    let mut action = "upsert";
    if id % ONE_IN == 17 {
        match id / ONE_IN % 10 {
            0 => data["stock"] = json!("many"),
            1 => data["name"] = json!("x".repeat(41)),
            2 => {
                action = "insert";
                data.as_object_mut().unwrap().remove("name");
            }
            3 => data["stock"] = json!(5_000_000_000_i64),
            4 => data["name"] = json!("a\u{0}b"),
            5 => data["sold"] = json!("2025-13-45"),
            6 => data["plate"] = json!("TAKEN"),
            7 => data["owner"] = json!(999),
            8 => data["stock"] = json!(-1),
            _ => data["note"] = json!("refuse"),
        }
    }
    json!({"topic": "cars", "action": action, "key": id, "data": data})
}

fn manifest(targets: &[Target]) -> String {
    let mut text = "[[application]]\nname = \"car-app\"\ntopics = [\"cars\"]\n".to_owned();
    for Target { name, kind, url } in targets {
        text += &format!(
            "[[destination]]\nname = \"{name}\"\nkind = \"{kind}\"\nurl = \"{url}\"\n\
             [[route]]\nname = \"{name}-cars\"\napplication = \"car-app\"\ntopic = \"cars\"\ndestination = \"{name}\"\n\
             table = \"cars\"\nkey = [\"id\"]\ncolumns = \"matching\"\n"
        );
    }
    text
}

async fn send(node: &Node, key: &str) {
    let url = format!("http://127.0.0.1:{}/v1/messages", node.listen);
    let client = awc::Client::builder().timeout(Duration::from_secs(60)).finish();
    for start in (0..RECORDS).step_by(4_000) {
        let messages: Vec<Value> = (start..RECORDS.min(start + 4_000)).map(message).collect();
        let answer = client.post(&url).bearer_auth(key).send_json(&messages).await.unwrap();
        assert_eq!(answer.status(), 202);
    }
}

/// `dead list --group`, by code and column.
fn groups(installation: &Installation, destination: &str) -> BTreeMap<(String, String), u64> {
    let listed = installation.run(&["dead", "list", "--group", "--json", "--destination", destination]);
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
        ((text("code"), text("column")), line["count"].as_u64().unwrap())
    };
    listed.lines().map(line).collect()
}

async fn rows(target: &Target) -> i64 {
    target.pairs("SELECT count(*), count(*) FROM cars WHERE id >= 0").await.unwrap()[0].0
}

fn edit(installation: &Installation, id: &str, destination: &str, data: &Value) -> String {
    let mut command = installation.command(&["dead", "edit", id, "--destination", destination, "--data", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(data.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[actix_web::test]
async fn bad_records_are_told_by_cause_mended_edited_and_discarded() {
    let (postgres, mariadb) = (PostgresServer::private(), MariadbServer::private());
    let targets = vec![
        Target { name: "pg".into(), kind: "postgres", url: postgres.url(&postgres.database().await) },
        Target { name: "my".into(), kind: "mysql", url: mariadb.url(&mariadb.database().await) },
    ];
    for target in &targets {
        create(target).await;
    }
    let installation = Installation::new().await;
    installation.apply(&manifest(&targets));
    let key = installation.run(&["key", "create", "car-app"]).trim().to_owned();
    let node = installation.node("a");
    node.ready().await;
    send(&node, &key).await;
    for target in &targets {
        // MariaDB holds U+0000 in its texts.
        let ways = if target.kind == "postgres" { 10 } else { 9 };
        let good = RECORDS - ways * EACH as i64;
        wait_for("all good records are there", Duration::from_secs(120), async || {
            (rows(target).await == good).then_some(())
        })
        .await;
        let mut expected = BTreeMap::new();
        for (code, column) in [
            ("type", "stock"),
            ("too_long", "name"),
            ("required", "name"),
            ("range", "stock"),
            ("range", "sold"),
            ("unique", "plate"),
            ("foreign_key", "owner"),
            ("check", "stock"),
            ("other", "-"),
        ] {
            expected.insert((code.to_owned(), column.to_owned()), EACH);
        }
        if target.kind == "mysql" {
            // It names the key, which is called something else.
            expected.remove(&("unique".to_owned(), "plate".to_owned()));
            expected.insert(("unique".to_owned(), "-".to_owned()), EACH);
        }
        if ways == 10 {
            expected.insert(("type".to_owned(), "name".to_owned()), EACH);
        }
        wait_for("the last dead letters are told", Duration::from_secs(20), async || {
            (groups(&installation, &target.name).values().sum::<u64>() == ways as u64 * EACH).then_some(())
        })
        .await;
        assert_eq!(groups(&installation, &target.name), expected);

        // The table is mended, and the group redriven.
        target.execute("ALTER TABLE cars DROP CONSTRAINT plates").await;
        let of_group = ["dead", "redrive", "--code", "unique", "--destination", &target.name];
        let refused = installation.command(&of_group).output().unwrap();
        assert!(!refused.status.success(), "it asks first");
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains(&format!("redrive {EACH} dead letters")), "{said}");
        let told = installation.run(&[&of_group[..], &["--yes", "--json"]].concat());
        assert_eq!(told.lines().filter(|line| line.contains(r#""outcome":"written""#)).count() as u64, EACH, "{told}");
        assert_eq!(rows(target).await, good + EACH as i64);

        // One is edited: what was sent cannot be written, what is meant can.
        let listed = installation.run(&[
            "dead",
            "list",
            "--code",
            "check",
            "--limit",
            "1",
            "--json",
            "--destination",
            &target.name,
        ]);
        let letter: Value = serde_json::from_str(listed.trim()).unwrap();
        let id = letter["id"].as_str().unwrap();
        let shown = installation.run(&["dead", "show", id, "--destination", &target.name]);
        for words in ["check, column stock", "row\n", "\"stock\": -1"] {
            assert!(shown.contains(words), "{words} in {shown}");
        }
        let number = letter["key"].as_i64().unwrap();
        let mut data = message(number)["data"].clone();
        data["stock"] = json!(7);
        assert!(edit(&installation, id, &target.name, &data).contains("written"));
        let written = format!("SELECT id, id FROM cars WHERE id = {number} AND stock = 7");
        assert_eq!(target.pairs(&written).await.unwrap(), [(number, number)]);
        assert_eq!(rows(target).await, good + EACH as i64 + 1);

        // What is not wanted goes, with a reason.
        let all = ["dead", "discard", "--all", "--yes", "--destination", &target.name];
        let refused = installation.command(&all).output().unwrap();
        assert!(String::from_utf8_lossy(&refused.stderr).contains("--reason"));
        installation.run(&[&all[..], &["--reason", "test data of the supplier"]].concat());
        assert!(groups(&installation, &target.name).is_empty());
        assert_eq!(rows(target).await, good + EACH as i64 + 1);
    }
    let changes: Vec<(String, BTreeMap<String, String>)> =
        installation.redis.ask("XREVRANGE tidegate:{registry}:changes + - COUNT 1").await;
    let what = &changes[0].1["what"];
    assert!(what.contains("of destination my: test data of the supplier"), "{what}");
    assert_eq!(changes[0].1["from"], "tidegate dead discard");
}

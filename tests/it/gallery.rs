//! The gallery of routes (`docs/gallery`): each example is applied as it stands, its records are sent, and every kind of
//! database must then hold the rows that the example says, and the dead letters it says, and nothing else.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::Value;
use sqlx::{Connection as _, Row as _};

use crate::{
    e2e::{
        installation::{Installation, Node},
        ledger::Target,
    },
    servers::{mariadb::MariadbServer, postgres::PostgresServer, wait_for},
};

/// What an example says of the outcome.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Outcome {
    /// Rows by table, in any order.
    rows: BTreeMap<String, Vec<BTreeMap<String, Value>>>,
    /// Dead letters.
    #[serde(default)]
    refused: Vec<Refused>,
}

#[derive(Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(deny_unknown_fields)]
struct Refused {
    route: String,
    #[serde(default)]
    key: Option<String>,
    code: String,
    #[serde(default)]
    column: Option<String>,
}

struct Example {
    name: String,
    folder: PathBuf,
    outcome: Outcome,
}

impl Example {
    fn all() -> Vec<Self> {
        let gallery = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/gallery");
        let folders = std::fs::read_dir(gallery).unwrap().map(|entry| entry.unwrap().path());
        let mut examples: Vec<_> = folders
            .filter(|path| path.join("rows.json").exists())
            .map(|folder| {
                let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
                let rows = std::fs::read_to_string(folder.join("rows.json")).unwrap();
                let outcome = serde_json::from_str(&rows).unwrap_or_else(|error| panic!("{name}/rows.json: {error}"));
                Self { name, folder, outcome }
            })
            .collect();
        examples.sort_by(|a, b| a.name.cmp(&b.name));
        examples
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name)).unwrap()
    }

    /// The tables in a kind's own words for what each calls something else.
    fn tables(&self, kind: &str) -> String {
        let words: [(&str, &str); 3] = match kind {
            "postgres" => [("{datetime}", "timestamp(3)"), ("{json}", "jsonb"), ("{bool}", "boolean")],
            "mysql" => [("{datetime}", "datetime(3)"), ("{json}", "json"), ("{bool}", "boolean")],
            _ => [("{datetime}", "datetime"), ("{json}", "json"), ("{bool}", "boolean")],
        };
        words.iter().fold(self.file("tables.sql"), |sql, (word, own)| sql.replace(word, own))
    }

    /// The example's manifest, its routes once for each target.
    fn manifest(&self, targets: &[Target]) -> String {
        let text = self.file("routes.toml");
        let (application, routes) = text.split_once("[[route]]").unwrap();
        let mut out = application.to_owned();
        for target in targets {
            let routes = format!("[[route]]{routes}").replace("\"warehouse\"", &format!("\"{}\"", target.name));
            let mut heading = false;
            for line in routes.lines() {
                // A route's own name; those of columns and children stand in tables of their own.
                heading = line == "[[route]]" || heading && !line.starts_with('[');
                match line.strip_prefix("name = \"").filter(|_| heading) {
                    Some(name) => out += &format!("name = \"{}.{name}\n", target.name),
                    None => out += &format!("{line}\n"),
                }
            }
        }
        out
    }
}

/// The present rows of a table, by column, as comparable texts.
async fn rows(target: &Target, table: &str, columns: &[&String]) -> Vec<BTreeMap<String, Option<String>>> {
    let cast = |column: &&String| match target.kind {
        "postgres" => format!("{column}::text"),
        "mysql" => format!("cast({column} as char)"),
        _ => format!("cast({column} as text)"),
    };
    let list = columns.iter().map(cast).collect::<Vec<_>>().join(", ");
    let sql = sqlx::AssertSqlSafe(format!("select {list} from {table}"));
    macro_rules! ask {
        ($connection:ty) => {{
            let mut connection = <$connection>::connect(&target.url).await.unwrap();
            let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
            rows.iter().map(|row| (0..columns.len()).map(|at| row.get::<Option<String>, _>(at)).collect()).collect()
        }};
    }
    let rows: Vec<Vec<Option<String>>> = match target.kind {
        "postgres" => ask!(sqlx::PgConnection),
        "mysql" => ask!(sqlx::MySqlConnection),
        _ => ask!(sqlx::SqliteConnection),
    };
    let named = |row: Vec<Option<String>>| {
        columns.iter().zip(row).map(|(column, cell)| ((*column).clone(), cell.map(|cell| comparable(&cell)))).collect()
    };
    let mut rows: Vec<_> = rows.into_iter().map(named).collect();
    rows.sort();
    rows
}

/// A value as each kind may write it: `1.50` and `1.5`, `t` and `1`, a time with and without its zeros, JSON in any spacing.
fn comparable(cell: &str) -> String {
    if cell.starts_with(['{', '[']) {
        return serde_json::from_str::<Value>(cell).unwrap().to_string();
    }
    let whole = cell.len() > 18 && cell.as_bytes()[4] == b'-' && cell.contains('.');
    let number = cell.parse::<f64>().is_ok() && cell.contains('.');
    match cell {
        "true" | "t" => "1".into(),
        "false" | "f" => "0".into(),
        _ if whole || number => cell.trim_end_matches('0').trim_end_matches('.').into(),
        _ => cell.into(),
    }
}

fn expected(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Bool(truth) => Some(u8::from(*truth).to_string()),
        Value::String(text) => Some(comparable(text)),
        other => Some(comparable(&other.to_string())),
    }
}

async fn settled(node: &Node, targets: &[Target]) {
    for target in targets {
        wait_for(&format!("{} has drained", target.name), Duration::from_secs(60), async || {
            let detail = node.destination(&target.name).await;
            assert!(detail["held"].is_null(), "{}: {}", target.name, detail["held"]);
            (detail["status"] == "up" && detail["backlog"] == 0).then_some(())
        })
        .await;
    }
}

#[actix_web::test]
async fn every_example_of_the_gallery_comes_out_as_it_says_on_every_kind() {
    let examples = Example::all();
    assert!(examples.len() >= 12, "a dozen at least");
    let installation = Installation::new().await;
    let (postgres, mariadb) = (PostgresServer::shared().await, MariadbServer::shared().await);
    let file = installation.dir.path().join("gallery.db");
    std::fs::File::create(&file).unwrap();
    let targets = vec![
        Target { name: "pg".into(), kind: "postgres", url: postgres.url(&postgres.database().await) },
        Target { name: "my".into(), kind: "mysql", url: mariadb.url(&mariadb.database().await) },
        Target { name: "lite".into(), kind: "sqlite", url: format!("sqlite://{}", file.display()) },
    ];
    let destination = |Target { name, kind, url }: &Target| {
        format!("[[destination]]\nname = \"{name}\"\nkind = \"{kind}\"\nurl = \"{url}\"\n\n")
    };
    let mut manifest: String = targets.iter().map(destination).collect();
    for example in &examples {
        for target in &targets {
            target.execute(&example.tables(target.kind)).await;
        }
        manifest += &example.manifest(&targets);
    }
    installation.apply(&manifest);
    let keys: Vec<String> =
        examples.iter().map(|example| installation.run(&["key", "create", &example.name]).trim().to_owned()).collect();
    let node = installation.node("a");
    node.ready().await;
    let mut elsewhere = None;
    for (example, key) in examples.iter().zip(keys) {
        let client = awc::Client::default();
        let url = format!("http://127.0.0.1:{}/v1/messages", node.listen);
        let request = client.post(&url).bearer_auth(&key).content_type("application/x-ndjson");
        let mut answer = request.send_body(example.file("records.ndjson")).await.unwrap();
        let body = answer.body().await.unwrap();
        assert_eq!(answer.status(), 202, "{}: {}", example.name, String::from_utf8_lossy(&body));
        if example.name == "branch-stock" {
            let ids: Value = serde_json::from_slice(&body).unwrap();
            elsewhere = Some((format!("{url}/{}", ids["ids"][4].as_str().unwrap()), key));
        }
    }
    settled(&node, &targets).await;
    let mut wrong = Vec::new();
    let right = Instant::now() + Duration::from_secs(60);
    loop {
        let letters = installation.run(&["dead", "list", "--json"]);
        let letters: Vec<Value> = letters.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        wrong.clear();
        for (example, target) in examples.iter().flat_map(|example| targets.iter().map(move |target| (example, target)))
        {
            wrong.extend(differences(example, target, &letters).await);
        }
        if wrong.is_empty() {
            break;
        }
        assert!(Instant::now() < right, "{}\nletters: {letters:#?}", wrong.join("\n"));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // The stock of a branch that no route takes.
    let (url, key) = elsewhere.unwrap();
    let mut answer = awc::Client::default().get(url).bearer_auth(key).send().await.unwrap();
    let message: Value = serde_json::from_slice(&answer.body().await.unwrap()).unwrap();
    let deliveries = message["deliveries"].as_array().unwrap();
    assert_eq!(deliveries.len(), 6, "two routes into each of three databases");
    for delivery in deliveries {
        let said = (&delivery["status"], &delivery["rows"], &delivery["route_version"]);
        assert_eq!(said, (&"skipped".into(), &0.into(), &1.into()), "{delivery}");
    }
}

/// What a target holds otherwise than the example says.
async fn differences(example: &Example, target: &Target, letters: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (table, wanted) in &example.outcome.rows {
        let columns: Vec<&String> = wanted.first().map(|row| row.keys().collect()).unwrap_or_default();
        let found = rows(target, table, &columns).await;
        let row = |row: &BTreeMap<String, Value>| {
            row.iter().map(|(column, value)| (column.clone(), expected(value))).collect::<BTreeMap<_, _>>()
        };
        let mut wanted: Vec<_> = wanted.iter().map(row).collect();
        wanted.sort();
        if found != wanted {
            wrong
                .push(format!("{}/{table} in {}:\n  found  {found:?}\n  wanted {wanted:?}", example.name, target.name));
        }
    }
    let mut found: Vec<Refused> = letters.iter().filter_map(|letter| refused(letter, example, target)).collect();
    found.sort();
    let mut wanted: Vec<&Refused> = example.outcome.refused.iter().collect();
    wanted.sort();
    let same = found.len() == wanted.len()
        && found.iter().zip(&wanted).all(|(found, wanted)| {
            let key = wanted.key.is_none() || wanted.key == found.key;
            key && (&found.route, &found.code, &found.column) == (&wanted.route, &wanted.code, &wanted.column)
        });
    if !same {
        wrong.push(format!("{} in {}: refused {found:?}\n  wanted {wanted:?}", example.name, target.name));
    }
    wrong
}

/// A dead letter of this example in this target, in the example's words.
fn refused(letter: &Value, example: &Example, target: &Target) -> Option<Refused> {
    let mine = letter["application"] == example.name.as_str();
    let route = letter["route"].as_str()?.strip_prefix(&format!("{}.", target.name))?.to_owned();
    let key = letter["key"]
        .as_str()
        .map(str::to_owned)
        .or_else(|| (!letter["key"].is_null()).then(|| letter["key"].to_string()));
    let text = |value: &Value| value.as_str().map(str::to_owned);
    mine.then(|| Refused {
        route,
        key,
        code: text(&letter["code"]).unwrap_or_default(),
        column: text(&letter["column"]),
    })
}

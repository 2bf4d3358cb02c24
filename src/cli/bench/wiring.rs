//! What is registered for the bench, and the questions to its Redis.

use anyhow::Context as _;
use redis::aio::MultiplexedConnection;
use tidegate_actors::message::StreamId;

use super::{
    database::{Place, TABLE},
    records::TOPIC,
};
use crate::cli::stage::free_port;

/// The application whose records nobody takes, and the one whose records are delivered.
pub(super) const WAITING: &str = "bench-in";
pub(super) const DELIVERED: &str = "bench-out";
/// The destination.
pub(super) const INTO: &str = "into";
/// The environment of `apply` has the password under this name.
pub(super) const PASSWORD: &str = "BENCH_INTO_PASSWORD";

/// Where the destination stands, as the node has told Redis after its commits: generation, id, how many, and the name.
pub(super) async fn position(redis: &mut MultiplexedConnection, lanes: &str) -> anyhow::Result<Option<StreamId>> {
    let lanes: Vec<String> = redis::cmd("HVALS").arg(lanes).query_async(redis).await?;
    let of = |lane: &String| {
        let words: Vec<&str> = lane.split(' ').collect();
        (words.get(3) == Some(&INTO)).then(|| words.get(1)?.parse().ok()).flatten()
    };
    Ok(lanes.iter().find_map(of))
}

/// One field of `INFO`.
pub(super) async fn info(redis: &mut MultiplexedConnection, section: &str, field: &str) -> anyhow::Result<String> {
    let text: String = redis::cmd("INFO").arg(section).query_async(redis).await?;
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    Ok(value.with_context(|| format!("Redis does not tell its {field}"))?.trim().to_owned())
}

/// Two applications: one whose database is away, so that its keys are checked and nobody reads, and one that is delivered.
pub(super) fn manifest(place: &Place) -> String {
    let (kind, url) = (place.kind.name, &place.connection.url);
    let away = free_port(None);
    let node = if kind == "sqlite" { "node = \"bench\"\n" } else { "" };
    let password = match place.connection.password {
        Some(_) => format!("password = {{ env = \"{PASSWORD}\" }}\n"),
        None => String::new(),
    };
    let tls =
        place.connection.tls.as_ref().and_then(|tls| serde_json::to_value(tls).ok()).map_or(String::new(), |tls| {
            let text = |name: &str| tls[name].as_str().map(|value| format!("{name} = {}", toml::Value::from(value)));
            let fields: Vec<String> = ["mode", "ca"].into_iter().filter_map(text).collect();
            format!("tls = {{ {} }}\n", fields.join(", "))
        });
    let mut text = String::new();
    for application in [WAITING, DELIVERED] {
        text += &format!("[[application]]\nname = \"{application}\"\ntopics = [\"{TOPIC}\"]\n\n");
    }
    text += &format!(
        "[[destination]]\nname = \"away\"\nkind = \"postgres\"\nurl = \"postgres://nobody@127.0.0.1:{away}/none\"\n\n\
         [[destination]]\nname = \"{INTO}\"\nkind = \"{kind}\"\nurl = {}\n{node}{password}{tls}\n",
        toml::Value::from(url.as_str())
    );
    for (application, destination) in [(WAITING, "away"), (DELIVERED, INTO)] {
        text += &format!(
            "[[route]]\nname = \"{destination}-{TOPIC}\"\napplication = \"{application}\"\ntopic = \"{TOPIC}\"\n\
             destination = \"{destination}\"\ntable = \"{TABLE}\"\nkey = [\"id\"]\ncolumns = \"matching\"\n\n"
        );
    }
    text
}

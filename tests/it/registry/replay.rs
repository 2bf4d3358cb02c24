//! `tidegate replay` and a route that begins in the past, as an operator meets them: the commands alone, with nobody to carry
//! them out.

use std::time::Duration;

use serde_json::Value;
use tidegate::redis::{Redis, RedisAppender, RedisLog, dead};
use tidegate_actors::{
    message::{Action, MessageId},
    ports::{Advance, AppendRequest, Appender as _, Command, EventLog as _, NewRecord},
    transaction::LaneId,
};

use super::commands::Site;

const APP: &str = "car-app";

fn manifest(more: &str) -> String {
    let mut text = format!("[[application]]\nname = \"{APP}\"\ntopics = [\"cars\"]\n");
    for (name, delivery) in [("rooms", "ordered"), ("shared", "parallel")] {
        text += &format!(
            "[[destination]]\nname = \"{name}\"\nkind = \"postgres\"\nurl = \"postgres://writer@127.0.0.1:1/{name}\"\n\
             delivery = \"{delivery}\"\n"
        );
    }
    for (name, destination, key) in [
        ("rooms-cars", "rooms", "key = [\"id\"]"),
        ("rooms-events", "rooms", ""),
        ("shared-cars", "shared", "key = [\"id\"]"),
    ] {
        text += &route(name, destination, key);
    }
    text + more
}

fn route(name: &str, destination: &str, more: &str) -> String {
    format!(
        "[[route]]\nname = \"{name}\"\napplication = \"{APP}\"\ntopic = \"cars\"\ndestination = \"{destination}\"\n\
         table = \"{name}\"\ncolumns = {{ id = \"id\" }}\n{more}\n"
    )
}

/// An installation with a hundred records that `rooms` has.
async fn delivered() -> (Site, Redis, Vec<MessageId>) {
    let site = Site::new().await;
    site.write("rooms.toml", &manifest(""));
    let applied = site.run(&["apply", "rooms.toml"]);
    assert_eq!(applied.code, 0, "{}", applied.err);
    let redis = Redis::open(&site.server.url(), "test").unwrap();
    let record = NewRecord {
        topic: "cars".into(),
        action: Action::Upsert,
        key: Some("1".into()),
        own_id: None,
        traceparent: None,
        data: "{\"id\":1}".into(),
    };
    let request = AppendRequest { application: APP.into(), records: vec![record; 100], idempotency: None };
    let ids = RedisAppender::new(&redis, Default::default()).append(request).await.unwrap().ids;
    let document = site.document().await;
    let lane = LaneId {
        installation: document.installation.as_str().into(),
        destination: document.destinations.iter().find(|one| one.name == "rooms").unwrap().id.as_str().into(),
        stream: APP.into(),
        part: "main".into(),
    };
    let mut log = RedisLog::new(&redis, "rooms");
    assert!(log.lease(std::slice::from_ref(&lane), "me", Duration::from_secs(30)).await.unwrap());
    let newest = log.view(&lane).await.unwrap().generations.pop().unwrap().generation;
    let advance = Advance {
        lane,
        owner: "me".into(),
        version: document.version,
        newest,
        to: ids[99].0.clone(),
        sides: Vec::new(),
        part: "main".into(),
        known: document.routes.iter().map(|route| route.id.as_str().into()).collect(),
        history: None,
        void: Vec::new(),
    };
    log.advance(&advance).await.unwrap();
    (site, redis, ids)
}

#[tokio::test]
async fn what_cannot_be_sent_again_is_refused_with_the_reason() {
    let (site, ..) = delivered().await;
    for (arguments, why) in [
        (["replay", "rooms-events", "--from", "2026-01-01T00:00:00Z"], "route `rooms-events` has no `key`"),
        (["replay", "shared-cars", "--from", "2026-01-01T00:00:00Z"], "`shared` is a parallel destination"),
        (["replay", "rooms-car", "--from", "2026-01-01T00:00:00Z"], "did you mean `rooms-cars`?"),
        (["replay", "rooms-cars", "--from", "yesterday"], "neither a moment such as"),
        (["replay", "rooms-cars", "--from", "aaaaaaaaaa-5-0"], "is not of this stream"),
    ] {
        let refused = site.run(&arguments);
        assert!(refused.code != 0 && refused.err.contains(why), "{arguments:?}: {}", refused.err);
    }
}

#[tokio::test]
async fn it_counts_says_what_it_does_and_asks_before_rows_go_back() {
    let (site, redis, ids) = delivered().await;
    let (from, to) = (ids[10].to_string(), ids[19].to_string());
    let dry = site.run(&["replay", "rooms-cars", "--from", &from, "--dry-run"]);
    assert_eq!(dry.code, 0, "{}", dry.err);
    assert!(dry.out.starts_with("route `rooms-cars`: 90 records of topic `cars`"), "{}", dry.out);
    assert!(dry.out.contains("inserts are written as upserts") && dry.out.contains("dry run"), "{}", dry.out);
    let early = site.run(&["replay", "rooms-cars", "--from", "2020-01-01T00:00:00Z", "--dry-run"]);
    assert!(early.out.contains("100 records") && early.out.contains("new records wait"), "{}", early.out);
    let nothing = site.run(&["replay", "rooms-cars", "--from", "2100-01-01T00:00:00Z"]);
    assert!(nothing.code == 0 && nothing.out.ends_with("Nothing to send again.\n"), "{}", nothing.out);

    let range = ["replay", "rooms-cars", "--from", &from, "--to", &to];
    let asked = site.run(&range);
    assert!(asked.code == 1 && asked.err.contains("say --yes to do it; nothing was changed"), "{}", asked.err);
    assert!(asked.out.contains("10 records") && asked.out.contains("go back to their state"), "{}", asked.out);
    let document = site.document().await;
    let destination = &document.destinations.iter().find(|one| one.name == "rooms").unwrap().id;
    assert_eq!(dead::waiting(&redis, APP, destination).await.unwrap(), []);

    // Nobody runs: it waits for whoever will.
    let queued = site.run(&[&range[..], &["--yes", "--json"]].concat());
    let line: Value = serde_json::from_str(queued.out.trim()).unwrap();
    assert_eq!((&line["state"], &line["records"], &line["up_to"]), (&"queued".into(), &10.into(), &to.as_str().into()));
    let waiting = dead::waiting(&redis, APP, destination).await.unwrap();
    let [Command::Replay { token, route, to: end, .. }] = &waiting[..] else { panic!("{waiting:?}") };
    assert_eq!((token.as_str(), end.as_ref()), (line["token"].as_str().unwrap(), Some(&ids[19].0)));
    assert_eq!(*route, document.routes.iter().find(|route| route.name == "rooms-cars").unwrap().id);
}

#[tokio::test]
async fn a_replay_that_waits_is_stopped_by_whoever_asked_for_it_and_told_in_the_list_of_changes() {
    let (site, redis, ids) = delivered().await;
    let document = site.document().await;
    let destination = &document.destinations.iter().find(|one| one.name == "rooms").unwrap().id;
    let none = site.run(&["replay", "rooms-cars", "--stop"]);
    assert!(none.code == 1 && none.err.contains("nothing is being sent again by route `rooms-cars`"), "{}", none.err);
    let slip = site.run(&["replay", "rooms-car", "--stop"]);
    assert!(slip.code == 1 && slip.err.contains("did you mean `rooms-cars`?"), "{}", slip.err);
    let both = site.run(&["replay", "rooms-cars", "--stop", "--from", "2026-01-01T00:00:00Z"]);
    assert!(both.code == 2 && both.err.contains("cannot be used with"), "{}", both.err);
    let neither = site.run(&["replay", "rooms-cars"]);
    assert!(neither.code == 2 && neither.err.contains("--from"), "{}", neither.err);

    let begin = |from: &MessageId, to: &MessageId| {
        let (from, to) = (from.to_string(), to.to_string());
        let range = ["replay", "rooms-cars", "--from", &from, "--to", &to, "--yes", "--json"];
        let line: Value = serde_json::from_str(site.run(&range).out.trim()).unwrap();
        line["token"].as_str().unwrap().to_owned()
    };
    let first = begin(&ids[10], &ids[19]);
    let second = begin(&ids[30], &ids[39]);
    let which = site.run(&["replay", "rooms-cars", "--stop", "--yes"]);
    assert!(which.code == 1 && which.err.contains(&first) && which.err.contains(&second), "{}", which.err);
    assert!(which.err.contains("0 of 10 records sent") && which.err.contains("--stop TOKEN"), "{}", which.err);
    let unasked = site.run(&["replay", "rooms-cars", "--stop", &first]);
    assert!(unasked.code == 1 && unasked.err.contains("nothing was changed"), "{}", unasked.err);
    assert_eq!(dead::waiting(&redis, APP, destination).await.unwrap().len(), 2);
    let other = site.run(&["replay", "rooms-cars", "--stop", "0123", "--yes"]);
    assert!(other.code == 1 && other.err.contains("has ended already, or there was none"), "{}", other.err);

    let stopped = site.run(&["replay", "rooms-cars", "--stop", &first, "--yes"]);
    assert!(stopped.code == 0 && stopped.out.ends_with("stays as it is.\n"), "{}{}", stopped.out, stopped.err);
    // The only one that is left needs no name.
    let line = site.run(&["replay", "rooms-cars", "--stop", "--yes", "--json"]);
    let line: Value = serde_json::from_str(line.out.trim()).unwrap();
    assert_eq!((&line["state"], line["token"].as_str()), (&"stopped".into(), Some(second.as_str())));
    assert_eq!(dead::waiting(&redis, APP, destination).await.unwrap(), []);
    let told = super::store(&site.server).changes(50).await.unwrap();
    for token in [&first, &second] {
        let of = format!("stop the replay {token} of route `rooms-cars`");
        let told: Vec<_> = told.iter().filter(|entry| entry.what == of).collect();
        assert!(matches!(&told[..], [one] if one.who.contains("operator@a")), "{told:?}");
    }
}

#[tokio::test]
async fn a_new_route_may_begin_in_the_past_and_says_from_where() {
    let (site, ..) = delivered().await;
    site.write("more.toml", &manifest(&route("rooms-prices", "rooms", "start = \"earliest\"")));
    let applied = site.run(&["apply", "more.toml"]);
    assert_eq!(applied.code, 0, "{}", applied.err);
    assert!(applied.out.contains("route rooms-prices catches up from the earliest record"), "{}", applied.out);
    let status = site.run(&["status", "--once"]);
    assert!(
        status.out.contains("rooms: route `rooms-prices` catches up, at records of the beginning"),
        "{}",
        status.out
    );
    let lines = site.run(&["status", "--json"]).out;
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let row = lines.into_iter().find(|line| line["name"] == "rooms").unwrap();
    assert_eq!((&row["catching_up"][0]["kind"], &row["held_tables"]), (&"backfill".into(), &Value::Array(vec![])));

    site.write("worse.toml", &manifest(&route("shared-prices", "shared", "key = [\"id\"]\nstart = \"earliest\"")));
    site.run(&["apply", "more.toml"]);
    let stream = "test:{car-app}:stream";
    let read = format!("XREADGROUP GROUP {} me COUNT 100 STREAMS {stream} >", id_of(&site, "shared").await);
    site.server.ask::<redis::Value>(&read).await;
    let refused = site.run(&["apply", "worse.toml"]);
    assert!(refused.code == 1 && refused.err.contains("cannot go back for one route"), "{}", refused.err);
}

async fn id_of(site: &Site, destination: &str) -> String {
    site.document().await.destinations.into_iter().find(|one| one.name == destination).unwrap().id
}

//! Rows beside the main one, over a world in memory: a table that does not fit waits alone, a route catches up, a route is sent
//! again; and whoever dies in between loses and doubles nothing.

use serde_json::{Value, json};

use super::*;
use crate::{
    message::Position,
    route::RouteSpec,
    testing::{MemoryDatabase, MemoryTable},
};

/// A route of this topic into the table of its name. Without a key, so that what comes twice is seen.
fn into(topic: &str) -> RouteSpec {
    serde_json::from_value(json!({
        "id": format!("route-{topic}"), "version": 1, "name": format!("{topic}-to-a"), "application": "app",
        "topic": topic, "destination": "a", "table": topic, "columns": {"id": "id"},
    }))
    .unwrap()
}

fn keyed(topic: &str, columns: &Value) -> RouteSpec {
    let columns = serde_json::from_value(columns.clone()).unwrap();
    RouteSpec { key: vec!["id".into()], columns, ..into(topic) }
}

fn send(node: &Node, topic: &str, ids: std::ops::Range<u32>) -> Vec<Position> {
    let one = |id: u32| node.streams().append_json("app", topic, Action::Insert, &json!({"id": id.to_string()})).0;
    ids.map(one).collect()
}

/// The first column of a table, in the order in which its rows were inserted.
fn firsts(database: &MemoryDatabase, table: &str) -> Vec<u32> {
    database.texts(table).into_iter().map(|row| row[0].as_deref().unwrap().parse().unwrap()).collect()
}

/// Waits until nothing stands beside the main row, and nothing is said about it.
async fn alone(node: &Node) {
    node.world.database("a").until(|database| parts(database) == ["main"]).await;
    node.detail("a", |detail| detail["held_tables"].is_null() && detail["catching_up"].is_null()).await;
}

fn parts(database: &MemoryDatabase) -> Vec<String> {
    let part = |lane: &str| lane.splitn(4, '/').last().unwrap().to_owned();
    let mut parts: Vec<_> = database.watermarks().iter().map(|row| part(&row.lane)).collect();
    parts.retain(|part| !part.starts_with("done "));
    parts
}

/// A node with the tables `cars` and `shops`.
fn two_tables() -> Node {
    let node = Node::start(vec![]);
    node.world.database("a").add_table(MemoryTable::of_text("shops", &[], &["id"]));
    node.set(vec![spec("a", vec![into("cars"), into("shops")])]);
    node
}

#[test]
fn a_table_that_is_gone_waits_while_the_others_go_on_and_drains_in_order_when_it_is_back() {
    in_system(async {
        let node = two_tables();
        let database = node.world.database("a");
        send(&node, "shops", 0..3);
        database.until(|database| database.rows("shops").len() == 3).await;
        let shops = database.drop_table("shops").unwrap();
        for next in 0..20 {
            send(&node, "cars", next..next + 1);
            send(&node, "shops", next + 3..next + 4);
        }
        node.delivered("a", 20).await;
        node.detail("a", |detail| detail["held_tables"][0]["table"] == "shops").await;
        let shown = node.shown("a");
        assert_eq!((&shown["status"], &shown["held"]), (&json!("up"), &Value::Null), "the others go on");
        assert_eq!(shown["held_tables"][0]["routes"], json!(["shops-to-a"]));
        assert!(shown["held_tables"][0]["why"].as_str().unwrap().contains("`shops`"));
        let stands = node.streams().sides(&node.lane("a"));
        assert_eq!((&*stands[0].part, &*stands[0].routes[0]), ("table shops", "route-shops"));
        assert_eq!(node.streams().position(&node.lane("a")), Some(stands[0].at.clone()), "nothing it needs is trimmed");
        database.add_table(shops);
        alone(&node).await;
        assert_eq!(firsts(&database, "shops"), (0..23).collect::<Vec<_>>());
        send(&node, "shops", 23..25);
        database.until(|database| database.rows("shops").len() == 25).await;
        assert_eq!(node.ids("a"), (0..20).collect::<Vec<_>>());
        assert!(database.dead().is_empty());
    });
}

#[test]
fn whoever_dies_while_a_table_waits_or_drains_writes_everything_once() {
    in_system(async {
        // Each of the first commits in its turn: the one that opens the row, those beside it, the one that closes it.
        for death in 0..4 {
            let node = two_tables();
            let database = node.world.database("a");
            send(&node, "cars", 0..1);
            node.delivered("a", 1).await;
            let shops = database.drop_table("shops").unwrap();
            match death {
                0 => node.misbehave("a", Mischief::Panic),
                // The first transaction is refused, since the table is gone; the second opens the row.
                1 => (0..2).for_each(|_| node.misbehave("a", Mischief::PanicAfter)),
                _ => {}
            }
            send(&node, "shops", 0..5);
            send(&node, "cars", 1..6);
            node.delivered("a", 6).await;
            database.until(|database| parts(database).contains(&"table shops".to_owned())).await;
            if death >= 2 {
                node.misbehave("a", if death == 2 { Mischief::PanicAfter } else { Mischief::Panic });
                node.misbehave("a", Mischief::PanicAfter);
            }
            database.add_table(shops);
            alone(&node).await;
            assert_eq!(firsts(&database, "shops"), (0..5).collect::<Vec<_>>(), "{death}");
            assert_eq!(node.ids("a"), (0..6).collect::<Vec<_>>(), "{death}");
            assert!(node.health(ActorKind::Destination, "a").restarts > 0, "{death}");
            assert_eq!(node.supervisor.send(Drain { within: Duration::from_secs(5) }).await.unwrap(), 0);
        }
    });
}

#[test]
fn a_route_that_is_pointed_to_a_new_table_takes_with_it_what_waited() {
    in_system(async {
        let node = two_tables();
        let database = node.world.database("a");
        let shops = database.drop_table("shops").unwrap();
        send(&node, "shops", 0..5);
        send(&node, "cars", 0..5);
        node.delivered("a", 5).await;
        node.detail("a", |detail| detail["held_tables"][0]["table"] == "shops").await;
        drop(shops);
        database.add_table(MemoryTable::of_text("stores", &[], &["id"]));
        node.set(vec![spec("a", vec![into("cars"), RouteSpec { table: "stores".into(), ..into("shops") }])]);
        alone(&node).await;
        send(&node, "shops", 5..7);
        database.until(|database| database.rows("stores").len() >= 7).await;
        assert_eq!(firsts(&database, "stores"), (0..7).collect::<Vec<_>>());
    });
}

#[test]
fn a_row_whose_parent_waits_waits_too_and_is_no_dead_letter() {
    in_system(async {
        let node = Node::start(vec![]);
        let database = node.world.database("a");
        let columns = json!({"id": "id", "shop": "shop"});
        let rooms = MemoryTable::of_text("rooms", &["id"], &["id", "shop"]).references("shop", "shops", "id");
        database.add_table(MemoryTable::of_text("shops", &["id"], &["id"]));
        database.add_table(rooms);
        node.set(vec![spec("a", vec![into("cars"), into("shops"), keyed("rooms", &columns)])]);
        send(&node, "cars", 0..1);
        node.delivered("a", 1).await;
        let shops = database.drop_table("shops").unwrap();
        let room = |id: u32, shop: u32| {
            let data = json!({"id": id.to_string(), "shop": shop.to_string()});
            node.streams().append_json("app", "rooms", Action::Insert, &data);
        };
        for next in 0..4 {
            send(&node, "shops", next..next + 1);
            room(next, next);
            send(&node, "cars", next + 1..next + 2);
        }
        // Its parent never comes: once nothing waits any more, it is a dead letter.
        room(9, 9);
        send(&node, "cars", 5..6);
        node.delivered("a", 6).await;
        node.detail("a", |detail| detail["held_tables"].as_array().is_some_and(|held| held.len() == 2)).await;
        assert!(database.rows("rooms").is_empty() && database.dead().is_empty());
        database.add_table(shops);
        alone(&node).await;
        assert_eq!(firsts(&database, "rooms"), [0, 1, 2, 3]);
        let dead = database.dead();
        assert_eq!(dead.len(), 1);
        assert!(dead[0].0.ends_with("/main"), "it stands with the others: {}", dead[0].0);
        assert_eq!(node.streams().dead_letters(&node.lane("a"))[0].reason.code, "foreign_key");
    });
}

#[test]
fn a_route_that_begins_below_its_destination_catches_up_once() {
    in_system(async {
        let node = Node::start(vec![spec("a", vec![into("cars")])]);
        let database = node.world.database("a");
        database.add_table(MemoryTable::of_text("shops", &[], &["id"]));
        let first = send(&node, "shops", 0..10);
        send(&node, "cars", 0..10);
        node.delivered("a", 10).await;
        let lane = node.lane("a");
        let start = Position { id: first[2].id, ..first[2].clone() };
        node.streams().set_backfill(&lane, "route-shops", start.clone());
        node.set_version(1, vec![spec("a", vec![into("cars"), into("shops")])]);
        node.streams().set_version("app", 1);
        database.until(|database| database.rows("shops").len() >= 7).await;
        alone(&node).await;
        send(&node, "shops", 10..12);
        database.until(|database| database.rows("shops").len() >= 9).await;
        // Nobody begins it again.
        node.misbehave("a", Mischief::Panic);
        send(&node, "shops", 12..13);
        database.until(|database| database.rows("shops").len() >= 10).await;
        alone(&node).await;
        assert_eq!(firsts(&database, "shops"), (3..13).collect::<Vec<_>>());
        assert_eq!(node.ids("a"), (0..10).collect::<Vec<_>>());
    });
}

#[test]
fn a_route_is_sent_again_over_what_is_there() {
    in_system(async {
        let node = Node::start(vec![]);
        let database = node.world.database("a");
        database.add_table(MemoryTable::of_text("shops", &["id"], &["id", "name"]));
        let columns = json!({"id": "id", "name": "name"});
        node.set(vec![spec("a", vec![into("cars"), keyed("shops", &columns)])]);
        let shop = |action, id: u32, name: &str| {
            let data = json!({"id": id.to_string(), "name": name});
            node.streams().append_json("app", "shops", action, &data).0
        };
        let first = shop(Action::Insert, 0, "a");
        for id in 1..5 {
            shop(Action::Insert, id, "a");
        }
        shop(Action::Update, 1, "b");
        shop(Action::Delete, 2, "");
        shop(Action::Update, 4, "b");
        send(&node, "cars", 0..1);
        node.delivered("a", 1).await;
        let good = database.texts("shops");
        // Somebody empties the table by hand.
        database.add_table(MemoryTable::of_text("shops", &["id"], &["id", "name"]));
        let lane = node.lane("a");
        let from = Position { id: crate::message::StreamId::ZERO, ..first };
        let replay = |token: &str, route: &str| Command::Replay {
            token: token.into(),
            route: route.into(),
            from: from.clone(),
            to: None,
        };
        for command in [replay("one", "route-shops"), replay("two", "route-shops"), replay("three", "route-cars")] {
            node.streams().command(&lane, command);
        }
        node.streams().until(|streams| streams.waiting_commands(&lane).is_empty()).await;
        alone(&node).await;
        assert_eq!(database.texts("shops"), good, "twice, one after the other");
        assert_eq!(node.ids("a"), [0], "a route without a key is not sent again");
        assert!(database.dead().is_empty(), "{:?}", node.streams().dead_letters(&lane));
    });
}

#[test]
fn a_replay_whose_owner_dies_is_neither_lost_nor_in_the_way() {
    in_system(async {
        for death in [Mischief::Panic, Mischief::PanicAfter] {
            let node = Node::start(vec![]);
            let database = node.world.database("a");
            database.add_table(MemoryTable::of_text("shops", &["id"], &["id"]));
            node.set(vec![spec("a", vec![into("cars"), keyed("shops", &json!({"id": "id"}))])]);
            let sent = send(&node, "shops", 0..8);
            send(&node, "cars", 0..1);
            node.delivered("a", 1).await;
            database.add_table(MemoryTable::of_text("shops", &["id"], &["id"]));
            // The transactions that open the row, write beside it, and close it.
            (0..3).for_each(|_| node.misbehave("a", death));
            let lane = node.lane("a");
            let (from, to) = (sent[2].clone(), Some(sent[5].clone()));
            let command = Command::Replay { token: "one".into(), route: "route-shops".into(), from, to };
            node.streams().command(&lane, command);
            node.streams().until(|streams| streams.waiting_commands(&lane).is_empty()).await;
            alone(&node).await;
            assert_eq!(firsts(&database, "shops"), [3, 4, 5], "{death:?}");
            assert_eq!(node.supervisor.send(Drain { within: Duration::from_secs(5) }).await.unwrap(), 0);
        }
    });
}

#[test]
fn a_replay_up_to_a_place_is_stopped_by_taking_its_command_back() {
    in_system(async {
        let node = Node::start(vec![]);
        let database = node.world.database("a");
        let shops = || MemoryTable::of_text("shops", &["id"], &["id"]);
        database.add_table(shops());
        node.set(vec![spec("a", vec![into("cars"), keyed("shops", &json!({"id": "id"}))])]);
        let sent = send(&node, "shops", 0..8);
        send(&node, "cars", 0..1);
        node.delivered("a", 1).await;
        // It waits for its table, so that there is something to stop.
        database.add_table(MemoryTable::of_text("shops", &[], &["other"]));
        let lane = node.lane("a");
        let (from, to) = (sent[2].clone(), Some(sent[5].clone()));
        node.streams().command(&lane, Command::Replay { token: "one".into(), route: "route-shops".into(), from, to });
        database.until(|database| parts(database).iter().any(|part| part == "replay one")).await;
        node.streams().withdraw(&lane, |command| matches!(command, Command::Replay { .. }));
        database.until(|database| parts(database).iter().all(|part| part != "replay one")).await;
        database.add_table(shops());
        send(&node, "shops", 8..9);
        send(&node, "cars", 1..2);
        node.delivered("a", 2).await;
        alone(&node).await;
        assert_eq!(firsts(&database, "shops"), [8], "what was to be sent again is not");
    });
}

//! What operators do by hand: pause, the breaker, and giving a backlog up.

use std::time::Duration;

use super::node::{Node, in_system, route, spec};
use crate::{
    message::Position,
    ports::Command,
    route::{ByHand, DeliveryMode, DestinationSpec, RouteSpec, Stopped},
    testing::{DatabaseCall, MemoryTable},
};

fn by_someone() -> Option<Stopped> {
    Some(Stopped { by: "somebody".into(), at_ms: 1_763_775_403_000 })
}

fn paused() -> ByHand {
    ByHand { paused: by_someone(), ..ByHand::default() }
}

fn open() -> ByHand {
    ByHand { breaker_open: by_someone(), ..ByHand::default() }
}

fn closed(times: u64) -> ByHand {
    ByHand { breaker_closings: times, ..ByHand::default() }
}

fn by_hand(by_hand: ByHand) -> DestinationSpec {
    DestinationSpec { by_hand, ..spec("a", vec![route("a")]) }
}

fn parallel(by_hand: ByHand) -> DestinationSpec {
    let keyed = RouteSpec { key: vec!["id".into()], ..route("a") };
    DestinationSpec { mode: DeliveryMode::Parallel, by_hand, ..spec("a", vec![keyed]) }
}

/// Nothing is written for a while, in which what is to be written comes by many times.
async fn nothing_is_written(node: &Node, rows: usize) {
    let ends = tokio::time::Instant::now() + Duration::from_millis(500);
    while tokio::time::Instant::now() < ends {
        assert_eq!(node.world.database("a").rows("cars").len(), rows, "nothing is written");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn a_paused_destination_keeps_what_comes_and_resumes_in_order() {
    in_system(async {
        let node = Node::start(vec![by_hand(ByHand::default())]);
        node.send(0..5);
        node.delivered("a", 5).await;
        node.set(vec![by_hand(paused())]);
        node.detail("a", |detail| detail["status"] == "paused" && detail["leased"] == false).await;
        let shown = node.shown("a");
        assert_eq!(shown["paused"]["by"], "somebody");
        assert_eq!(shown["paused"]["since"], "2025-11-22T01:36:43.000Z");
        node.send(5..20);
        node.detail("a", |detail| detail["backlog"] == 15).await;
        nothing_is_written(&node, 5).await;
        assert_eq!(node.streams().owner(&node.lane("a")), None, "whoever resumes it may take it");
        node.set(vec![by_hand(ByHand::default())]);
        node.delivered("a", 20).await;
        assert_eq!(node.ids("a"), (0..20).collect::<Vec<_>>());
        node.detail("a", |detail| detail["status"] == "up" && detail["paused"].is_null()).await;
    });
}

#[test]
fn a_paused_destination_is_asked_for_a_sign_of_life_and_shows_that_it_is_down() {
    in_system(async {
        let node = Node::start(vec![by_hand(paused())]);
        node.detail("a", |detail| detail["status"] == "paused" && detail["heartbeat_ms"].is_number()).await;
        node.world.database("a").set_down(true);
        node.detail("a", |detail| detail["status"] == "paused" && detail["down_since"].is_string()).await;
        node.world.database("a").set_down(false);
        node.detail("a", |detail| detail["status"] == "paused" && detail["down_since"].is_null()).await;
        assert_eq!(node.world.database("a").calls(DatabaseCall::TakeOver), 0);
    });
}

#[test]
fn a_pause_moves_with_the_destination_and_outlives_the_node() {
    in_system(async {
        let first = Node::start(vec![by_hand(paused())]);
        let second = Node::beside(&first, vec![by_hand(paused())]);
        second.assign(&[]);
        first.send(0..5);
        first.assign(&[]);
        second.assign(&["a"]);
        second.detail("a", |detail| detail["status"] == "paused" && detail["backlog"] == 5).await;
        nothing_is_written(&second, 0).await;
        second.set(vec![by_hand(ByHand::default())]);
        second.delivered("a", 5).await;
    });
}

#[test]
fn a_breaker_that_was_opened_by_hand_leaves_the_database_alone_until_it_is_closed() {
    in_system(async {
        let node = Node::start(vec![by_hand(ByHand::default())]);
        node.send(0..1);
        node.delivered("a", 1).await;
        node.set(vec![by_hand(open())]);
        node.detail("a", |detail| detail["breaker"] == "open" && detail["status"] == "paused").await;
        assert_eq!(node.shown("a")["breaker_by_hand"]["by"], "somebody");
        assert!(node.shown("a")["down_since"].is_null(), "nobody knows whether it is down");
        node.send(1..10);
        let database = node.world.database("a");
        let probes = database.calls(DatabaseCall::Probe);
        nothing_is_written(&node, 1).await;
        // Longer than a heartbeat.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        assert_eq!(database.calls(DatabaseCall::Probe), probes, "it is not even probed");
        node.set(vec![by_hand(closed(1))]);
        node.delivered("a", 10).await;
        node.detail("a", |detail| detail["breaker"] == "closed" && detail["status"] == "up").await;
        assert!(database.calls(DatabaseCall::Probe) > probes);
    });
}

#[test]
fn a_breaker_closed_by_hand_forgets_how_long_it_was_to_wait() {
    in_system(async {
        let node = Node::start(vec![by_hand(ByHand::default())]);
        node.send(0..1);
        node.delivered("a", 1).await;
        let database = node.world.database("a");
        database.set_down(true);
        node.detail("a", |detail| detail["status"] == "down").await;
        // Until it waits for seconds between two probes.
        let probes = database.calls(DatabaseCall::Probe);
        database.until(|database| database.calls(DatabaseCall::Probe) >= probes + 6).await;
        database.set_down(false);
        let asked = tokio::time::Instant::now();
        node.set(vec![by_hand(closed(1))]);
        node.send(1..3);
        node.delivered("a", 3).await;
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    });
}

#[test]
fn a_parallel_destination_is_paused_too() {
    in_system(async {
        let node = Node::start(vec![parallel(ByHand::default())]);
        node.world.database("a").add_table(MemoryTable::of_text("cars", &["id"], &["id"]));
        node.send(0..5);
        node.delivered("a", 5).await;
        node.set(vec![parallel(paused())]);
        node.detail("a", |detail| detail["status"] == "paused").await;
        node.send(5..12);
        nothing_is_written(&node, 5).await;
        node.set(vec![parallel(ByHand::default())]);
        node.delivered("a", 12).await;
        node.detail("a", |detail| detail["status"] == "up").await;
    });
}

fn abandon(to: Position) -> Command {
    Command::Abandon { token: "t1".into(), to, by: "somebody".into(), at_ms: 7, reason: Some("hopeless".into()) }
}

/// The place of the entry that was sent so many after the first.
fn place(node: &Node, at: usize) -> Position {
    let id = node.streams().entries("app")[at].id();
    Position { generation: node.streams().generation("app"), id }
}

#[test]
fn what_is_given_up_is_not_written_and_what_follows_is() {
    in_system(async {
        let node = Node::start(vec![by_hand(ByHand::default())]);
        node.send(0..3);
        node.delivered("a", 3).await;
        node.set(vec![by_hand(paused())]);
        node.detail("a", |detail| detail["status"] == "paused").await;
        node.send(3..10);
        node.streams().command(&node.lane("a"), abandon(place(&node, 6)));
        node.set(vec![by_hand(ByHand::default())]);
        node.delivered("a", 6).await;
        assert_eq!(node.ids("a"), [0, 1, 2, 7, 8, 9]);
        node.streams().until(|streams| streams.waiting_commands(&node.lane("a")).is_empty()).await;
        let told = node.streams().abandoned(&node.lane("a"));
        assert_eq!((told.len(), &told[0].after, &told[0].to), (1, &place(&node, 2), &place(&node, 6)));
        assert_eq!(told[0].reason.as_deref(), Some("hopeless"));
        // Once more, by somebody who did not see that it was done.
        node.streams().command(&node.lane("a"), abandon(place(&node, 6)));
        node.send(10..12);
        node.delivered("a", 8).await;
    });
}

#[test]
fn what_was_given_up_and_trimmed_meanwhile_is_no_gap() {
    in_system(async {
        let node = Node::start(vec![by_hand(ByHand::default())]);
        node.send(0..3);
        node.delivered("a", 3).await;
        node.world.database("a").set_down(true);
        node.detail("a", |detail| detail["status"] == "down").await;
        node.send(3..10);
        node.streams().command(&node.lane("a"), abandon(place(&node, 6)));
        let first_kept = place(&node, 7).id;
        node.streams().trim("app", first_kept);
        node.world.database("a").set_down(false);
        node.delivered("a", 6).await;
        assert_eq!(node.ids("a"), [0, 1, 2, 7, 8, 9]);
        node.detail("a", |detail| detail["status"] == "up" && detail["held"].is_null()).await;
        node.streams().until(|streams| streams.waiting_commands(&node.lane("a")).is_empty()).await;
    });
}

#[test]
fn the_backlog_of_a_held_table_is_given_up_and_the_others_go_on() {
    in_system(async {
        let mut shops = route("a");
        (shops.id, shops.table, shops.topic) = ("route-shops".into(), "shops".into(), "shops".into());
        let node = Node::start(vec![spec("a", vec![route("a"), shops])]);
        node.send(0..2);
        let shop = |id: u32| {
            let data = serde_json::json!({"id": id.to_string()});
            node.streams().append_json("app", "shops", crate::message::Action::Insert, &data);
        };
        (0..4).for_each(shop);
        node.send(2..4);
        node.delivered("a", 4).await;
        node.detail("a", |detail| detail["held_tables"][0]["table"] == "shops").await;
        // The last of the shops so far.
        node.streams().command(&node.lane("a"), abandon(place(&node, 5)));
        node.streams().until(|streams| streams.waiting_commands(&node.lane("a")).is_empty()).await;
        shop(4);
        let database = node.world.database("a");
        database.add_table(MemoryTable::of_text("shops", &[], &["id"]));
        database.until(|database| database.rows("shops").len() == 1).await;
        let told = node.streams().abandoned(&node.lane("a"));
        assert_eq!(told.iter().map(|told| &*told.part).collect::<Vec<_>>(), ["table shops"]);
        node.detail("a", |detail| detail["held_tables"].is_null()).await;
        assert_eq!(database.texts("shops")[0][0].as_deref(), Some("4"));
        assert_eq!(node.ids("a"), [0, 1, 2, 3]);
    });
}

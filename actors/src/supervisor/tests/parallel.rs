//! Parallel destinations: claims, acknowledgement, dead letters and commands of the actor, over a world in memory.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::node::{Mischief, Node, in_system, route, spec};
use crate::{
    message::Action,
    ports::{Command, GroupReader as _, WriteError},
    route::{DeliveryMode, DestinationSpec, RouteSpec},
    status::ActorKind,
    testing::{DatabaseCall, Failure, LogCall, MemoryTable},
};

fn keyed(destination: &str) -> RouteSpec {
    RouteSpec { key: vec!["id".into()], ..route(destination) }
}

fn parallel(id: &str) -> DestinationSpec {
    DestinationSpec { mode: DeliveryMode::Parallel, ..spec(id, vec![keyed(id)]) }
}

/// A node whose table has the key that a parallel destination needs.
fn begin(destinations: Vec<DestinationSpec>) -> Node {
    let node = Node::start(destinations);
    node.world.database("a").add_table(MemoryTable::of_text("cars", &["id"], &["id"]));
    node
}

async fn settled(node: &Node) {
    let lane = node.lane("a");
    node.streams().until(|streams| streams.pending(&lane).is_empty()).await;
}

#[test]
fn records_are_written_and_acknowledged_without_a_lease_or_a_watermark() {
    in_system(async {
        let node = begin(vec![parallel("a")]);
        node.send(0..50);
        node.delivered("a", 50).await;
        settled(&node).await;
        node.detail("a", |detail| detail["status"] == "up" && detail["entries_delivered"] == 50).await;
        let database = node.world.database("a");
        assert_eq!(database.calls(DatabaseCall::TakeOver), 0);
        assert_eq!(database.watermarks(), []);
        assert_eq!(node.streams().owner(&node.lane("a")), None);
        assert_eq!(node.streams().calls(LogCall::Read), 0, "it has no reader beside it");
    });
}

#[test]
fn what_was_written_and_not_acknowledged_is_written_again_as_the_same_row() {
    in_system(async {
        let node = begin(vec![parallel("a")]);
        node.send(0..5);
        node.delivered("a", 5).await;
        // The answer to the acknowledgement is lost, and so is that to a commit.
        node.streams()
            .fail_next(LogCall::Acknowledge, Failure::Refuse(crate::ports::LogError::Unavailable("cut".into())));
        node.send(5..10);
        node.delivered("a", 10).await;
        node.world.database("a").fail_next_call(DatabaseCall::Write, Failure::LoseReply);
        node.send(10..15);
        node.delivered("a", 15).await;
        settled(&node).await;
        node.detail("a", |detail| detail["status"] == "up").await;
        node.delivered("a", 15).await;
    });
}

#[test]
fn what_another_node_left_is_claimed_after_a_while() {
    in_system(async {
        let node = begin(vec![]);
        let lane = node.lane("a");
        let mut gone = node.streams().group("gone");
        assert!(gone.open(&lane, 0).await.unwrap());
        node.send(0..3);
        let taken = gone.fresh(std::slice::from_ref(&lane), 10, Duration::from_millis(10)).await.unwrap();
        assert_eq!(taken[0].1.entries.len(), 3);
        node.set(vec![parallel("a")]);
        node.send(3..6);
        node.delivered("a", 3).await;
        assert_eq!(node.streams().pending(&lane).len(), 3, "not before its time");
        node.streams().advance_clock(Duration::from_secs(60));
        node.delivered("a", 6).await;
        settled(&node).await;
    });
}

#[test]
fn nothing_is_claimed_for_a_database_that_is_down() {
    in_system(async {
        let node = begin(vec![parallel("a")]);
        node.send(0..5);
        node.delivered("a", 5).await;
        node.world.database("a").set_down(true);
        node.detail("a", |detail| detail["status"] == "down" && detail["breaker"] != "closed").await;
        settled(&node).await;
        node.send(5..20);
        let claims = node.streams().calls(LogCall::Claim);
        let probes = node.world.database("a").calls(DatabaseCall::Probe);
        node.world.database("a").until(|database| database.calls(DatabaseCall::Probe) >= probes + 3).await;
        assert!(node.streams().calls(LogCall::Claim) <= claims, "nothing is claimed meanwhile");
        node.world.database("a").set_down(false);
        node.delivered("a", 20).await;
        node.detail("a", |detail| detail["status"] == "up").await;
    });
}

#[test]
fn a_group_that_was_taken_away_is_made_again() {
    in_system(async {
        let node = begin(vec![parallel("a")]);
        node.send(0..5);
        node.delivered("a", 5).await;
        settled(&node).await;
        node.streams().destroy_group(&node.lane("a"));
        node.send(5..8);
        node.delivered("a", 8).await;
        settled(&node).await;
        assert_eq!(node.health(ActorKind::Destination, "a").restarts, 0);
    });
}

#[test]
fn a_driver_that_panics_is_built_anew_and_its_entries_are_written() {
    in_system(async {
        let node = begin(vec![parallel("a")]);
        node.send(0..5);
        node.delivered("a", 5).await;
        node.misbehave("a", Mischief::Panic);
        node.send(5..10);
        node.delivered("a", 10).await;
        settled(&node).await;
        assert_eq!(node.health(ActorKind::Destination, "a").restarts, 1);
    });
}

#[test]
fn a_bad_record_alone_is_a_dead_letter_and_is_taken_back_by_a_redrive() {
    in_system(async {
        let node = begin(vec![parallel("a")]);
        let lane = node.lane("a");
        node.send(0..3);
        let bad = node.streams().append_json("app", "cars", Action::Update, &json!({"id": "77"}));
        node.send(3..6);
        node.delivered("a", 6).await;
        settled(&node).await;
        let letters = node.streams().dead_letters(&lane);
        assert_eq!(letters.iter().map(|letter| letter.dead.id).collect::<Vec<_>>(), [bad.0.id]);
        assert_eq!(letters[0].reason.code, "missing_row");
        assert_eq!(node.world.database("a").dead(), [], "there is no row for it");

        node.streams().command(&lane, Command::Redrive { dead: letters[0].dead.clone(), force: false, data: None });
        node.streams().until(|streams| streams.waiting_commands(&lane).is_empty()).await;
        let again = node.streams().dead_letters(&lane);
        assert!(again[0].redrive_error.is_some(), "still no row of this key");
        node.send(77..78);
        node.delivered("a", 7).await;
        node.streams().command(&lane, Command::Redrive { dead: letters[0].dead.clone(), force: false, data: None });
        node.streams().until(|streams| streams.dead_letters(&lane).is_empty()).await;
        node.streams().until(|streams| streams.waiting_commands(&lane).is_empty()).await;
    });
}

#[test]
fn a_missing_table_holds_and_goes_on_when_it_is_back() {
    in_system(async {
        let node = begin(vec![parallel("a")]);
        node.send(0..2);
        node.delivered("a", 2).await;
        let table = node.world.database("a").drop_table("cars").unwrap();
        node.send(2..4);
        node.detail("a", |detail| detail["status"] == "held").await;
        node.world.database("a").add_table(table);
        node.delivered("a", 4).await;
        node.detail("a", |detail| detail["status"] == "up").await;
    });
}

#[test]
fn an_entry_that_can_not_be_read_stays_and_keeps_nobody_waiting() {
    in_system(async {
        let node = begin(vec![parallel("a")]);
        node.send(0..2);
        let odd = node.streams().append_unknown("app", "from the future");
        node.send(2..4);
        node.delivered("a", 4).await;
        node.detail("a", |detail| detail["status"] == "held").await;
        let lane = node.lane("a");
        node.streams().until(|streams| streams.pending(&lane) == [odd.0.id]).await;
    });
}

#[test]
fn a_new_version_of_the_registry_is_learned_before_anything_is_acknowledged() {
    in_system(async {
        let node = begin(vec![parallel("a")]);
        node.send(0..2);
        node.delivered("a", 2).await;
        settled(&node).await;
        node.streams().set_version("app", 1);
        node.send(2..4);
        // Unless it hears of the version while it looks around, it writes them by the old one, and may not acknowledge them.
        let written = tokio::time::timeout(Duration::from_secs(2), node.delivered("a", 4)).await;
        let lane = node.lane("a");
        assert!(written.is_err() || !node.streams().pending(&lane).is_empty());
        node.set_version(1, vec![parallel("a")]);
        settled(&node).await;
        node.delivered("a", 4).await;
    });
}

#[test]
fn a_database_that_is_busy_is_asked_again() {
    in_system(async {
        let node = begin(vec![parallel("a")]);
        let busy = || Failure::Refuse(WriteError::Retry(crate::ports::Fault::new("deadlock, says the test")));
        (0..2).for_each(|_| node.world.database("a").fail_next_call(DatabaseCall::Write, busy()));
        node.send(0..4);
        node.delivered("a", 4).await;
        settled(&node).await;
        assert_eq!(node.streams().dead_letters(&node.lane("a")), Arc::<[_]>::from([]).to_vec());
    });
}

//! The actors together, over a world in memory, in real time: what is down, hangs, panics, changes or leaves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod by_hand;
mod node;
mod parallel;
mod sides;

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::{
    message::{Action, StreamId},
    ports::Command,
    testing::{DatabaseCall, Failure, LogCall},
    transaction::DeadId,
};
use node::{Mischief, Node, in_system, route, spec};

#[test]
fn nothing_is_read_for_a_database_that_is_down_and_it_drains_when_it_is_back() {
    in_system(async {
        let node = Node::start(vec![spec("a", vec![route("a")])]);
        node.send(0..10);
        node.delivered("a", 10).await;
        node.world.database("a").set_down(true);
        node.detail("a", |detail| detail["breaker"] != "closed" && detail["status"] == "down").await;
        assert!(!node.shown("a")["down_since"].is_null());
        node.send(10..200);
        let reads = node.streams().calls(LogCall::Read);
        let probes = node.world.database("a").calls(DatabaseCall::Probe);
        node.world.database("a").until(|database| database.calls(DatabaseCall::Probe) >= probes + 3).await;
        assert!(node.streams().calls(LogCall::Read) <= reads, "nothing is read meanwhile");
        let back = Instant::now();
        node.world.database("a").set_down(false);
        node.delivered("a", 200).await;
        assert!(back.elapsed() < Duration::from_secs(5), "{:?}", back.elapsed());
        node.detail("a", |detail| detail["breaker"] == "closed" && detail["status"] == "up").await;
    });
}

#[test]
fn a_destination_that_hangs_does_not_delay_another() {
    in_system(async {
        let node = Node::start(vec![spec("a", vec![route("a")]), spec("b", vec![route("b")])]);
        node.send(0..1);
        node.delivered("a", 1).await;
        node.delivered("b", 1).await;
        node.misbehave("a", Mischief::Block);
        node.send(1..2);
        node.blocked.wait().await;
        let began = Instant::now();
        for next in 2..12 {
            node.send(next..next + 1);
            node.delivered("b", next as usize + 1).await;
        }
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        node.blocked.release();
        node.delivered("a", 12).await;
    });
}

#[test]
fn a_driver_that_panics_is_built_anew_and_delivers_once() {
    in_system(async {
        let node = Node::start(vec![spec("a", vec![route("a")])]);
        node.send(0..5);
        node.delivered("a", 5).await;
        node.misbehave("a", Mischief::Panic);
        node.send(5..10);
        node.delivered("a", 10).await;
        node.misbehave("a", Mischief::PanicAfter);
        node.send(10..15);
        node.delivered("a", 15).await;
        node.send(15..16);
        node.delivered("a", 16).await;
        assert_eq!(node.health(ActorKind::Destination, "a").restarts, 2);
        assert_eq!(node.ids("a"), (0..16).collect::<Vec<_>>());
    });
}

#[test]
fn a_call_that_never_returns_is_abandoned_and_its_actor_replaced() {
    in_system(async {
        let node = Node::start(vec![spec("a", vec![route("a")])]);
        node.send(0..1);
        node.delivered("a", 1).await;
        node.misbehave("a", Mischief::Block);
        node.send(1..5);
        node.blocked.wait().await;
        node.delivered("a", 5).await;
        assert_eq!(node.health(ActorKind::Destination, "a").restarts, 1);
        // The zombie wakes with its transaction in hand.
        node.blocked.release();
        node.send(5..6);
        node.delivered("a", 6).await;
        assert_eq!(node.ids("a"), (0..6).collect::<Vec<_>>());
    });
}

#[test]
fn a_hopeless_actor_rests_after_five_restarts() {
    in_system(async {
        let node = Node::start(vec![spec("a", vec![route("a")])]);
        for _ in 0..6 {
            node.misbehave("a", Mischief::Panic);
        }
        node.send(0..1);
        node.supervisor_shows(|shown| shown["resting_after_too_many_restarts"] == 1).await;
        assert_eq!(node.health(ActorKind::Destination, "a").restarts, 5);
        assert_eq!(node.health(ActorKind::Destination, "a").state, crate::status::ActorState::Restarting);
    });
}

#[test]
fn a_drain_finishes_the_batch_in_hand_and_gives_the_lease_back() {
    in_system(async {
        let node = Node::start(vec![spec("a", vec![route("a")])]);
        node.send(0..1);
        node.delivered("a", 1).await;
        node.world.database("a").set_latency(Duration::from_millis(300));
        let commits = node.world.database("a").calls(DatabaseCall::Commit);
        node.send(1..5);
        node.world.database("a").until(|database| database.calls(DatabaseCall::Commit) > commits).await;
        let left = node.supervisor.send(Drain { within: Duration::from_secs(5) }).await.unwrap();
        assert_eq!(left, 0);
        let written = node.ids("a").len();
        assert!(written > 1, "the batch in hand is written");
        assert_eq!(node.streams().owner(&node.lane("a")), None);
        assert_eq!(
            node.world.database("a").watermarks()[0].last_id,
            node.streams().position(&node.lane("a")).unwrap().id
        );
    });
}

#[test]
fn changed_routes_take_effect_between_batches_and_a_removed_destination_stops() {
    in_system(async {
        let node = Node::start(vec![spec("a", vec![route("a")]), spec("b", vec![route("b")])]);
        node.send(0..3);
        node.delivered("a", 3).await;
        node.world.database("a").add_table(crate::testing::MemoryTable::of_text("other", &[], &["id"]));
        let mut elsewhere = route("a");
        (elsewhere.id, elsewhere.table) = ("route-other".into(), "other".into());
        node.set(vec![spec("a", vec![elsewhere])]);
        node.gone(ActorKind::Destination, "b").await;
        node.send(3..6);
        node.world.database("a").until(|database| database.rows("other").len() == 3).await;
        assert_eq!(node.ids("a"), [0, 1, 2]);
        assert_eq!(node.health(ActorKind::Destination, "a").restarts, 0);
        assert_eq!(node.streams().owner(&node.lane("b")), None);
    });
}

#[test]
fn a_node_stands_by_while_another_holds_the_lease() {
    in_system(async {
        let first = Node::start(vec![spec("a", vec![route("a")])]);
        first.send(0..1);
        first.delivered("a", 1).await;
        let second = Node::beside(&first, vec![spec("a", vec![route("a")])]);
        second.detail("a", |detail| detail["status"] == "standby").await;
        first.send(1..5);
        first.delivered("a", 5).await;
        assert_eq!(second.shown("a")["rows_written"], 0);
        assert_eq!(first.supervisor.send(Drain { within: Duration::from_secs(5) }).await.unwrap(), 0);
        first.send(5..9);
        second.detail("a", |detail| detail["status"] == "up").await;
        second.delivered("a", 9).await;
        assert_eq!(second.ids("a"), (0..9).collect::<Vec<_>>());
    });
}

#[test]
fn a_destination_moves_between_batches_when_another_node_is_to_write_it() {
    in_system(async {
        let first = Node::start(vec![spec("a", vec![route("a")]), spec("b", vec![route("b")])]);
        let second = Node::beside(&first, vec![spec("a", vec![route("a")]), spec("b", vec![route("b")])]);
        second.assign(&[]);
        first.send(0..3);
        first.delivered("a", 3).await;
        first.delivered("b", 3).await;
        second.assign(&["a"]);
        first.assign(&["b"]);
        second.detail("a", |detail| detail["status"] == "up" && detail["leased"] == true).await;
        first.detail("a", |detail| detail["status"] == "standby" && detail["leased"] == false).await;
        first.send(3..9);
        first.delivered("a", 9).await;
        first.delivered("b", 9).await;
        assert_eq!(second.ids("a"), (0..9).collect::<Vec<_>>());
        // A node shows what it wrote after the database has it.
        second.detail("a", |detail| detail["rows_written"] == 6).await;
        assert_eq!(second.shown("b")["rows_written"], 0);
    });
}

#[test]
fn commands_are_carried_out_while_nothing_else_happens() {
    in_system(async {
        let node = Node::start(vec![spec("a", vec![route("a")])]);
        let id = node.streams().append_json("app", "cars", Action::Delete, &json!({"id": "1"})).0;
        node.streams().until(|streams| streams.dead_letters(&node.lane("a")).len() == 1).await;
        let dead = DeadId { generation: id.generation, id: id.id, route: "route-a".into() };
        node.streams().command(&node.lane("a"), Command::Discard { dead, reason: None });
        node.streams().until(|streams| streams.waiting_commands(&node.lane("a")).is_empty()).await;
        assert!(node.world.database("a").dead().is_empty());
        assert!(node.streams().dead_letters(&node.lane("a")).is_empty());
    });
}

/// Connecting and looking around takes longer than the lease lasts: it is renewed meanwhile.
#[test]
fn a_take_over_slower_than_the_lease_comes_to_an_end() {
    in_system(async {
        let node = Node::start(vec![]);
        node.world.database("a").set_latency(Duration::from_millis(350));
        node.set(vec![spec("a", vec![route("a")])]);
        node.send(0..3);
        node.delivered("a", 3).await;
        assert_eq!(node.world.database("a").watermarks()[0].epoch, 1, "taken over once");
    });
}

#[test]
fn a_lost_answer_is_looked_up_and_written_once() {
    in_system(async {
        let node = Node::start(vec![spec("a", vec![route("a")])]);
        node.send(0..1);
        node.delivered("a", 1).await;
        node.world.database("a").fail_next(Failure::LoseReply);
        node.world.database("a").fail_next(Failure::Hang);
        node.send(1..20);
        node.delivered("a", 20).await;
        assert_eq!(node.ids("a"), (0..20).collect::<Vec<_>>());
        let last = node.streams().history(&node.lane("a")).last().map(|record| record.last);
        assert!(last > Some(StreamId::ZERO));
    });
}

//! The board, as its readers and a supervisor see it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Instant;

use actix::{Actor, Context, Handler, Message};
use serde_json::json;

use super::*;

fn ends() -> (EndSender, mpsc::UnboundedReceiver<ActorEnd>) {
    mpsc::unbounded_channel()
}

#[test]
fn an_actor_is_shown_with_the_words_of_the_contract() {
    let board = StatusBoard::new();
    let place = board.register(ActorKind::StreamReader, "rooms");
    let (sender, _receiver) = ends();
    let vitals = place.begin(&sender);
    vitals.running();
    vitals.publish(&json!({"read": 7}));
    let shown = serde_json::to_value(&board.snapshot()[0]).unwrap();
    let names: Vec<_> = shown.as_object().unwrap().keys().cloned().collect();
    let mut expected = ["kind", "name", "state", "restarts", "last_progress_s", "detail"].map(String::from).to_vec();
    expected.sort();
    assert_eq!(names, expected);
    assert_eq!((&shown["kind"], &shown["name"]), (&json!("stream_reader"), &json!("rooms")));
    assert_eq!((&shown["state"], &shown["restarts"]), (&json!("running"), &json!(0)));
    assert!(shown["last_progress_s"].as_f64().unwrap() < 60.0);
    assert_eq!(shown["detail"], json!({"read": 7}));
}

#[test]
fn every_state_and_kind_has_its_word() {
    let words = |value: Value| value.as_str().unwrap().to_owned();
    let states =
        [ActorState::Starting, ActorState::Running, ActorState::Waiting, ActorState::Restarting, ActorState::Stopped];
    let states = states.map(|state| words(serde_json::to_value(state).unwrap()));
    assert_eq!(states, ["starting", "running", "waiting", "restarting", "stopped"]);
    for kind in [
        ActorKind::Supervisor,
        ActorKind::Ingest,
        ActorKind::StreamReader,
        ActorKind::Destination,
        ActorKind::Janitor,
        ActorKind::Broadcast,
    ] {
        assert_eq!(words(serde_json::to_value(kind).unwrap()), kind.as_str());
    }
}

#[test]
fn a_destination_has_every_field_of_the_contract_even_where_nothing_is_known() {
    let detail = serde_json::to_value(DestinationDetail::default()).unwrap();
    let expected = json!({
        "status": "standby", "down_since": null, "breaker": "closed", "owner": null, "leased": false, "epoch": null, "backlog": 0,
        "backlog_age_s": 0.0, "drain_eta_s": null, "heartbeat_ms": null, "last_error": null, "held": null,
        "rows_written": 0, "entries_delivered": 0, "dead_letters_made": 0, "arrival_ms": null,
    });
    assert_eq!(detail, expected);
}

#[test]
fn a_moment_in_the_past_is_told_in_utc() {
    let hour_ago = DateTime::parse_from_rfc3339(&rfc3339_ago(Duration::from_secs(3600))).unwrap();
    let distance = Utc::now().signed_duration_since(hour_ago).num_seconds();
    assert!((3600..3660).contains(&distance), "{distance} s");
    assert!(rfc3339_ago(Duration::ZERO).ends_with('Z'));
    assert_eq!(rfc3339_ago(Duration::MAX), "1970-01-01T00:00:00.000Z");
}

#[test]
fn restarts_are_counted_and_the_last_detail_stands_until_there_is_a_new_one() {
    let board = StatusBoard::new();
    let place = board.register(ActorKind::Destination, "rooms");
    let (sender, mut receiver) = ends();
    let first = place.begin(&sender);
    first.publish(&json!({"epoch": 1}));
    drop(first);
    assert_eq!(place.health().state, ActorState::Stopped);
    let end = receiver.try_recv().unwrap();
    assert_eq!((end.kind, &*end.name, end.incarnation), (ActorKind::Destination, "rooms", 1));
    assert_eq!(end.reason, EndReason::Stopped);
    place.restarting();
    assert_eq!(place.health().state, ActorState::Restarting);
    let second = place.begin(&sender);
    let health = place.health();
    assert_eq!((health.state, health.restarts), (ActorState::Starting, 1));
    assert_eq!(health.detail, json!({"epoch": 1}));
    assert_eq!(second.incarnation(), 2);
}

#[test]
fn an_abandoned_incarnation_no_longer_changes_what_is_shown() {
    let board = StatusBoard::new();
    let place = board.register(ActorKind::Destination, "rooms");
    let (sender, mut receiver) = ends();
    let hung = place.begin(&sender);
    let fresh = place.begin(&sender);
    fresh.running();
    hung.publish(&json!("old"));
    hung.waiting();
    drop(hung);
    let health = place.health();
    assert_eq!((health.state, health.detail), (ActorState::Running, json!({})));
    assert_eq!(receiver.try_recv().unwrap().incarnation, 1);
    assert!(receiver.try_recv().is_err());
}

#[test]
fn an_actor_is_shown_for_as_long_as_its_place_is_kept() {
    let board = StatusBoard::new();
    let rooms = board.register(ActorKind::Destination, "rooms");
    let ingest = board.register(ActorKind::Ingest, "");
    let kinds: Vec<_> = board.snapshot().iter().map(|health| health.kind).collect();
    assert_eq!(kinds, [ActorKind::Ingest, ActorKind::Destination]);
    let replaced = board.register(ActorKind::Destination, "rooms");
    drop(rooms);
    assert_eq!(board.snapshot().len(), 2, "the new place of that name stays");
    drop(replaced);
    drop(ingest);
    assert!(board.snapshot().is_empty());
}

#[test]
fn a_hung_actor_is_seen_through_its_place() {
    let board = StatusBoard::new();
    let place = board.register(ActorKind::Destination, "rooms");
    let (sender, _receiver) = ends();
    let vitals = place.begin(&sender);
    let later = Instant::now() + Duration::from_secs(60);
    assert!(place.progress().hung(later, Duration::from_secs(30)));
    let zone = vitals.progress().slow_zone(Duration::from_secs(90));
    assert!(!place.progress().hung(later, Duration::from_secs(30)));
    drop(zone);
}

struct Fragile {
    _vitals: Vitals,
}

impl Actor for Fragile {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
enum Order {
    Panic,
    Stop,
}

impl Handler<Order> for Fragile {
    type Result = ();

    fn handle(&mut self, order: Order, context: &mut Context<Self>) {
        use actix::ActorContext as _;
        match order {
            Order::Panic => panic!("on purpose"),
            Order::Stop => context.stop(),
        }
    }
}

#[test]
fn an_actor_that_panics_is_told_from_one_that_stops() {
    let board = StatusBoard::new();
    let place = board.register(ActorKind::Destination, "rooms");
    let (sender, mut receiver) = ends();
    actix::System::new().block_on(async {
        for (order, reason) in [(Order::Panic, EndReason::Panicked), (Order::Stop, EndReason::Stopped)] {
            let arbiter = actix::Arbiter::new();
            let vitals = place.begin(&sender);
            let address = Fragile::start_in_arbiter(&arbiter.handle(), move |_| Fragile { _vitals: vitals });
            address.do_send(order);
            assert_eq!(receiver.recv().await.unwrap().reason, reason);
            arbiter.stop();
        }
    });
    assert_eq!(place.health().restarts, 1);
}

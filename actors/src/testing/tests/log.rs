//! The log: leases, generations, the refusals of `advance`, and reading.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::{
    message::{Action, MessageId, Position},
    ports::{
        Advance, Backlog, BatchRecord, Command, DeadLetter, Entry, LogError, NewRecord, PlanRecord, ReadFrom,
        ReadOutcome, Rejection,
    },
};

const TTL: Duration = Duration::from_secs(3);
const NOW: Duration = Duration::ZERO;

fn append(streams: &MemoryStreams, stream: &str, count: usize) -> Vec<StreamId> {
    let one = |number| streams.append_json(stream, "cars", Action::Upsert, &json!({"id": number})).0.id;
    (0..count).map(one).collect()
}

fn claim(streams: &MemoryStreams, id: StreamId) -> Advance {
    let newest = streams.generation("app");
    Advance {
        lane: lane("app"),
        owner: "one".into(),
        version: 1,
        to: Position { generation: newest.clone(), id },
        newest,
        sides: vec![],
        part: "main".into(),
        known: vec![],
        history: None,
        void: vec![],
    }
}

fn from(streams: &MemoryStreams, stream: &str, after: StreamId) -> ReadFrom {
    ReadFrom { lane: lane(stream), after, newest: streams.generation(stream), version: 0, until: None }
}

fn ids(outcome: Result<ReadOutcome, LogError>) -> Vec<StreamId> {
    match outcome {
        Ok(ReadOutcome::Batch(batch)) => batch.entries.iter().map(Entry::id).collect(),
        other => panic!("not a batch: {other:?}"),
    }
}

fn letter(seq: u64) -> DeadLetter {
    DeadLetter {
        dead: dead(seq),
        application: "app".into(),
        route_name: "rooms-cars".into(),
        topic: "cars".into(),
        action: "insert".into(),
        key: None,
        data: "{}".into(),
        table: "cars".into(),
        reason: Rejection { statement: None, row: None, code: "unique".into(), column: None, message: "twice".into() },
        attempts: 1,
        at_ms: 1,
        redrive_error: None,
        superseded_by: None,
        blocked_by: None,
        edited: None,
    }
}

fn record(first: StreamId, last: StreamId, attempts: u32) -> BatchRecord {
    BatchRecord {
        first,
        last,
        entries: 1,
        rows: 1,
        started_ms: 1,
        took_us: 1,
        attempts,
        routes: vec![],
        untouched: vec![],
        folded: true,
    }
}

#[test]
fn an_appended_record_is_read_as_it_was_sent_under_an_id_above_all_before_it() {
    let streams = MemoryStreams::new();
    let sent = NewRecord {
        topic: "cars".into(),
        action: Action::Update,
        key: Some("42".into()),
        own_id: Some("mine".into()),
        traceparent: None,
        data: r#"{"stock":1.10}"#.into(),
    };
    let MessageId(first) = streams.append("app", sent.clone());
    let more = append(&streams, "app", 2);
    streams.advance_clock(Duration::from_millis(5));
    let later = append(&streams, "app", 1)[0];
    assert!(first.id < more[0] && more[0] < more[1] && more[1] < later);
    assert_eq!((more[1].ms, more[1].seq), (first.id.ms, 2));
    assert_eq!((later.ms, later.seq), (first.id.ms + 5, 0));
    let Entry::Message(message) = streams.entries("app").remove(0) else { panic!("a message") };
    let message = std::sync::Arc::unwrap_or_clone(message);
    assert_eq!((message.topic, message.action, message.key), (sent.topic, sent.action, sent.key));
    assert_eq!((message.own_id, message.data), (sent.own_id, sent.data));
    let MessageId(unknown) = streams.append_unknown("app", "format 9");
    assert_eq!(streams.entries("app").pop(), Some(Entry::Unknown { id: unknown.id, why: "format 9".into() }));
}

#[test]
fn a_lease_has_one_owner_until_it_runs_out_or_is_given_back() {
    let streams = MemoryStreams::new();
    let (mut one, mut two) = (streams.log(), streams.log());
    let both = [lane("app"), lane("shop")];
    assert!(answer(one.lease(&both[..1], "one", TTL)).unwrap());
    assert!(!answer(two.lease(&both, "two", TTL)).unwrap(), "all of them or none");
    assert_eq!(streams.owner(&both[1]), None);
    streams.advance_clock(TTL - Duration::from_millis(1));
    assert!(answer(one.lease(&both[..1], "one", TTL)).unwrap(), "renewed");
    streams.advance_clock(TTL - Duration::from_millis(1));
    assert!(!answer(two.lease(&both, "two", TTL)).unwrap());
    streams.advance_clock(Duration::from_millis(1));
    assert!(answer(two.lease(&both, "two", TTL)).unwrap());
    answer(one.release(&both, "one")).unwrap();
    assert!(!answer(one.lease(&both, "one", TTL)).unwrap(), "another's lease is not given back");
    answer(two.release(&both, "two")).unwrap();
    assert!(answer(one.lease(&both, "one", TTL)).unwrap());
}

#[test]
fn an_advance_is_refused_unless_everything_is_as_the_caller_believes() {
    let streams = MemoryStreams::new();
    let mut log = streams.log();
    let entries = append(&streams, "app", 3);
    streams.set_version("app", 1);
    let good = claim(&streams, entries[1]);
    assert_eq!(answer(log.advance(&good)), Err(LogError::NotMine), "no lease at all");
    answer(log.lease(&[lane("app")], "one", TTL)).unwrap();
    answer(log.advance(&good)).unwrap();
    answer(log.advance(&good)).unwrap();
    assert_eq!(streams.position(&lane("app")), Some(good.to.clone()));

    let other_owner = Advance { owner: "two".into(), ..claim(&streams, entries[2]) };
    assert_eq!(answer(log.advance(&other_owner)), Err(LogError::NotMine));
    let nowhere = claim(&streams, StreamId::new(entries[2].ms, 99));
    assert_eq!(answer(log.advance(&nowhere)), Err(LogError::NoSuchEntry(nowhere.to.id)));
    streams.set_version("app", 2);
    assert_eq!(answer(log.advance(&claim(&streams, entries[2]))), Err(LogError::NewVersion));
    streams.set_version("app", 1);
    streams.new_generation("app");
    assert_eq!(
        answer(log.advance(&Advance { newest: good.newest.clone(), ..good.clone() })),
        Err(LogError::NewGeneration)
    );
    streams.advance_clock(TTL);
    assert_eq!(answer(log.advance(&claim(&streams, entries[2]))), Err(LogError::NotMine), "the lease ran out");
    assert_eq!(streams.position(&lane("app")), Some(good.to));
}

#[test]
fn a_position_may_go_back_and_begin_where_nothing_is_missing() {
    let streams = MemoryStreams::new();
    let mut log = streams.log();
    answer(log.lease(&[lane("app")], "one", TTL)).unwrap();
    answer(log.advance(&claim(&streams, StreamId::ZERO))).unwrap();
    let entries = append(&streams, "app", 4);
    for place in [entries[3], entries[0], entries[2]] {
        answer(log.advance(&claim(&streams, place))).unwrap();
        assert_eq!(streams.position(&lane("app")).unwrap().id, place);
    }
    streams.trim("app", entries[2]);
    answer(log.advance(&claim(&streams, entries[1]))).unwrap();
    assert_eq!(answer(log.advance(&claim(&streams, entries[0]))), Err(LogError::NoSuchEntry(entries[0])));
    // Where it stands already, and where a route begins.
    streams.trim("app", StreamId::new(u64::MAX, 0));
    answer(log.advance(&claim(&streams, entries[1]))).unwrap();
    streams.set_start(&lane("app"), "route", claim(&streams, entries[0]).to);
    answer(log.advance(&claim(&streams, entries[0]))).unwrap();
    answer(log.advance(&claim(&streams, entries[3]))).unwrap();
    assert_eq!(answer(log.advance(&claim(&streams, entries[2]))), Err(LogError::NoSuchEntry(entries[2])));
}

#[test]
fn a_position_of_an_older_generation_is_kept_with_it() {
    let streams = MemoryStreams::new();
    let mut log = streams.log();
    let entries = append(&streams, "app", 2);
    let old = streams.generation("app");
    streams.new_generation("app");
    answer(log.lease(&[lane("app")], "one", TTL)).unwrap();
    let mut advance = claim(&streams, entries[0]);
    advance.to.generation = old;
    answer(log.advance(&advance)).unwrap();
    assert_eq!(streams.position(&lane("app")), Some(advance.to));
}

#[test]
fn an_advance_keeps_history_once_and_drops_void_payloads() {
    let streams = MemoryStreams::new();
    let mut log = streams.log();
    let entries = append(&streams, "app", 2);
    answer(log.lease(&[lane("app")], "one", TTL)).unwrap();
    answer(log.keep_dead(&lane("app"), &[letter(1), letter(2)])).unwrap();
    assert_eq!(answer(log.dead_ids(&lane("app"))).unwrap(), [dead(1), dead(2)]);
    for attempts in [1, 2] {
        let history = Some(record(entries[0], entries[0], attempts));
        let advance = Advance { history, void: vec![dead(1)], ..claim(&streams, entries[0]) };
        answer(log.advance(&advance)).unwrap();
    }
    let later = Advance { history: Some(record(entries[1], entries[1], 1)), ..claim(&streams, entries[1]) };
    for advance in [later, Advance { history: Some(record(entries[0], entries[0], 3)), ..claim(&streams, entries[0]) }]
    {
        answer(log.advance(&advance)).unwrap();
    }
    assert_eq!(streams.history(&lane("app")), [record(entries[0], entries[0], 1), record(entries[1], entries[1], 1)]);
    assert_eq!(answer(log.dead(&lane("app"), &dead(1))).unwrap(), None);
    assert_eq!(answer(log.dead(&lane("app"), &dead(2))).unwrap(), Some(letter(2)));
    assert_eq!(streams.dead_letters(&lane("app")), [letter(2)]);
}

#[test]
fn a_view_tells_everything_about_the_lane() {
    let streams = MemoryStreams::new();
    let mut log = streams.log();
    let entries = append(&streams, "app", 3);
    let first = streams.generation("app");
    let second = streams.new_generation("app");
    streams.trim("app", entries[1]);
    let start = Position { generation: first.clone(), id: entries[0] };
    streams.set_start(&lane("app"), "route", start.clone());
    answer(log.bind(&lane("app"), "token")).unwrap();
    answer(log.bind(&lane("app"), "other")).unwrap();
    let view = answer(log.view(&lane("app"))).unwrap();
    let generations: Vec<_> = view.generations.into_iter().map(|start| (start.generation, start.after)).collect();
    assert_eq!(generations, [(first, StreamId::ZERO), (second, entries[2])]);
    assert_eq!((view.trimmed, view.position), (entries[0], None));
    assert_eq!((view.starts, view.bind.as_deref()), (vec![("route".to_owned(), start)], Some("token")));
}

#[test]
fn a_lost_stream_begins_anew_and_remembers_only_the_registrys_version() {
    let streams = MemoryStreams::new();
    let mut log = streams.log();
    append(&streams, "app", 3);
    append(&streams, "shop", 1);
    streams.set_version("app", 7);
    answer(log.lease(&[lane("app")], "one", TTL)).unwrap();
    answer(log.bind(&lane("app"), "token")).unwrap();
    let before = streams.generation("app");
    let after = streams.lose("app");
    assert_ne!(before, after);
    let view = answer(log.view(&lane("app"))).unwrap();
    assert_eq!((view.generations.len(), view.bind, view.trimmed), (1, None, StreamId::ZERO));
    assert_eq!((streams.entries("app").len(), streams.entries("shop").len()), (0, 1));
    assert_eq!(streams.owner(&lane("app")), None);
    answer(log.lease(&[lane("app")], "one", TTL)).unwrap();
    let old_version = Advance { version: 6, ..claim(&streams, StreamId::ZERO) };
    assert_eq!(answer(log.advance(&old_version)), Err(LogError::NewVersion));
}

#[test]
fn commands_and_plans_are_kept() {
    let streams = MemoryStreams::new();
    let mut log = streams.log();
    let commands: Vec<_> = (0..120).map(|seq| Command::Discard { dead: dead(seq), reason: None }).collect();
    for command in &commands {
        streams.command(&lane("app"), command.clone());
    }
    let handed = answer(log.commands(&lane("app"))).unwrap();
    assert_eq!(handed, commands[..100]);
    answer(log.finish(&lane("app"), &commands[0])).unwrap();
    answer(log.finish(&lane("app"), &commands[0])).unwrap();
    assert_eq!(streams.waiting_commands(&lane("app")), commands[1..]);
    let table = MemoryTable::of_text("cars", &["id"], &["id"]).schema().clone();
    let route =
        serde_json::json!({"name": "r", "application": "app", "topic": "t", "destination": "d", "table": "cars"});
    let plan = PlanRecord { route: serde_json::from_value(route).unwrap(), table, children: vec![] };
    answer(log.keep_plan(&lane("app"), "digest", &plan)).unwrap();
    assert_eq!(streams.plans(&lane("app"))["digest"], plan);
}

#[test]
fn the_backlog_is_what_stands_above() {
    let streams = MemoryStreams::new();
    let mut log = streams.log();
    assert_eq!(answer(log.backlog(&lane("app"), StreamId::ZERO)).unwrap(), Backlog::default());
    let first = append(&streams, "app", 1)[0];
    streams.advance_clock(TTL);
    let rest = append(&streams, "app", 2);
    let backlog = |log: &mut MemoryLog, after| answer(log.backlog(&lane("app"), after)).unwrap();
    assert_eq!(backlog(&mut log, StreamId::ZERO), Backlog { messages: 3, oldest_ms: Some(first.ms) });
    assert_eq!(backlog(&mut log, first), Backlog { messages: 2, oldest_ms: Some(rest[0].ms) });
    assert_eq!(backlog(&mut log, rest[1]), Backlog::default());
}

#[test]
fn a_read_is_a_contiguous_piece_above_the_place() {
    let streams = MemoryStreams::new();
    let mut reader = streams.reader();
    let entries = append(&streams, "app", 5);
    let mut place = from(&streams, "app", entries[0]);
    assert_eq!(ids(answer(reader.read(std::slice::from_ref(&place), 2, NOW))), entries[1..3]);
    assert_eq!(ids(answer(reader.read(std::slice::from_ref(&place), 100, NOW))), entries[1..]);
    place.until = Some(entries[2]);
    assert_eq!(ids(answer(reader.read(std::slice::from_ref(&place), 100, NOW))), entries[1..3]);
    place.after = entries[2];
    assert_eq!(answer(reader.read(&[place.clone()], 100, NOW)), Ok(ReadOutcome::Idle));
    // What is left of an older generation is not waited for.
    streams.trim("app", StreamId::new(u64::MAX, 0));
    (place.after, place.until) = (entries[4], Some(StreamId::new(u64::MAX, 0)));
    assert_eq!(answer(reader.read(&[place], 100, Duration::from_secs(20))), Ok(ReadOutcome::Idle));
}

#[test]
fn no_lane_is_left_out_while_another_has_plenty() {
    let streams = MemoryStreams::new();
    let mut reader = streams.reader();
    append(&streams, "app", 5);
    append(&streams, "shop", 5);
    let lanes = ["app", "idle", "shop"].map(|stream| from(&streams, stream, StreamId::ZERO));
    let read: Vec<_> = (0..4)
        .map(|_| match answer(reader.read(&lanes, 1, NOW)) {
            Ok(ReadOutcome::Batch(batch)) => batch.lane.stream.to_string(),
            other => panic!("not a batch: {other:?}"),
        })
        .collect();
    assert_eq!(read, ["app", "shop", "app", "shop"]);
}

#[test]
fn another_generation_or_a_gap_is_told_before_anything_is_read() {
    let streams = MemoryStreams::new();
    let mut reader = streams.reader();
    append(&streams, "shop", 1);
    let entries = append(&streams, "app", 4);
    let lanes = [from(&streams, "shop", StreamId::ZERO), from(&streams, "app", entries[0])];
    streams.trim("app", entries[1]);
    assert_eq!(ids(answer(reader.read(&lanes, 9, NOW))).len(), 1, "nothing is missing above the place");
    streams.trim("app", entries[2]);
    let gap = ReadOutcome::Gap { lane: lane("app"), after: entries[0], trimmed: entries[1] };
    assert_eq!(answer(reader.read(&lanes, 9, NOW)), Ok(gap));
    streams.new_generation("app");
    assert_eq!(answer(reader.read(&lanes, 9, NOW)), Ok(ReadOutcome::NewGeneration(lane("app"))));
}

#[tokio::test]
async fn a_reader_waits_for_the_next_entry_or_its_time() {
    let streams = MemoryStreams::new();
    let mut reader = streams.reader();
    let lanes = [from(&streams, "app", StreamId::ZERO)];
    let begun = std::time::Instant::now();
    let short = Duration::from_millis(50);
    assert_eq!(reader.read(&lanes, 9, short).await, Ok(ReadOutcome::Idle));
    assert!(begun.elapsed() >= short);

    let long = Duration::from_secs(20);
    let append_then = async {
        streams.until(|streams| streams.calls(LogCall::Read) == 2).await;
        append(&streams, "app", 1)
    };
    let (outcome, appended) = tokio::join!(reader.read(&lanes, 9, long), append_then);
    assert_eq!(ids(outcome), appended);

    let lanes = [from(&streams, "app", appended[0])];
    let reads = streams.calls(LogCall::Read);
    let crash = async {
        streams.until(|streams| streams.calls(LogCall::Read) > reads).await;
        streams.set_down(true);
    };
    let (outcome, ()) = tokio::join!(reader.read(&lanes, 9, long), crash);
    assert!(matches!(outcome, Err(LogError::Unavailable(_))));
    streams.set_down(false);
    let reads = streams.calls(LogCall::Read);
    let restart = async {
        streams.until(|streams| streams.calls(LogCall::Read) > reads).await;
        streams.new_generation("app");
    };
    let (outcome, ()) = tokio::join!(reader.read(&lanes, 9, long), restart);
    assert_eq!(outcome, Ok(ReadOutcome::NewGeneration(lane("app"))));
}

//! A backlog that waits: records that all appear in an application's stream at the same moment, however many they are, and
//! the wait until destinations have them.
//!
//! They are added to a copy of the stream that nobody reads, and the copy then takes the stream's place, which is one step
//! for Redis. Filling costs nothing of the measured time so, and the clock's start is Redis's own.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use redis::{Value, aio::MultiplexedConnection};
use tidegate::redis::{Keys, stream::entry::fields};
use tidegate_actors::{message::Action, ports::NewRecord};

use crate::{servers::wait_for, shape::Shape};

/// The copy.
const COPY: &str = "waiting";
/// Records of one round trip while the copy is filled.
const STORED: usize = 5_000;
/// Between two looks at the destinations.
const LOOK: Duration = Duration::from_millis(2);

/// Records to come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backlog<'a> {
    pub(crate) application: &'a str,
    pub(crate) action: Action,
    pub(crate) shape: Shape,
    /// The first record's number.
    pub(crate) first: usize,
    pub(crate) records: usize,
}

/// Records that are in the copy.
pub(crate) struct Prepared {
    stream: String,
    /// The last one's id.
    pub(crate) last: String,
}

/// The stream of an application.
pub(crate) fn stream(application: &str) -> String {
    Keys::new("tidegate").of(application).stream()
}

/// Adds the command that stores a record.
pub(crate) fn add(pipe: &mut redis::Pipeline, stream: &str, action: Action, shape: Shape, id: usize) {
    let record = NewRecord {
        topic: "cars".into(),
        action,
        key: Some(id.to_string().into()),
        own_id: None,
        traceparent: None,
        data: shape.record(id).into(),
    };
    let command = pipe.cmd("XADD").arg(stream).arg("*");
    for (name, value) in fields(&record) {
        command.arg(name).arg(value);
    }
}

impl Backlog<'_> {
    /// Fills the copy. What was delivered before goes first, so that it is not copied; the last entry stays, since Tidegate
    /// takes what went by hand for lost unless it sees that it lay below everybody's place.
    pub(crate) async fn prepare(&self, connection: &mut MultiplexedConnection) -> Prepared {
        let stream = stream(self.application);
        redis::pipe()
            .cmd("XTRIM")
            .arg(&stream)
            .arg("MAXLEN")
            .arg(1)
            .ignore()
            .cmd("COPY")
            .arg(&stream)
            .arg(COPY)
            .arg("REPLACE")
            .ignore()
            .query_async::<()>(connection)
            .await
            .unwrap();
        let end = self.first + self.records;
        for start in (self.first..end).step_by(STORED) {
            let mut pipe = redis::pipe();
            for id in start..end.min(start + STORED) {
                add(&mut pipe, COPY, self.action, self.shape, id);
                pipe.ignore();
            }
            pipe.query_async::<()>(connection).await.unwrap();
        }
        let last: Vec<(String, Value)> = redis::cmd("XREVRANGE")
            .arg(COPY)
            .arg("+")
            .arg("-")
            .arg("COUNT")
            .arg(1)
            .query_async(connection)
            .await
            .unwrap();
        Prepared { stream, last: last[0].0.clone() }
    }
}

impl Prepared {
    /// Puts the copy in the stream's place; when that was, in seconds since 1970.
    pub(crate) async fn release(&self, connection: &mut MultiplexedConnection) -> f64 {
        let ((), (seconds, microseconds)): ((), (f64, f64)) = redis::pipe()
            .atomic()
            .cmd("RENAME")
            .arg(COPY)
            .arg(&self.stream)
            .cmd("TIME")
            .query_async(connection)
            .await
            .unwrap();
        seconds + microseconds / 1e6
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// An entry's id as numbers.
pub(crate) fn place(id: &str) -> (u64, u64) {
    let (milliseconds, sequence) = id.split_once('-').unwrap();
    (milliseconds.parse().unwrap(), sequence.parse().unwrap())
}

/// Where each ordered destination of an application stands, as the node has told Redis after its commits.
pub(crate) async fn positions(connection: &mut MultiplexedConnection, application: &str) -> HashMap<String, String> {
    let lanes = Keys::new("tidegate").of(application).lanes();
    let lanes: Vec<String> = redis::cmd("HVALS").arg(lanes).query_async(connection).await.unwrap();
    let lane = |lane: String| {
        // Generation, id, how many were read, and the name.
        let mut words = lane.split(' ').map(str::to_owned);
        let id = words.nth(1)?;
        Some((words.nth(1)?, id))
    };
    lanes.into_iter().filter_map(lane).collect()
}

/// Waits until so many ordered destinations of an application have an owner that has found where it goes on.
pub(crate) async fn until_taken_over(connection: &mut MultiplexedConnection, application: &str, destinations: usize) {
    wait_for("the destinations are taken over", Duration::from_secs(90), async || {
        (positions(connection, application).await.len() == destinations).then_some(())
    })
    .await;
}

/// Waits until the named ordered destinations have passed this id (all of them, where none is named); when that was.
pub(crate) async fn until_passed(
    connection: &mut MultiplexedConnection,
    application: &str,
    last: &str,
    names: &[String],
    limit: Duration,
) -> f64 {
    let (begun, last) = (now(), place(last));
    loop {
        let positions = positions(connection, application).await;
        let passed = |name: &String| positions.get(name).is_some_and(|id| place(id) >= last);
        let there = match names {
            [] => !positions.is_empty() && positions.keys().all(passed),
            names => names.iter().all(passed),
        };
        let at = now();
        if there {
            return at;
        }
        assert!(at - begun < limit.as_secs_f64(), "not delivered within {limit:?}: {last:?}, {positions:?}");
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until the groups of parallel destinations have nothing to come and nothing in hand; when that was.
pub(crate) async fn until_acknowledged(
    connection: &mut MultiplexedConnection,
    application: &str,
    limit: Duration,
) -> f64 {
    let (begun, stream) = (now(), stream(application));
    loop {
        let groups: Vec<HashMap<String, Value>> =
            redis::cmd("XINFO").arg("GROUPS").arg(&stream).query_async(connection).await.unwrap();
        let none = |group: &HashMap<String, Value>, field: &str| matches!(group.get(field), Some(Value::Int(0)));
        let at = now();
        if groups.iter().all(|group| none(group, "lag") && none(group, "pending")) {
            return at;
        }
        assert!(at - begun < limit.as_secs_f64(), "not acknowledged within {limit:?}: {groups:?}");
        tokio::time::sleep(LOOK).await;
    }
}

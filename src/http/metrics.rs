//! Every metric that Tidegate has, by name, with its description and the functions that record it.
//!
//! [`install`] sets the recorder up once per process, before anything is recorded; [`upkeep`] must run beside it. Whoever
//! records calls a function from here, so that names and labels stand in one place.

use std::time::Duration;

use ::metrics::{
    Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// What a metric is, for its description and for tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Is distributed.
    Histogram,
}

/// Every metric: name, shape, labels, description.
pub const METRICS: &[(&str, Shape, &[&str], &str)] = &[
    (INGEST_REQUESTS, Shape::Counter, &["application", "code"], "Requests of producers, by answer"),
    (INGEST_MESSAGES, Shape::Counter, &["application"], "Messages accepted"),
    (INGEST_DURATION, Shape::Histogram, &[], "Time to answer a producer's request"),
    (DELIVERED_ROWS, Shape::Counter, &["destination"], "Rows written"),
    (BACKLOG_MESSAGES, Shape::Gauge, &["destination"], "Messages that wait: in the stream, above the watermark"),
    (BACKLOG_AGE, Shape::Gauge, &["destination"], "Age of the oldest message that waits"),
    (BATCH_SECONDS, Shape::Histogram, &["destination"], "Time to write one batch"),
    (END_TO_END, Shape::Histogram, &["destination"], "Time from the acceptance of a message to its commit"),
    (DEAD_LETTERS, Shape::Gauge, &["destination"], "Dead letters that wait for a person"),
    (HELD_ROUTES, Shape::Gauge, &["destination"], "Routes that wait for an operator or a schema"),
    (DESTINATION_UP, Shape::Gauge, &["destination"], "Whether the database answers: 1 or 0"),
    (BREAKER_STATE, Shape::Gauge, &["destination"], "The circuit breaker: 0 closed, 1 half-open, 2 open"),
    (FENCE_REJECTIONS, Shape::Counter, &["destination"], "Transactions that the fence turned away"),
    (STREAM_GAPS, Shape::Counter, &[], "Gaps found in a stream: entries removed before they were delivered"),
    (ACTOR_RESTARTS, Shape::Counter, &["kind"], "Restarts of actors"),
    (REDIS_MEMORY, Shape::Gauge, &[], "Memory used by Redis, of its limit"),
    (REDIS_UP, Shape::Gauge, &[], "Whether Redis answers: 1 or 0"),
    (BROADCAST_TERMINALS, Shape::Gauge, &[], "Shop terminals connected to this node"),
];

const INGEST_REQUESTS: &str = "tidegate_ingest_requests_total";
const INGEST_MESSAGES: &str = "tidegate_ingest_messages_total";
const INGEST_DURATION: &str = "tidegate_ingest_duration_seconds";
const DELIVERED_ROWS: &str = "tidegate_delivered_rows_total";
const BACKLOG_MESSAGES: &str = "tidegate_delivery_backlog_messages";
const BACKLOG_AGE: &str = "tidegate_delivery_backlog_age_seconds";
const BATCH_SECONDS: &str = "tidegate_delivery_batch_seconds";
const END_TO_END: &str = "tidegate_end_to_end_seconds";
const DEAD_LETTERS: &str = "tidegate_dead_letters";
const HELD_ROUTES: &str = "tidegate_held_routes";
const DESTINATION_UP: &str = "tidegate_destination_up";
const BREAKER_STATE: &str = "tidegate_breaker_state";
const FENCE_REJECTIONS: &str = "tidegate_fence_rejections_total";
const STREAM_GAPS: &str = "tidegate_stream_gaps_total";
const ACTOR_RESTARTS: &str = "tidegate_actor_restarts_total";
const REDIS_MEMORY: &str = "tidegate_redis_memory_ratio";
const REDIS_UP: &str = "tidegate_redis_up";
const BROADCAST_TERMINALS: &str = "tidegate_broadcast_terminals";

/// From a quarter of a millisecond to ten seconds: an append, a batch.
const SHORT_BUCKETS_S: &[f64] =
    &[0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// From five milliseconds to a day: what waits while a database is away.
const LONG_BUCKETS_S: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 86_400.0];

/// Recorded values are kept until they are folded into buckets; this often.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(INGEST_DURATION.to_owned()), SHORT_BUCKETS_S)?
        .set_buckets_for_metric(Matcher::Full(BATCH_SECONDS.to_owned()), SHORT_BUCKETS_S)?
        .set_buckets_for_metric(Matcher::Full(END_TO_END.to_owned()), LONG_BUCKETS_S)
}

/// Sets up the process's recorder and describes every metric.
///
/// # Errors
/// There is a recorder already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = builder()?.install_recorder()?;
    describe();
    Ok(handle)
}

/// Folds what was recorded into buckets, for as long as it is polled.
pub async fn upkeep(handle: PrometheusHandle) {
    let mut interval = tokio::time::interval(UPKEEP_EVERY);
    loop {
        interval.tick().await;
        handle.run_upkeep();
    }
}

fn describe() {
    for &(name, shape, _, text) in METRICS {
        let unit = if name.ends_with("_seconds") { Unit::Seconds } else { Unit::Count };
        match shape {
            Shape::Counter => describe_counter!(name, unit, text),
            Shape::Gauge => describe_gauge!(name, unit, text),
            Shape::Histogram => describe_histogram!(name, unit, text),
        }
    }
}

/// Requests of an application that were answered with this status. Keep it where it is counted often.
pub(crate) fn requests(application: &str, code: u16) -> Counter {
    counter!(INGEST_REQUESTS, "application" => application.to_owned(), "code" => code.to_string())
}

/// Messages accepted of an application.
pub(crate) fn messages(application: &str) -> Counter {
    counter!(INGEST_MESSAGES, "application" => application.to_owned())
}

/// Times of answers to producers.
pub(crate) fn ingest_duration() -> Histogram {
    histogram!(INGEST_DURATION)
}

/// One batch was committed.
pub fn delivered(destination: &str, rows: u64, took: Duration) {
    counter!(DELIVERED_ROWS, "destination" => destination.to_owned()).increment(rows);
    histogram!(BATCH_SECONDS, "destination" => destination.to_owned()).record(took);
}

/// One message (or the oldest of a batch) was accepted this long before its commit.
pub fn end_to_end(destination: &str, took: Duration) {
    histogram!(END_TO_END, "destination" => destination.to_owned()).record(took);
}

/// What waits for a destination.
pub fn backlog(destination: &str, messages: u64, age: Duration) {
    #[allow(clippy::cast_precision_loss)] // a gauge; counts stay far below 2^53
    gauge!(BACKLOG_MESSAGES, "destination" => destination.to_owned()).set(messages as f64);
    gauge!(BACKLOG_AGE, "destination" => destination.to_owned()).set(age.as_secs_f64());
}

/// Dead letters of a destination.
pub fn dead_letters(destination: &str, count: u32) {
    gauge!(DEAD_LETTERS, "destination" => destination.to_owned()).set(count);
}

/// Held routes of a destination.
pub fn held_routes(destination: &str, count: u32) {
    gauge!(HELD_ROUTES, "destination" => destination.to_owned()).set(count);
}

/// Whether a destination's database answers.
pub fn destination_up(destination: &str, up: bool) {
    gauge!(DESTINATION_UP, "destination" => destination.to_owned()).set(u8::from(up));
}

/// A destination's breaker: 0 closed, 1 half-open, 2 open.
pub fn breaker_state(destination: &str, state: u8) {
    gauge!(BREAKER_STATE, "destination" => destination.to_owned()).set(state);
}

/// The fence turned a transaction away.
pub fn fence_rejection(destination: &str) {
    counter!(FENCE_REJECTIONS, "destination" => destination.to_owned()).increment(1);
}

/// A gap was found in a stream.
pub fn stream_gap() {
    counter!(STREAM_GAPS).increment(1);
}

/// An actor of this kind was restarted.
pub fn actor_restarted(kind: &'static str) {
    counter!(ACTOR_RESTARTS, "kind" => kind).increment(1);
}

/// Memory of Redis: used, of its limit, from 0 to 1.
pub fn redis_memory(ratio: f64) {
    gauge!(REDIS_MEMORY).set(ratio);
}

/// Whether Redis answers.
pub fn redis_up(up: bool) {
    gauge!(REDIS_UP).set(u8::from(up));
}

/// Terminals connected to this node.
pub fn broadcast_terminals(count: u32) {
    gauge!(BROADCAST_TERMINALS).set(count);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn every_metric_is_rendered_with_its_labels_and_no_others() {
        let recorder = builder().unwrap().build_recorder();
        let handle = recorder.handle();
        ::metrics::with_local_recorder(&recorder, || {
            describe();
            requests("car-app", 202).increment(1);
            messages("car-app").increment(1);
            ingest_duration().record(0.001);
            delivered("rooms", 3, Duration::from_millis(4));
            end_to_end("rooms", Duration::from_secs(1));
            backlog("rooms", 7, Duration::from_secs(3));
            dead_letters("rooms", 1);
            held_routes("rooms", 0);
            destination_up("rooms", true);
            breaker_state("rooms", 2);
            fence_rejection("rooms");
            stream_gap();
            actor_restarted("destination");
            redis_memory(0.5);
            redis_up(true);
            broadcast_terminals(0);
        });
        let text = handle.render();
        for (name, _, labels, description) in METRICS {
            assert!(text.contains(&format!("# HELP {name} {description}")), "{name} is not described:\n{text}");
            let sample = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}:\n{text}"));
            for label in *labels {
                assert!(sample.contains(&format!("{label}=")), "{sample} lacks {label}");
            }
            let count = sample.matches("=\"").count() - usize::from(sample.contains("le=\""));
            assert_eq!(count, labels.len(), "{sample}");
        }
    }
}

//! One destination among five that hangs, or that is slow: what the three others then get, against the same with all five
//! well. First the rate at which they get a backlog, then the time from acceptance to commit under a steady load.
//!
//! The hung one's server stands still in the middle of everything (SIGSTOP): connections stay open and nothing answers. The
//! slow one takes half a second for each statement. Acceptance is the time in the record's id, which Redis gave it; the
//! commit is PostgreSQL's own time stamp of the transaction.

mod five;

use serde_json::json;

use self::five::{Five, State};
use crate::{
    Options,
    comparison::{Comparison, order},
    report,
};

/// The least ratio of the others' throughput, and the greatest of their p99, that will do.
const THROUGHPUT: f64 = 0.95;
const P99: f64 = 1.1;

/// Percentiles of one state, in milliseconds, round by round.
#[derive(Default)]
struct Latencies {
    p50: Vec<f64>,
    p99: Vec<f64>,
    p999: Vec<f64>,
}

pub(crate) async fn run(options: &Options) {
    let records = options.records.unwrap_or(60_000);
    let per_second = if options.short { 300 } else { 5_000 };
    let seconds = if options.short { 1 } else { options.seconds * 4 };
    let mode = options.appendfsync.as_deref().unwrap_or("everysec");
    let mut five = Five::start(mode).await;
    println!(
        "one of five destinations hangs or is slow: the others' {records} records, then {per_second} records/s for \
         {seconds} s, appendfsync {mode}, {} rounds",
        options.rounds
    );
    let states = [State::Well, State::Hung, State::Slow];
    let mut comparison = Comparison::new("records/s", &["all five well", "one hung", "one slow"], &["own", "Redis"]);
    let mut latencies = [Latencies::default(), Latencies::default(), Latencies::default()];
    for (round, counts) in options.schedule() {
        if counts {
            comparison.round();
        }
        for place in order(round, states.len()) {
            five.empty().await;
            five.begin(states[place]).await;
            let outcome = five.backlog(states[place], records).await;
            let times = five.steady(records + 1, per_second, seconds).await;
            five.end(states[place]).await;
            if counts {
                comparison.add(place, outcome);
                let of = &mut latencies[place];
                of.p50.push(percentile(&times, 0.5));
                of.p99.push(percentile(&times, 0.99));
                of.p999.push(percentile(&times, 0.999));
            }
        }
    }
    comparison.show();
    let mut results = serde_json::Map::new();
    for (name, of) in ["well", "hung", "slow"].into_iter().zip(&latencies) {
        report::line(&format!("{name}: accepted to committed, p50"), "ms", &of.p50, 1);
        report::line(&format!("{name}: p99"), "ms", &of.p99, 1);
        report::line(&format!("{name}: p99.9"), "ms", &of.p999, 1);
        let figures = json!({
            "p50_ms": report::summary(&of.p50), "p99_ms": report::summary(&of.p99), "p999_ms": report::summary(&of.p999),
        });
        results.insert(name.into(), figures);
    }
    let mut ratios = Vec::new();
    for (place, name) in [(1, "one hung"), (2, "one slow")] {
        let throughput = comparison.verdict("the others' throughput", place, 0, Some(THROUGHPUT));
        let p99: Vec<f64> = latencies[place].p99.iter().zip(&latencies[0].p99).map(|(of, to)| of / to).collect();
        let (median, (least, most)) = (report::median(&p99), report::bounds(&p99));
        report::verdict(
            &format!("the others' p99, {name} ({least:.2}..{most:.2})"),
            median,
            median <= P99,
            "at most 1.1",
        );
        ratios.push(json!({"state": name, "throughput": throughput, "p99": report::summary(&p99), "p99_target": P99}));
    }
    report::write(
        "hung",
        &comparison.json(json!({
            "latency": results, "ratios": ratios, "records": records, "steady_per_s": per_second,
            "steady_seconds": seconds, "rounds": options.rounds, "appendfsync": mode,
        })),
    );
}

/// The value that this share of them does not exceed.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() as f64 * share) as usize).min(sorted.len() - 1)]
}

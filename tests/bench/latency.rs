//! Latency: from the moment a request is due until its row is committed in one PostgreSQL, at 10, 50 and 80 % of the
//! greatest sustainable rate; against one bare XADD and one bare commit of a single row, one after the other.
//!
//! When a row was committed is told by the database: a trigger for each statement notifies a listener with the number of
//! its transaction, and PostgreSQL sends notifications after the commit, flush included. Afterwards each row's `xmin` says
//! which transaction brought it. So a transaction costs one small notification, however many rows it has, and nothing is
//! polled. (`clock_timestamp()` in the row is the statement's time, `track_commit_timestamp` is taken before the flush, and
//! the node's own metric has coarse buckets.) The listener's own way is counted with the product's time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, postgres::PgListener};

use crate::{
    Options,
    databases::usual_postgres,
    machine,
    node::{self, Node},
    report,
    servers::{redis::RedisServer, wait_for},
    sustained::{Outcome, Rig},
};

/// Shares of the sustainable rate, in percent.
const LOADS: [u32; 3] = [10, 50, 80];
/// What may be said of the lightest load: times the bare pair's.
const P50_TARGET: f64 = 3.0;
const P99_TARGET: f64 = 10.0;
const CONNECTIONS: usize = 64;
/// Requests that each round of the bare pair makes.
const PAIRS: usize = 1_000;

const TABLES: &str = "
    CREATE TABLE cars (id bigint PRIMARY KEY, car_name text, stock int, price numeric(14,2));
    CREATE TABLE bare (LIKE cars INCLUDING ALL);
    CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM pg_notify('committed', pg_current_xact_id()::text); RETURN NULL; END $$;
    CREATE TRIGGER told AFTER INSERT ON cars FOR EACH STATEMENT EXECUTE FUNCTION told();";

/// When the commits of transactions were told, by their number.
type Commits = Arc<Mutex<HashMap<u64, Instant>>>;

/// Milliseconds of everything at one load, in order.
#[derive(Default)]
struct Times(Vec<f64>);

impl Times {
    /// The least that so many of a hundred are not above.
    fn percentile(&self, percent: f64) -> f64 {
        let place = (self.0.len() as f64 * percent / 100.0).ceil() as usize;
        self.0[place.clamp(1, self.0.len()) - 1]
    }

    fn figures(&self) -> [f64; 3] {
        [self.percentile(50.0), self.percentile(99.0), self.percentile(99.9)]
    }
}

/// Percentiles by round.
#[derive(Default)]
struct Rounds([Vec<f64>; 3]);

impl Rounds {
    fn add(&mut self, mut times: Times) -> [f64; 3] {
        times.0.sort_by(f64::total_cmp);
        let figures = times.figures();
        for (all, figure) in self.0.iter_mut().zip(figures) {
            all.push(figure);
        }
        figures
    }

    fn show(&self, name: &str) {
        for (percentile, values) in ["p50", "p99", "p99.9"].iter().zip(&self.0) {
            report::line(&format!("{name}: {percentile}"), "ms", values, 3);
        }
    }

    fn json(&self) -> Value {
        let [p50, p99, p999] = &self.0;
        json!({"p50_ms": report::summary(p50), "p99_ms": report::summary(p99), "p999_ms": report::summary(p999)})
    }
}

pub(crate) async fn run(options: &Options) {
    let mode = options.appendfsync.as_deref().unwrap_or("everysec");
    let (rounds, seconds) = if options.short { (1, 1) } else { (options.rounds.min(5), options.seconds.max(5)) };
    let postgres = usual_postgres(&[]);
    let database = postgres.database().await;
    let mut sql = postgres.connect(&database).await;
    sql.execute(AssertSqlSafe(TABLES)).await.unwrap();
    let commits = listen(postgres.url(&database)).await;
    let redis = RedisServer::start_with(&[("appendfsync", mode)]).await;
    let mut connection = node::patient(&redis).await;
    let redis_pid = node::process_id(&mut connection).await;
    let node = Node::start(&redis, &[("one".to_owned(), "postgres", postgres.url(&database))]).await;
    taken_over(&mut connection, 1).await;
    let mut rig = Rig {
        node: &node,
        connection: connection.clone(),
        destinations: 1,
        connections: CONNECTIONS,
        in_one: 1,
        next_id: 1,
    };
    println!("latency, appendfsync {mode}, one PostgreSQL, one record per request; the sustainable rate:");
    let greatest = if options.short {
        rig.greatest(200.0, Duration::from_secs(1), 1).await
    } else {
        rig.greatest(4_000.0, Duration::from_secs(5), 6).await
    };
    let greatest = greatest.max(100.0);
    report::line("sustainable", "records/s", &[greatest], 0);

    let (mut bare, mut loads, mut fsyncs) = (Rounds::default(), Vec::new(), Vec::new());
    let mut at: [(Rounds, Rounds, Vec<f64>, Vec<f64>); 3] = Default::default();
    for round in 0..rounds {
        loads.push(machine::load());
        fsyncs.push(machine::fsyncs_per_second(&report::dir()));
        bare.add(pairs(&redis, &mut sql, round, if options.short { 100 } else { PAIRS }).await);
        for ((answered, committed, own, all), percent) in at.iter_mut().zip(LOADS) {
            let rate = greatest * f64::from(percent) / 100.0;
            let cpu = || [machine::cpu(node.process.id()), machine::cpu(redis_pid)];
            let before = cpu();
            let outcome = rig.at(rate, Duration::from_secs(seconds)).await;
            let after = cpu();
            let us = |place: usize| (after[place] - before[place]).as_secs_f64() * 1e6 / outcome.requests.len() as f64;
            own.push(us(0));
            all.push(us(1));
            let ms = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64() * 1e3;
            answered.add(Times(outcome.requests.iter().map(|one| ms(one.due, one.answered)).collect()));
            committed.add(commit_times(&mut sql, &outcome, &commits).await);
            sql.execute("TRUNCATE TABLE cars").await.unwrap();
            commits.lock().unwrap().clear();
        }
    }
    bare.show("bare XADD and commit");
    report::line("load average", "", &loads, 1);
    report::line("disk", "fsyncs/s", &fsyncs, 0);
    let mut results = Map::new();
    for ((answered, committed, own, redis), percent) in at.iter().zip(LOADS) {
        answered.show(&format!("{percent} %: answer"));
        committed.show(&format!("{percent} %: committed"));
        let times = |place: usize| -> Vec<f64> {
            committed.0[place].iter().zip(&bare.0[place]).map(|(ours, best)| ours / best).collect()
        };
        let (p50, p99) = (times(0), times(1));
        report::line(&format!("{percent} %: p50, times the bare pair's"), "", &p50, 2);
        report::line(&format!("{percent} %: p99, times the bare pair's"), "", &p99, 2);
        let goal = |goal: f64| (percent == LOADS[0]).then_some(goal);
        if percent == LOADS[0] {
            for (name, values, goal) in [("p50", &p50, P50_TARGET), ("p99", &p99, P99_TARGET)] {
                let ratio = report::median(values);
                report::verdict(&format!("latency, {name}"), ratio, ratio <= goal, &format!("at most {goal}"));
            }
        }
        results.insert(
            format!("{percent} %"),
            json!({
                "rate": greatest * f64::from(percent) / 100.0, "answered": answered.json(), "committed": committed.json(),
                "p50": {"ratio": report::summary(&p50), "target": goal(P50_TARGET), "at_most": true},
                "p99": {"ratio": report::summary(&p99), "target": goal(P99_TARGET), "at_most": true},
                "cpu_us_per_record": {"own": report::summary(own), "redis": report::summary(redis)},
            }),
        );
    }
    report::write(
        "latency",
        &json!({
            "machine": machine::describe(), "appendfsync": mode, "sustainable_per_s": greatest, "loads": results,
            "bare": bare.json(), "load": report::summary(&loads), "fsyncs_per_s": report::summary(&fsyncs),
        }),
    );
    sql.close().await.unwrap();
}

/// Waits until so many destinations have an owner.
pub(crate) async fn taken_over(connection: &mut redis::aio::MultiplexedConnection, destinations: usize) {
    let lanes = tidegate::redis::Keys::new("tidegate").of(node::APPLICATION).lanes();
    wait_for("the destinations are taken over", Duration::from_secs(60), async || {
        let lanes: Vec<String> = redis::cmd("HVALS").arg(&lanes).query_async(&mut connection.clone()).await.unwrap();
        (lanes.len() == destinations).then_some(())
    })
    .await;
}

/// Hears of every commit, on a thread of its own.
async fn listen(url: String) -> Commits {
    let commits = Commits::default();
    let (heard, ready) = (Arc::clone(&commits), Arc::new(Mutex::new(false)));
    let listening = Arc::clone(&ready);
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let mut listener = PgListener::connect(&url).await.unwrap();
            listener.listen("committed").await.unwrap();
            *listening.lock().unwrap() = true;
            // Its end is the server's.
            while let Ok(told) = listener.recv().await {
                let now = Instant::now();
                heard.lock().unwrap().insert(told.payload().parse().unwrap(), now);
            }
        });
    });
    wait_for("the listener listens", Duration::from_secs(10), async || ready.lock().unwrap().then_some(())).await;
    commits
}

/// From when a request was due to its row's commit.
async fn commit_times(sql: &mut PgConnection, outcome: &Outcome, commits: &Commits) -> Times {
    let rows: Vec<(i64, String)> = sqlx::query_as("SELECT id, xmin::text FROM cars").fetch_all(sql).await.unwrap();
    let brought: HashMap<i64, u64> = rows.into_iter().map(|(id, xmin)| (id, xmin.parse().unwrap())).collect();
    // The last one is told after it can be seen.
    wait_for("all commits were told", Duration::from_secs(10), async || {
        let commits = commits.lock().unwrap();
        brought.values().all(|transaction| commits.contains_key(transaction)).then_some(())
    })
    .await;
    let commits = commits.lock().unwrap();
    let time = |request: &crate::open::Request| {
        let transaction = brought.get(&(request.id as i64)).expect("a row for every request");
        commits[transaction].saturating_duration_since(request.due).as_secs_f64() * 1e3
    };
    Times(outcome.requests.iter().map(time).collect())
}

/// One XADD, then one row committed, over connections that are there.
async fn pairs(redis: &RedisServer, sql: &mut PgConnection, round: usize, pairs: usize) -> Times {
    let mut connection = node::patient(redis).await;
    let mut times = Times::default();
    for number in 0..=pairs {
        let id = round * (pairs + 1) + number;
        let record = crate::record(id);
        let begun = Instant::now();
        let mut command = redis::cmd("XADD");
        command.arg("bare").arg("*").arg("d").arg(&record);
        command.query_async::<String>(&mut connection).await.unwrap();
        sqlx::query("INSERT INTO bare VALUES ($1, $2, $3, $4::text::numeric)")
            .bind(id as i64)
            .bind("Toyota Avanza G CVT")
            .bind((id % 50) as i32)
            .bind("150000000.00")
            .execute(&mut *sql)
            .await
            .unwrap();
        // The first one prepares the statement.
        if number > 0 {
            times.0.push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    times
}

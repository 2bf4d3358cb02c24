//! Both at once: what a node takes in over HTTP it delivers to five databases meanwhile, three PostgreSQL and two MariaDB, and
//! what waits does not grow. The greatest such rate, held for minutes, against what five bare writers reach (`--limit`).

use std::time::Duration;

use serde_json::{Map, json};

use crate::{
    Options,
    databases::{Kind, Servers},
    latency, machine,
    node::{self, Node},
    report,
    servers::{redis::RedisServer, temp_dir},
    shape::Shape,
    sustained::Rig,
};

/// The least share of the five writers' limit.
const TARGET: f64 = 0.3;
/// Records per request: as cash registers send them, and as a gateway that gathers does.
const FORMS: [(&str, usize); 2] = [("one record per request", 1), ("NDJSON of 100", 100)];
const CONNECTIONS: usize = 32;
/// How much of the rate that held for seconds is tried for minutes, and how often it is lowered by a tenth.
const CAUTION: f64 = 0.9;
const TRIES: usize = 3;
/// Messages that Redis keeps after they were delivered: minutes of them would fill the memory.
const RETAINED: &str = "200000";

pub(crate) async fn run(options: &Options) {
    let mode = options.appendfsync.as_deref().unwrap_or("everysec");
    // Two seconds are the default of a round of ingest; the default here is five minutes.
    let seconds = if options.short {
        2
    } else if options.seconds == 2 {
        300
    } else {
        options.seconds
    };
    let mut servers = Servers::new();
    let mut targets = Vec::new();
    for (place, kind) in
        [Kind::Postgres, Kind::Postgres, Kind::Postgres, Kind::Mariadb, Kind::Mariadb].iter().enumerate()
    {
        let database = servers.database(*kind, Shape::Narrow).await;
        targets.push((format!("{}-{place}", kind.word()), kind.word(), database.url));
    }
    let redis = RedisServer::start_with(&[("appendfsync", mode)]).await;
    let mut connection = node::patient(&redis).await;
    let redis_pid = node::process_id(&mut connection).await;
    let key = node::register(&redis, &node::manifest_of(&targets));
    let node = Node::join(&redis, "bench", key, &[("TIDEGATE_RETENTION", RETAINED.to_owned())]).await;
    latency::taken_over(&mut connection, targets.len()).await;
    let files = temp_dir();
    println!("both at once, appendfsync {mode}, 3 PostgreSQL and 2 MariaDB, {seconds} s");
    let mut results = Map::new();
    let mut next_id = 1;
    for (form, in_one) in FORMS {
        if options.per_request.is_some_and(|wanted| wanted != in_one) {
            continue;
        }
        let mut rig = Rig {
            node: &node,
            connection: connection.clone(),
            destinations: targets.len(),
            connections: CONNECTIONS,
            in_one,
            next_id,
        };
        println!("  {form}");
        let mut rate = match options.rate {
            Some(rate) => rate,
            None if options.short => 200.0,
            None => CAUTION * rig.greatest(5_000.0, Duration::from_secs(8), 6).await,
        };
        for attempt in 1..=TRIES {
            let (load, fsyncs) = (machine::load(), machine::fsyncs_per_second(files.path()));
            let cpu = || [machine::cpu(node.process.id()), machine::cpu(redis_pid)];
            let before = cpu();
            let outcome = rig.at(rate, Duration::from_secs(seconds)).await;
            let after = cpu();
            let records = outcome.requests.len() as f64 * in_one as f64;
            let us = |place: usize| (after[place] - before[place]).as_secs_f64() * 1e6 / records;
            let waiting: Vec<f64> = outcome.backlog.iter().map(|(_, records)| *records).collect();
            report::line("rate", "records/s", &[outcome.rate], 0);
            report::line("waiting", "records", &waiting, 0);
            report::line("node's processor", "µs/record", &[us(0)], 1);
            report::line("Redis's processor", "µs/record", &[us(1)], 1);
            report::line("load average", "", &[load], 1);
            if !outcome.holds && attempt < TRIES {
                println!("  does not hold for {seconds} s");
                rate *= CAUTION;
                continue;
            }
            let held = if outcome.holds { rate } else { 0.0 };
            let ratio = options.limit.map(|limit| held / limit);
            if let Some(ratio) = ratio {
                report::verdict(&format!("both, {form}"), ratio, ratio >= TARGET, "at least 0.30");
            }
            // One look a second is enough for a picture.
            let series: Vec<_> = outcome.backlog.iter().step_by(5).map(|(at, records)| json!([at, records])).collect();
            results.insert(
                form.to_owned(),
                json!({
                    "records_per_s": held, "limit_per_s": options.limit, "ratio": ratio, "target": TARGET, "seconds": seconds,
                    "cpu_us_per_record": {"own": us(0), "redis": us(1)}, "load": load, "fsyncs_per_s": fsyncs,
                    "series": {"unit": "records that wait", "lines": {"backlog": series}},
                }),
            );
            break;
        }
        next_id = rig.next_id;
    }
    report::write("both", &json!({"machine": machine::describe(), "appendfsync": mode, "forms": results}));
}

//! Shops' terminals: thousands of open streams over two nodes on one Redis, and a message a second to all of them. How long it
//! takes from Send to the last terminal, what a terminal costs the nodes in memory, receipts and beats included; then one node
//! is killed, and every terminal must have every message after it, in order and once.

mod events;
mod load;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use secrecy::ExposeSecret as _;
use serde_json::json;
use tidegate::{
    admin::{Admin, Role, Who, broadcasts::terminals as acts},
    broadcast::{
        store::Broadcasts,
        terminals::{Claim, TokenKey},
    },
    config::{Flags, Settings},
};

use self::load::{Load, Seen};
use crate::{
    Options, machine,
    node::{self, Node},
    report,
    sampler::Sampler,
    servers::{free_port, redis::RedisServer, wait_for},
};

/// What will do: the time from Send to the last terminal, the node's memory per terminal, the time until all are back.
const LAST_MS: f64 = 1_000.0;
const KIB: f64 = 40.0;
const BACK: Duration = Duration::from_secs(5);

const SHOPS: usize = 200;

/// A message that was sent: its id, when its POST began and when it was answered.
struct Sent {
    number: u32,
    id: String,
    begun: Instant,
    answered: Instant,
}

pub(crate) async fn run(options: &Options) {
    let terminals = if options.short { 60 } else { options.records.unwrap_or(5_000) };
    let (seconds, pause) = match options {
        Options { short: true, .. } => (3, Duration::from_millis(200)),
        // Two are the default of a round of ingest; here it is a minute.
        Options { seconds: 2, .. } => (60, Duration::from_secs(1)),
        Options { seconds, .. } => (*seconds, Duration::from_secs(1)),
    };
    let mode = options.appendfsync.as_deref().unwrap_or("everysec");
    println!("{terminals} terminals at two nodes, a message a second for {seconds} s, appendfsync {mode}");
    let redis = RedisServer::start_with(&[("appendfsync", mode)]).await;
    let key = node::register(&redis, &manifest());
    let tokens = enrol(&redis, terminals).await;
    let consoles = [free_port(), free_port()];
    let mut nodes = Vec::new();
    for (place, port) in consoles.iter().enumerate() {
        let console = ("TIDEGATE_CONSOLE", format!("127.0.0.1:{port}"));
        nodes.push(Node::join(&redis, &format!("bench-{place}"), key.clone(), &[console]).await);
    }
    let pids: Vec<u32> = nodes.iter().map(|node| node.process.id()).collect();
    let redis_pid = node::process_id(&mut node::patient(&redis).await).await;

    // What a node needs once, for the first messages of its life, is no terminal's.
    let client = awc::Client::builder().timeout(Duration::from_secs(10)).finish();
    for _ in 0..5 {
        for node in &nodes {
            send(&client, node, &["nobody"], 0).await;
        }
    }
    let alone = Sampler::start(&pids, &redis.url());
    tokio::time::sleep(Duration::from_secs(if options.short { 0 } else { 2 })).await;
    let alone = alone.stop().node_mib();

    let begun = Instant::now();
    let addresses = consoles.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port))).collect();
    let load = Load::start(tokens, addresses);
    let seen = &load.seen;
    until(seen, "all streams are open", Duration::from_secs(120), || seen.open() == terminals).await;
    let connected = begun.elapsed();
    report::line("until all streams are open", "s", &[connected.as_secs_f64()], 1);
    // Until every terminal has its place in the log, which it finds right after it is let in.
    tokio::time::sleep(Duration::from_secs(if options.short { 1 } else { 5 })).await;
    let idle = Sampler::start(&pids, &redis.url()).stop().node_mib();

    let (load_before, cpu_before) = (machine::load(), [pids[0], pids[1], redis_pid].map(machine::cpu));
    let sampler = Sampler::start(&pids, &redis.url());
    let mut sent = Vec::new();
    stretch(&client, &[&nodes[0], &nodes[1]], &mut sent, seconds, pause).await;
    until(seen, "all have all, and have said so", Duration::from_secs(60), || {
        seen.with(sent.len() as u32) == terminals && seen.owed() == 0
    })
    .await;
    let cpu_after = [pids[0], pids[1], redis_pid].map(machine::cpu);
    let memory = sampler.stop();
    let busy = memory.node_mib();

    // A node's death, in the middle of it all.
    let quiet = sent.len();
    let mut killed = None;
    for _ in 0..seconds.clamp(4, 20) {
        if sent.len() == quiet + 2 {
            nodes[0].process.kill().unwrap();
            killed = Some(Instant::now());
        }
        stretch(&client, &[&nodes[1]], &mut sent, 1, pause).await;
    }
    until(seen, "all are back and have all", Duration::from_secs(60), || {
        seen.open() == terminals && seen.with(sent.len() as u32) == terminals && seen.owed() == 0
    })
    .await;
    let back = seen.returned_after(killed.unwrap());
    let after_death = Sampler::start(&pids[1..], &redis.url()).stop().node_mib();

    let broadcasts = Broadcasts::new(&admin(&redis).await.redis);
    let ids: Vec<&str> = sent.iter().map(|sent| sent.id.as_str()).collect();
    let receipts = broadcasts.tallies(&ids).await.unwrap();
    for (sent, (received, _)) in sent.iter().zip(receipts) {
        assert_eq!(received as usize, terminals, "receipts of message {}", sent.number);
    }
    assert!(seen.faults().is_empty(), "{:?}", seen.faults());

    let figures = Figures::of(seen, &sent[..quiet]);
    report::line("Send to the last terminal, p50", "ms", &[figures.last(0.5)], 0);
    report::line("p99", "ms", &[figures.last(0.99)], 0);
    report::line("greatest", "ms", &[figures.last(1.0)], 0);
    report::line("from the 202 to the last, p99", "ms", &[percentile(&figures.last_after_answer, 0.99)], 0);
    report::line("Send to a terminal, p50", "ms", &[percentile(&figures.each, 0.5)], 0);
    report::line("p99", "ms", &[percentile(&figures.each, 0.99)], 0);
    let per = |mib: f64| (mib - alone) * 1_024.0 / terminals as f64;
    report::line("the nodes without terminals", "MiB", &[alone], 1);
    report::line("a terminal whose stream is open", "KiB", &[per(idle)], 1);
    report::line("with receipts and beats", "KiB", &[per(busy)], 1);
    let in_all: Vec<f64> = cpu_before
        .iter()
        .zip(cpu_after)
        .map(|(before, after)| (after - *before).as_secs_f64() / seconds as f64)
        .collect();
    report::line("nodes' processor", "s/s", &[in_all[0] + in_all[1]], 2);
    report::line("Redis's processor", "s/s", &[in_all[2]], 2);
    report::line("load average", "", &[load_before, machine::load()], 1);
    report::line("after a node's death: all are back", "s", &[back.as_secs_f64()], 2);
    println!(
        "  {} messages, each told to {terminals} terminals in order and once, {} beats; {} requests had to be repeated",
        sent.len(),
        seen.beats(),
        seen.refused()
    );
    let p99 = figures.last(0.99);
    report::verdict("Send to the last terminal, p99 (ms)", p99, p99 <= LAST_MS, "at most 1000");
    report::verdict("memory of the nodes (KiB a terminal)", per(busy), per(busy) < KIB, "under 40");
    report::verdict("back after a node's death (s)", back.as_secs_f64(), back <= BACK, "at most 5");
    let after = Figures::of(seen, &sent[quiet..]);
    let kib = |mib: f64| (mib - alone) * 1_024.0 / terminals as f64;
    let memory: Vec<_> = memory.0.iter().step_by(memory.0.len().div_ceil(200).max(1)).collect();
    report::write(
        "terminals",
        &json!({
            "machine": machine::describe(), "terminals": terminals, "seconds": seconds, "appendfsync": mode,
            "connected_s": connected.as_secs_f64(), "messages": sent.len(), "load": [load_before, machine::load()],
            "last_terminal_ms": {"p50": figures.last(0.5), "p99": p99, "max": figures.last(1.0), "goal": LAST_MS},
            "last_terminal_after_202_ms": {
                "p50": percentile(&figures.last_after_answer, 0.5), "p99": percentile(&figures.last_after_answer, 0.99),
                "max": percentile(&figures.last_after_answer, 1.0),
            },
            "each_terminal_ms": {
                "p50": percentile(&figures.each, 0.5), "p99": percentile(&figures.each, 0.99), "max": percentile(&figures.each, 1.0),
            },
            "memory": {
                "nodes_alone_mib": alone, "stream_kib": per(idle), "terminal_kib": per(busy), "goal_kib": KIB,
                "one_node_after_the_others_death_mib": after_death,
                "series": {"unit": "KiB of the nodes a terminal", "lines": {
                    "with receipts": memory.iter().map(|sample| json!([sample.second, kib(sample.node_mib)])).collect::<Vec<_>>(),
                }},
            },
            "processor_s_per_s": {"nodes": in_all[0] + in_all[1], "redis": in_all[2]},
            "after_a_death": {"back_s": back.as_secs_f64(), "goal_s": BACK.as_secs_f64(), "last_terminal_max_ms": after.last(1.0)},
            "times": {"series": {"unit": "ms from Send", "lines": {
                "last terminal": figures.over_time, "half of them": figures.half_over_time,
            }}},
        }),
    );
    drop(load);
}

/// Times of a stretch, in milliseconds; sorted but for those over time.
struct Figures {
    /// To the last terminal, of each message.
    last: Vec<f64>,
    last_after_answer: Vec<f64>,
    /// To each terminal.
    each: Vec<f64>,
    over_time: Vec<[f64; 2]>,
    half_over_time: Vec<[f64; 2]>,
}

impl Figures {
    fn of(seen: &Seen, sent: &[Sent]) -> Self {
        let mut figures =
            Self { last: vec![], last_after_answer: vec![], each: vec![], over_time: vec![], half_over_time: vec![] };
        for one in sent {
            let told = seen.told_ms(one.number, one.begun);
            let last = *told.last().unwrap();
            let at = (one.begun - sent[0].begun).as_secs_f64();
            figures.over_time.push([at, last]);
            figures.half_over_time.push([at, percentile(&told, 0.5)]);
            figures.last.push(last);
            figures.last_after_answer.push(last - (one.answered - one.begun).as_secs_f64() * 1e3);
            figures.each.extend(told);
        }
        for values in [&mut figures.last, &mut figures.last_after_answer, &mut figures.each] {
            values.sort_by(f64::total_cmp);
        }
        figures
    }

    fn last(&self, share: f64) -> f64 {
        percentile(&self.last, share)
    }
}

/// The value that this share of them does not exceed.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share).ceil() as usize;
    sorted[place.clamp(1, sorted.len()) - 1]
}

/// Waits, and ends at once where a terminal has something to complain of.
async fn until(seen: &Seen, what: &str, limit: Duration, done: impl Fn() -> bool) {
    wait_for(what, limit, async || {
        assert!(seen.faults().is_empty(), "{:?}", seen.faults());
        done().then_some(())
    })
    .await;
}

/// A message each pause, at these nodes in turn.
async fn stretch(client: &awc::Client, nodes: &[&Node], sent: &mut Vec<Sent>, messages: u64, pause: Duration) {
    for _ in 0..messages {
        let number = sent.len() as u32;
        let due = Instant::now() + pause;
        let begun = Instant::now();
        let id = send(client, nodes[sent.len() % nodes.len()], &[], number).await;
        sent.push(Sent { number, id, begun, answered: Instant::now() });
        tokio::time::sleep_until(due.into()).await;
    }
}

/// Sends to these shops, or to all; the id.
async fn send(client: &awc::Client, node: &Node, shops: &[&str], number: u32) -> String {
    let audience = if shops.is_empty() { json!("all") } else { json!({"shops": shops}) };
    let request = client
        .post(format!("{}/v1/broadcasts", node.url))
        .insert_header(("Authorization", format!("Bearer {}", node.key)));
    let body = json!({
        "audience": audience, "category": "price", "title": number.to_string(),
        "text": "New prices from tomorrow on.\nPlease print the labels this evening.",
    });
    let mut answer = request.send_json(&body).await.unwrap();
    let body = answer.body().await.unwrap();
    assert_eq!(answer.status(), 202, "{}", String::from_utf8_lossy(&body));
    let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
    answer["id"].as_str().unwrap().to_owned()
}

fn manifest() -> String {
    let mut text =
        format!("[[application]]\nname = \"{}\"\ntopics = [\"cars\"]\nbroadcasts = true\n", node::APPLICATION);
    for number in 0..SHOPS {
        text += &format!(
            "[[shop]]\nname = \"{}\"\ntitle = \"Shop {number}\"\nregion = \"r{}\"\n",
            shop(number),
            number % 10
        );
    }
    // One without terminals.
    text + "[[shop]]\nname = \"nobody\"\ntitle = \"Nobody\"\n"
}

fn shop(number: usize) -> String {
    format!("shop-{}", number % SHOPS)
}

async fn admin(redis: &RedisServer) -> Admin {
    let environment = [("TIDEGATE_REDIS_URL", redis.url())].map(|(name, value)| (name.into(), value.into()));
    Admin::for_command(Settings::load_from(&Flags::default(), environment).unwrap()).await.unwrap()
}

/// Writes so many terminals' records; their tokens.
async fn enrol(redis: &RedisServer, terminals: usize) -> Vec<String> {
    let who = Who { name: "bench".into(), role: Role::Operator, from: "bench".into() };
    // The first code makes the tokens' key.
    acts::make_code(&admin(redis).await, &who, &shop(0), "first").await.unwrap();
    let admin = admin(redis).await;
    let key = TokenKey::open(admin.document().terminal_key.as_ref().unwrap(), None).unwrap();
    let broadcasts = Broadcasts::new(&admin.redis);
    let issued_ms = broadcasts.now().await.unwrap();
    let mut pipe = redis::pipe();
    let mut tokens = Vec::new();
    for number in 0..terminals {
        let claim = Claim { id: format!("bench{number:07}"), issued_ms, shop: shop(number) };
        let terminal = claim.terminal();
        let record = serde_json::to_string(&terminal).unwrap();
        pipe.hset(broadcasts.keys().terminals(), &terminal.id, record).ignore();
        tokens.push(key.token(&terminal).expose_secret().to_owned());
    }
    pipe.incr(broadcasts.keys().terminals_version(), 1).ignore();
    pipe.query_async::<()>(&mut node::patient(redis).await).await.unwrap();
    tokens
}

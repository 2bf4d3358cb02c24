//! Memory throughout a measurement: what the nodes have resident and what Redis has in use, looked at ten times a second
//! from a thread of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(100);

/// One look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) second: f64,
    /// Of all nodes together.
    pub(crate) node_mib: f64,
    pub(crate) redis_mib: f64,
}

/// A thread that looks.
pub(crate) struct Sampler {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Sample>>,
}

/// What it has seen, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(pub(crate) Vec<Sample>);

impl Sampler {
    /// Begins to look at these processes and this Redis.
    pub(crate) fn start(nodes: &[u32], redis_url: &str) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let (nodes, client) = (nodes.to_vec(), redis::Client::open(redis_url).unwrap());
        let over = ended.clone();
        let thread = std::thread::spawn(move || {
            let mut connection = client.get_connection().unwrap();
            let (start, mut samples) = (Instant::now(), Vec::new());
            loop {
                let last = over.load(Ordering::Relaxed);
                let info: String = redis::cmd("INFO").arg("memory").query(&mut connection).unwrap();
                let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
                let redis_mib = used.trim().parse::<f64>().unwrap() / f64::from(1 << 20);
                let node_mib = nodes.iter().map(|pid| resident_mib(*pid)).sum();
                samples.push(Sample { second: start.elapsed().as_secs_f64(), node_mib, redis_mib });
                if last {
                    return samples;
                }
                std::thread::sleep(INTERVAL);
            }
        });
        Self { ended, thread }
    }

    /// Looks once more and ends.
    pub(crate) fn stop(self) -> Memory {
        self.ended.store(true, Ordering::Relaxed);
        Memory(self.thread.join().unwrap())
    }
}

/// What a process has resident; nothing where it is gone.
fn resident_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0.0) / 1024.0
}

impl Memory {
    /// The nodes' greatest.
    pub(crate) fn node_mib(&self) -> f64 {
        self.0.iter().map(|sample| sample.node_mib).fold(0.0, f64::max)
    }

    /// Redis's greatest.
    pub(crate) fn redis_mib(&self) -> f64 {
        self.0.iter().map(|sample| sample.redis_mib).fold(0.0, f64::max)
    }

    /// The nodes' greatest in each of so many equal parts of the time: whether it grows.
    pub(crate) fn node_mib_in_parts(&self, parts: usize) -> Vec<f64> {
        let each = self.0.len().div_ceil(parts).max(1);
        let most = |part: &[Sample]| part.iter().map(|sample| sample.node_mib).fold(0.0, f64::max);
        self.0.chunks(each).map(most).collect()
    }

    /// For the file: at most 200 looks, evenly taken.
    pub(crate) fn json(&self) -> Value {
        let step = self.0.len().div_ceil(200).max(1);
        let samples = self.0.iter().step_by(step);
        json!(samples.map(|s| json!([s.second, s.node_mib, s.redis_mib])).collect::<Vec<_>>())
    }
}

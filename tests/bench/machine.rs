//! What the figures depend on: cores, load, the disk, versions, and the processor time of each process.

use std::{
    collections::HashMap,
    fs::File,
    io::{Seek, SeekFrom, Write},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// The load average of the last minute.
pub(crate) fn load() -> f64 {
    std::fs::read_to_string("/proc/loadavg").unwrap().split(' ').next().unwrap().parse().unwrap()
}

/// How often a second the disk under this folder makes 8 KiB durable, measured for half a second.
pub(crate) fn fsyncs_per_second(dir: &Path) -> f64 {
    let path = dir.join("fsync");
    let mut file = File::create(&path).unwrap();
    let page = [7_u8; 8192];
    file.write_all(&page).unwrap();
    let (start, mut times) = (Instant::now(), 0_u32);
    while start.elapsed() < Duration::from_millis(500) {
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(&page).unwrap();
        file.sync_data().unwrap();
        times += 1;
    }
    let rate = f64::from(times) / start.elapsed().as_secs_f64();
    std::fs::remove_file(path).unwrap();
    rate
}

/// Processor time so far of all the programs that this process has run to their end.
pub(crate) fn cpu_of_ended() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let rest: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    Duration::from_millis((rest[13].parse::<u64>().unwrap() + rest[14].parse::<u64>().unwrap()) * 10)
}

/// Processor time of a process and its descendants so far, those that have ended included.
pub(crate) fn cpu(root: u32) -> Duration {
    let mut parents: HashMap<u32, (u32, u64)> = HashMap::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        // The name in parentheses may hold spaces; after it come state, parent, …, and from the 14th field on the times
        // in user and system mode, then those of children that have ended.
        let rest: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks = rest[11..15].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        parents.insert(pid, (rest[1].parse().unwrap(), ticks));
    }
    let belongs = |pid: &u32| {
        let mut at = *pid;
        while at != root {
            match parents.get(&at) {
                Some((parent, _)) => at = *parent,
                None => return false,
            }
        }
        true
    };
    let ticks: u64 = parents.iter().filter(|(pid, _)| belongs(pid)).map(|(_, (_, ticks))| ticks).sum();
    // USER_HZ is 100 on every Linux that runs Rust.
    Duration::from_millis(ticks * 10)
}

/// Cores and versions.
pub(crate) fn describe() -> Value {
    let version = |program: &str| {
        let output = Command::new(program).arg("--version").output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        text.lines().next().unwrap_or("").trim().to_owned()
    };
    json!({
        "cores": std::thread::available_parallelism().unwrap().get(),
        "redis": version("redis-server"),
        "postgres": version("psql"),
        "mariadb": version("mariadbd"),
    })
}

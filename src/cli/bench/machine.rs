//! What the figures depend on: the load, the disk, and the processor time of each process, as far as the system tells.

use std::{
    fs::File,
    io::{Seek as _, SeekFrom, Write as _},
    path::Path,
    time::{Duration, Instant},
};

/// The load average of the last minute.
pub(super) fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// How often a second the disk under this folder makes 8 KiB durable.
pub(super) fn fsyncs_per_second(folder: &Path, time: Duration) -> std::io::Result<f64> {
    let path = folder.join("fsync");
    let mut file = File::create(&path)?;
    let page = [7_u8; 8_192];
    file.write_all(&page)?;
    let (start, mut times) = (Instant::now(), 0_u32);
    while start.elapsed() < time {
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&page)?;
        file.sync_data()?;
        times += 1;
    }
    let rate = f64::from(times) / start.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(rate)
}

/// Processor time of a process so far; `None` where the system has no `/proc`.
pub(super) fn cpu(process: u32) -> Option<Duration> {
    on_cpu(process).or_else(|| ticks(process))
}

/// By the scheduler's own count of nanoseconds, which not every kernel keeps. It leaves out threads that have ended;
/// those of the processes here stay.
fn on_cpu(process: u32) -> Option<Duration> {
    let mut nanoseconds = 0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task")).ok()?.flatten() {
        let Ok(text) = std::fs::read_to_string(thread.path().join("schedstat")) else { continue };
        nanoseconds += text.split(' ').next()?.parse::<u64>().ok()?;
    }
    (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
}

/// By the count of ticks.
fn ticks(process: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may hold spaces; the 14th and 15th field are the times in user and system mode.
    let rest: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks = rest.get(11)?.parse::<u64>().ok()? + rest.get(12)?.parse::<u64>().ok()?;
    // USER_HZ is 100 on every Linux that runs Rust.
    Some(Duration::from_millis(ticks * 10))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn processor_time_is_counted_both_ways() {
        let own = std::process::id();
        let (start, before) = (Instant::now(), cpu(own).unwrap());
        while start.elapsed() < Duration::from_millis(60) {
            std::hint::black_box(start.elapsed());
        }
        assert!(cpu(own).unwrap() > before);
        assert!(ticks(own).unwrap() > Duration::ZERO);
    }
}

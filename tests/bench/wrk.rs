//! Load from `wrk`: one thread, 64 keep-alive connections, the same body in every request.

use std::{path::Path, process::Command};

/// What one run came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// Requests answered in a second.
    pub(crate) per_second: f64,
    /// Half of the answers came within so many milliseconds.
    pub(crate) p50_ms: f64,
    /// 99 in 100 answers came within so many milliseconds.
    pub(crate) p99_ms: f64,
}

/// Writes wrk's script for a POST of this body.
pub(crate) fn script(path: &Path, body: &str, key: Option<&str>) {
    let authorization = key.map_or(String::new(), |key| format!("wrk.headers[\"Authorization\"]=\"Bearer {key}\"\n"));
    let text = format!(
        "wrk.method=\"POST\"\nwrk.headers[\"Content-Type\"]=\"application/json\"\n{authorization}wrk.body=[[{body}]]\n"
    );
    std::fs::write(path, text).unwrap();
}

/// Sends for so many seconds; panics if any answer was not 2xx.
pub(crate) fn run(url: &str, script: &Path, seconds: u64) -> Outcome {
    let output = Command::new("wrk")
        .args(["-t1", "-c64", "--latency", &format!("-d{seconds}s"), "-s"])
        .arg(script)
        .arg(url)
        .output()
        .expect("wrk is not installed: apt-get install wrk");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "{url}: {text}");
    let after = |label: &str| text.lines().find_map(|line| line.trim().strip_prefix(label)).map(str::trim);
    Outcome {
        per_second: after("Requests/sec:").unwrap_or_else(|| panic!("{url}: {text}")).parse().unwrap(),
        p50_ms: milliseconds(after("50%").unwrap()),
        p99_ms: milliseconds(after("99%").unwrap()),
    }
}

fn milliseconds(text: &str) -> f64 {
    let digits = text.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "us" => 0.001,
        "ms" => 1.0,
        "s" => 1_000.0,
        _ => 60_000.0,
    };
    digits.parse::<f64>().unwrap() * factor
}

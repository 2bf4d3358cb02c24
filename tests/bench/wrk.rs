//! Load from `wrk`: one thread, keep-alive connections, the same request again and again. A script without a function of
//! its own is asked for the request once, so the load costs as little as a load can.

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

/// Writes wrk's script for a POST of this body, which is kept in a file beside it.
pub(crate) fn script(path: &Path, content_type: &str, body: &str, key: Option<&str>) {
    let file = path.with_extension("body");
    std::fs::write(&file, body).unwrap();
    let authorization = key.map_or(String::new(), |key| format!("wrk.headers[\"Authorization\"]=\"Bearer {key}\"\n"));
    let text = format!(
        "wrk.method=\"POST\"\nwrk.headers[\"Content-Type\"]=\"{content_type}\"\n{authorization}\
         local file=io.open([[{}]],\"rb\")\nwrk.body=file:read(\"*a\")\nfile:close()\n",
        file.display()
    );
    std::fs::write(path, text).unwrap();
}

/// Sends for so many seconds; panics if any answer was not 2xx.
pub(crate) fn run(url: &str, script: &Path, connections: usize, seconds: u64) -> Outcome {
    let output = Command::new("wrk")
        .args(["-t1", &format!("-c{connections}"), "--latency", &format!("-d{seconds}s"), "-s"])
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

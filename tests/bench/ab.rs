//! Load from Apache Benchmark, as the thesis used it: so many POSTs of one record, ten at a time.

use std::{path::Path, process::Command};

/// What one run came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// From the first request to the last answer.
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// Sends the file so many times, ten at a time; panics if any answer was not 2xx.
pub(crate) fn run(url: &str, body: &Path, key: Option<&str>, requests: usize, keep_alive: bool) -> Outcome {
    let mut command = Command::new("ab");
    command.args(["-q", "-l", "-n", &requests.to_string(), "-c", "10"]).args(keep_alive.then_some("-k"));
    if let Some(key) = key {
        command.args(["-H", &format!("Authorization: Bearer {key}")]);
    }
    command.args(["-T", "application/json", "-p"]).arg(body).arg(url);
    let output = command.output().expect("ab is not installed: apt-get install apache2-utils");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let after = |label: &str| {
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix(label))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    let number = |label: &str| {
        after(label).unwrap_or_else(|| panic!("{url}: {text}{}", String::from_utf8_lossy(&output.stderr)))
    };
    assert!(
        number("Complete requests:") as usize == requests
            && number("Failed requests:") == 0.0
            && after("Non-2xx responses:").is_none(),
        "{url}: {text}"
    );
    Outcome {
        seconds: number("Time taken for tests:"),
        per_second: number("Requests per second:"),
        p50_ms: number("50%"),
        p99_ms: number("99%"),
    }
}

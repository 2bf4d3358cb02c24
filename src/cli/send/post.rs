//! Brings one piece of a file to a node, however long the node is away, and exactly once.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use anyhow::bail;
use indicatif::ProgressBar;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tidegate_actors::retry::Backoff;

use super::read::Batch;
use crate::cli::table::plain;

/// Longest time for an answer; a node answers within 2 s, a load balancer may take its time.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Most refused records that are shown.
const MOST_SHOWN: usize = 10;
/// No `Retry-After` is taken for longer than this.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What was brought through.
#[derive(Default)]
pub(super) struct Sent {
    /// Records that were accepted.
    pub(super) records: usize,
    /// Those of them that an earlier run had brought already.
    pub(super) replayed: usize,
}

impl Sent {
    pub(super) fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.replayed += other.replayed;
    }
}

/// The way into a node.
pub(super) struct Door {
    client: awc::Client,
    url: String,
    key: String,
    patience: Duration,
    /// Makes the pieces of this run different from those of all others.
    salt: Option<[u8; 16]>,
}

/// The part of an RFC 9457 answer that is shown.
#[derive(Default, Deserialize)]
struct Problem {
    #[serde(default)]
    detail: String,
    #[serde(default)]
    errors: Vec<Issue>,
}

#[derive(Deserialize)]
struct Issue {
    index: usize,
    #[serde(default)]
    pointer: String,
    #[serde(default)]
    message: String,
}

enum Answer {
    Accepted {
        replayed: bool,
    },
    /// Not now: why, and the wait that was asked for.
    Later(String, Option<Duration>),
    Refused(u16, Problem),
}

impl Door {
    pub(super) fn new(url: &str, key: &str, patience: Duration, again: bool) -> anyhow::Result<Self> {
        let base = url::Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some(base) = base else {
            bail!("--url `{url}` is no address of a node; give one like http://127.0.0.1:8080")
        };
        let client = awc::Client::builder().timeout(TIMEOUT).disable_redirects().finish();
        let url = format!("{}/v1/messages", base.as_str().trim_end_matches('/'));
        Ok(Self { client, url, key: key.trim().to_owned(), patience, salt: again.then(rand::random) })
    }

    /// Sends until the node has it.
    pub(super) async fn send(&mut self, batch: &Batch, bar: &ProgressBar) -> anyhow::Result<Sent> {
        let idempotency = self.idempotency_key(batch);
        let mut backoff = Backoff::default();
        let begun = Instant::now();
        loop {
            let (why, asked) = match self.post(batch, &idempotency).await {
                Answer::Accepted { replayed } => {
                    bar.set_prefix("");
                    let records = batch.lines.len();
                    return Ok(Sent { records, replayed: if replayed { records } else { 0 } });
                }
                Answer::Refused(status, problem) => bail!("{}", refusal(batch, status, &problem)),
                Answer::Later(why, asked) => (why, asked),
            };
            let wait = backoff.next(&mut rand::rng()).max(asked.unwrap_or_default().min(LONGEST_WAIT));
            if begun.elapsed() + wait > self.patience {
                bail!(
                    "nothing could be sent to {} for {}: {why}; run the same command again once it is back, nothing is sent \
                     twice",
                    self.url,
                    humantime::format_duration(Duration::from_secs(begun.elapsed().as_secs()))
                );
            }
            bar.set_prefix(format!("(waiting: {why})"));
            tokio::time::sleep(wait).await;
        }
    }

    /// The same for the same records at the same place of a file, whenever it is sent.
    fn idempotency_key(&self, batch: &Batch) -> String {
        let mut hash = Sha256::new();
        hash.update(batch.offset.to_be_bytes());
        if let Some(salt) = self.salt {
            hash.update(salt);
        }
        hash.update(&batch.body);
        hash.finalize().iter().fold(String::from("send-"), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    async fn post(&self, batch: &Batch, idempotency: &str) -> Answer {
        let request = self
            .client
            .post(&self.url)
            .insert_header(("Authorization", format!("Bearer {}", self.key)))
            .insert_header(("Content-Type", "application/x-ndjson"))
            .insert_header(("Idempotency-Key", idempotency));
        let mut answer = match request.send_body(batch.body.clone()).await {
            Ok(answer) => answer,
            Err(error) => return Answer::Later(plain(&error.to_string()), None),
        };
        let status = answer.status().as_u16();
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        if status == 202 {
            return Answer::Accepted { replayed: header("Idempotency-Replayed").as_deref() == Some("true") };
        }
        let retry_after = header("Retry-After").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        let body = answer.body().await.unwrap_or_default();
        let problem: Problem = serde_json::from_slice(&body).unwrap_or_default();
        if matches!(status, 408 | 409 | 429) || status >= 500 {
            let why =
                if problem.detail.is_empty() { format!("the answer was {status}") } else { plain(&problem.detail) };
            return Answer::Later(why, retry_after);
        }
        Answer::Refused(status, problem)
    }
}

/// The places in the file that were refused, and why.
fn refusal(batch: &Batch, status: u16, problem: &Problem) -> String {
    let mut text = if problem.detail.is_empty() {
        format!("the answer was {status}; is --url that of a Tidegate node?")
    } else {
        plain(&problem.detail)
    };
    for issue in problem.errors.iter().take(MOST_SHOWN) {
        let line = batch.lines.get(issue.index).copied().unwrap_or_default();
        let pointer = if issue.pointer.is_empty() { String::new() } else { format!(" {}", plain(&issue.pointer)) };
        let _ = write!(text, "\n  line {line}{pointer}: {}", plain(&issue.message));
    }
    if problem.errors.len() > MOST_SHOWN {
        let _ = write!(text, "\n  … and {} more", problem.errors.len() - MOST_SHOWN);
    }
    text
}

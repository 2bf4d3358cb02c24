//! How long one request of an operator waits for a Redis that stands still: for one question, and not for each of those that
//! would follow. The console and the admin API put every request into [`of_request`]; whatever speaks to Redis for it asks
//! through [`ask`]. Elsewhere this changes nothing.

use std::{
    cell::Cell,
    io,
    time::{Duration, Instant},
};

use redis::{RedisError, RedisResult};

/// Longest wait for one question of a request.
const WITHIN: Duration = Duration::from_secs(2);
/// A question that is given up sooner than this says nothing of Redis: what it was for failed for another reason.
const TELLING: Duration = Duration::from_millis(500);

tokio::task_local! {
    /// Whether a question of this request was left without an answer.
    static SILENT: Cell<bool>;
}

/// Answers a request; once a question of it was not answered in time, the others of it are not asked.
pub(crate) async fn of_request<T>(request: impl Future<Output = T>) -> T {
    SILENT.scope(Cell::new(false), request).await
}

/// Refuses where this request has waited in vain already.
pub(crate) fn may_ask() -> RedisResult<()> {
    if SILENT.try_with(Cell::get).unwrap_or(false) { Err(timed_out()) } else { Ok(()) }
}

/// One question.
pub(crate) async fn ask<T>(question: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    if SILENT.try_with(|_| ()).is_err() {
        return question.await;
    }
    may_ask()?;
    let given_up = GivenUp(Instant::now());
    let answer = tokio::time::timeout(WITHIN, question).await.unwrap_or_else(|_| Err(timed_out()));
    std::mem::forget(given_up);
    if answer.as_ref().is_err_and(RedisError::is_timeout) {
        note();
    }
    answer
}

fn note() {
    let _ = SILENT.try_with(|silent| silent.set(true));
}

fn timed_out() -> RedisError {
    io::Error::from(io::ErrorKind::TimedOut).into()
}

/// Somebody further out had less patience.
struct GivenUp(Instant);

impl Drop for GivenUp {
    fn drop(&mut self) {
        if self.0.elapsed() >= TELLING {
            note();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn a_request_waits_for_one_question_and_not_for_each() {
        let begun = Instant::now();
        of_request(async {
            assert_eq!(ask(async { Ok(1) }).await.unwrap(), 1);
            let both = tokio::join!(ask(pending::<RedisResult<()>>()), ask(pending::<RedisResult<()>>()));
            assert!(both.0.unwrap_err().is_timeout() && both.1.unwrap_err().is_timeout());
            assert!(may_ask().is_err());
            assert!(ask(async { Ok(1) }).await.unwrap_err().is_timeout(), "it is not even asked");
        })
        .await;
        assert!((WITHIN..WITHIN * 2).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        of_request(async { assert!(may_ask().is_ok(), "another request asks anew") }).await;
        assert_eq!(ask(async { Ok(1) }).await.unwrap(), 1, "and so does who is in no request");
    }

    #[tokio::test]
    async fn who_gives_up_sooner_counts_too_unless_at_once() {
        of_request(async {
            let soon = tokio::time::timeout(Duration::from_millis(5), ask(pending::<RedisResult<()>>()));
            assert!(soon.await.is_err());
            assert!(may_ask().is_ok());
            let later = tokio::time::timeout(TELLING + Duration::from_millis(20), ask(pending::<RedisResult<()>>()));
            assert!(later.await.is_err());
            assert!(may_ask().is_err());
        })
        .await;
    }
}

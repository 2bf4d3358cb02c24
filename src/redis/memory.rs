//! The memory guard: how full Redis is, what is to be done about it, and how long it will last.
//!
//! Above the soft mark retained history is trimmed, above the hard one new records are refused, so that delivery always
//! has room to go on. The janitor feeds it with samples; the appender looks at its flag.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use redis::cmd;
use tidegate_actors::ports::LogError;

use super::{Redis, odd, unavailable};

/// How far below the hard mark it must be before records are taken again: otherwise the flag would flutter.
const HYSTERESIS: f64 = 0.02;
/// Over what time the growth is averaged.
const AVERAGED_OVER: Duration = Duration::from_secs(60);

/// What Redis says of its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySample {
    /// Bytes in use.
    pub used_bytes: u64,
    /// `maxmemory`; `None` where there is none set.
    pub limit_bytes: Option<u64>,
}

/// Asks Redis; in a cluster the fullest of the masters counts, since every stream lies on one of them.
///
/// # Errors
/// Redis is away.
pub async fn sample(redis: &Redis) -> Result<MemorySample, LogError> {
    let infos: Vec<String> = redis
        .link()
        .run(async |mut connection| connection.ask_masters(cmd("INFO").arg("memory")).await)
        .await
        .map_err(|error| unavailable(&error))?;
    let samples = infos.iter().map(|info| {
        let number = |name: &str| {
            info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse::<u64>().ok())
        };
        MemorySample {
            used_bytes: number("used_memory").unwrap_or(0),
            limit_bytes: number("maxmemory").filter(|limit| *limit > 0),
        }
    });
    samples.max_by(|a, b| a.fullness().total_cmp(&b.fullness())).ok_or_else(|| odd("INFO"))
}

impl MemorySample {
    /// Used by limit; without a limit below all that have one, and the more the more is used.
    fn fullness(&self) -> f64 {
        match self.limit_bytes {
            Some(limit) => self.used_bytes as f64 / limit as f64,
            None => -1.0 / (self.used_bytes as f64 + 1.0),
        }
    }
}

/// How much is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pressure {
    /// Nothing.
    None,
    /// Trim what is only retained.
    Soft,
    /// Refuse new records too.
    Hard,
}

/// What the guard makes of the samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemoryState {
    /// Used by limit; `None` without a limit.
    pub ratio: Option<f64>,
    /// What to do.
    pub pressure: Pressure,
    /// Until Redis is full at the present rate; `None` where it does not grow or has no limit.
    pub full_in: Option<Duration>,
}

/// Keeps the marks, the growth, and the flag.
#[derive(Debug)]
pub struct MemoryGuard {
    soft: f64,
    hard: f64,
    full: Arc<AtomicBool>,
    last: Option<(Instant, u64)>,
    growth_bytes_per_s: f64,
}

impl MemoryGuard {
    /// A guard with its two marks as shares of the limit. It sets `full` for the appender.
    #[must_use]
    pub fn new(soft: f64, hard: f64, full: Arc<AtomicBool>) -> Self {
        Self { soft, hard, full, last: None, growth_bytes_per_s: 0.0 }
    }

    /// Other marks from now on.
    pub fn set_marks(&mut self, (soft, hard): (f64, f64)) {
        (self.soft, self.hard) = (soft, hard);
    }

    /// Takes a sample in.
    pub fn observe(&mut self, now: Instant, sample: MemorySample) -> MemoryState {
        if let Some((then, used)) = self.last {
            let passed = now.saturating_duration_since(then).as_secs_f64();
            if passed > 0.0 {
                let growth = (sample.used_bytes as f64 - used as f64) / passed;
                let weight = 1.0 - (-passed / AVERAGED_OVER.as_secs_f64()).exp();
                self.growth_bytes_per_s += weight * (growth - self.growth_bytes_per_s);
            }
        }
        self.last = Some((now, sample.used_bytes));
        let ratio = sample.limit_bytes.map(|limit| sample.used_bytes as f64 / limit as f64);
        let was_full = self.full.load(Ordering::Relaxed);
        let hard = if was_full { self.hard - HYSTERESIS } else { self.hard };
        let pressure = match ratio {
            Some(ratio) if ratio >= hard => Pressure::Hard,
            Some(ratio) if ratio >= self.soft => Pressure::Soft,
            _ => Pressure::None,
        };
        self.full.store(pressure == Pressure::Hard, Ordering::Relaxed);
        let full_in = sample.limit_bytes.filter(|_| self.growth_bytes_per_s > 1.0).map(|limit| {
            let left = limit.saturating_sub(sample.used_bytes) as f64;
            // A year is as good as for ever, and fits.
            Duration::from_secs_f64((left / self.growth_bytes_per_s).min(31_536_000.0))
        });
        MemoryState { ratio, pressure, full_in }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(used_bytes: u64) -> MemorySample {
        MemorySample { used_bytes, limit_bytes: Some(1000) }
    }

    #[test]
    fn records_are_refused_above_the_hard_mark_until_it_is_well_below() {
        let full = Arc::new(AtomicBool::new(false));
        let mut guard = MemoryGuard::new(0.70, 0.85, full.clone());
        let start = Instant::now();
        let mut pressures = Vec::new();
        for (second, bytes) in [600, 700, 850, 840, 820, 600].into_iter().enumerate() {
            let state = guard.observe(start + Duration::from_secs(second as u64), used(bytes));
            pressures.push((state.pressure, full.load(Ordering::Relaxed)));
        }
        assert_eq!(
            pressures,
            [
                (Pressure::None, false),
                (Pressure::Soft, false),
                (Pressure::Hard, true),
                (Pressure::Hard, true),
                (Pressure::Soft, false),
                (Pressure::None, false)
            ]
        );
    }

    #[test]
    fn the_time_until_full_follows_from_the_growth() {
        let mut guard = MemoryGuard::new(0.7, 0.85, Arc::default());
        let start = Instant::now();
        let mut state = guard.observe(start, MemorySample { used_bytes: 0, limit_bytes: Some(1_000_000) });
        assert_eq!(state.full_in, None);
        for minute in 1..=20_u32 {
            let sample = MemorySample { used_bytes: u64::from(minute) * 6_000, limit_bytes: Some(1_000_000) };
            state = guard.observe(start + Duration::from_secs(60) * minute, sample);
        }
        let seconds = state.full_in.map_or(0, |time| time.as_secs());
        assert!((8_700..=8_900).contains(&seconds), "880,000 bytes at 100 a second, not {seconds} s");
    }

    #[test]
    fn without_a_limit_nothing_is_refused() {
        let mut guard = MemoryGuard::new(0.7, 0.85, Arc::default());
        let state = guard.observe(Instant::now(), MemorySample { used_bytes: u64::MAX, limit_bytes: None });
        assert_eq!((state.ratio, state.pressure, state.full_in), (None, Pressure::None, None));
    }
}

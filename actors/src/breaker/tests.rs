//! The breaker's rules, by tables and by random histories.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;

use super::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn busy() -> Fault {
    Fault::new("table `cars` is locked")
}

fn gone() -> Fault {
    Fault::lost("10.0.0.5:5432 refused the connection")
}

fn breaker(start: Instant) -> Breaker {
    Breaker::new(BreakerSettings::default(), start, 1)
}

/// One thing that happens to a breaker.
#[derive(Clone, Copy, Debug)]
enum Event {
    Success,
    Busy,
    Gone,
    Probe,
    ProbeOk,
    ProbeFails,
    ForceOpen,
    Release,
}

fn apply(breaker: &mut Breaker, event: Event, now: Instant) {
    match event {
        Event::Success => breaker.on_success(now),
        Event::Busy => breaker.on_failure(now, &busy()),
        Event::Gone => breaker.on_failure(now, &gone()),
        Event::Probe => breaker.begin_probe(now),
        Event::ProbeOk => breaker.on_probe(now, Ok(())),
        Event::ProbeFails => breaker.on_probe(now, Err(gone())),
        Event::ForceOpen => breaker.force_open(now),
        Event::Release => breaker.release(now),
    }
}

#[test]
fn each_history_ends_in_its_state() {
    use BreakerState::{Closed, HalfOpen, Open};
    use Event::{Busy, ForceOpen, Gone, Probe, ProbeFails, ProbeOk, Release, Success};
    let table: &[(&[Event], BreakerState, u32)] = &[
        (&[], Closed, 0),
        (&[Success], Closed, 0),
        (&[Busy, Busy, Busy, Busy], Closed, 4),
        (&[Busy, Busy, Busy, Busy, Busy], Open, 5),
        (&[Busy, Busy, Busy, Busy, Success, Busy], Closed, 1),
        (&[Gone], Open, 1),
        (&[Gone, Probe], HalfOpen, 1),
        (&[Gone, Probe, ProbeOk], Closed, 0),
        (&[Gone, Probe, ProbeFails], Open, 1),
        (&[Gone, Probe, ProbeFails, Probe, ProbeFails], Open, 1),
        (&[Gone, Success], Closed, 0),
        // While it is closed the heartbeat is just another witness.
        (&[Probe], Closed, 0),
        (&[Probe, ProbeOk], Closed, 0),
        (&[Probe, ProbeFails], Open, 1),
        // Answers probes, refuses writes: one more failure is enough.
        (&[Busy, Busy, Busy, Busy, Busy, Probe, ProbeOk], Closed, 4),
        (&[Busy, Busy, Busy, Busy, Busy, Probe, ProbeOk, Busy], Open, 5),
        (&[Busy, Busy, Busy, Busy, Busy, Probe, ProbeOk, Success, Busy], Closed, 1),
        // Reports that come late change nothing.
        (&[Gone, Busy, Busy], Open, 1),
        // An operator's word stands.
        (&[ForceOpen], Open, 0),
        (&[ForceOpen, Success], Open, 0),
        (&[ForceOpen, Probe], Open, 0),
        (&[ForceOpen, ProbeOk], Open, 0),
        (&[ForceOpen, Release], Open, 0),
        (&[ForceOpen, Release, Probe, ProbeOk], Closed, 0),
        (&[Gone, Release], Open, 0),
        (&[Gone, Probe, Release], Open, 0),
        (&[Busy, Busy, Busy, Busy, Busy, Release, Probe, ProbeOk], Closed, 0),
        (&[Gone, ForceOpen, Probe, ProbeOk], Open, 1),
        (&[Release], Closed, 0),
        (&[Busy, Busy, Busy, Busy, Release, Busy], Closed, 1),
    ];
    for (events, state, failures) in table {
        let start = Instant::now();
        let mut breaker = breaker(start);
        for (index, event) in (0u64..).zip(events.iter()) {
            apply(&mut breaker, *event, start + ms(index));
        }
        assert_eq!((breaker.state(), breaker.failures()), (*state, *failures), "after {events:?}");
        assert_eq!(breaker.may_write(), *state == Closed);
    }
}

#[test]
fn it_tells_since_when_it_is_down_across_probes() {
    let start = Instant::now();
    let mut breaker = breaker(start);
    assert_eq!(breaker.down_since(), None);
    breaker.on_failure(start + ms(10), &gone());
    breaker.begin_probe(start + ms(500));
    breaker.on_probe(start + ms(600), Err(gone()));
    assert_eq!(breaker.down_since(), Some(start + ms(10)));
    assert_eq!(breaker.since(), start + ms(600));
    assert_eq!(breaker.last_error(), Some(&gone()));
    breaker.begin_probe(start + ms(900));
    breaker.on_probe(start + ms(950), Ok(()));
    assert_eq!((breaker.down_since(), breaker.since()), (None, start + ms(950)));
}

#[test]
fn an_idle_destination_is_probed_at_the_pace_of_the_heartbeat() {
    let start = Instant::now();
    let mut breaker = breaker(start);
    let beat = breaker.settings().heartbeat;
    assert!(!breaker.probe_due(start + beat - ms(1)));
    assert!(breaker.probe_due(start + beat));
    // Work is as good as a heartbeat.
    breaker.on_success(start + beat);
    assert!(!breaker.probe_due(start + beat + ms(1)));
    assert_eq!(breaker.probe_at(), Some(start + beat * 2));
}

#[test]
fn a_probe_that_is_never_reported_is_not_the_last_one() {
    let start = Instant::now();
    let mut breaker = breaker(start);
    breaker.on_failure(start, &gone());
    let first = breaker.probe_at().unwrap();
    breaker.begin_probe(first);
    let limit = breaker.settings().probe_limit;
    assert!(!breaker.probe_due(first + limit - ms(1)), "one probe at a time");
    assert!(breaker.probe_due(first + limit));
}

#[test]
fn nothing_is_probed_while_an_operator_keeps_it_open() {
    let start = Instant::now();
    let mut breaker = breaker(start);
    breaker.force_open(start);
    assert!(breaker.is_forced());
    assert_eq!(breaker.probe_at(), None);
    assert!(!breaker.probe_due(start + Duration::from_secs(3600)));
    breaker.release(start + ms(1));
    assert!(!breaker.is_forced());
    assert!(!breaker.may_write(), "the database is asked first");
    assert!(breaker.probe_due(start + ms(1)));
    breaker.begin_probe(start + ms(1));
    breaker.on_probe(start + ms(2), Ok(()));
    assert!(breaker.may_write());
}

#[test]
fn a_database_that_fails_every_write_is_probed_ever_more_seldom() {
    let start = Instant::now();
    let mut breaker = breaker(start);
    let mut now = start;
    let mut waits = Vec::new();
    for _ in 0..12 {
        while breaker.may_write() {
            breaker.on_failure(now, &busy());
        }
        let at = breaker.probe_at().unwrap();
        waits.push(at - now);
        now = at;
        breaker.begin_probe(now);
        breaker.on_probe(now, Ok(()));
    }
    assert!(waits[0] <= ms(300), "the first wait was {:?}", waits[0]);
    assert!(waits[8..].iter().all(|wait| *wait >= ms(1000)), "{waits:?}");
    // A write that succeeds forgives it.
    breaker.on_success(now);
    breaker.on_failure(now, &gone());
    assert!(breaker.probe_at().unwrap() - now <= ms(300));
}

#[test]
fn its_states_have_the_words_of_the_contract() {
    for (state, word) in
        [(BreakerState::Closed, "closed"), (BreakerState::Open, "open"), (BreakerState::HalfOpen, "half_open")]
    {
        assert_eq!(serde_json::to_value(state).unwrap(), word);
        assert_eq!(state.as_str(), word);
    }
}

fn events() -> impl Strategy<Value = Vec<(Event, u64)>> {
    let event = prop_oneof![
        Just(Event::Success),
        Just(Event::Busy),
        Just(Event::Gone),
        Just(Event::Probe),
        Just(Event::ProbeOk),
        Just(Event::ProbeFails),
        Just(Event::ForceOpen),
        Just(Event::Release),
    ];
    proptest::collection::vec((event, 0u64..5_000), 0..60)
}

proptest! {
    /// Whatever went before and however long it was down: with probes on time, a database that came back may be written
    /// to within 5 s, even if the probe under way at that moment still runs into its limit.
    #[test]
    fn a_database_that_came_back_is_noticed_within_five_seconds(history in events(), down_for in 0u64..600_000, seed: u64) {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(BreakerSettings::default(), now, seed);
        for (event, pause) in history {
            now += ms(pause);
            apply(&mut breaker, event, now);
        }
        if breaker.is_forced() {
            breaker.release(now);
        }
        breaker.on_failure(now, &gone());
        let back = now + ms(down_for);
        let limit = breaker.settings().probe_limit;
        loop {
            now = breaker.probe_at().unwrap().max(now);
            breaker.begin_probe(now);
            if now >= back {
                break;
            }
            now += limit;
            breaker.on_probe(now, Err(gone()));
        }
        breaker.on_probe(now, Ok(()));
        prop_assert!(breaker.may_write());
        prop_assert!(now - back <= Duration::from_secs(5), "noticed after {:?}", now - back);
    }

    #[test]
    fn its_facts_agree_with_each_other_at_every_step(history in events(), seed: u64) {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(BreakerSettings::default(), now, seed);
        for (event, pause) in history {
            now += ms(pause);
            let before = breaker.state();
            apply(&mut breaker, event, now);
            prop_assert_eq!(breaker.may_write(), breaker.state() == BreakerState::Closed);
            prop_assert_eq!(breaker.may_write(), breaker.down_since().is_none());
            prop_assert!(breaker.since() <= now);
            prop_assert!(breaker.failures() <= breaker.settings().failures_to_open);
            if before != breaker.state() {
                prop_assert_eq!(breaker.since(), now);
            }
            if !breaker.is_forced() {
                let wait = breaker.probe_at().unwrap().saturating_duration_since(now);
                prop_assert!(wait <= breaker.settings().longest_probe_wait);
            }
        }
    }
}

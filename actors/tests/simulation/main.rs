//! The ordered delivery rules under a seeded deterministic simulation: the real [`tidegate_actors::delivery::Delivery`] of
//! two or three nodes, between a Redis and databases that are small exact state machines.
//!
//! A seed decides everything: which call is carried out next and what becomes of it, when nodes are killed and paused,
//! when Redis restarts, fails over to a replica that lags, comes back empty or full, when a database goes away or is
//! restored from a backup. After every transaction and every trim the [`ledger`] checks that nothing was lost, written
//! twice or reordered; at the end, that nothing stalls.
//!
//! `TIDEGATE_SIM_SEED=4711 cargo test -p tidegate-actors --test simulation one_seed -- --nocapture` prints a run step by step
//! (with `TIDEGATE_SIM_MISTAKE=NoGapCheck` one with that mistake); `TIDEGATE_SIM_SEEDS=100000 cargo test --release -p
//! tidegate-actors --test simulation many_seeds -- --nocapture` runs many.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod chance;
mod database;
mod ledger;
mod mistakes;
mod node;
mod ports;
mod redis;
mod world;

use std::{ops::Range, time::Instant};

use mistakes::Mistake;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// The core's time limits want a runtime's clock. Nothing drives it: what takes too long is the scheduler's to say.
fn with_clock<T>(work: impl FnOnce() -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    work()
}

/// Runs these seeds without a mistake, in the weather in which `like` shows.
fn correct(seeds: Range<u64>, like: Mistake) {
    with_clock(|| {
        let (began, count, mut steps, mut written) = (Instant::now(), seeds.end - seeds.start, 0, 0);
        for seed in seeds {
            let run = world::run(seed, Mistake::None, like, false);
            if let Some(violation) = run.violation {
                panic!(
                    "seed {seed} like {like:?}, step {}: {:?}: {}. Again, step by step: TIDEGATE_SIM_SEED={seed} \
                     TIDEGATE_SIM_LIKE={like:?} cargo test -p tidegate-actors --test simulation one_seed -- --nocapture",
                    run.steps, violation.kind, violation.what
                );
            }
            steps += run.steps;
            written += run.written;
        }
        let took = began.elapsed().as_secs_f64();
        let per_minute = count as f64 / took * 60.0;
        println!(
            "{count} seeds, {steps} steps, {written} records written, {took:.1} s: {per_minute:.0} seeds a minute"
        );
        assert!(written as u64 > count * 5, "hardly anything was delivered: the simulation proves nothing");
    });
}

/// Runs a mistake until it is found. In the same run without it everything is well.
fn found(mistake: Mistake, most: u64) {
    with_clock(|| {
        let found = (0..most).find_map(|seed| {
            Some((seed, world::run(seed, mistake, mistake, false))).filter(|(_, run)| run.violation.is_some())
        });
        let (seed, run) = found.unwrap_or_else(|| panic!("{mistake:?} is not found within {most} seeds"));
        let violation = run.violation.unwrap();
        println!("{mistake:?}: seed {seed}, step {}: {:?}: {}", run.steps, violation.kind, violation.what);
        assert!(world::run(seed, Mistake::None, mistake, false).violation.is_none());
    });
}

#[test]
fn nothing_is_lost_doubled_reordered_or_stalled() {
    correct(0..1_000, Mistake::None);
}

#[test]
fn nothing_is_lost_doubled_reordered_or_stalled_either() {
    correct(1_000..2_000, Mistake::None);
}

#[test]
fn many_seeds() {
    let count = number("TIDEGATE_SIM_SEEDS").unwrap_or(200);
    correct(1_000_000..1_000_000 + count, Mistake::None);
    for like in Mistake::ALL.into_iter().filter(|mistake| mistake.has_weather()) {
        correct(1_000_000..1_000_000 + count / 10, like);
    }
}

#[test]
fn one_seed() {
    let Some(seed) = number("TIDEGATE_SIM_SEED") else { return };
    let named = |name: &str| {
        let named = std::env::var(name).ok()?;
        Mistake::ALL.into_iter().find(|mistake| format!("{mistake:?}") == named)
    };
    let mistake = named("TIDEGATE_SIM_MISTAKE").unwrap_or(Mistake::None);
    let like = named("TIDEGATE_SIM_LIKE").unwrap_or(mistake);
    let run = with_clock(|| world::run(seed, mistake, like, true));
    println!("{} steps, {} records written: {:?}", run.steps, run.written, run.violation);
}

#[test]
fn a_seed_replays_to_the_same_step() {
    with_clock(|| {
        for mistake in [Mistake::None, Mistake::UntilIgnored, Mistake::WatermarkOutside] {
            for seed in 0..20 {
                let [one, two] = [(); 2].map(|()| world::run(seed, mistake, mistake, false));
                let what = |run: &world::Run| run.violation.as_ref().map(|violation| violation.what.clone());
                assert_eq!((one.steps, one.written, what(&one)), (two.steps, two.written, what(&two)), "seed {seed}");
            }
        }
    });
}

/// One test for each mistake: `mistakes! { name: Mistake, seeds; … }`.
macro_rules! mistakes {
    ($($name:ident: $mistake:ident within $most:literal,)*) => {
        /// The tests below, to be compared with the list of mistakes.
        const TESTED: &[Mistake] = &[$(Mistake::$mistake),*];
        $(#[test]
        fn $name() {
            found(Mistake::$mistake, $most);
        })*
    };
}

mod seeded {
    use super::{Mistake, found};

    mistakes! {
        no_generations: NoGenerations within 3_000,
        append_without_generation: AppendWithoutGeneration within 3_000,
        start_at_now: StartAtNow within 3_000,
        take_over_jumps_to_the_newest: TakeOverJumpsToTheNewest within 3_000,
        claim_before_fence: ClaimBeforeFence within 3_000,
        row_made_outside_take_over: RowMadeOutsideTakeOver within 20_000,
        position_as_truth: PositionAsTruth within 3_000,
        no_gap_check: NoGapCheck within 3_000,
        read_ignores_generation: ReadIgnoresGeneration within 3_000,
        read_ignores_version: ReadIgnoresVersion within 3_000,
        until_ignored: UntilIgnored within 3_000,
        position_without_generation: PositionWithoutGeneration within 3_000,
        advance_unchecked: AdvanceUnchecked within 3_000,
        trim_in_two_steps: TrimInTwoSteps within 3_000,
        mark_above_what_went: MarkAboveWhatWent within 3_000,
        trim_ignores_missing: TrimIgnoresMissing within 3_000,
        no_owner: NoOwner within 3_000,
        no_previous: NoPrevious within 3_000,
        watermark_outside: WatermarkOutside within 3_000,
        lost_reply_as_failure: LostReplyAsFailure within 3_000,
        lost_reply_as_success: LostReplyAsSuccess within 3_000,
        side_opened_apart: SideOpenedApart within 3_000,
        side_beyond_main: SideBeyondMain within 3_000,
        side_unlocked: SideUnlocked within 3_000,
        position_without_sides: PositionWithoutSides within 3_000,
        side_rows_unread: SideRowsUnread within 3_000,
        done_forgotten: DoneForgotten within 3_000,
        done_unheard: DoneUnheard within 3_000,
        backfill_not_kept: BackfillNotKept within 3_000,
        registry_restored_at_now: RegistryRestoredAtNow within 3_000,
        restore_unnoticed: RestoreUnnoticed within 3_000,
    }

    #[test]
    fn every_mistake_is_tested() {
        assert!(Mistake::ALL.iter().all(|mistake| TESTED.contains(mistake)));
    }
}

#[test]
#[ignore = "a survey of how soon each mistake is found"]
fn survey() {
    let most = number("TIDEGATE_SIM_SEEDS").unwrap_or(10_000);
    with_clock(|| {
        for mistake in Mistake::ALL {
            let seed = (0..most).find(|&seed| world::run(seed, mistake, mistake, false).violation.is_some());
            println!("{mistake:?}: {seed:?}");
        }
    });
}

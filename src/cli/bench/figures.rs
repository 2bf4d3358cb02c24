//! The figures of all rounds: medians, least and greatest, ratios, processor time; as a table for people or as JSON.

use std::io::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use super::Step;
use crate::cli::table::{Table, count, left, of, right, width};

/// One turn of one side.
pub(super) struct Turn {
    /// Records a second, or bytes a record.
    pub(super) figure: f64,
    /// Processor time a record, in µs.
    pub(super) cpu: Cpu,
}

/// Of the node, of Redis, and of this program, which is the load or the bare client.
#[derive(Clone, Copy, Default)]
pub(super) struct Cpu {
    pub(super) node: Option<f64>,
    pub(super) redis: Option<f64>,
    pub(super) bench: Option<f64>,
}

/// The middle one, the least and the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) greatest: f64,
}

impl Spread {
    /// `None` where there are no values.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (&least, &greatest) = (sorted.first()?, sorted.last()?);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
        Some(Self { median, least, greatest })
    }
}

/// All turns of a side.
#[derive(Default)]
pub(super) struct Side(Vec<Turn>);

impl Side {
    fn figures(&self) -> impl Iterator<Item = f64> {
        self.0.iter().map(|turn| turn.figure)
    }

    /// The median of one process's time, where it was told in every round.
    fn cpu(&self, of: impl Fn(&Cpu) -> Option<f64>) -> Option<f64> {
        let times: Option<Vec<f64>> = self.0.iter().map(|turn| of(&turn.cpu)).collect();
        Spread::of(times?).map(|spread| spread.median)
    }

    fn json(&self) -> Value {
        json!({
            "spread": Spread::of(self.figures()), "rounds": self.figures().collect::<Vec<_>>(),
            "cpu_us_per_record": {
                "node": self.cpu(|cpu| cpu.node), "redis": self.cpu(|cpu| cpu.redis), "bench": self.cpu(|cpu| cpu.bench),
            },
        })
    }
}

/// Product and limit of one step.
pub(super) struct Pair {
    pub(super) step: Step,
    pub(super) product: Side,
    pub(super) limit: Side,
}

impl Pair {
    pub(super) fn add(&mut self, product: bool, turn: Turn) {
        if product { self.product.0.push(turn) } else { self.limit.0.push(turn) }
    }

    fn ratio(&self) -> Option<Spread> {
        Spread::of(self.product.figures().zip(self.limit.figures()).map(|(ours, limit)| ours / limit))
    }
}

/// Everything that was measured.
pub(super) struct Figures {
    pub(super) pairs: Vec<Pair>,
    pub(super) fsyncs: Vec<f64>,
    pub(super) loads: Vec<f64>,
    pub(super) rounds: usize,
    /// What each ratio is of, beside its step.
    pub(super) sentences: Vec<String>,
}

impl Figures {
    /// One object a line.
    pub(super) fn print_json(&self) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        for (pair, of) in self.pairs.iter().zip(&self.sentences) {
            let line = json!({
                "step": pair.step.name(), "unit": pair.step.unit(), "tidegate": pair.product.json(),
                "limit": pair.limit.json(), "ratio": pair.ratio(), "ratio_of": of,
            });
            writeln!(out, "{line}")?;
        }
        let disk = json!({"step": "disk", "unit": "fsyncs/s", "spread": Spread::of(self.fsyncs.iter().copied())});
        writeln!(out, "{disk}")?;
        let loads = Spread::of(self.loads.iter().copied());
        let cores = std::thread::available_parallelism().ok().map(usize::from);
        let machine = json!({
            "step": "machine", "cores": cores, "load": loads, "optimised": !cfg!(debug_assertions),
            "version": env!("CARGO_PKG_VERSION"),
        });
        writeln!(out, "{machine}")
    }

    /// A table, and what its ratios are.
    pub(super) fn print(&self) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        let load = Spread::of(self.loads.iter().copied());
        let load = load.map_or(String::new(), |load| format!(", load average {:.1}", load.median));
        let cores = std::thread::available_parallelism()
            .map_or(String::new(), |cores| format!(", on {}", of(usize::from(cores), "core")));
        writeln!(
            out,
            "Tidegate {} and its limits in turn, {}{cores}{load}. NODE and REDIS: µs of processor a record.\n",
            env!("CARGO_PKG_VERSION"),
            of(self.rounds, "round")
        )?;
        for line in self.table().lines(width()) {
            writeln!(out, "{line}")?;
        }
        writeln!(out)?;
        for (pair, sentence) in self.pairs.iter().zip(&self.sentences) {
            writeln!(out, "{}: {sentence}", pair.step.name())?;
        }
        writeln!(out, "disk: how often a second it makes 8 KiB durable, in the folder of this run (TMPDIR).")?;
        if cfg!(debug_assertions) {
            writeln!(out, "This program was built without optimisation: its figures say nothing.")?;
        }
        Ok(())
    }

    fn table(&self) -> Table {
        let mut table = Table::new([
            left(""),
            left(""),
            right("MEDIAN"),
            right("LEAST"),
            right("GREATEST"),
            left("UNIT"),
            right("NODE"),
            right("REDIS"),
        ]);
        let us = |time: Option<f64>| time.map_or_else(|| "-".to_owned(), |time| format!("{time:.1}"));
        for pair in &self.pairs {
            for (name, side, what) in [(pair.step.name(), &pair.product, "Tidegate"), ("", &pair.limit, "limit")] {
                let [median, least, greatest] = cells(Spread::of(side.figures()), whole);
                let (node, redis) = (side.cpu(|cpu| cpu.node), side.cpu(|cpu| cpu.redis));
                let (name, what, unit) = (name.to_owned(), what.to_owned(), pair.step.unit().to_owned());
                table.row([name, what, median, least, greatest, unit, us(node), us(redis)]);
            }
            let [median, least, greatest] = cells(pair.ratio(), |ratio| format!("{ratio:.2}"));
            table.row([String::new(), "ratio".into(), median, least, greatest]);
        }
        let [median, least, greatest] = cells(Spread::of(self.fsyncs.iter().copied()), whole);
        table.row(["disk".into(), String::new(), median, least, greatest, "fsyncs/s".into()]);
        table
    }
}

fn cells(spread: Option<Spread>, text: impl Fn(f64) -> String) -> [String; 3] {
    spread.map_or_else(Default::default, |spread| [spread.median, spread.least, spread.greatest].map(text))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates and bytes, for people")]
fn whole(number: f64) -> String {
    count(number.round().max(0.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(figure: f64, node: f64) -> Turn {
        Turn { figure, cpu: Cpu { node: Some(node), redis: Some(1.0), bench: None } }
    }

    #[test]
    fn the_middle_of_an_even_number_lies_between_two() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]);
        assert_eq!(spread, Some(Spread { median: 2.5, least: 1.0, greatest: 4.0 }));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let mut pair = Pair { step: Step::Single, product: Side::default(), limit: Side::default() };
        for (ours, limit) in [(9_000.0, 10_000.0), (4_000.0, 8_000.0), (12_000.0, 12_000.0)] {
            pair.add(true, turn(ours, 20.0));
            pair.add(false, Turn { figure: limit, cpu: Cpu::default() });
        }
        let figures = Figures {
            pairs: vec![pair],
            fsyncs: vec![1_234.0],
            loads: Vec::new(),
            rounds: 3,
            sentences: vec![String::new()],
        };
        insta::assert_snapshot!(figures.table().lines(None).join("\n"), @r"
                          MEDIAN  LEAST  GREATEST  UNIT       NODE  REDIS
        ingest  Tidegate   9,000  4,000    12,000  records/s  20.0    1.0
                limit     10,000  8,000    12,000  records/s     -      -
                ratio       0.90   0.50      1.00
        disk               1,234  1,234     1,234  fsyncs/s
        ");
    }
}

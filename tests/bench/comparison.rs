//! Sides that are measured in turn in the same rounds: their figures, what they cost, and the ratios between them, which
//! alone are results.

use serde_json::{Map, Value, json};

use crate::{machine, report};

/// What one side came to in one round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) per_second: f64,
    /// Processor microseconds of each part, by the record.
    pub(crate) cpu_us: Vec<f64>,
    /// The most that nodes had resident, and that Redis had in use, where they took part.
    pub(crate) node_mib: Option<f64>,
    pub(crate) redis_mib: Option<f64>,
}

struct Side {
    name: String,
    outcomes: Vec<Outcome>,
}

/// All sides of a measurement.
pub(crate) struct Comparison {
    unit: &'static str,
    parts: Vec<String>,
    sides: Vec<Side>,
    loads: Vec<f64>,
    fsyncs: Vec<f64>,
}

impl Comparison {
    /// Sides by their names; the parts are those whose processor time is told apart.
    pub(crate) fn new(unit: &'static str, sides: &[&str], parts: &[&str]) -> Self {
        Self {
            unit,
            parts: parts.iter().map(|part| (*part).to_owned()).collect(),
            sides: sides.iter().map(|name| Side { name: (*name).to_owned(), outcomes: Vec::new() }).collect(),
            loads: Vec::new(),
            fsyncs: Vec::new(),
        }
    }

    /// Begins a round that counts: notes what the machine is like. To be called while nothing runs.
    pub(crate) fn round(&mut self) {
        self.loads.push(machine::load());
        self.fsyncs.push(machine::fsyncs_per_second(&report::dir()));
    }

    pub(crate) fn add(&mut self, side: usize, outcome: Outcome) {
        self.sides[side].outcomes.push(outcome);
    }

    fn rates(&self, side: usize) -> Vec<f64> {
        self.sides[side].outcomes.iter().map(|outcome| outcome.per_second).collect()
    }

    /// One side's rate by another's, round by round.
    pub(crate) fn ratios(&self, of: usize, to: usize) -> Vec<f64> {
        self.rates(of).iter().zip(self.rates(to)).map(|(of, to)| of / to).collect()
    }

    /// Prints a ratio and whether it holds; the same for the file.
    pub(crate) fn verdict(&self, name: &str, of: usize, to: usize, target: Option<f64>) -> Value {
        let ratios = self.ratios(of, to);
        let ratio = report::median(&ratios);
        let (least, most) = report::bounds(&ratios);
        let reached = match target {
            Some(target) if ratio >= target => format!("at least {target}: reached"),
            Some(target) => format!("at least {target}: MISSED"),
            None => "no target".to_owned(),
        };
        let (of, to) = (&self.sides[of].name, &self.sides[to].name);
        println!("  {name}: {of} / {to} = {ratio:.3} ({least:.3}..{most:.3}), {reached}");
        json!({"of": of, "to": to, "ratio": report::summary(&ratios), "target": target})
    }

    /// Prints all figures.
    pub(crate) fn show(&self) {
        for side in self.sides.iter().filter(|side| !side.outcomes.is_empty()) {
            let of = |figure: &dyn Fn(&Outcome) -> Option<f64>| -> Vec<f64> {
                side.outcomes.iter().filter_map(figure).collect()
            };
            report::line(&side.name, self.unit, &of(&|outcome| Some(outcome.per_second)), 0);
            for (place, part) in self.parts.iter().enumerate() {
                let values = of(&|outcome| outcome.cpu_us.get(place).copied());
                if values.iter().any(|value| *value > 0.0) {
                    report::line(&format!("  {part}: processor"), "µs/record", &values, 1);
                }
            }
            for (name, values) in [
                ("  nodes: most resident", of(&|outcome| outcome.node_mib)),
                ("  Redis: most in use", of(&|outcome| outcome.redis_mib)),
            ] {
                if !values.is_empty() {
                    report::line(name, "MiB", &values, 0);
                }
            }
        }
        report::line("load average", "", &self.loads, 1);
        report::line("disk", "fsyncs/s", &self.fsyncs, 0);
    }

    /// All figures for the file, with what else there is to say.
    pub(crate) fn json(&self, more: Value) -> Value {
        let summary = |values: Vec<f64>| if values.is_empty() { Value::Null } else { report::summary(&values) };
        let sides: Map<String, Value> = self
            .sides
            .iter()
            .map(|side| {
                let of = |figure: &dyn Fn(&Outcome) -> Option<f64>| -> Value {
                    summary(side.outcomes.iter().filter_map(figure).collect())
                };
                let cpu: Map<String, Value> = self
                    .parts
                    .iter()
                    .enumerate()
                    .map(|(place, part)| (part.clone(), of(&|outcome| outcome.cpu_us.get(place).copied())))
                    .collect();
                let figures = json!({
                    "per_s": of(&|outcome| Some(outcome.per_second)), "cpu_us_per_record": cpu,
                    "node_mib": of(&|outcome| outcome.node_mib), "redis_mib": of(&|outcome| outcome.redis_mib),
                });
                (side.name.clone(), figures)
            })
            .collect();
        let mut all = json!({
            "machine": machine::describe(), "unit": self.unit, "sides": sides,
            "load": report::summary(&self.loads), "fsyncs_per_s": report::summary(&self.fsyncs),
        });
        if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
            all.extend(more);
        }
        all
    }
}

/// In which order so many sides come in a round: whoever comes first meets another machine than whoever comes last.
pub(crate) fn order(round: usize, sides: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sides).collect();
    order.rotate_left(round % sides);
    if sides > 2 && round % 2 == 1 {
        order.reverse();
    }
    order
}

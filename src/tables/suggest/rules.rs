//! Which cleaning or cast makes a column take the sample values: each candidate is tried on all of them.

use tidegate_actors::{
    route::{Cast, CleanStep, ColumnRule, ColumnSource},
    schema::{ColumnSchema, ColumnType},
};

use super::{Sampled, Shape};
use crate::tables::probe::Probe;

/// How the values of a path fit a column.
#[derive(Clone, Debug)]
pub(super) struct Fit {
    /// The part of the values that the column takes, by this rule; 1 where there are none.
    pub(super) share: f64,
    /// Cleaning and cast.
    rule: ColumnRule,
    /// What the samples say against it.
    pub(super) remarks: Vec<String>,
}

impl Fit {
    /// What stands in the route.
    pub(super) fn source(&self, field: &str) -> ColumnSource {
        if self.rule == ColumnRule::default() {
            return ColumnSource::Field(field.into());
        }
        ColumnSource::Detailed(ColumnRule { from: Some(field.into()), ..self.rule.clone() })
    }
}

/// The best of the candidates: the first by which most values fit.
pub(super) fn fit(column: &ColumnSchema, path: &Sampled) -> Fit {
    let values = path.values.len();
    let mut best: Option<(usize, ColumnRule, Probe)> = None;
    let mut also: Vec<String> = Vec::new();
    for rule in candidates(column, path) {
        let Some(probe) = Probe::new(column, &rule) else { continue };
        let taken = path.values.iter().filter(|raw| probe.takes(raw)).count();
        match &best {
            Some((most, chosen, _)) if *most == values && taken == values && is_locale(&rule) && is_locale(chosen) => {
                also.extend(locale(&rule));
            }
            Some((most, ..)) if *most >= taken => {}
            _ => best = Some((taken, rule, probe)),
        }
        if best.as_ref().is_some_and(|(most, rule, _)| *most == values && !is_locale(rule)) {
            break;
        }
    }
    let Some((taken, rule, probe)) = best else {
        return Fit { share: 0.0, rule: ColumnRule::default(), remarks: Vec::new() };
    };
    let mut remarks = Vec::new();
    if let Some(other) = also.first() {
        remarks.push(format!("the samples can be read as {other} too: look which one is meant"));
    }
    if taken < values {
        let first = path.values.iter().find_map(|raw| probe.try_on(raw).err());
        let why = first.map_or(String::new(), |why| format!(" (one {})", reason(&why.message)));
        let many = if taken == 0 { "no".to_owned() } else { format!("only {taken} of {values}") };
        remarks.push(format!("{many} sample values fit{why}"));
    }
    #[allow(clippy::cast_precision_loss, reason = "a few hundred samples")]
    let share = if values == 0 { 1.0 } else { taken as f64 / values as f64 };
    Fit { share, rule, remarks }
}

/// The part of a rejection's sentence that says what is wrong with the value: `is a string that …`.
fn reason(message: &str) -> &str {
    message.find(" of table `` ").map_or(message, |place| &message[place + " of table `` ".len()..])
}

/// Rules worth trying, the plainest first.
fn candidates(column: &ColumnSchema, path: &Sampled) -> Vec<ColumnRule> {
    let clean = |steps: &[CleanStep]| ColumnRule { clean: steps.to_vec(), ..ColumnRule::default() };
    let texts = path.values.iter().filter_map(|raw| serde_json::from_str::<String>(raw).ok());
    let (mut any, mut padded, mut empty, mut json) = (false, false, false, true);
    for text in texts {
        let trimmed = text.trim();
        any = true;
        padded |= trimmed.len() != text.len();
        empty |= trimmed.is_empty();
        json &= trimmed.starts_with(['{', '[']);
    }
    let mut steps = Vec::new();
    if padded {
        steps.push(CleanStep::Trim);
    }
    if empty && column.nullable && !matches!(column.kind, ColumnType::Text { .. }) {
        steps.push(CleanStep::NullIfEmpty);
    }
    let base = clean(&steps);
    let cast = |cast| ColumnRule { cast: Some(cast), ..base.clone() };
    let mut rules = Vec::new();
    if any && json && matches!(column.kind, ColumnType::Json { .. }) && path.shape == Shape::Scalar {
        rules.push(cast(Cast::Json));
    }
    rules.push(base.clone());
    let number = |name: &str| {
        let mut steps = steps.clone();
        steps.push(CleanStep::Number(name.into()));
        clean(&steps)
    };
    match column.kind {
        ColumnType::Bool => rules.push(cast(Cast::Bool)),
        ColumnType::Date => rules.push(cast(Cast::Date)),
        ColumnType::Time { .. } => rules.push(cast(Cast::Time)),
        ColumnType::Timestamp { .. } => rules.push(cast(Cast::Timestamp)),
        ColumnType::Int { .. } | ColumnType::Decimal { .. } | ColumnType::Float { .. } | ColumnType::Numeric15
            if any =>
        {
            rules.extend(["id-ID", "en-US"].map(number));
        }
        _ => {}
    }
    rules
}

fn is_locale(rule: &ColumnRule) -> bool {
    locale(rule).is_some()
}

fn locale(rule: &ColumnRule) -> Option<String> {
    rule.clean.iter().find_map(|step| match step {
        CleanStep::Number(locale) => Some(locale.clone()),
        _ => None,
    })
}

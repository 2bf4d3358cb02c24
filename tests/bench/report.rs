//! Figures of several rounds: medians with their spread, printed for people and written as JSON and pictures to
//! `target/bench`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// The middle one.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

/// The least and the greatest.
pub(crate) fn bounds(values: &[f64]) -> (f64, f64) {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    (least, values.iter().copied().fold(f64::NEG_INFINITY, f64::max))
}

/// One line: name, median, and the least and greatest.
pub(crate) fn line(name: &str, unit: &str, values: &[f64], decimals: usize) {
    let (least, most) = bounds(values);
    println!("  {name:34} {:>12.decimals$} {unit:14} ({least:.decimals$}..{most:.decimals$})", median(values));
}

/// The same for the file.
pub(crate) fn summary(values: &[f64]) -> Value {
    let (least, most) = bounds(values);
    json!({"median": median(values), "min": least, "max": most, "rounds": values})
}

/// A ratio and what it must reach.
pub(crate) fn verdict(name: &str, ratio: f64, holds: bool, target: &str) {
    let word = if holds { "reached" } else { "MISSED" };
    println!("  {name}: {ratio:.2} (target {target}: {word})");
}

/// Where results and the reference's tools are.
pub(crate) fn dir() -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Writes a stage's result, and its pictures ([`crate::plot`]).
pub(crate) fn write(stage: &str, value: &Value) {
    let path = dir().join(format!("{stage}.json"));
    std::fs::write(&path, serde_json::to_string_pretty(value).unwrap() + "\n").unwrap();
    for (name, picture) in crate::plot::of(stage, value) {
        std::fs::write(dir().join(format!("{name}.svg")), picture).unwrap();
    }
    println!("  written to {}", path.display());
}

//! Pictures of a stage's result, read from its JSON wherever it says one of three things, and written beside it as SVG:
//! a `ratio` (with the `target` of its object or of one around it, and `at_most` where less is better) is a bar with its
//! spread and its goal; `committed` and `bare` percentiles are points on a logarithmic scale; `series` is a line over time.
//!
//! [`crate::report::write`] calls it for every stage, so that a stage has its picture by saying what it measured.

use std::fmt::Write as _;

use serde_json::Value;

const WIDTH: f64 = 760.0;
/// Where labels end and the scale begins, and where it ends.
const LEFT: f64 = 250.0;
const RIGHT: f64 = 650.0;
const TOP: f64 = 58.0;
const ROW: f64 = 30.0;

const INK: &str = "#24292f";
const FAINT: &str = "#6e7781";
const PALE: &str = "#d0d7de";
const GOOD: &str = "#4c8f5f";
const MISSED: &str = "#c4643c";
const NEUTRAL: &str = "#5b7fa6";
const LINES: [&str; 4] = ["#5b7fa6", "#c4643c", "#4c8f5f", "#8a6fb0"];

/// Keys that say nothing to whoever looks at a picture.
const SILENT: [&str; 7] = ["appendfsync", "kinds", "forms", "loads", "down", "results", "scenarios"];

/// A picture's name, which is added to the stage's where there are several, and its text.
pub(crate) fn of(stage: &str, result: &Value) -> Vec<(String, String)> {
    let mut pictures = Vec::new();
    let mut bars = Vec::new();
    collect(result, "", None, false, &mut bars);
    if !bars.is_empty() {
        pictures.push((stage.to_owned(), bar_chart(&format!("{stage}: ratio to the limit of the same run"), &bars)));
    }
    if let Some(rows) = percentiles(result) {
        pictures.push((format!("{stage}-percentiles"), point_chart(&format!("{stage}: from due to committed"), &rows)));
    }
    let mut series = Vec::new();
    collect_series(result, "", &mut series);
    for (place, (label, unit, lines)) in series.iter().enumerate() {
        let number = if series.len() == 1 { String::new() } else { format!("-{}", place + 1) };
        let title = if label.is_empty() { format!("{stage}: {unit}") } else { format!("{stage}, {label}: {unit}") };
        pictures.push((format!("{stage}-over-time{number}"), line_chart(&title, lines)));
    }
    pictures
}

struct Bar {
    label: String,
    median: f64,
    spread: Option<(f64, f64)>,
    target: Option<f64>,
    at_most: bool,
}

fn collect(value: &Value, label: &str, target: Option<f64>, at_most: bool, bars: &mut Vec<Bar>) {
    let Value::Object(object) = value else { return };
    let target = match object.get("target") {
        Some(own) => own.as_f64(),
        None => target,
    };
    let at_most = object.get("at_most").and_then(Value::as_bool).unwrap_or(at_most);
    if let Some(ratio) = object.get("ratio") {
        let spread = || Some((ratio.get("min")?.as_f64()?, ratio.get("max")?.as_f64()?));
        if let Some(median) = ratio.as_f64().or_else(|| ratio.get("median")?.as_f64()) {
            bars.push(Bar { label: label.to_owned(), median, spread: spread(), target, at_most });
        }
    }
    let mut below: Vec<_> = object.iter().collect();
    below.sort_by_key(|(name, _)| number(name));
    for (name, below) in below {
        collect(below, &inner(label, name), target, at_most, bars);
    }
}

/// The number that a name begins with: 64 connections come after 1. Names without one come last, in their order.
fn number(name: &str) -> u64 {
    let digits = name.find(|char: char| !char.is_ascii_digit()).unwrap_or(name.len());
    name[..digits].parse().unwrap_or(u64::MAX)
}

fn inner(label: &str, name: &str) -> String {
    match (SILENT.contains(&name), label) {
        (true, _) => label.to_owned(),
        (false, "") => name.to_owned(),
        (false, _) => format!("{label}, {name}"),
    }
}

type Row = (String, [f64; 3]);

fn percentiles(result: &Value) -> Option<Vec<Row>> {
    let three = |value: &Value| {
        let of = |name: &str| value.get(name)?.get("median")?.as_f64();
        Some([of("p50_ms")?, of("p99_ms")?, of("p999_ms")?])
    };
    let mut rows = vec![("bare XADD and commit".to_owned(), three(result.get("bare")?)?)];
    for (name, load) in result.get("loads")?.as_object()? {
        let rate = load.get("rate").and_then(Value::as_f64).unwrap_or_default();
        rows.push((format!("{name} of sustainable ({rate:.0}/s)"), three(load.get("committed")?)?));
    }
    Some(rows)
}

type Line = (String, Vec<(f64, f64)>);

fn collect_series(value: &Value, label: &str, found: &mut Vec<(String, String, Vec<Line>)>) {
    let Value::Object(object) = value else { return };
    if let Some(series) = object.get("series") {
        let point = |pair: &Value| Some((pair.get(0)?.as_f64()?, pair.get(1)?.as_f64()?));
        let line = |(name, points): (&String, &Value)| {
            Some((name.clone(), points.as_array()?.iter().filter_map(point).collect::<Vec<_>>()))
        };
        let lines: Vec<Line> =
            series.get("lines").and_then(Value::as_object).into_iter().flatten().filter_map(line).collect();
        if lines.iter().any(|(_, points)| points.len() > 1) {
            let unit = series.get("unit").and_then(Value::as_str).unwrap_or_default();
            found.push((label.to_owned(), unit.to_owned(), lines));
        }
    }
    for (name, below) in object.iter().filter(|(name, _)| *name != "series") {
        collect_series(below, &inner(label, name), found);
    }
}

fn bar_chart(title: &str, bars: &[Bar]) -> String {
    let most =
        bars.iter().flat_map(|bar| [bar.median, bar.spread.map_or(0.0, |spread| spread.1), bar.target.unwrap_or(0.0)]);
    let scale = Scale::linear(most.fold(1.0, f64::max));
    let bottom = TOP + ROW * bars.len() as f64;
    let mut svg = Svg::new(title, bottom + 54.0);
    svg.grid(&scale, bottom);
    if bars.iter().any(|bar| bar.target.is_some()) {
        svg.text(LEFT, bottom + 42.0, "start", FAINT, "thick line: goal; thin line: least to greatest round");
    }
    for (place, bar) in bars.iter().enumerate() {
        let y = TOP + ROW * place as f64 + ROW / 2.0;
        let holds = bar.target.map(|target| if bar.at_most { bar.median <= target } else { bar.median >= target });
        let colour = match holds {
            Some(true) => GOOD,
            Some(false) => MISSED,
            None => NEUTRAL,
        };
        svg.text(LEFT - 10.0, y + 4.0, "end", INK, &bar.label);
        let width = scale.at(bar.median) - LEFT;
        let _ = write!(
            svg.0,
            r#"<rect x="{LEFT}" y="{:.1}" width="{width:.1}" height="14" rx="2" fill="{colour}"/>"#,
            y - 7.0
        );
        if let Some((least, greatest)) = bar.spread {
            let (from, to) = (scale.at(least), scale.at(greatest));
            svg.line((from, y), (to, y), INK, 1.0);
            svg.line((from, y - 3.5), (from, y + 3.5), INK, 1.0);
            svg.line((to, y - 3.5), (to, y + 3.5), INK, 1.0);
        }
        if let Some(target) = bar.target {
            let x = scale.at(target);
            svg.line((x, y - 11.0), (x, y + 11.0), INK, 2.5);
        }
        let goal = match (bar.target, bar.at_most) {
            (None, _) => String::new(),
            (Some(target), true) => format!(" (≤ {target})"),
            (Some(target), false) => format!(" (≥ {target})"),
        };
        svg.text(RIGHT + 10.0, y + 4.0, "start", INK, &format!("{:.2}{goal}", bar.median));
    }
    svg.end()
}

fn point_chart(title: &str, rows: &[Row]) -> String {
    let all = || rows.iter().flat_map(|(_, three)| *three);
    let scale = Scale::logarithmic(all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
    let bottom = TOP + ROW * rows.len() as f64;
    let mut svg = Svg::new(title, bottom + 30.0);
    svg.grid(&scale, bottom);
    for (place, (label, three)) in rows.iter().enumerate() {
        let y = TOP + ROW * place as f64 + ROW / 2.0;
        svg.text(LEFT - 10.0, y + 4.0, "end", INK, label);
        svg.line((scale.at(three[0]), y), (scale.at(three[2]), y), PALE, 6.0);
        for (value, colour) in three.iter().zip([GOOD, NEUTRAL, MISSED]) {
            let _ = write!(svg.0, r#"<circle cx="{:.1}" cy="{y:.1}" r="5" fill="{colour}"/>"#, scale.at(*value));
        }
    }
    for (place, (name, colour)) in [("p50", GOOD), ("p99", NEUTRAL), ("p99.9 (ms)", MISSED)].iter().enumerate() {
        let y = TOP + 12.0 + 18.0 * place as f64;
        let _ = write!(svg.0, r#"<circle cx="{:.1}" cy="{y:.1}" r="4" fill="{colour}"/>"#, RIGHT + 18.0);
        svg.text(RIGHT + 28.0, y + 4.0, "start", INK, name);
    }
    svg.end()
}

fn line_chart(title: &str, lines: &[Line]) -> String {
    const LOW: f64 = 240.0;
    const FROM: f64 = 70.0;
    let points = || lines.iter().flat_map(|(_, points)| points.iter());
    let seconds = points().map(|point| point.0).fold(1.0, f64::max);
    let top = nice(points().map(|point| point.1).fold(1.0, f64::max));
    let x = |at: f64| FROM + (RIGHT - FROM) * at / seconds;
    let y = |value: f64| LOW - (LOW - TOP) * value / top;
    let mut svg = Svg::new(title, LOW + 40.0);
    for step in 0..=4 {
        let value = top * f64::from(step) / 4.0;
        svg.line((FROM, y(value)), (RIGHT, y(value)), PALE, 1.0);
        svg.text(FROM - 8.0, y(value) + 4.0, "end", INK, &short(value));
    }
    for step in 0..=4 {
        let at = seconds * f64::from(step) / 4.0;
        svg.text(x(at), LOW + 18.0, "middle", INK, &format!("{} s", round(at)));
    }
    for (place, (name, points)) in lines.iter().enumerate() {
        let colour = LINES[place % LINES.len()];
        let path: String = points.iter().map(|point| format!("{:.1},{:.1} ", x(point.0), y(point.1))).collect();
        let _ = write!(svg.0, r#"<polyline fill="none" stroke="{colour}" stroke-width="2" points="{}"/>"#, path.trim());
        let at = TOP + 12.0 + 18.0 * place as f64;
        svg.line((RIGHT + 12.0, at), (RIGHT + 26.0, at), colour, 3.0);
        svg.text(RIGHT + 32.0, at + 4.0, "start", INK, name);
    }
    svg.end()
}

/// The next of 1, 2, 4, 5, 8 and 10 times a power of ten.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 4.0, 5.0, 8.0, 10.0].into_iter().map(|step| step * power).find(|top| *top >= value).unwrap_or(value)
}

fn short(value: f64) -> String {
    match value {
        _ if value >= 1e6 => format!("{} M", round(value / 1e6)),
        _ if value >= 1e3 => format!("{} k", round(value / 1e3)),
        _ => round(value),
    }
}

fn round(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Values to places between [`LEFT`] and [`RIGHT`].
struct Scale {
    from: f64,
    to: f64,
    logarithmic: bool,
    ticks: Vec<f64>,
}

impl Scale {
    fn linear(most: f64) -> Self {
        let step = nice(most / 5.0);
        let ticks: Vec<f64> =
            (0..8).map(|place| f64::from(place) * step).take_while(|tick| *tick <= most * 1.02).collect();
        Self { from: 0.0, to: most * 1.02, logarithmic: false, ticks }
    }

    fn logarithmic(least: f64, most: f64) -> Self {
        let (from, to) = (least.max(0.001).log10().floor(), most.max(0.002).log10().ceil());
        let ticks = (from as i32..=to as i32).map(|power| 10_f64.powi(power)).collect();
        Self { from, to, logarithmic: true, ticks }
    }

    fn at(&self, value: f64) -> f64 {
        let value = if self.logarithmic { value.max(0.001).log10() } else { value };
        LEFT + (RIGHT - LEFT) * (value - self.from) / (self.to - self.from)
    }
}

struct Svg(String);

impl Svg {
    fn new(title: &str, height: f64) -> Self {
        let mut svg = Self(format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0}" viewBox="0 0 {WIDTH} {height:.0}" font-family="system-ui, sans-serif" font-size="13"><rect width="100%" height="100%" rx="6" fill="white"/>"#
        ));
        let _ = write!(
            svg.0,
            r#"<text x="20" y="30" font-size="15" font-weight="600" fill="{INK}">{}</text>"#,
            escaped(title)
        );
        svg
    }

    fn grid(&mut self, scale: &Scale, bottom: f64) {
        for tick in &scale.ticks {
            let x = scale.at(*tick);
            self.line((x, TOP), (x, bottom), PALE, 1.0);
            self.text(x, bottom + 17.0, "middle", INK, &short(*tick));
        }
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, width: f64) {
        let _ = write!(
            self.0,
            r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" stroke="{colour}" stroke-width="{width}"/>"#,
            from.0, from.1, to.0, to.1
        );
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, colour: &str, text: &str) {
        let _ = write!(
            self.0,
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" fill="{colour}">{}</text>"#,
            escaped(text)
        );
    }

    fn end(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

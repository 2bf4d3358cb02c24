//! Tables for people: columns as wide as what is in them, the last one cut where the terminal ends.
//!
//! Every command that lists something uses it, so that all lists look alike. What came from outside can't move the cursor.

use console::{Alignment, Style, Term, measure_text_width, pad_str, truncate_str};

/// The space between two columns.
const GAP: &str = "  ";

/// One column.
pub(super) struct Column {
    head: &'static str,
    align: Alignment,
}

/// A column whose cells begin at its left edge.
pub(super) const fn left(head: &'static str) -> Column {
    Column { head, align: Alignment::Left }
}

/// A column of numbers.
pub(super) const fn right(head: &'static str) -> Column {
    Column { head, align: Alignment::Right }
}

/// Lines of cells under their heads.
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a line; styles (see [`paint`]) may be in the cells.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines; none is longer than `width`, where there is one.
    pub(super) fn lines(&self, width: Option<usize>) -> Vec<String> {
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|place| {
                let cells = self.rows.iter().filter_map(|row| row.get(place)).map(|cell| measure_text_width(cell));
                cells.chain([self.columns[place].head.len()]).max().unwrap_or(0)
            })
            .collect();
        let line = |cells: &[String]| {
            let padded = cells.iter().zip(&widths).zip(&self.columns);
            let line: Vec<_> =
                padded.map(|((cell, width), column)| pad_str(cell, *width, column.align, None)).collect();
            let line = line.join(GAP);
            let line = line.trim_end();
            width.map_or_else(|| line.to_owned(), |width| truncate_str(line, width, "…").into_owned())
        };
        let heads: Vec<String> = self.columns.iter().map(|column| column.head.to_owned()).collect();
        std::iter::once(line(&heads)).chain(self.rows.iter().map(|row| line(row))).collect()
    }
}

/// How wide standard output is; `None` where it is no terminal, and nothing need be cut.
pub(super) fn width() -> Option<usize> {
    let term = Term::stdout();
    term.is_term().then(|| usize::from(term.size().1).max(40))
}

/// Text in a style where standard output shows styles.
pub(super) fn paint(text: &str, style: &Style) -> String {
    style.apply_to(text).to_string()
}

/// Text from outside on one line: nothing in it moves the cursor or changes a colour.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The same over several lines.
pub(super) fn plain_lines(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

/// A length of time in two characters' worth of precision: `4s`, `3m 20s`, `2h 5m`, `4d 3h`.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and a year fits")]
pub(super) fn span(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    let pair = |big: u64, big_name: &str, small: u64, small_name: &str| match small {
        0 => format!("{big}{big_name}"),
        _ => format!("{big}{big_name} {small}{small_name}"),
    };
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => pair(seconds / 60, "m", seconds % 60, "s"),
        3_600..86_400 => pair(seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
        _ => pair(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// Seconds since a moment in milliseconds since the Unix epoch.
#[allow(clippy::cast_precision_loss, reason = "for people")]
pub(super) fn age_s(then_ms: u64, now_ms: u64) -> f64 {
    now_ms.saturating_sub(then_ms) as f64 / 1_000.0
}

/// A number with its thousands apart: `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 record`, `2 records`.
pub(super) fn of(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", count(number as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_read_well() {
        let counted = [0, 7, 999, 1_000, 12_345, 1_234_567].map(count);
        assert_eq!(counted, ["0", "7", "999", "1,000", "12,345", "1,234,567"]);
        let spans = [0.2, 59.4, 60.0, 200.0, 7_500.0, 86_400.0 * 4.0 + 11_000.0].map(span);
        assert_eq!(spans, ["0s", "59s", "1m", "3m 20s", "2h 5m", "4d 3h"]);
        assert_eq!((of(1, "record"), of(2_000, "record")), ("1 record".to_owned(), "2,000 records".to_owned()));
    }

    #[test]
    fn the_last_column_is_cut_at_the_edge_and_nothing_else_is_lost() {
        let mut table = Table::new([left("NAME"), right("N"), left("WHY")]);
        table.row(["a".into(), "1".into(), "the table is missing".into()]);
        table.row(["long-name".into(), "12".into(), "-".into()]);
        assert_eq!(table.lines(Some(24)), ["NAME        N  WHY", "a           1  the tabl…", "long-name  12  -"]);
        assert_eq!(table.lines(None)[1], "a           1  the table is missing");
        assert_eq!(plain("a\u{1b}[2Jb\u{9b}c"), "a [2Jb c");
    }
}

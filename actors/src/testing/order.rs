//! The order of a column's values, as the databases have it: what the tables in memory compare versions by.

use std::cmp::Ordering;

use crate::{schema::ColumnType, transaction::Cell};

/// Whether a value is greater than another of the same column; NULL is greater than nothing, and nothing than NULL.
pub(super) fn is_greater(kind: &ColumnType, one: &Cell, other: &Cell) -> bool {
    let ordering = match (one, other) {
        (Cell::Text(one), Cell::Text(other)) => match kind {
            ColumnType::Int { .. } | ColumnType::Decimal { .. } | ColumnType::Numeric15 => by_digits(one, other),
            ColumnType::Float { .. } => one.parse::<f64>().ok().partial_cmp(&other.parse::<f64>().ok()),
            // Dates, times and timestamps have one form, in which the text's order is theirs.
            _ => Some(one.cmp(other)),
        },
        (Cell::Bytes(one), Cell::Bytes(other)) => Some(one.cmp(other)),
        _ => None,
    };
    ordering == Some(Ordering::Greater)
}

/// Decimals of any length.
fn by_digits(one: &str, other: &str) -> Option<Ordering> {
    let (one, other) = (digits(one)?, digits(other)?);
    Some(match (one.0, other.0) {
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
        (negative, _) => {
            let size =
                one.1.len().cmp(&other.1.len()).then_with(|| one.1.cmp(other.1)).then_with(|| one.2.cmp(other.2));
            if negative { size.reverse() } else { size }
        }
    })
}

/// Whether a number is negative, its whole digits without leading zeros and its fraction without trailing ones.
fn digits(text: &str) -> Option<(bool, &str, &str)> {
    let unsigned = text.trim_start_matches(['-', '+']);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let plain = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    plain.then_some((text.starts_with('-') && !(whole.is_empty() && fraction.is_empty()), whole, fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_by_their_value() {
        let kind = ColumnType::Decimal { precision: None, scale: None };
        let text = |text: &str| Cell::Text(text.into());
        for (one, other, greater) in [
            ("10", "9", true),
            ("9", "10", false),
            ("-9", "-10", true),
            ("0.10", "0.1", false),
            ("0.11", "0.1", true),
            ("0", "-0.0", false),
            ("1", "-1", true),
            ("18446744073709551616", "18446744073709551615.9", true),
        ] {
            assert_eq!(is_greater(&kind, &text(one), &text(other)), greater, "{one} {other}");
        }
        assert!(!is_greater(&kind, &Cell::Null, &text("1")) && !is_greater(&kind, &text("1"), &Cell::Null));
    }
}

//! Whether a column's type can hold what a route declares to send it (`as`). Where it never can, no record is to blame: the
//! table has changed, or the route is wrong, and the table is held instead of giving up its records one by one.

use crate::{
    cast::{Value, to_cell},
    route::Cast,
    schema::ColumnType,
};

/// Whether no value that is read as this can go into the column, whatever it is.
pub(super) fn never_fits(cast: Cast, kind: &ColumnType) -> bool {
    let text = |text: &'static str| Value::Text(text.into());
    let number = |text: &'static str| Value::Number(text.into());
    let samples = match cast {
        // A text may be anything, and so may JSON.
        Cast::Text | Cast::Json => return false,
        Cast::Int => vec![number("0"), number("1")],
        Cast::Decimal | Cast::Float => vec![number("0"), number("0.5")],
        Cast::Bool => vec![Value::Bool(true)],
        Cast::Date => vec![text("2025-06-01")],
        Cast::Time => vec![text("08:00:00"), text("08:00:00+00:00")],
        Cast::Timestamp => vec![text("2025-06-01 08:00:00"), text("2025-06-01 08:00:00+00:00")],
        Cast::Uuid => vec![text("0189d7a0-5c3e-7b1f-9c55-1a2b3c4d5e6f")],
        Cast::Bytes => vec![text("AAEC"), text("")],
    };
    // An enum has few values, and short columns refuse by length: these are for the record to show.
    if matches!(kind, ColumnType::Enum { .. } | ColumnType::Text { .. }) {
        return false;
    }
    samples.into_iter().all(|sample| to_cell(sample, kind).is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_a_number_never_fits_a_date() {
        let int = ColumnType::Int { min: 0, max: 100 };
        let text = ColumnType::Text { max_chars: Some(1), max_bytes: None, nul: false };
        let bits = ColumnType::Float { bits: 32 };
        let zoned = ColumnType::Timestamp { zone: true };
        for (cast, kind, never) in [
            (Cast::Int, &ColumnType::Date, true),
            (Cast::Int, &int, false),
            (Cast::Int, &text, false),
            (Cast::Decimal, &ColumnType::Uuid, true),
            (Cast::Float, &bits, false),
            (Cast::Float, &zoned, true),
            (Cast::Date, &int, true),
            (Cast::Date, &ColumnType::Date, false),
            (Cast::Timestamp, &zoned, false),
            (Cast::Timestamp, &bits, true),
            (Cast::Uuid, &ColumnType::Uuid, false),
            (Cast::Uuid, &ColumnType::Date, true),
            (Cast::Bool, &ColumnType::Bool, false),
            (Cast::Text, &ColumnType::Date, false),
        ] {
            assert_eq!(never_fits(cast, kind), never, "{cast:?} into {kind:?}");
        }
    }
}

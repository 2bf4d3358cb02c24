//! Whether a column's type can hold what a route declares to send it (`as`). Where it never can, no record is to blame: the
//! table has changed, or the route is wrong, and the table is held instead of giving up its records one by one.

use super::{ValueRule, cast_through};
use crate::{
    route::{Cast, ColumnRule},
    schema::ColumnType,
};

/// A value that each cast makes, as JSON; none for casts that nearly every column can take.
const fn sample(cast: Cast) -> Option<&'static str> {
    Some(match cast {
        Cast::Int | Cast::Decimal | Cast::Float => "1",
        Cast::Bool => "true",
        Cast::Date => "\"2025-06-01\"",
        Cast::Time => "\"08:00:00\"",
        Cast::Timestamp => "\"2025-06-01T08:00:00Z\"",
        Cast::Uuid => "\"6f9619ff-8b86-4011-b42d-00c04fc964ff\"",
        Cast::Text | Cast::Json | Cast::Bytes => return None,
    })
}

/// Whether no value of the rule's declared type fits a column of this kind.
pub(super) fn never_fits(rule: &ColumnRule, kind: &ColumnType) -> bool {
    let Some((cast, sample)) = rule.cast.and_then(|cast| Some((cast, sample(cast)?))) else { return false };
    if matches!(kind, ColumnType::Enum { .. } | ColumnType::Other | ColumnType::Numeric15) {
        return false;
    }
    let declared = ColumnRule { cast: Some(cast), ..ColumnRule::default() };
    let Ok(declared) = ValueRule::compile(&declared) else { return false };
    matches!(cast_through(sample, &declared, kind), Err(error) if error.code == "type")
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
            let rule = ColumnRule { cast: Some(cast), ..ColumnRule::default() };
            assert_eq!(never_fits(&rule, kind), never, "{cast:?} into {kind:?}");
        }
        assert!(!never_fits(&ColumnRule::default(), &ColumnType::Date));
    }
}

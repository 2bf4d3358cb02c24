//! A column's values as an array parameter in PostgreSQL's binary format, so that the server reads no text for most types.
//!
//! A type is sent in binary only where the canonical text of every value converts exactly; with one value that does not, the
//! whole column goes as `text[]` and PostgreSQL itself says what it makes of it. Called by the writer of statements.

use bytes::Bytes;
use chrono::{Datelike as _, NaiveDate};
use sqlx::{
    Encode, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgTypeInfo, types::Oid},
};
use tidegate_actors::{
    schema::{ColumnSchema, ColumnType},
    transaction::{Cell, Encoded, Op, Statement},
};

use super::sql::bare_type;

/// How the elements of an array are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Text,
    SmallInt,
    Integer,
    BigInt,
    Real,
    Double,
    Bool,
    Numeric,
    Uuid,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Bytea,
}

impl Wire {
    /// How values of this column are sent if they all convert.
    pub(super) fn of(column: &ColumnSchema) -> Self {
        match (&column.kind, bare_type(&column.declared).as_str()) {
            (ColumnType::Int { .. }, "smallint") => Self::SmallInt,
            (ColumnType::Int { .. }, "integer") => Self::Integer,
            (ColumnType::Int { .. }, "bigint") => Self::BigInt,
            (ColumnType::Float { .. }, "real") => Self::Real,
            (ColumnType::Float { .. }, "double precision") => Self::Double,
            (ColumnType::Bool, "boolean") => Self::Bool,
            (ColumnType::Decimal { .. }, "numeric") => Self::Numeric,
            (ColumnType::Uuid, "uuid") => Self::Uuid,
            (ColumnType::Date, "date") => Self::Date,
            (ColumnType::Time { .. }, "time without time zone") => Self::Time,
            (ColumnType::Timestamp { .. }, "timestamp without time zone") => Self::Timestamp,
            (ColumnType::Timestamp { .. }, "timestamp with time zone") => Self::TimestampTz,
            (ColumnType::Bytes { .. }, "bytea") => Self::Bytea,
            _ => Self::Text,
        }
    }

    /// The type of an element, as SQL has it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::SmallInt => "smallint",
            Self::Integer => "integer",
            Self::BigInt => "bigint",
            Self::Real => "real",
            Self::Double => "double precision",
            Self::Bool => "boolean",
            Self::Numeric => "numeric",
            Self::Uuid => "uuid",
            Self::Date => "date",
            Self::Time => "time",
            Self::Timestamp => "timestamp",
            Self::TimestampTz => "timestamptz",
            Self::Bytea => "bytea",
        }
    }

    /// The object ids of the element's type and of its array (pg_type.dat; they never change).
    const fn oids(self) -> (u32, u32) {
        match self {
            Self::Text => (25, 1009),
            Self::SmallInt => (21, 1005),
            Self::Integer => (23, 1007),
            Self::BigInt => (20, 1016),
            Self::Real => (700, 1021),
            Self::Double => (701, 1022),
            Self::Bool => (16, 1000),
            Self::Numeric => (1700, 1231),
            Self::Uuid => (2950, 2951),
            Self::Date => (1082, 1182),
            Self::Time => (1083, 1183),
            Self::Timestamp => (1114, 1115),
            Self::TimestampTz => (1184, 1185),
            Self::Bytea => (17, 1001),
        }
    }
}

/// One parameter: the values of a column, in the order of the rows.
#[derive(Clone, Debug)]
pub(super) struct Array {
    /// How its elements are sent, which the statement's text must agree with.
    pub(super) wire: Wire,
    bytes: Bytes,
}

impl Array {
    /// The values of this place of a statement's columns in these rows.
    pub(super) fn of(statement: &Statement, place: usize, column: &ColumnSchema, rows: &[usize]) -> Self {
        let wire = Wire::of(column);
        let cells = || rows.iter().map(|&row| &statement.rows[row][place]);
        let typed = Self::encoded(wire, cells());
        let bytes =
            typed.map(|bytes| (wire, bytes)).or_else(|| Some((Wire::Text, Self::encoded(Wire::Text, cells())?)));
        // Text takes whatever there is.
        let (wire, bytes) = bytes.unwrap_or((Wire::Text, Vec::new()));
        Self { wire, bytes: bytes.into() }
    }

    /// The values of these places in these rows: as they were worked out before their turn, where that was done and it is all of them.
    pub(super) fn of_columns(statement: &Statement, places: &[usize], rows: &[usize]) -> Vec<Self> {
        let columns: Vec<_> = statement.written().collect();
        let whole = places.iter().copied().eq(0..columns.len()) && rows.iter().copied().eq(0..statement.rows.len());
        match statement.encoded.get::<Vec<Self>>(&statement.rows).filter(|_| whole) {
            Some(arrays) => arrays.clone(),
            None => places.iter().map(|&place| Self::of(statement, place, columns[place], rows)).collect(),
        }
    }

    /// Encodes all rows of a statement whose rows go in as they are.
    pub(super) fn encode(statement: &Statement) -> Encoded {
        if !matches!(statement.op, Op::Insert | Op::Upsert) {
            return Encoded::default();
        }
        let rows: Vec<_> = (0..statement.rows.len()).collect();
        let columns = statement.written().enumerate();
        let arrays: Vec<_> = columns.map(|(place, column)| Self::of(statement, place, column, &rows)).collect();
        Encoded::of(&statement.rows, arrays)
    }

    /// The array in binary format (arrayfuncs.c, `array_recv`); none where a value does not convert.
    fn encoded<'c>(wire: Wire, cells: impl ExactSizeIterator<Item = &'c Cell>) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(20 + cells.len() * 16);
        put_i32(&mut out, 1); // dimensions
        put_i32(&mut out, 0); // flags
        out.extend_from_slice(&wire.oids().0.to_be_bytes());
        put_i32(&mut out, i32::try_from(cells.len()).ok()?);
        put_i32(&mut out, 1); // the first index
        for cell in cells {
            if matches!(cell, Cell::Absent | Cell::Null) {
                put_i32(&mut out, -1);
                continue;
            }
            let start = out.len();
            put_i32(&mut out, 0);
            put(&mut out, wire, cell)?;
            let length = i32::try_from(out.len() - start - 4).ok()?;
            out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        }
        Some(out)
    }
}

impl Type<Postgres> for Array {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(Wire::Text.oids().1))
    }
}

impl Encode<'_, Postgres> for Array {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.bytes);
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(self.wire.oids().1)))
    }

    fn size_hint(&self) -> usize {
        self.bytes.len()
    }
}

fn put_i32(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends one value that is not NULL.
fn put(out: &mut Vec<u8>, wire: Wire, cell: &Cell) -> Option<()> {
    let text = match (cell, wire) {
        (Cell::Bytes(bytes), Wire::Bytea) => {
            out.extend_from_slice(bytes);
            return Some(());
        }
        (Cell::Text(text), Wire::Text | Wire::Bytea) => {
            out.extend_from_slice(text.as_bytes());
            return Some(());
        }
        (Cell::Bytes(bytes), Wire::Text) => {
            out.extend_from_slice(b"\\x");
            hex(out, bytes);
            return Some(());
        }
        (Cell::Text(text), _) => &**text,
        _ => return None,
    };
    match wire {
        Wire::SmallInt => out.extend_from_slice(&whole(text)?.parse::<i16>().ok()?.to_be_bytes()),
        Wire::Integer => out.extend_from_slice(&whole(text)?.parse::<i32>().ok()?.to_be_bytes()),
        Wire::BigInt => out.extend_from_slice(&whole(text)?.parse::<i64>().ok()?.to_be_bytes()),
        Wire::Real => {
            let value = floating(text)?.parse::<f32>().ok()?;
            in_range(value.is_finite(), value == 0.0, text)?;
            out.extend_from_slice(&value.to_be_bytes());
        }
        Wire::Double => {
            let value = floating(text)?.parse::<f64>().ok()?;
            in_range(value.is_finite(), value == 0.0, text)?;
            out.extend_from_slice(&value.to_be_bytes());
        }
        Wire::Bool => out.push(match text {
            "true" => 1,
            "false" => 0,
            _ => return None,
        }),
        Wire::Numeric => numeric(out, text)?,
        Wire::Uuid => uuid(out, text)?,
        Wire::Date => put_i32(out, date(text.as_bytes())?),
        Wire::Time => out.extend_from_slice(&time(text.as_bytes())?.to_be_bytes()),
        Wire::Timestamp => out.extend_from_slice(&timestamp(text.as_bytes())?.to_be_bytes()),
        Wire::TimestampTz => {
            out.extend_from_slice(&timestamp(text.strip_suffix("+00:00")?.as_bytes())?.to_be_bytes());
        }
        Wire::Text | Wire::Bytea => return None,
    }
    Some(())
}

fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend(bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|nibble| DIGITS[usize::from(nibble)]));
}

/// A text of digits with at most a minus sign, so that nothing depends on what else either side takes for a number.
fn whole(text: &str) -> Option<&str> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

/// A text of nothing but a decimal number: no infinity, no NaN.
fn floating(text: &str) -> Option<&str> {
    let plain = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
    text.bytes().all(plain).then_some(text)
}

/// PostgreSQL refuses what is too great, and what is too small and would become 0.
fn in_range(finite: bool, zero: bool, text: &str) -> Option<()> {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    (finite && (!zero || mantissa.bytes().all(|byte| !matches!(byte, b'1'..=b'9')))).then_some(())
}

/// Most digits before and after the point that are converted here.
const MAX_DIGITS: usize = 1_000;

/// `numeric`: digits to the base of 10,000, the weight of the first, the sign, and the number of decimals shown
/// (numeric.c, `numeric_recv`).
fn numeric(out: &mut Vec<u8>, text: &str) -> Option<()> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (integer, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = |text: &str| text.len() <= MAX_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
    if integer.is_empty() || !digits(integer) || !digits(fraction) || unsigned.ends_with('.') {
        return None;
    }
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    let (integer, fraction_bytes) = (integer.as_bytes(), fraction.as_bytes());
    let mut count: i16 = 0;
    // Groups of four from the point on, to the left and to the right.
    let mut weight = i16::try_from(integer.len().div_ceil(4)).ok()?;
    let lead = integer.len() % 4;
    let (first, rest) = integer.split_at(lead);
    let groups = std::iter::once(first).filter(|group| !group.is_empty()).chain(rest.chunks(4));
    let groups = groups
        .map(value_of)
        .chain(fraction_bytes.chunks(4).map(|group| (group.len()..4).fold(value_of(group), |value, _| value * 10)));
    for group in groups {
        // Zeros in front have no place.
        if count == 0 && group == 0 {
            weight -= 1;
            continue;
        }
        out.extend_from_slice(&group.to_be_bytes());
        count += 1;
    }
    // Nor have zeros behind.
    while count > 0 && out.ends_with(&[0, 0]) {
        out.truncate(out.len() - 2);
        count -= 1;
    }
    let negative = count > 0 && text.starts_with('-');
    let weight = if count == 0 { 0 } else { weight - 1 };
    out[start..start + 2].copy_from_slice(&count.to_be_bytes());
    out[start + 2..start + 4].copy_from_slice(&weight.to_be_bytes());
    out[start + 4..start + 6].copy_from_slice(&(if negative { 0x4000_u16 } else { 0 }).to_be_bytes());
    out[start + 6..start + 8].copy_from_slice(&i16::try_from(fraction.len()).ok()?.to_be_bytes());
    Some(())
}

/// Of at most four digits.
fn value_of(digits: &[u8]) -> i16 {
    digits.iter().fold(0, |value, digit| value * 10 + i16::from(digit - b'0'))
}

/// Lower case with hyphens, as all UUIDs are spelled here.
fn uuid(out: &mut Vec<u8>, text: &str) -> Option<()> {
    let bytes = text.as_bytes();
    if bytes.len() != 36 {
        return None;
    }
    let nibble = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut at = 0;
    while at < 36 {
        if matches!(at, 8 | 13 | 18 | 23) {
            if bytes[at] != b'-' {
                return None;
            }
            at += 1;
        }
        out.push(nibble(bytes[at])? << 4 | nibble(bytes[at + 1])?);
        at += 2;
    }
    Some(())
}

/// A number of exactly as many digits as there are bytes.
fn number(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + u32::from(byte - b'0')))
}

/// Days from 2000-01-01 to a date of the years 0001 to 9999.
fn date(text: &[u8]) -> Option<i32> {
    /// The day of 2000-01-01, counted from the first of January of year 1.
    const EPOCH: i32 = 730_120;
    let &[a, b, c, d, b'-', e, f, b'-', g, h] = text else { return None };
    let year = i32::try_from(number(&[a, b, c, d])?).ok()?;
    let date = NaiveDate::from_ymd_opt(year, number(&[e, f])?, number(&[g, h])?)?;
    (year >= 1).then(|| date.num_days_from_ce() - EPOCH)
}

/// Microseconds since midnight. No leap second, no 24:00, and no more digits than PostgreSQL keeps.
fn time(text: &[u8]) -> Option<i64> {
    let (clock, fraction) = text.split_at_checked(8)?;
    let &[a, b, b':', c, d, b':', e, f] = clock else { return None };
    let (hour, minute, second) = (number(&[a, b])?, number(&[c, d])?, number(&[e, f])?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let micros = match fraction {
        [] => 0,
        [b'.', digits @ ..] if (1..=6).contains(&digits.len()) => {
            (digits.len()..6).fold(number(digits)?, |micros, _| micros * 10)
        }
        _ => return None,
    };
    Some(i64::from((hour * 60 + minute) * 60 + second) * 1_000_000 + i64::from(micros))
}

/// Microseconds since the beginning of 2000.
fn timestamp(text: &[u8]) -> Option<i64> {
    const DAY: i64 = 86_400_000_000;
    let (day, clock) = text.split_at_checked(10)?;
    Some(i64::from(date(day)?) * DAY + time(clock.strip_prefix(b" ")?)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn sent(wire: Wire, text: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        put(&mut out, wire, &Cell::Text(text.into())).map(|()| out)
    }

    /// Digits, weight, sign and scale.
    fn number(text: &str) -> Option<(Vec<i16>, i16, u16, i16)> {
        let bytes = sent(Wire::Numeric, text)?;
        let words: Vec<i16> = bytes.chunks(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])).collect();
        assert_eq!(usize::try_from(words[0]).unwrap(), words.len() - 4);
        Some((words[4..].to_vec(), words[1], words[2].cast_unsigned(), words[3]))
    }

    #[test]
    fn numbers_keep_every_digit_and_their_scale() {
        assert_eq!(number("0").unwrap(), (vec![], 0, 0, 0));
        assert_eq!(number("-0.00").unwrap(), (vec![], 0, 0, 2));
        assert_eq!(number("1").unwrap(), (vec![1], 0, 0, 0));
        assert_eq!(number("10000").unwrap(), (vec![1], 1, 0, 0));
        assert_eq!(number("150000000.00").unwrap(), (vec![1, 5000], 2, 0, 2));
        assert_eq!(number("-1.5").unwrap(), (vec![1, 5000], 0, 0x4000, 1));
        assert_eq!(number("0.00001").unwrap(), (vec![1000], -2, 0, 5));
        assert_eq!(number("0012345.678901").unwrap(), (vec![1, 2345, 6789, 100], 1, 0, 6));
        assert_eq!(
            number("1234567890123456789012345678.0123456789").unwrap(),
            (vec![1234, 5678, 9012, 3456, 7890, 1234, 5678, 123, 4567, 8900], 6, 0, 10)
        );
        for odd in ["", "-", "+1", ".5", "1.", "1e5", "NaN", "Infinity", " 1", "1 ", "1,5", "--1", "١"] {
            assert_eq!(number(odd), None, "{odd}");
        }
    }

    #[test]
    fn whole_numbers_end_at_their_bounds() {
        assert_eq!(sent(Wire::SmallInt, "-32768").unwrap(), i16::MIN.to_be_bytes());
        assert_eq!(sent(Wire::SmallInt, "32768"), None);
        assert_eq!(sent(Wire::Integer, "2147483647").unwrap(), i32::MAX.to_be_bytes());
        assert_eq!(sent(Wire::BigInt, "-9223372036854775808").unwrap(), i64::MIN.to_be_bytes());
        for odd in ["9223372036854775808", "+1", "", "-", "1.0", " 1", "0x1"] {
            assert_eq!(sent(Wire::BigInt, odd), None, "{odd}");
        }
    }

    #[test]
    fn floats_are_neither_infinite_nor_lost() {
        assert_eq!(sent(Wire::Double, "-0").unwrap(), (-0.0_f64).to_be_bytes());
        assert_eq!(sent(Wire::Double, "5e-324").unwrap(), 5e-324_f64.to_be_bytes());
        assert_eq!(sent(Wire::Real, "16777217").unwrap(), 16_777_216_f32.to_be_bytes());
        for odd in ["NaN", "inf", "Infinity", "1e999", "1e-999", "-0.001e-400", "", "."] {
            assert_eq!(sent(Wire::Double, odd), None, "{odd}");
        }
        assert_eq!(sent(Wire::Real, "1e39"), None);
        assert_eq!(sent(Wire::Double, "0e5").unwrap(), 0_f64.to_be_bytes());
    }

    #[test]
    fn times_count_from_the_year_2000() {
        assert_eq!(sent(Wire::Date, "2000-01-01").unwrap(), 0_i32.to_be_bytes());
        assert_eq!(sent(Wire::Date, "1999-12-31").unwrap(), (-1_i32).to_be_bytes());
        assert_eq!(sent(Wire::Date, "0001-01-01").unwrap(), (-730_119_i32).to_be_bytes());
        assert_eq!(sent(Wire::Timestamp, "1999-12-31 23:59:59.999999").unwrap(), (-1_i64).to_be_bytes());
        assert_eq!(sent(Wire::TimestampTz, "2000-01-02 00:00:00.5+00:00").unwrap(), 86_400_500_000_i64.to_be_bytes());
        assert_eq!(sent(Wire::Time, "23:59:59.999999").unwrap(), 86_399_999_999_i64.to_be_bytes());
        for odd in ["0000-01-01", "2023-02-29", "0044-03-15 BC", "infinity", "20000-01-01", "2000-1-1", "-001-01-01"] {
            assert_eq!(sent(Wire::Date, odd), None, "{odd}");
        }
        for odd in ["24:00:00", "23:59:60", "08:00", "08:00:00.", "08:00:00.1234567", "08:00:00+07:00"] {
            assert_eq!(sent(Wire::Time, odd), None, "{odd}");
        }
        assert_eq!(sent(Wire::TimestampTz, "2000-01-01 00:00:00"), None, "whose time it is is not said");
        assert_eq!(sent(Wire::TimestampTz, "2000-01-01 00:00:00+07:00"), None);
        assert_eq!(sent(Wire::Timestamp, "2000-01-01T00:00:00"), None);
    }

    #[test]
    fn the_rest_is_as_it_is_spelled() {
        assert_eq!(sent(Wire::Uuid, "018f4f3e-7a1c-7cc0-98c4-dc0c0c07398f").unwrap()[..4], [0x01, 0x8f, 0x4f, 0x3e]);
        for odd in [
            "018f4f3e7a1c7cc098c4dc0c0c07398f",
            "018f4f3e-7a1c-7cc0-98c4-dc0c0c07398g",
            "é18f4f3e-7a1c-7cc0-98c4-dc0c0c0739",
        ] {
            assert_eq!(sent(Wire::Uuid, odd), None, "{odd}");
        }
        assert_eq!((sent(Wire::Bool, "true").unwrap(), sent(Wire::Bool, "t")), (vec![1], None));
        assert_eq!(sent(Wire::Text, "\u{10ffff}").unwrap(), "\u{10ffff}".as_bytes());
        let mut out = Vec::new();
        put(&mut out, Wire::Text, &Cell::Bytes(vec![0, 255].into())).unwrap();
        assert_eq!(out, b"\\x00ff");
    }
}

//! Dates, times and timestamps: RFC 3339 and its usual relatives in, one canonical text out.
//!
//! An instant stays the same instant; a text without a zone is taken as UTC where the column is an instant and stays as
//! it is elsewhere. Nanoseconds are kept, years run from 0001 to 9999, a leap second is the first second after it.

use chrono::{Datelike, NaiveDate, NaiveDateTime, TimeDelta, Timelike};

use super::{CastError, Value};

pub(super) const DATE: &str = "a date (`2025-06-01`)";
pub(super) const TIME: &str = "a time (`08:00:00`)";
pub(super) const TIMESTAMP: &str = "a date and time (RFC 3339: `2025-06-01T08:00:00+07:00`)";

/// A text taken apart, not yet checked against the calendar beyond its shape.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    pub(super) hour: u32,
    pub(super) minute: u32,
    pub(super) second: u32,
    pub(super) nanos: u32,
    /// Minutes east of UTC.
    pub(super) offset: Option<i32>,
}

pub(super) const MIDNIGHT: Clock = Clock { hour: 0, minute: 0, second: 0, nanos: 0, offset: None };

/// What is wrong with a text.
enum Wrong {
    Shape,
    Range(&'static str),
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn eat(&mut self, wanted: &[u8]) -> Option<u8> {
        let (&first, rest) = self.0.split_first().filter(|(first, _)| wanted.contains(first))?;
        self.0 = rest;
        Some(first)
    }

    fn number(&mut self, digits: usize) -> Result<u32, Wrong> {
        let (head, rest) = self.0.split_at_checked(digits).ok_or(Wrong::Shape)?;
        if !head.iter().all(u8::is_ascii_digit) {
            return Err(Wrong::Shape);
        }
        self.0 = rest;
        Ok(head.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')))
    }

    fn date(&mut self) -> Result<NaiveDate, Wrong> {
        let year = self.number(4)?;
        self.eat(b"-").ok_or(Wrong::Shape)?;
        let month = self.number(2)?;
        self.eat(b"-").ok_or(Wrong::Shape)?;
        let day = self.number(2)?;
        if year == 0 {
            return Err(Wrong::Range("has the year 0000: years run from 0001 to 9999"));
        }
        NaiveDate::from_ymd_opt(year.cast_signed(), month, day).ok_or(Wrong::Range("is a date that no calendar has"))
    }

    fn clock(&mut self) -> Result<Clock, Wrong> {
        let hour = self.number(2)?;
        self.eat(b":").ok_or(Wrong::Shape)?;
        let minute = self.number(2)?;
        let (mut second, mut nanos) = (0, 0);
        if self.eat(b":").is_some() {
            second = self.number(2)?;
            if self.eat(b".,").is_some() {
                nanos = self.fraction()?;
            }
        }
        self.eat(b" ");
        let offset = self.offset()?;
        if hour > 23 || minute > 59 || second > 60 || (second == 60 && minute != 59) {
            return Err(Wrong::Range("is a time that no clock shows"));
        }
        Ok(Clock { hour, minute, second, nanos, offset })
    }

    fn fraction(&mut self) -> Result<u32, Wrong> {
        let length = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(length);
        self.0 = rest;
        if digits.is_empty() {
            return Err(Wrong::Shape);
        }
        if digits.iter().skip(9).any(|digit| *digit != b'0') {
            return Err(Wrong::Range("has more than 9 digits after the seconds; nothing is rounded"));
        }
        Ok((0..9).fold(0, |sum, place| sum * 10 + digits.get(place).map_or(0, |digit| u32::from(digit - b'0'))))
    }

    fn offset(&mut self) -> Result<Option<i32>, Wrong> {
        if self.0.is_empty() {
            return Ok(None);
        }
        if self.eat(b"Zz").is_some() {
            return Ok(Some(0));
        }
        let sign = if self.eat(b"+-").ok_or(Wrong::Shape)? == b'-' { -1 } else { 1 };
        let hours = self.number(2)?;
        let minutes = if self.0.is_empty() {
            0
        } else {
            self.eat(b":");
            self.number(2)?
        };
        if hours > 23 || minutes > 59 {
            return Err(Wrong::Range("has an offset that no zone has"));
        }
        Ok(Some(sign * (hours * 60 + minutes).cast_signed()))
    }

    fn end(&self) -> Result<(), Wrong> {
        if self.0.is_empty() { Ok(()) } else { Err(Wrong::Shape) }
    }
}

fn read<T>(
    value: &Value<'_>,
    wanted: &str,
    parse: impl FnOnce(&mut Cursor<'_>) -> Result<T, Wrong>,
) -> Result<T, CastError> {
    let text = match value {
        Value::Text(text) => text,
        Value::Number(_) => {
            return Err(CastError::kind(format!(
                "is a number, where {wanted} is expected: send text, as whether a number counts seconds or milliseconds can't be told"
            )));
        }
        other => return Err(CastError::not(other, wanted)),
    };
    let mut cursor = Cursor(text.as_bytes());
    parse(&mut cursor).and_then(|parsed| cursor.end().map(|()| parsed)).map_err(|wrong| match wrong {
        Wrong::Shape => CastError::not(value, wanted),
        Wrong::Range(why) => CastError::range(why),
    })
}

/// A date, a `T` or a space, a time; or a date alone, which is its midnight.
fn moment(cursor: &mut Cursor<'_>) -> Result<(NaiveDate, Clock), Wrong> {
    let date = cursor.date()?;
    if cursor.0.is_empty() {
        return Ok((date, MIDNIGHT));
    }
    cursor.eat(b"Tt ").ok_or(Wrong::Shape)?;
    Ok((date, cursor.clock()?))
}

/// `2025-06-01`. With `of_moment` also the date of a date and time, as it is written there.
pub(super) fn date(value: &Value<'_>, of_moment: bool) -> Result<String, CastError> {
    let date = if of_moment { read(value, DATE, moment)?.0 } else { read(value, DATE, |cursor| cursor.date())? };
    Ok(show_date(date))
}

/// `08:00:00.5`, in UTC where an offset was given; or with its offset where the column keeps one.
pub(super) fn time(value: &Value<'_>, zone: bool) -> Result<String, CastError> {
    let clock = read(value, TIME, |cursor| cursor.clock())?;
    if clock.second == 60 {
        return Err(CastError::range("is a leap second, which a time of day can't be"));
    }
    if !zone {
        let minutes = (clock.hour * 60 + clock.minute).cast_signed() - clock.offset.unwrap_or(0);
        let minutes = minutes.rem_euclid(24 * 60).cast_unsigned();
        return Ok(show_clock(minutes / 60, minutes % 60, clock.second, clock.nanos));
    }
    let offset = clock.offset.unwrap_or(0);
    if offset.abs() >= 16 * 60 {
        return Err(CastError::range("has an offset of 16 hours or more"));
    }
    Ok(show_clock(clock.hour, clock.minute, clock.second, clock.nanos) + &show_offset(offset))
}

/// A date and time, or a date alone, which is its midnight.
pub(super) fn moment_of(value: &Value<'_>, wanted: &str) -> Result<(NaiveDate, Clock), CastError> {
    read(value, wanted, moment)
}

/// The time of day of a time or of a date and time.
pub(super) fn clock_of(value: &Value<'_>) -> Result<Clock, CastError> {
    read(value, TIME, |cursor| match cursor.0.get(4) {
        Some(b'-') => moment(cursor).map(|(_, clock)| clock),
        _ => cursor.clock(),
    })
}

/// The time of day of a time or of a date and time, as it is written there, with its offset if it has one.
pub(super) fn time_of(value: &Value<'_>) -> Result<String, CastError> {
    Ok(show_time(clock_of(value)?))
}

pub(super) fn show_time(clock: Clock) -> String {
    let text = show_clock(clock.hour, clock.minute, clock.second, clock.nanos);
    text + &clock.offset.map_or_else(String::new, show_offset)
}

/// `2025-06-01 08:00:00.5`, in UTC where a zone was given, with `+00:00` where the column is an instant.
pub(super) fn timestamp(value: &Value<'_>, zone: bool) -> Result<String, CastError> {
    let (date, clock) = read(value, TIMESTAMP, moment)?;
    let moment = in_utc(date, clock)?;
    Ok(show_moment(moment) + if zone { "+00:00" } else { "" })
}

/// A date and time in UTC if its zone is known, else as it stands.
pub(super) fn timestamp_of(value: &Value<'_>) -> Result<String, CastError> {
    let (date, clock) = read(value, TIMESTAMP, moment)?;
    let moment = in_utc(date, clock)?;
    Ok(show_moment(moment) + if clock.offset.is_some() { "+00:00" } else { "" })
}

#[cold]
fn out_of_range() -> CastError {
    CastError::range("is out of range: years run from 0001 to 9999, in UTC")
}

/// The same instant in UTC where the offset is known, else the date and time as they stand.
pub(super) fn in_utc(date: NaiveDate, clock: Clock) -> Result<NaiveDateTime, CastError> {
    let leap = i64::from(clock.second == 60);
    let second = clock.second - u32::from(clock.second == 60);
    let at = date.and_hms_nano_opt(clock.hour, clock.minute, second, clock.nanos).ok_or_else(out_of_range)?;
    let shift = TimeDelta::seconds(leap) - TimeDelta::minutes(clock.offset.unwrap_or(0).into());
    within_years(at.checked_add_signed(shift).ok_or_else(out_of_range)?)
}

/// Refuses years before 0001 and after 9999.
pub(super) fn within_years(at: NaiveDateTime) -> Result<NaiveDateTime, CastError> {
    if (1..=9999).contains(&at.year()) { Ok(at) } else { Err(out_of_range()) }
}

pub(super) fn show_date(date: NaiveDate) -> String {
    let mut out = String::with_capacity(35);
    push_date(&mut out, date);
    out
}

pub(super) fn show_moment(moment: NaiveDateTime) -> String {
    let mut out = show_date(moment.date());
    out.push(' ');
    push_clock(&mut out, moment.hour(), moment.minute(), moment.second(), moment.nanosecond());
    out
}

fn show_clock(hour: u32, minute: u32, second: u32, nanos: u32) -> String {
    let mut out = String::with_capacity(24);
    push_clock(&mut out, hour, minute, second, nanos);
    out
}

fn show_offset(minutes: i32) -> String {
    let size = minutes.unsigned_abs();
    let mut out = String::from(if minutes < 0 { "-" } else { "+" });
    push_digits(&mut out, size / 60, 2);
    out.push(':');
    push_digits(&mut out, size % 60, 2);
    out
}

fn push_date(out: &mut String, date: NaiveDate) {
    push_digits(out, date.year().unsigned_abs(), 4);
    out.push('-');
    push_digits(out, date.month(), 2);
    out.push('-');
    push_digits(out, date.day(), 2);
}

fn push_clock(out: &mut String, hour: u32, minute: u32, second: u32, nanos: u32) {
    push_digits(out, hour, 2);
    out.push(':');
    push_digits(out, minute, 2);
    out.push(':');
    push_digits(out, second, 2);
    if nanos > 0 {
        out.push('.');
        push_digits(out, nanos, 9);
        out.truncate(out.trim_end_matches('0').len());
    }
}

fn push_digits(out: &mut String, mut number: u32, digits: usize) {
    let mut shown = [b'0'; 9];
    for place in shown[..digits].iter_mut().rev() {
        *place += (number % 10) as u8;
        number /= 10;
    }
    out.extend(shown[..digits].iter().map(|digit| char::from(*digit)));
}

//! Dates, times and timestamps as producers write them: in a format of their own, as a Unix time, in a zone that they do not
//! name.
//!
//! A [`TimeReader`] is compiled once per column and gives the same canonical texts as the casts `date`, `time` and
//! `timestamp`.

use std::fmt::Write;

use chrono::{
    DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Timelike,
    format::{Fixed, Item, Numeric, ParseErrorKind, Parsed, StrftimeItems},
};

use super::{
    CastError, Number, Value, temporal,
    temporal::{Clock, MIDNIGHT},
    zone::Zone,
};

/// What a text is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeKind {
    /// A calendar date.
    Date,
    /// A time of day.
    Time,
    /// A date and time, or an instant.
    Timestamp,
}

/// How a column's dates or times are written.
#[derive(Debug)]
pub(crate) struct TimeReader {
    kind: TimeKind,
    format: Format,
    zone: Option<Zone>,
}

#[derive(Debug)]
enum Format {
    /// ISO 8601 and its relatives.
    Iso,
    /// A count since 1970-01-01T00:00:00Z, with so many nanoseconds' digits in one.
    Unix { digits: usize },
    /// strftime.
    Written(Written),
}

#[derive(Debug)]
struct Written {
    items: Vec<Item<'static>>,
    text: Box<str>,
    /// Whether it says the time of day.
    timed: bool,
}

/// A date, a time, or both.
struct Found {
    date: Option<NaiveDate>,
    clock: Option<Clock>,
}

impl TimeReader {
    /// A reader of ISO 8601.
    pub(crate) const fn iso(kind: TimeKind) -> Self {
        Self { kind, format: Format::Iso, zone: None }
    }

    /// Compiles `format` and `zone`. Without a `kind`, what the format has says what is read: date, time or both.
    ///
    /// # Errors
    /// A sentence that names what can't work, and the remedy.
    pub(crate) fn compile(kind: Option<TimeKind>, format: Option<&str>, zone: Option<&str>) -> Result<Self, String> {
        let zone = zone.map(Zone::parse).transpose()?;
        let format = format.map(Format::parse).transpose()?.unwrap_or(Format::Iso);
        let kind = match (kind, &format) {
            (Some(kind), _) => kind,
            (None, Format::Written(written)) => written.kind()?,
            (None, _) => TimeKind::Timestamp,
        };
        let reader = Self { kind, format, zone };
        reader.check_format()?;
        reader.check_zone()?;
        Ok(reader)
    }

    /// What it reads.
    pub(crate) const fn kind(&self) -> TimeKind {
        self.kind
    }

    fn check_format(&self) -> Result<(), String> {
        let Format::Written(written) = &self.format else { return Ok(()) };
        let text = &written.text;
        let found = written.sample().ok_or_else(|| format!("`format` `{text}` can't be read back as it is written"))?;
        let lacks = match self.kind {
            TimeKind::Date | TimeKind::Timestamp if found.date.is_none() => {
                "a whole date: year, month and day (`%Y`, `%m`, `%d`)"
            }
            TimeKind::Time | TimeKind::Timestamp
                if found.clock.is_none() && (written.timed || self.kind == TimeKind::Time) =>
            {
                "a whole time: hours and minutes (`%H`, `%M`, or `%I` with `%p`)"
            }
            _ => return Ok(()),
        };
        Err(format!("`format` `{text}` lacks {lacks}"))
    }

    fn check_zone(&self) -> Result<(), String> {
        match (self.kind, &self.format, self.zone) {
            (_, _, None) | (_, Format::Unix { .. }, _) | (TimeKind::Timestamp, _, _) => Ok(()),
            (TimeKind::Date, _, Some(_)) => {
                Err("`zone` says nothing of a date: take it out, or read the value with `as = \"timestamp\"`"
                    .to_owned())
            }
            (TimeKind::Time, _, Some(Zone::Offset(_))) => Ok(()),
            (TimeKind::Time, _, Some(Zone::Place(place))) => Err(format!(
                "a time of day alone has no offset in {}, where it changes with the date: write an offset (`+07:00`)",
                place.name()
            )),
        }
    }

    /// The value as the canonical text of what it is read as; `null` stays `null`.
    ///
    /// # Errors
    /// It is not written as the reader expects, or is no date or time of any calendar, or its clocks never show it.
    pub(crate) fn read(&self, value: &Value<'_>) -> Result<Value<'static>, CastError> {
        if *value == Value::Null {
            return Ok(Value::Null);
        }
        let text = match &self.format {
            Format::Unix { digits } => self.show_instant(instant(value, *digits)?)?,
            Format::Iso => self.show(iso(value, self.kind)?)?,
            Format::Written(written) => self.show(written.read(value)?)?,
        };
        Ok(Value::Text(text.into()))
    }

    /// By what dates and times are compared; only for what [`Self::read`] has given.
    pub(crate) fn order(&self, canonical: &Value<'_>) -> Result<NaiveDateTime, CastError> {
        match self.kind {
            TimeKind::Date | TimeKind::Timestamp => {
                let (date, clock) = temporal::moment_of(canonical, temporal::TIMESTAMP)?;
                temporal::in_utc(date, clock)
            }
            // A clock is compared as it is shown, wherever it stands.
            TimeKind::Time => {
                let clock = Clock { offset: None, ..temporal::clock_of(canonical)? };
                temporal::in_utc(NaiveDate::default(), clock)
            }
        }
    }

    fn show(&self, found: Found) -> Result<String, CastError> {
        match self.kind {
            TimeKind::Date => found.date.map(temporal::show_date).ok_or_else(impossible),
            TimeKind::Time => {
                let clock = found.clock.ok_or_else(impossible)?;
                let offset = match self.zone {
                    Some(Zone::Offset(minutes)) => clock.offset.or(Some(minutes)),
                    _ => clock.offset,
                };
                Ok(temporal::show_time(Clock { offset, ..clock }))
            }
            TimeKind::Timestamp => {
                let (date, clock) = (found.date.ok_or_else(impossible)?, found.clock.unwrap_or(MIDNIGHT));
                let moment = temporal::in_utc(date, clock)?;
                let moment = match (clock.offset, self.zone) {
                    (Some(_), _) => moment,
                    (None, Some(zone)) => temporal::within_years(zone.to_utc(moment)?)?,
                    (None, None) => return Ok(temporal::show_moment(moment)),
                };
                Ok(temporal::show_moment(moment) + "+00:00")
            }
        }
    }

    fn show_instant(&self, utc: NaiveDateTime) -> Result<String, CastError> {
        let utc = temporal::within_years(utc)?;
        if self.kind == TimeKind::Timestamp {
            return Ok(temporal::show_moment(utc) + "+00:00");
        }
        let local = self.zone.map_or(Some(utc), |zone| zone.to_local(utc));
        let local = temporal::within_years(local.unwrap_or(NaiveDateTime::MAX))?;
        Ok(match self.kind {
            TimeKind::Time => temporal::show_time(clock_of(local.time(), None)),
            _ => temporal::show_date(local.date()),
        })
    }
}

impl Format {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "unix" => return Ok(Self::Unix { digits: 9 }),
            "unix_ms" => return Ok(Self::Unix { digits: 6 }),
            _ => {}
        }
        if !text.contains('%') {
            return Err(format!(
                "`format` `{text}` has no part of a date or time: write it with strftime's letters (`%d/%m/%Y %H:%M`), or \
                 `unix` or `unix_ms` for a count of seconds or milliseconds"
            ));
        }
        let Ok(items) = StrftimeItems::new(text).parse_to_owned() else {
            return Err(format!("`format` `{text}` has `{}`, which strftime does not know", unknown_part(text)));
        };
        for item in &items {
            match item {
                Item::Fixed(Fixed::TimezoneName) => {
                    return Err(format!(
                        "`format` `{text}` has `%Z`: names of zones can't be told apart; name the zone in `zone`, or send offsets (`%z`)"
                    ));
                }
                Item::Numeric(Numeric::Timestamp, _) => {
                    return Err(format!(
                        "`format` `{text}` has `%s`: for seconds since 1970 write `format = \"unix\"`"
                    ));
                }
                _ => {}
            }
        }
        let timed = items.iter().any(says_time);
        Ok(Self::Written(Written { items, text: text.into(), timed }))
    }
}

/// The first part of a format that strftime does not know.
fn unknown_part(text: &str) -> &str {
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        rest = &rest[at..];
        let ends = || rest.char_indices().map(|(at, character)| at + character.len_utf8()).skip(1).take(4);
        let known = ends().find(|end| StrftimeItems::new(&rest[..*end]).parse().is_ok());
        match known {
            Some(end) => rest = &rest[end..],
            None => return &rest[..ends().next().unwrap_or(rest.len())],
        }
    }
    text
}

fn says_time(item: &Item<'_>) -> bool {
    match item {
        Item::Numeric(numeric, _) => {
            matches!(numeric, Numeric::Hour | Numeric::Hour12 | Numeric::Minute | Numeric::Second | Numeric::Nanosecond)
        }
        Item::Fixed(fixed) => matches!(fixed, Fixed::LowerAmPm | Fixed::UpperAmPm | Fixed::RFC2822 | Fixed::RFC3339),
        _ => false,
    }
}

impl Written {
    /// What it gives of a date and time that it wrote itself.
    fn sample(&self) -> Option<Found> {
        let at = FixedOffset::east_opt(7 * 3600)?.with_ymd_and_hms(2001, 12, 23, 16, 5, 6).single()?;
        let mut text = String::new();
        write!(text, "{}", at.format_with_items(self.items.iter())).ok()?;
        let mut parsed = Parsed::new();
        chrono::format::parse(&mut parsed, &text, self.items.iter()).ok()?;
        Some(found(&parsed))
    }

    fn kind(&self) -> Result<TimeKind, String> {
        match self.sample() {
            Some(Found { date: Some(_), .. }) if self.timed => Ok(TimeKind::Timestamp),
            Some(Found { date: Some(_), .. }) => Ok(TimeKind::Date),
            Some(Found { clock: Some(_), .. }) => Ok(TimeKind::Time),
            _ => Err(format!("`format` `{}` has neither a whole date nor a whole time", self.text)),
        }
    }

    fn read(&self, value: &Value<'_>) -> Result<Found, CastError> {
        let wanted = || format!("a date or time in the format `{}`", self.text);
        // A format such as `%Y%m%d` is at home in numbers too.
        let (Value::Text(text) | Value::Number(text)) = value else { return Err(CastError::not(value, &wanted())) };
        let mut parsed = Parsed::new();
        chrono::format::parse(&mut parsed, text, self.items.iter()).map_err(|error| match error.kind() {
            ParseErrorKind::OutOfRange | ParseErrorKind::Impossible => impossible(),
            _ => CastError::not(value, &wanted()),
        })?;
        let found = found(&parsed);
        if let Some(date) = found.date {
            temporal::within_years(date.into())?;
        }
        if self.timed && found.clock.is_none() { Err(impossible()) } else { Ok(found) }
    }
}

#[cold]
fn impossible() -> CastError {
    CastError::range("is a date or time that no calendar has")
}

fn found(parsed: &Parsed) -> Found {
    let offset = parsed.offset().map(|seconds| seconds / 60);
    let clock = parsed.to_naive_time().ok().map(|time| clock_of(time, offset));
    Found { date: parsed.to_naive_date().ok(), clock }
}

fn clock_of(time: NaiveTime, offset: Option<i32>) -> Clock {
    // chrono keeps a leap second as nanoseconds beyond a second.
    let (leap, nanos) = (time.nanosecond() / 1_000_000_000, time.nanosecond() % 1_000_000_000);
    Clock { hour: time.hour(), minute: time.minute(), second: time.second() + leap, nanos, offset }
}

fn iso(value: &Value<'_>, kind: TimeKind) -> Result<Found, CastError> {
    Ok(match kind {
        TimeKind::Date => Found { date: Some(temporal::moment_of(value, temporal::DATE)?.0), clock: None },
        TimeKind::Time => Found { date: None, clock: Some(temporal::clock_of(value)?) },
        TimeKind::Timestamp => {
            let (date, clock) = temporal::moment_of(value, temporal::TIMESTAMP)?;
            Found { date: Some(date), clock: Some(clock) }
        }
    })
}

/// The instant of a Unix time: a number, or a text that is one.
fn instant(value: &Value<'_>, digits: usize) -> Result<NaiveDateTime, CastError> {
    let unit = if digits == 9 { "seconds" } else { "milliseconds" };
    let (Value::Text(text) | Value::Number(text)) = value else {
        return Err(CastError::not(value, &format!("a count of {unit} since 1970")));
    };
    let number = Number::parse(text).map_err(|_| CastError::not(value, &format!("a count of {unit} since 1970")))?;
    let out_of_range =
        || CastError::range(format!("is out of range for a count of {unit}, or has parts of a nanosecond"));
    let nanos = number.scaled(digits).ok_or_else(out_of_range)?;
    let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).map_err(|_| out_of_range())?;
    let nanos = nanos.rem_euclid(1_000_000_000) as u32;
    DateTime::from_timestamp(seconds, nanos).map(|at| at.naive_utc()).ok_or_else(out_of_range)
}

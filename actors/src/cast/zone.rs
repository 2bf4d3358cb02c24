//! The zone of a time that names none: an offset, or a place with its summer times.

use chrono::{MappedLocalTime, NaiveDateTime, TimeDelta, TimeZone};
use chrono_tz::Tz;

use super::CastError;
use crate::mapping::nearest;

/// Hours east of UTC, or a place whose offset changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zone {
    /// Minutes east of UTC.
    Offset(i32),
    Place(Tz),
}

impl Zone {
    /// `UTC`, `Z`, `+07:00`, `Asia/Jakarta`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("utc") || text == "Z" {
            return Ok(Self::Offset(0));
        }
        if text.starts_with(['+', '-']) {
            return offset(text)
                .map(Self::Offset)
                .ok_or_else(|| format!("`zone` `{text}` is no offset: write it like `+07:00`, up to 15:59"));
        }
        match text.parse() {
            Ok(place) => Ok(Self::Place(place)),
            Err(_) => {
                let names = || chrono_tz::TZ_VARIANTS.iter().map(|place| place.name());
                let city = |name: &&str| name.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(text));
                let hint = match names().find(city).or_else(|| nearest(text, names())) {
                    Some(near) => format!("; did you mean `{near}`?"),
                    None => {
                        "; write a place of the time zone database (`Asia/Jakarta`) or an offset (`+07:00`)".to_owned()
                    }
                };
                Err(format!("`zone` `{text}` is not known{hint}"))
            }
        }
    }

    /// The instant, in UTC, at which the clocks of the zone show this.
    ///
    /// Where they show it twice, as they do when summer time ends, the earlier instant is taken. A time that they skip is
    /// refused.
    pub(super) fn to_utc(self, local: NaiveDateTime) -> Result<NaiveDateTime, CastError> {
        let out_of_range = || CastError::range("is out of range: years run from 0001 to 9999, in UTC");
        match self {
            Self::Offset(minutes) => {
                local.checked_sub_signed(TimeDelta::minutes(minutes.into())).ok_or_else(out_of_range)
            }
            Self::Place(place) => match place.from_local_datetime(&local) {
                MappedLocalTime::Single(at) | MappedLocalTime::Ambiguous(at, _) => Ok(at.naive_utc()),
                MappedLocalTime::None => Err(CastError::range(format!(
                    "is a time that the clocks of {} skip, as they are put forward",
                    place.name()
                ))),
            },
        }
    }

    /// What the clocks of the zone show at an instant in UTC.
    pub(super) fn to_local(self, utc: NaiveDateTime) -> Option<NaiveDateTime> {
        match self {
            Self::Offset(minutes) => utc.checked_add_signed(TimeDelta::minutes(minutes.into())),
            // Offsets are below a day, so only the last days that chrono knows could leave its range.
            Self::Place(place) => {
                utc.checked_add_signed(TimeDelta::days(2)).and(utc.checked_sub_signed(TimeDelta::days(2)))?;
                Some(place.from_utc_datetime(&utc).naive_local())
            }
        }
    }
}

/// `+07:00`, `-0330`, `+7`.
fn offset(text: &str) -> Option<i32> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let rest = &text[1..];
    let (hours, minutes) = match rest.split_once(':') {
        Some((hours, minutes)) => (hours, minutes),
        None if rest.len() == 4 => rest.split_at_checked(2)?,
        None => (rest, "00"),
    };
    let number = |text: &str, most: i32| {
        let digits = !text.is_empty() && text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i32>().ok().filter(|number| digits && *number <= most)
    };
    Some(sign * (number(hours, 15)? * 60 + number(minutes, 59)?))
}

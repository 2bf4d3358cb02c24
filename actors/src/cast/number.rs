//! Numbers, digit by digit: whole numbers, decimals of any length, floats, and SQLite's 15-digit numerics.
//!
//! Nothing is computed in floating point except for columns that are floating point themselves.

use std::{borrow::Cow, cmp::Ordering};

use super::{CastError, Value};

/// Most digits that an exponent may expand to: `1e999999999` is twelve characters and would be a gigabyte.
const MAX_EXPANDED_DIGITS: i64 = 100_000;

/// A number written out: sign, digits before the point without leading zeros (none for 0), digits after it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Number<'a> {
    negative: bool,
    integer: Cow<'a, str>,
    fraction: Cow<'a, str>,
}

/// Why a text is not a number that can be written out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NumberError {
    NotANumber,
    TooManyDigits,
}

impl<'a> Number<'a> {
    /// Reads JSON's notation of numbers, and leading zeros and `+` besides, which numbers inside strings have.
    pub(crate) fn parse(text: &'a str) -> Result<Self, NumberError> {
        let negative = text.starts_with('-');
        let rest = if negative || text.starts_with('+') { &text[1..] } else { text };
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], Some(exponent(&rest[at + 1..])?)),
            None => (rest, None),
        };
        let (integer, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return Err(NumberError::NotANumber),
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if integer.is_empty() || !digits(integer) || !digits(fraction) {
            return Err(NumberError::NotANumber);
        }
        let integer = integer.trim_start_matches('0');
        match exponent {
            None => Ok(Self { negative, integer: integer.into(), fraction: fraction.into() }),
            Some(exponent) => Self::expanded(negative, integer, fraction, exponent),
        }
    }

    fn expanded(negative: bool, integer: &str, fraction: &str, exponent: i64) -> Result<Self, NumberError> {
        let all = [integer, fraction].concat();
        let digits = all.trim_start_matches('0');
        if digits.is_empty() {
            return Ok(Self { negative, integer: "".into(), fraction: "".into() });
        }
        let length = digits.len() as i64;
        // Where the point goes, counted from the first digit that is not 0.
        let point = integer.len() as i64 + exponent - (all.len() - digits.len()) as i64;
        if point > MAX_EXPANDED_DIGITS.max(length) || -point > MAX_EXPANDED_DIGITS {
            return Err(NumberError::TooManyDigits);
        }
        let (integer, fraction) = if point <= 0 {
            (String::new(), "0".repeat(point.unsigned_abs() as usize) + digits)
        } else if point >= length {
            (digits.to_owned() + &"0".repeat((point - length) as usize), String::new())
        } else {
            let (integer, fraction) = digits.split_at(point as usize);
            (integer.to_owned(), fraction.to_owned())
        };
        Ok(Self { negative, integer: integer.into(), fraction: fraction.into() })
    }

    fn value(value: &'a Value<'_>, wanted: &str) -> Result<Self, CastError> {
        match value {
            Value::Number(text) | Value::Text(text) => Self::parse(text).map_err(|error| match error {
                NumberError::NotANumber => CastError::not(value, wanted),
                NumberError::TooManyDigits => CastError::range(format!(
                    "has an exponent that makes it a number of more than {MAX_EXPANDED_DIGITS} digits"
                )),
            }),
            // A boolean column of MySQL or SQLite is a number to its catalogue.
            Value::Bool(truth) => {
                Ok(Self { negative: false, integer: if *truth { "1" } else { "" }.into(), fraction: "".into() })
            }
            other => Err(CastError::not(other, wanted)),
        }
    }

    /// The digits after the point that count.
    fn fraction_digits(&self) -> &str {
        self.fraction.trim_end_matches('0')
    }

    fn is_zero(&self) -> bool {
        self.integer.is_empty() && self.fraction_digits().is_empty()
    }

    /// Digits from the first to the last that is not 0.
    fn significant_digits(&self) -> usize {
        let fraction = self.fraction_digits();
        match (self.integer.is_empty(), fraction.is_empty()) {
            (_, true) => self.integer.trim_end_matches('0').len(),
            (true, false) => fraction.trim_start_matches('0').len(),
            (false, false) => self.integer.len() + fraction.len(),
        }
    }

    /// The number, where it is whole and has at most 38 digits.
    pub(crate) fn whole(&self) -> Option<i128> {
        if !self.fraction_digits().is_empty() || self.integer.len() > 38 {
            return None;
        }
        let magnitude = if self.integer.is_empty() { 0 } else { self.integer.parse::<i128>().ok()? };
        Some(if self.negative { -magnitude } else { magnitude })
    }

    /// The number times 10 to the power of `digits`, where that is whole and has at most 38 digits.
    pub(crate) fn scaled(&self, digits: usize) -> Option<i128> {
        let fraction = self.fraction_digits();
        if fraction.len() > digits || self.integer.len() + digits > 38 {
            return None;
        }
        let text = [&self.integer, fraction, &"0".repeat(digits - fraction.len())].concat();
        let magnitude = if text.is_empty() { 0 } else { text.parse::<i128>().ok()? };
        Some(if self.negative { -magnitude } else { magnitude })
    }

    fn plain(&self, fraction: &str) -> String {
        let mut out = String::with_capacity(self.integer.len() + fraction.len() + 3);
        if self.negative && !self.is_zero() {
            out.push('-');
        }
        out.push_str(if self.integer.is_empty() { "0" } else { &self.integer });
        if !fraction.is_empty() {
            out.push('.');
            out.push_str(fraction);
        }
        out
    }

    /// The number without an exponent and without zeros at the end of its fraction: equal numbers have equal texts.
    pub(crate) fn shortest(&self) -> String {
        self.plain(self.fraction_digits())
    }

    /// The number with so many digits after the point, half away from zero; `None` where it has no more than that.
    pub(crate) fn rounded(&self, digits: usize) -> Option<String> {
        let (kept, rest) = self.fraction.split_at_checked(digits).filter(|(_, rest)| !rest.is_empty())?;
        let mut all = [&self.integer, kept].concat().into_bytes();
        if rest.as_bytes().first().is_some_and(|digit| *digit >= b'5') {
            // Nines become zeros until there is a digit that can take one more.
            match all.iter().rposition(|digit| *digit != b'9') {
                Some(place) => {
                    all[place] += 1;
                    all[place + 1..].fill(b'0');
                }
                None => {
                    all.fill(b'0');
                    all.insert(0, b'1');
                }
            }
        }
        let all: String = all.into_iter().map(char::from).collect();
        let (integer, fraction) = all.split_at(all.len() - digits);
        let integer = integer.trim_start_matches('0');
        Some(Number { negative: self.negative, integer: integer.into(), fraction: fraction.into() }.text())
    }

    /// Which of two numbers is greater, digit by digit.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        let sign = |number: &Self| match (number.is_zero(), number.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let magnitude = || {
            let integers = self.integer.len().cmp(&other.integer.len()).then_with(|| self.integer.cmp(&other.integer));
            integers.then_with(|| self.fraction_digits().cmp(other.fraction_digits()))
        };
        sign(self).cmp(&sign(other)).then_with(|| if sign(self) < 0 { magnitude().reverse() } else { magnitude() })
    }

    /// The number without an exponent, with the zeros at the end of its fraction as they came.
    pub(crate) fn text(&self) -> String {
        self.plain(&self.fraction)
    }
}

/// An exponent; beyond a billion its exact size makes no difference.
fn exponent(text: &str) -> Result<i64, NumberError> {
    const BEYOND: i64 = 1_000_000_000;
    let negative = text.starts_with('-');
    let digits = if negative || text.starts_with('+') { &text[1..] } else { text };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NumberError::NotANumber);
    }
    let size = digits.bytes().fold(0, |size: i64, digit| (size * 10 + i64::from(digit - b'0')).min(BEYOND));
    Ok(if negative { -size } else { size })
}

/// A decimal's text without zeros at the end of its fraction: equal numbers have equal texts.
pub(super) fn shortest(text: &str) -> Cow<'_, str> {
    match text.contains('.') {
        true => Cow::Borrowed(text.trim_end_matches('0').trim_end_matches('.')),
        false => Cow::Borrowed(text),
    }
}

pub(super) fn int(value: &Value<'_>, min: i128, max: i128) -> Result<Box<str>, CastError> {
    let out_of_range = || CastError::range(format!("is out of range: the column takes {min} to {max}"));
    // The common case: a JSON number of few digits is its own canonical text.
    if let Value::Number(text) = value
        && text.len() <= 18
        && let Ok(number) = text.parse::<i64>()
    {
        return match i128::from(number) {
            0 if min <= 0 && max >= 0 => Ok("0".into()),
            number if number < min || number > max => Err(out_of_range()),
            _ => Ok((&**text).into()),
        };
    }
    let number = Number::value(value, "a whole number")?;
    if !number.fraction_digits().is_empty() {
        return Err(CastError::kind("is not a whole number; nothing is rounded"));
    }
    if min == i128::MIN && max == i128::MAX {
        return Ok(number.plain("").into());
    }
    match number.whole() {
        Some(whole) if (min..=max).contains(&whole) => Ok(whole.to_string().into()),
        _ => Err(out_of_range()),
    }
}

pub(super) fn decimal<'v>(
    value: &'v Value<'_>,
    precision: Option<u32>,
    scale: Option<u32>,
) -> Result<Cow<'v, str>, CastError> {
    let number = Number::value(value, "a number")?;
    let digits = number.fraction_digits();
    let mut fraction: &str = &number.fraction;
    if let Some(scale) = scale {
        let scale = scale as usize;
        if digits.len() > scale {
            return Err(CastError::range(format!(
                "has {} digits after the point, at most {scale} fit; nothing is rounded",
                digits.len()
            )));
        }
        // Only zeros are left out here.
        fraction = &fraction[..fraction.len().min(scale)];
        if let Some(precision) = precision {
            let precision = precision as usize;
            let room = precision.saturating_sub(scale);
            if number.integer.len() > room {
                return Err(CastError::range(format!(
                    "has {} digits before the point, at most {room} fit",
                    number.integer.len()
                )));
            }
            // numeric(3,5) holds 0.00xxx only.
            let zeros = digits.len() - digits.trim_start_matches('0').len();
            if !digits.is_empty() && zeros < scale.saturating_sub(precision) {
                return Err(CastError::range(format!("is out of range: {precision} digits at scale {scale}")));
            }
        }
    } else if let Some(precision) = precision.filter(|precision| number.significant_digits() > *precision as usize) {
        return Err(CastError::range(format!(
            "has {} significant digits, at most {precision} fit; nothing is rounded",
            number.significant_digits()
        )));
    }
    // As it came, where that is its plain form already.
    let same = matches!(value, Value::Number(text) if !text.contains(['e', 'E']))
        && fraction.len() == number.fraction.len()
        && !(number.negative && number.is_zero());
    match value {
        Value::Number(text) if same => Ok(Cow::Borrowed(text)),
        _ => Ok(Cow::Owned(number.plain(fraction))),
    }
}

/// Whether a number is written the way that it would be as the shortest text of its double: with at most 15 digits each text is
/// another double, and back.
fn is_shortest(text: &str) -> bool {
    let magnitude = text.strip_prefix('-').unwrap_or(text);
    let (integer, fraction) =
        magnitude.split_once('.').map_or((magnitude, None), |(before, after)| (before, Some(after)));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = magnitude.len() <= 15
        && digits(integer)
        && fraction.is_none_or(|fraction| digits(fraction) && !fraction.ends_with('0'));
    // Small ones are written with an exponent, and 0 may have a sign.
    let leading = match integer.as_bytes() {
        [b'0'] => fraction.is_some_and(|fraction| !fraction.starts_with("000")),
        [first, ..] => *first != b'0',
        [] => false,
    };
    plain && leading
}

pub(super) fn float(value: &Value<'_>, bits: u8) -> Result<String, CastError> {
    if let (Value::Number(text), 64) = (value, bits)
        && is_shortest(text)
    {
        return Ok(text.to_string());
    }
    let text: &str = match value {
        // `parse` also takes `inf` and `nan`, which are no JSON numbers.
        Value::Number(text) | Value::Text(text) if !matches!(Number::parse(text), Err(NumberError::NotANumber)) => text,
        other => return Err(CastError::not(other, "a number")),
    };
    let finite = |shown: String, is_finite: bool| {
        if !is_finite {
            return Err(CastError::range(format!("is too large for a floating-point number of {bits} bits")));
        }
        Ok(shown.strip_suffix(".0").map(str::to_owned).unwrap_or(shown))
    };
    let bad = |_| CastError::not(value, "a number");
    if bits == 32 {
        let number: f32 = text.parse().map_err(bad)?;
        // The shortest text of the largest float is, read as a double, beyond it.
        let edge = number.abs() == f32::MAX;
        let shown = if edge { format!("{:?}", f64::from(number)) } else { format!("{number:?}") };
        return finite(shown, number.is_finite());
    }
    let number: f64 = text.parse().map_err(bad)?;
    finite(format!("{number:?}"), number.is_finite())
}

/// SQLite's NUMERIC affinity: 64-bit integers are exact, all else is a double, exact to 15 digits.
pub(super) fn numeric15(value: &Value<'_>) -> Result<String, CastError> {
    const REMEDY: &str = "declare the column TEXT to keep all digits";
    let number = Number::value(value, "a number")?;
    if let Some(whole) = number.whole()
        && i64::try_from(whole).is_ok()
    {
        return Ok(whole.to_string());
    }
    let significant = number.significant_digits();
    if significant > 15 {
        return Err(CastError::range(format!(
            "has {significant} significant digits, and the column keeps 15 of them; {REMEDY}"
        )));
    }
    let leading_zeros = number.fraction.len() - number.fraction.trim_start_matches('0').len();
    // A double spans about 1e-307 to 1e308.
    if number.integer.len() > 308 || (number.integer.is_empty() && leading_zeros >= 307) {
        return Err(CastError::range(format!("is beyond what a floating-point number can hold; {REMEDY}")));
    }
    Ok(number.plain(number.fraction_digits()))
}

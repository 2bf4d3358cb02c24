//! How figures, moments and signs look on a page, in the reader's language. Templates call it as `frame.…` or `look.…`.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};

use super::{assets, lang::pick, page::PageError, texts::errors};
use crate::{admin::FieldError, users::Lang};

/// Text that is HTML already, made here from parts that are escaped or none of a reader's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Html(String);

impl Html {
    /// What a template of ours makes.
    pub(crate) fn of(template: &impl askama::Template) -> Result<Self, PageError> {
        template.render().map(Self).map_err(PageError::broken)
    }
}

impl Html {
    /// What was made of escaped text by hand.
    pub(super) fn trusted(html: String) -> Self {
        Self(html)
    }
}

impl fmt::Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl askama::filters::HtmlSafe for Html {}

/// A figure as templates hand it over: by itself, or behind as many references as it happens to be.
pub(crate) trait Given<T> {
    /// The figure.
    fn given(&self) -> T;
}

impl<T: Copy> Given<T> for T {
    fn given(&self) -> T {
        *self
    }
}

impl<T: Copy> Given<T> for &T {
    fn given(&self) -> T {
        **self
    }
}

impl<T: Copy> Given<T> for &&T {
    fn given(&self) -> T {
        ***self
    }
}

/// How things look to one reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Look {
    /// Their language.
    pub(crate) lang: Lang,
}

#[allow(dead_code, reason = "templates use what they need")]
impl Look {
    /// The text for this reader.
    pub(crate) fn pick<T: ?Sized>(self, en: &'static T, id: &'static T) -> &'static T {
        pick(self.lang, en, id)
    }

    /// Why something was not done, as far as there are words for it; else as it came.
    pub(crate) fn why(self, text: impl AsRef<str>) -> String {
        errors::why(self.lang, text.as_ref())
    }

    /// What is wrong with a field.
    pub(crate) fn wrong(self, error: &FieldError) -> String {
        errors::of_field(self.lang, error)
    }

    /// A sign out of `icons.svg`, which says nothing to a screen reader.
    pub(crate) fn icon(self, name: impl AsRef<str>) -> Html {
        let name = name.as_ref();
        debug_assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'));
        Html(format!(
            r##"<svg class="icon" aria-hidden="true" focusable="false"><use href="{}#{name}"/></svg>"##,
            assets::address("icons.svg")
        ))
    }

    /// Where an asset is.
    pub(crate) fn asset(self, name: impl AsRef<str>) -> &'static str {
        assets::address(name.as_ref())
    }

    /// `1,234`.
    pub(crate) fn count(self, number: impl Given<u64>) -> String {
        let digits = number.given().to_string();
        let mut text = String::with_capacity(digits.len() + digits.len() / 3);
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place) % 3 == 0 {
                text.push(if self.lang == Lang::En { ',' } else { '.' });
            }
            text.push(digit);
        }
        text
    }

    /// A number with so many digits behind the point.
    pub(crate) fn decimal(self, number: f64, digits: usize) -> String {
        let text = format!("{number:.digits$}");
        if self.lang == Lang::En { text } else { text.replace('.', ",") }
    }

    /// A number in few characters: `0`, `0.4`, `12`, `1.2k`, `3.4M`.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded, and small by then")]
    pub(crate) fn short(self, number: impl Given<f64>) -> String {
        let number = number.given();
        match number {
            n if n < 0.05 => "0".into(),
            n if n < 9.95 => self.decimal(n, 1),
            n if n < 9_999.5 => self.count(n.round() as u64),
            n if n < 999_950.0 => format!("{}k", self.decimal(n / 1e3, usize::from(n < 99_950.0))),
            n if n < 999_950_000.0 => format!("{}M", self.decimal(n / 1e6, usize::from(n < 99_950_000.0))),
            n => format!("{}G", self.decimal(n / 1e9, 1)),
        }
    }

    /// The same of a whole number.
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    pub(crate) fn short_count(self, number: impl Given<u64>) -> String {
        match number.given() {
            small @ 0..10_000 => self.count(small),
            number => self.short(number as f64),
        }
    }

    /// `4 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`; below a second `80 ms`.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time for people")]
    pub(crate) fn span(self, seconds: impl Given<f64>) -> String {
        let seconds = seconds.given().max(0.0);
        let [ms, s, min, h, d] = *self.pick(&["ms", "s", "min", "h", "d"], &["ms", "dtk", "mnt", "jam", "hr"]);
        if seconds > 0.0 && seconds < 0.9995 {
            return format!("{} {ms}", (seconds * 1000.0).round().max(1.0) as u64);
        }
        if seconds < 9.95 && seconds.fract() > 0.05 {
            return format!("{} {s}", self.decimal(seconds, 1));
        }
        let whole = seconds.round() as u64;
        let two = |first: u64, unit: &str, second: u64, smaller: &str| match second {
            0 => format!("{} {unit}", self.count(first)),
            _ => format!("{} {unit} {second} {smaller}", self.count(first)),
        };
        match whole {
            0..60 => format!("{whole} {s}"),
            60..3_600 => two(whole / 60, min, whole % 60, s),
            3_600..86_400 => two(whole / 3_600, h, whole % 3_600 / 60, min),
            _ => two(whole / 86_400, d, whole % 86_400 / 3_600, h),
        }
    }

    /// A span that changes while one looks, in its largest unit: `8 s`, `3 min`, `2 h`, `5 d`.
    pub(crate) fn coarse(self, seconds: impl Given<f64>) -> String {
        let seconds = seconds.given();
        let step = match seconds {
            s if s < 0.95 => return self.pick("< 1 s", "< 1 dtk").to_owned(),
            s if s < 90.0 => 1.0,
            s if s < 5_400.0 => 60.0,
            s if s < 129_600.0 => 3_600.0,
            _ => 86_400.0,
        };
        let [s, min, h, d] = *self.pick(&["s", "min", "h", "d"], &["dtk", "mnt", "jam", "hr"]);
        let unit = [(1.0, s), (60.0, min), (3_600.0, h)].into_iter().find(|(size, _)| *size == step);
        format!("{} {}", self.decimal(seconds / step, 0), unit.map_or(d, |(_, unit)| unit))
    }

    /// `1.3 MiB`.
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    pub(crate) fn bytes(self, bytes: impl Given<u64>) -> String {
        let bytes = bytes.given();
        let units = ["KiB", "MiB", "GiB", "TiB"];
        if bytes < 1024 {
            return format!("{bytes} B");
        }
        let mut value = bytes as f64 / 1024.0;
        let mut unit = 0;
        while value >= 1023.5 && unit + 1 < units.len() {
            value /= 1024.0;
            unit += 1;
        }
        let digits = usize::from(value < 99.5);
        format!("{} {}", self.decimal(value, digits), units.get(unit).unwrap_or(&"TiB"))
    }

    /// A share of 1 as `12 %`.
    pub(crate) fn share(self, share: impl Given<f64>) -> String {
        let percent = share.given() * 100.0;
        let digits = usize::from(percent > 0.0 && percent < 9.95);
        format!("{}\u{a0}%", self.decimal(percent, digits))
    }

    /// A moment in milliseconds since the Unix epoch: shown in UTC, by the page's script in the reader's own time.
    pub(crate) fn time(self, ms: impl Given<u64>) -> Html {
        let moment = i64::try_from(ms.given()).ok().and_then(DateTime::from_timestamp_millis);
        self.moment(moment.unwrap_or(DateTime::UNIX_EPOCH), "full")
    }

    /// The same in few characters, where many stand below each other: of today the time of day alone.
    pub(crate) fn brief(self, ms: impl Given<u64>) -> Html {
        let moment = i64::try_from(ms.given()).ok().and_then(DateTime::from_timestamp_millis);
        self.moment(moment.unwrap_or(DateTime::UNIX_EPOCH), "brief")
    }

    /// The same as how long ago it is, which the page's script keeps right.
    pub(crate) fn ago(self, ms: impl Given<u64>) -> Html {
        let moment = i64::try_from(ms.given()).ok().and_then(DateTime::from_timestamp_millis);
        self.moment(moment.unwrap_or(DateTime::UNIX_EPOCH), "ago")
    }

    /// A moment as RFC 3339; what is none is shown as it is.
    pub(crate) fn time_of(self, text: impl AsRef<str>) -> Html {
        match DateTime::parse_from_rfc3339(text.as_ref()) {
            Ok(moment) => self.moment(moment.to_utc(), "full"),
            Err(_) => Html(escaped(text.as_ref())),
        }
    }

    /// The same as the time of day alone, for what is of today.
    pub(crate) fn clock_of(self, text: impl AsRef<str>) -> Html {
        match DateTime::parse_from_rfc3339(text.as_ref()) {
            Ok(moment) => self.moment(moment.to_utc(), "clock"),
            Err(_) => Html(escaped(text.as_ref())),
        }
    }

    fn moment(self, moment: DateTime<Utc>, form: &str) -> Html {
        let exact = moment.to_rfc3339_opts(SecondsFormat::Millis, true);
        let shown = moment.format(if form == "brief" { "%m-%d %H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" });
        Html(format!(r#"<time datetime="{exact}" data-time="{form}" title="{exact}">{shown} UTC</time>"#))
    }

    /// A message's id where many stand below each other: without its generation, which is the same for nearly all.
    pub(crate) fn short_id(self, id: impl AsRef<str>) -> String {
        let id = id.as_ref();
        id.split_once('-').filter(|(_, rest)| rest.contains('-')).map_or(id, |(_, rest)| rest).to_owned()
    }

    /// Where a database is: host and port as they are; of a file its name, with the whole path on hover.
    pub(crate) fn place(self, place: impl AsRef<str>) -> Html {
        let place = place.as_ref();
        match place.rsplit_once('/') {
            Some((_, name)) if place.starts_with('/') && !name.is_empty() => {
                Html(format!(r#"<span title="{}">{}</span>"#, escaped(place), escaped(name)))
            }
            _ => Html(escaped(place)),
        }
    }

    /// `text` with what lies between two `` ` `` as code.
    pub(crate) fn coded(self, text: impl AsRef<str>) -> Html {
        let parts = text.as_ref().split('`').enumerate();
        let marked = parts.map(|(place, part)| match (place % 2, escaped(part)) {
            (1, part) => format!("<code>{part}</code>"),
            (_, part) => part,
        });
        Html(marked.collect())
    }
}

/// Text as HTML.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const EN: Look = Look { lang: Lang::En };
    const ID: Look = Look { lang: Lang::Id };

    #[test]
    fn figures_are_written_as_the_reader_writes_them() {
        assert_eq!(
            (EN.count(1_234_567), ID.count(1_234_567), EN.count(999)),
            ("1,234,567".into(), "1.234.567".into(), "999".into())
        );
        let short = [0.0, 0.4, 12.0, 1_234.0, 12_345.0, 123_456.0, 3_400_000.0].map(|number| EN.short(number));
        assert_eq!(short, ["0", "0.4", "12", "1,234", "12.3k", "123k", "3.4M"]);
        let spans = [0.0, 0.08, 4.0, 200.0, 7_500.0, 273_600.0].map(|seconds| EN.span(seconds));
        assert_eq!(spans, ["0 s", "80 ms", "4 s", "3 min 20 s", "2 h 5 min", "3 d 4 h"]);
        assert_eq!(ID.span(200.0), "3 mnt 20 dtk");
        let coarse = [0.3, 8.2, 89.0, 95.0, 7_300.0, 500_000.0].map(|seconds| EN.coarse(seconds));
        assert_eq!(coarse, ["< 1 s", "8 s", "89 s", "2 min", "2 h", "6 d"]);
        assert_eq!(
            (EN.bytes(512), EN.bytes(1_500_000), ID.bytes(1_500_000)),
            ("512 B".into(), "1.4 MiB".into(), "1,4 MiB".into())
        );
        assert_eq!(
            (EN.share(0.123), EN.share(0.0125), EN.share(0.0)),
            ("12\u{a0}%".into(), "1.2\u{a0}%".into(), "0\u{a0}%".into())
        );
    }

    #[test]
    fn what_came_from_outside_stays_text() {
        assert_eq!(EN.time_of("<b>").to_string(), "&lt;b&gt;");
        assert_eq!(EN.short_id("k3v9x0q2ab-1763775403123-0"), "1763775403123-0");
        assert_eq!((EN.short_id("5-0"), EN.short_id("odd")), ("5-0".into(), "odd".into()));
        assert_eq!(EN.place("db.example:5432").to_string(), "db.example:5432");
        assert_eq!(
            EN.place("/srv/<i>/r&d.db").to_string(),
            "<span title=\"/srv/&lt;i&gt;/r&amp;d.db\">r&amp;d.db</span>"
        );
        assert_eq!(EN.coded("set `a<b` now").to_string(), "set <code>a&lt;b</code> now");
        let time = EN.time(1_763_775_403_250_u64).to_string();
        assert!(
            time.starts_with(r#"<time datetime="2025-11-22T01:36:43.250Z""#)
                && time.contains("2025-11-22 01:36:43 UTC")
        );
    }
}

//! `number`: numbers as people write them in a locale, with its separators, a currency and a sign at either end.
//!
//! Strict: a text whose separators do not stand as the locale has them is refused rather than guessed at, as `1.50` is one and
//! a half in one country and a slip of the pen in the next. The separators are those of the Unicode CLDR.

use super::currency;
use crate::{cast::CastError, mapping::nearest};

/// How numbers are written in a language and region.
#[derive(Debug)]
pub(super) struct Locale {
    /// The most usual tag, `id-ID`.
    tag: &'static str,
    decimal: char,
    /// What may stand between groups; one text has only one of them. A space stands for all spaces.
    groups: &'static [char],
    grouping: Grouping,
    /// The zero of the script's own digits, which are taken beside `0` to `9`.
    zero: Option<char>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grouping {
    /// `1,234,567`
    Threes,
    /// `12,34,567`
    Indian,
}

/// Locales that write numbers alike.
struct Family {
    decimal: char,
    groups: &'static [char],
    grouping: Grouping,
    zero: Option<char>,
    tags: &'static [&'static str],
}

const fn family(decimal: char, groups: &'static [char], tags: &'static [&'static str]) -> Family {
    Family { decimal, groups, grouping: Grouping::Threes, zero: None, tags }
}

const FAMILIES: &[Family] = &[
    family(
        ',',
        &['.'],
        &[
            "id-ID", "de-DE", "nl-NL", "nl-BE", "it-IT", "es-ES", "es-AR", "es-BO", "es-CL", "es-CO", "es-EC", "es-PY",
            "es-UY", "es-VE", "ca-ES", "eu-ES", "gl-ES", "pt-BR", "tr-TR", "da-DK", "el-GR", "hr-HR", "sl-SI", "sr-RS",
            "bs-BA", "mk-MK", "ro-RO", "is-IS", "fo-FO", "vi-VN", "km-KH", "lo-LA", "az-AZ", "ar-MA", "ar-DZ", "ar-TN",
            "de-LU",
        ],
    ),
    family(
        '.',
        &[','],
        &[
            "en-US", "en-GB", "en-AU", "en-CA", "en-NZ", "en-IE", "en-SG", "en-MY", "en-PH", "en-HK", "en-NG", "en-KE",
            "en-GH", "en-TZ", "en-UG", "en-PK", "en-IL", "en-JM", "ja-JP", "zh-CN", "zh-TW", "zh-HK", "zh-SG", "ko-KR",
            "ms-MY", "fil-PH", "he-IL", "es-MX", "es-US", "es-PR", "es-GT", "es-HN", "es-NI", "es-PA", "es-PE",
            "es-SV", "es-DO", "sw-KE", "sw-TZ", "mn-MN", "si-LK", "ur-PK", "ga-IE", "cy-GB", "mt-MT", "ar-AE", "am-ET",
            "ha-NG",
        ],
    ),
    family(
        ',',
        &[' '],
        &[
            "fr-FR", "fr-BE", "fr-CA", "fr-CH", "fr-LU", "ru-RU", "uk-UA", "be-BY", "pl-PL", "cs-CZ", "sk-SK", "sv-SE",
            "sv-FI", "nb-NO", "nn-NO", "no-NO", "fi-FI", "hu-HU", "bg-BG", "lt-LT", "lv-LV", "et-EE", "pt-PT", "sq-AL",
            "hy-AM", "ka-GE", "kk-KZ", "ky-KG", "uz-UZ", "es-CR", "af-ZA", "en-ZA",
        ],
    ),
    // Austria groups with a space, and with a point where it is money.
    family(',', &['.', ' '], &["de-AT"]),
    family('.', &['\''], &["de-CH", "it-CH", "rm-CH", "en-CH", "de-LI"]),
    Family {
        decimal: '.',
        groups: &[','],
        grouping: Grouping::Indian,
        zero: None,
        tags: &["en-IN", "gu-IN", "kn-IN", "ml-IN", "pa-IN", "ta-IN", "te-IN"],
    },
    Family {
        decimal: '.',
        groups: &[','],
        grouping: Grouping::Indian,
        zero: Some('\u{966}'),
        tags: &["hi-IN", "mr-IN", "ne-NP"],
    },
    Family {
        decimal: '.',
        groups: &[','],
        grouping: Grouping::Indian,
        zero: Some('\u{9e6}'),
        tags: &["bn-BD", "bn-IN"],
    },
    Family { decimal: '.', groups: &[','], grouping: Grouping::Threes, zero: Some('\u{e50}'), tags: &["th-TH"] },
    Family { decimal: '.', groups: &[','], grouping: Grouping::Threes, zero: Some('\u{1040}'), tags: &["my-MM"] },
    Family {
        decimal: '\u{66b}',
        groups: &['\u{66c}'],
        grouping: Grouping::Threes,
        zero: Some('\u{660}'),
        tags: &["ar-EG", "ar-SA", "ar-IQ", "ar-JO", "ar-KW", "ar-QA", "ar-OM", "ar-BH", "ar-LB", "ar-SY", "ar-YE"],
    },
    Family {
        decimal: '\u{66b}',
        groups: &['\u{66c}'],
        grouping: Grouping::Threes,
        zero: Some('\u{6f0}'),
        tags: &["fa-IR", "ps-AF"],
    },
];

/// Every locale, in the order of its tag.
static LOCALES: std::sync::LazyLock<Vec<Locale>> = std::sync::LazyLock::new(|| {
    let of = |family: &'static Family| {
        let Family { decimal, groups, grouping, zero, tags } = *family;
        tags.iter().map(move |tag| Locale { tag, decimal, groups, grouping, zero })
    };
    let mut all: Vec<_> = FAMILIES.iter().flat_map(of).collect();
    all.sort_by_key(|locale| locale.tag);
    all
});

impl Locale {
    /// The locale of this tag: language and region, `id-ID`; `id_ID` and any case are taken too.
    pub(super) fn find(tag: &str) -> Result<&'static Self, String> {
        let wanted = tag.replace('_', "-");
        if let Some(locale) = LOCALES.iter().find(|locale| locale.tag.eq_ignore_ascii_case(&wanted)) {
            return Ok(locale);
        }
        // A language alone, or with a region that is not listed, is most like the same language elsewhere.
        let language = wanted.split('-').next().unwrap_or_default().to_ascii_lowercase();
        let alike: Vec<_> = LOCALES
            .iter()
            .map(|locale| locale.tag)
            .filter(|known| known.split('-').next() == Some(language.as_str()))
            .take(8)
            .map(|known| format!("`{known}`"))
            .collect();
        let hint = match (alike.as_slice(), nearest(&wanted, LOCALES.iter().map(|locale| locale.tag))) {
            ([], Some(near)) => format!("; did you mean `{near}`?"),
            ([], None) => "; write language and region, such as `id-ID`, `en-US`, `de-DE` or `fr-FR`".to_owned(),
            (alike, _) => format!("; write {}", alike.join(", ")),
        };
        Err(format!("`number` does not know the locale `{tag}`{hint}"))
    }

    /// A number of seven digits and two decimals as the locale writes it, for errors.
    fn example(&self) -> String {
        let group = self.groups.first().copied().unwrap_or(',');
        let (head, decimal) = (if self.grouping == Grouping::Indian { "12" } else { "1" }, self.decimal);
        let middle = if self.grouping == Grouping::Indian { "34" } else { "234" };
        format!("`{head}{group}{middle}{group}567{decimal}89`")
    }

    /// The number in JSON's notation, with the decimals that were written.
    pub(super) fn read(&self, text: &str) -> Result<String, CastError> {
        if text.trim().is_empty() {
            return Err(CastError::kind("is an empty text, which is no number: put `null_if_empty` before `number`"));
        }
        if text.contains(['%', '‰', '\u{66a}']) {
            return Err(CastError::kind(
                "is a percentage, and whether 5 % is 5 or 0.05 can't be told: take the sign out with `replace`, or send a number",
            ));
        }
        let bare = Bare::of(text, self.decimal)?;
        let mut digits = Digits::default();
        for character in bare.core.chars() {
            self.take(&mut digits, character)?;
        }
        digits.finish(self)?;
        let integer = digits.integer.trim_start_matches('0');
        let mut out = String::with_capacity(integer.len() + digits.fraction.len() + 3);
        let is_zero = integer.is_empty() && digits.fraction.bytes().all(|digit| digit == b'0');
        if bare.negative && !is_zero {
            out.push('-');
        }
        out.push_str(if integer.is_empty() { "0" } else { integer });
        if !digits.fraction.is_empty() {
            out.push('.');
            out.push_str(&digits.fraction);
        }
        Ok(out)
    }

    fn take(&self, digits: &mut Digits, character: char) -> Result<(), CastError> {
        if let Some(digit) = self.digit(character) {
            match digits.in_fraction {
                true => digits.fraction.push(digit),
                false => digits.push_integer(digit),
            }
            return Ok(());
        }
        let separator = match character {
            '\u{a0}' | '\u{202f}' | '\u{2009}' => ' ',
            '\u{2019}' => '\'',
            other => other,
        };
        if separator == self.decimal && !digits.in_fraction {
            digits.in_fraction = true;
            return Ok(());
        }
        if self.groups.contains(&separator) && !digits.in_fraction && digits.group.is_none_or(|one| one == separator) {
            digits.group = Some(separator);
            digits.lengths.push(std::mem::take(&mut digits.length));
            return Ok(());
        }
        Err(match separator {
            '.' | ',' | '\'' | ' ' => self.unlike(),
            _ => CastError::kind("is a string that has something besides a number and a currency"),
        })
    }

    fn digit(&self, character: char) -> Option<char> {
        if character.is_ascii_digit() {
            return Some(character);
        }
        let value = u32::from(character).checked_sub(u32::from(self.zero?))?;
        char::from_digit(value, 10)
    }

    #[cold]
    fn unlike(&self) -> CastError {
        CastError::kind(format!(
            "is a string whose separators do not stand as `{}` has them ({}), so that its value would be a guess",
            self.tag,
            self.example()
        ))
    }
}

/// The digits of a number, with the lengths of their groups.
#[derive(Default)]
struct Digits {
    integer: String,
    fraction: String,
    in_fraction: bool,
    /// The separator of the groups so far.
    group: Option<char>,
    /// The lengths of the groups before the one at hand.
    lengths: Vec<usize>,
    length: usize,
}

impl Digits {
    fn push_integer(&mut self, digit: char) {
        self.integer.push(digit);
        self.length += 1;
    }

    fn finish(&self, locale: &Locale) -> Result<(), CastError> {
        let unlike = || Err(locale.unlike());
        if self.integer.is_empty() && self.fraction.is_empty() {
            return Err(CastError::kind("is a string without a digit"));
        }
        if self.in_fraction && self.fraction.is_empty() {
            return unlike();
        }
        let Some((first, middle)) = self.lengths.split_first() else { return Ok(()) };
        let middle_length = if locale.grouping == Grouping::Indian { 2 } else { 3 };
        // `0.500` is half a thing to its writer, whatever the locale says.
        let fits = (1..=middle_length).contains(first)
            && middle.iter().all(|length| *length == middle_length)
            && self.length == 3
            && !self.integer.starts_with('0');
        if fits { Ok(()) } else { unlike() }
    }
}

/// A text without what may stand around its number.
struct Bare<'t> {
    core: &'t str,
    negative: bool,
}

impl<'t> Bare<'t> {
    /// Takes off sign, parentheses, currency and the `,-` that stands for no cents, each at most once.
    fn of(text: &'t str, decimal: char) -> Result<Self, CastError> {
        let mut core = text;
        let (mut sign, mut parentheses, mut before, mut after, mut cents) = (None, false, false, false, false);
        loop {
            core = core.trim();
            if let Some(inner) = core.strip_prefix('(').and_then(|inner| inner.strip_suffix(')'))
                && !parentheses
            {
                parentheses = true;
                core = inner;
            } else if let Some(inner) = without_cents(core, decimal)
                && !cents
            {
                cents = true;
                core = inner;
            } else if let Some((inner, minus)) = without_sign(core)
                && sign.is_none()
            {
                sign = Some(minus);
                core = inner;
            } else if let Some(inner) = currency::without_prefix(core)
                && !before
            {
                before = true;
                core = inner;
            } else if let Some(inner) = currency::without_suffix(core)
                && !after
            {
                after = true;
                core = inner;
            } else {
                break;
            }
        }
        if parentheses && sign.is_some() {
            return Err(CastError::kind("is a string with a sign and parentheses, which both say that it is negative"));
        }
        Ok(Self { core, negative: parentheses || sign == Some(true) })
    }
}

/// `1.500,-` is a price without cents.
fn without_cents(core: &str, decimal: char) -> Option<&str> {
    let whole = core.strip_suffix("--").or_else(|| core.strip_suffix(['-', '\u{2013}', '\u{2014}']))?;
    whole.strip_suffix(decimal).filter(|whole| whole.ends_with(char::is_numeric))
}

/// The text without a sign at one of its ends, and whether that is a minus.
fn without_sign(core: &str) -> Option<(&str, bool)> {
    const MINUS: [char; 2] = ['-', '\u{2212}'];
    if let Some(rest) = core.strip_prefix(MINUS).or_else(|| core.strip_suffix(MINUS)) {
        return Some((rest, true));
    }
    core.strip_prefix('+').map(|rest| (rest, false))
}

#[cfg(test)]
pub(super) fn tags() -> impl Iterator<Item = &'static str> {
    LOCALES.iter().map(|locale| locale.tag)
}

/// Decimal separator, group separator, whether groups are Indian, the script's zero.
#[cfg(test)]
pub(super) fn of(tag: &str) -> (char, char, bool, Option<char>) {
    let locale = LOCALES.iter().find(|locale| locale.tag == tag).unwrap_or(&LOCALES[0]);
    (locale.decimal, locale.groups[0], locale.grouping == Grouping::Indian, locale.zero)
}

//! The currencies that may stand before or after a number: symbols, ISO 4217 codes, and the words people write.
//!
//! A list, so that `12 kg` is refused and not taken for money.

use std::{collections::HashSet, hash::BuildHasherDefault, sync::LazyLock};

use crate::fnv::Fnv;

/// Letters and the like by which a currency is known, in lower case, without a full stop at their end.
const WORDS: &[&str] = &[
    // What people write.
    "rp",
    "rupiah",
    "rs",
    "re",
    "rupees",
    "rupee",
    "kr",
    "kroner",
    "kronor",
    "krónur",
    "zł",
    "zl",
    "kč",
    "kc",
    "ft",
    "lei",
    "leu",
    "лв",
    "руб",
    "р",
    "rub",
    "грн",
    "дин",
    "din",
    "rm",
    "fr",
    "sfr",
    "euro",
    "euros",
    "eur",
    "dollar",
    "dollars",
    "pound",
    "pounds",
    "yen",
    "yuan",
    "won",
    "tl",
    "bs",
    "baht",
    "đ",
    "vnđ",
    "ден",
    "km",
    "rsd",
    "тг",
    "тңг",
    "сом",
    "soʻm",
    "د.إ",
    "ر.س",
    "ج.م",
    "د.ك",
    "ر.ق",
    "د.م",
    "د.ت",
    "د.ج",
    "ر.ع",
    "ر.ي",
    "ل.ل",
    "ریال",
    "تومان",
    "nok",
    "円",
    "元",
    "圆",
    "원",
    "บาท",
    // With a letter before the sign.
    "us$",
    "a$",
    "au$",
    "c$",
    "ca$",
    "nz$",
    "hk$",
    "s$",
    "nt$",
    "r$",
    "mx$",
    "cn¥",
    "jp¥",
    "us",
    "gh₵",
    // ISO 4217.
    "aed",
    "afn",
    "all",
    "amd",
    "ang",
    "aoa",
    "ars",
    "aud",
    "awg",
    "azn",
    "bam",
    "bbd",
    "bdt",
    "bgn",
    "bhd",
    "bif",
    "bmd",
    "bnd",
    "bob",
    "brl",
    "bsd",
    "btn",
    "bwp",
    "byn",
    "bzd",
    "cad",
    "cdf",
    "chf",
    "clp",
    "cny",
    "cop",
    "crc",
    "cup",
    "cve",
    "czk",
    "djf",
    "dkk",
    "dop",
    "dzd",
    "egp",
    "ern",
    "etb",
    "fjd",
    "fkp",
    "gbp",
    "gel",
    "ghs",
    "gip",
    "gmd",
    "gnf",
    "gtq",
    "gyd",
    "hkd",
    "hnl",
    "htg",
    "huf",
    "idr",
    "ils",
    "inr",
    "iqd",
    "irr",
    "isk",
    "jmd",
    "jod",
    "jpy",
    "kes",
    "kgs",
    "khr",
    "kmf",
    "kpw",
    "krw",
    "kwd",
    "kyd",
    "kzt",
    "lak",
    "lbp",
    "lkr",
    "lrd",
    "lsl",
    "lyd",
    "mad",
    "mdl",
    "mga",
    "mkd",
    "mmk",
    "mnt",
    "mop",
    "mru",
    "mur",
    "mvr",
    "mwk",
    "mxn",
    "myr",
    "mzn",
    "nad",
    "ngn",
    "nio",
    "npr",
    "nzd",
    "omr",
    "pab",
    "pen",
    "pgk",
    "php",
    "pkr",
    "pln",
    "pyg",
    "qar",
    "ron",
    "rwf",
    "sar",
    "sbd",
    "scr",
    "sdg",
    "sek",
    "sgd",
    "shp",
    "sle",
    "sos",
    "srd",
    "ssp",
    "stn",
    "svc",
    "syp",
    "szl",
    "thb",
    "tjs",
    "tmt",
    "tnd",
    "top",
    "try",
    "ttd",
    "twd",
    "tzs",
    "uah",
    "ugx",
    "usd",
    "uyu",
    "uzs",
    "ved",
    "ves",
    "vnd",
    "vuv",
    "wst",
    "xaf",
    "xcd",
    "xof",
    "xpf",
    "yer",
    "zar",
    "zmw",
    "zwg",
];

/// Whether this is a character that stands for a currency by itself (Unicode's category Sc).
fn is_symbol(character: char) -> bool {
    matches!(character, '$' | '\u{a2}'..='\u{a5}' | '\u{58f}' | '\u{60b}' | '\u{9f2}' | '\u{9f3}' | '\u{e3f}' | '\u{17db}' | '\u{20a0}'..='\u{20c0}' | '\u{fdfc}' | '\u{ff04}' | '\u{ffe0}' | '\u{ffe1}' | '\u{ffe5}' | '\u{ffe6}')
}

/// The longest of [`WORDS`] in bytes.
const LONGEST_WORD: usize = 24;

static KNOWN: LazyLock<HashSet<&str, BuildHasherDefault<Fnv>>> = LazyLock::new(|| WORDS.iter().copied().collect());

fn is_known(word: &str) -> bool {
    let mut characters = word.chars();
    if let (Some(one), None) = (characters.next(), characters.next())
        && is_symbol(one)
    {
        return true;
    }
    if word.len() > LONGEST_WORD {
        return false;
    }
    if !word.is_ascii() {
        return KNOWN.contains(&*word.to_lowercase());
    }
    let mut lower = [0; LONGEST_WORD];
    let lower = &mut lower[..word.len()];
    lower.copy_from_slice(word.as_bytes());
    lower.make_ascii_lowercase();
    std::str::from_utf8(lower).is_ok_and(|lower| KNOWN.contains(lower))
}

/// What can be part of a currency's word; digits and signs end it.
fn is_part(character: char) -> bool {
    !character.is_numeric() && !character.is_whitespace() && !matches!(character, '-' | '\u{2212}' | '+' | '(' | ')')
}

/// The text without the currency at its beginning, if there is one.
pub(super) fn without_prefix(text: &str) -> Option<&str> {
    let end = text.find(|character| !is_part(character)).filter(|end| *end > 0)?;
    let (word, rest) = text.split_at(end);
    if is_known(word) {
        return Some(rest);
    }
    // `Rp.1.500` has a full stop behind its word; in `$.50` it belongs to the number.
    let bare = word.strip_suffix('.').filter(|bare| is_known(bare))?;
    if bare.ends_with(char::is_alphabetic) { Some(rest) } else { Some(&text[bare.len()..]) }
}

/// The text without the currency at its end, if there is one.
pub(super) fn without_suffix(text: &str) -> Option<&str> {
    let start = text.char_indices().rev().take_while(|(_, character)| is_part(*character)).last()?.0;
    let (rest, word) = text.split_at(start);
    let word = word.strip_suffix('.').unwrap_or(word);
    (is_known(word) && !rest.is_empty()).then_some(rest)
}

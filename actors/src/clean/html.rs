//! `strip_html`: the text of a piece of HTML: tags and comments out, entities resolved, blocks on lines of their own.
//!
//! It follows the HTML standard's tokenizer where that matters: quotes inside tags, `<` that opens no tag, the contents of
//! `script` and `style`, a tag that never ends. One pass; any text is taken.

use std::borrow::Cow;

use super::entities;

/// The longest entity's name, `thetasym`, and a numeric one of any code point fit.
const LONGEST_ENTITY: usize = 10;

/// Tags that begin or end a line.
const BLOCKS: &[&str] = &[
    "address",
    "article",
    "aside",
    "blockquote",
    "br",
    "dd",
    "div",
    "dl",
    "dt",
    "figcaption",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "li",
    "main",
    "nav",
    "ol",
    "p",
    "pre",
    "section",
    "table",
    "tr",
    "ul",
];

/// Tags that part words.
const CELLS: &[&str] = &["td", "th", "option"];

/// The text without its markup.
///
/// A block element (`<p>`, `<div>`, `<li>`, `<br>`, …) becomes a line break, a table's cell a space; other tags leave
/// nothing. A run of line breaks that come from tags is one, and none stands at either end.
pub(super) fn strip(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains(['<', '&']) {
        return text;
    }
    let mut out = Text { out: String::with_capacity(text.len()), gap: None };
    let mut rest = &*text;
    while let Some(at) = rest.find(['<', '&']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        rest = if from.starts_with('<') { tag(from, &mut out) } else { entity(from, &mut out) };
    }
    out.push_str(rest);
    out.out.into()
}

/// What comes out; a gap is written only once there is text on both of its sides.
struct Text {
    out: String,
    gap: Option<char>,
}

impl Text {
    fn push_str(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if let Some(gap) = self.gap.take()
            && !self.out.is_empty()
            && !self.out.ends_with('\n')
        {
            self.out.push(gap);
        }
        self.out.push_str(text);
    }

    fn gap(&mut self, gap: char) {
        if self.gap != Some('\n') {
            self.gap = Some(gap);
        }
    }
}

/// What comes after the tag, comment or lone `<` at the beginning.
fn tag<'t>(from: &'t str, out: &mut Text) -> &'t str {
    if let Some(comment) = from.strip_prefix("<!--") {
        // `<!-->` is a whole comment too.
        return match comment.strip_prefix('>').or_else(|| comment.strip_prefix("->")) {
            Some(rest) => rest,
            None => after(comment, "-->"),
        };
    }
    let inner = &from[1..];
    if inner.starts_with(['!', '?']) {
        return after(inner, ">");
    }
    let (is_end, name_from) = match inner.strip_prefix('/') {
        Some(name) => (true, name),
        None => (false, inner),
    };
    if !name_from.starts_with(|first: char| first.is_ascii_alphabetic()) {
        // Nothing but text, as in `a < b`.
        out.push_str("<");
        return inner;
    }
    let name_end = name_from.find(|c: char| c.is_ascii_whitespace() || c == '>' || c == '/').unwrap_or(name_from.len());
    let (name, attributes) = name_from.split_at(name_end);
    let rest = after_tag(attributes);
    let is = |tag: &&str| tag.eq_ignore_ascii_case(name);
    if BLOCKS.iter().any(is) {
        out.gap('\n');
    } else if CELLS.iter().any(is) {
        out.gap(' ');
    } else if !is_end && ["script", "style"].iter().any(is) {
        return after_raw(rest, name);
    }
    rest
}

fn after<'t>(text: &'t str, end: &str) -> &'t str {
    text.find(end).map_or("", |at| &text[at + end.len()..])
}

/// What comes after the `>` that ends a tag; one inside a quoted attribute does not.
fn after_tag(text: &str) -> &str {
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return &text[at + 1..],
            // A quote opens a value only behind `=`; elsewhere it is one of the name's characters.
            (None, b'"' | b'\'') if text[..at].trim_end().ends_with('=') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    ""
}

/// What comes after the end tag of an element whose contents are not text.
fn after_raw<'t>(text: &'t str, name: &str) -> &'t str {
    let mut rest = text;
    while let Some(at) = rest.find("</") {
        rest = &rest[at + 2..];
        if rest.len() < name.len() {
            return "";
        }
        let Some((found, attributes)) = rest.split_at_checked(name.len()) else { continue };
        if found.eq_ignore_ascii_case(name)
            && attributes.starts_with(|c: char| c.is_ascii_whitespace() || c == '>' || c == '/')
        {
            return after_tag(attributes);
        }
    }
    ""
}

/// What comes after the entity at the beginning; one that is not known is text.
fn entity<'t>(from: &'t str, out: &mut Text) -> &'t str {
    let name = &from[1..];
    let end = name.bytes().take(LONGEST_ENTITY + 1).position(|byte| byte == b';');
    let found = end.and_then(|end| {
        let character = match name[..end].strip_prefix('#') {
            Some(number) => numeric(number)?,
            None => entities::find(&name[..end])?,
        };
        Some((character, &name[end + 1..]))
    });
    match found {
        Some((character, rest)) => {
            out.push_str(character.encode_utf8(&mut [0; 4]));
            rest
        }
        None => {
            out.push_str("&");
            name
        }
    }
}

/// A numeric character reference by the HTML standard's rules: the control characters 128 to 159 are those of Windows, and
/// what is no character becomes U+FFFD.
fn numeric(number: &str) -> Option<char> {
    const WINDOWS: [u16; 32] = [
        0x20ac, 0x81, 0x201a, 0x192, 0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160, 0x2039, 0x152, 0x8d, 0x17d,
        0x8f, 0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x2dc, 0x2122, 0x161, 0x203a, 0x153, 0x9d,
        0x17e, 0x178,
    ];
    let (digits, radix) = match number.strip_prefix(['x', 'X']) {
        Some(hex) => (hex, 16),
        None => (number, 10),
    };
    // `from_str_radix` takes a sign, which an entity has not.
    if digits.is_empty() || !digits.bytes().all(|byte| char::from(byte).is_digit(radix)) {
        return None;
    }
    let code = u32::from_str_radix(digits, radix).unwrap_or(u32::MAX);
    let code = match code {
        0x80..=0x9f => u32::from(WINDOWS[code as usize - 0x80]),
        0 => 0xfffd,
        code => code,
    };
    Some(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
}

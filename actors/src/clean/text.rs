//! Steps on plain text: white space, case, digits, length. A text that a step does not change is not copied.

use std::borrow::Cow;

/// No white space at either end.
pub(super) fn trim(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) if text.trim().len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

/// Every run of white space as one space.
pub(super) fn collapse(text: Cow<'_, str>) -> Cow<'_, str> {
    let mut last = 'x';
    let is_collapsed = text.chars().all(|character| {
        let fine = !character.is_whitespace() || (character == ' ' && last != ' ');
        last = character;
        fine
    });
    if is_collapsed {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut in_space = false;
    for character in text.chars() {
        let space = character.is_whitespace();
        if !space {
            out.push(character);
        } else if !in_space {
            out.push(' ');
        }
        in_space = space;
    }
    out.into()
}

pub(super) fn lower(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        text
    } else {
        text.to_lowercase().into()
    }
}

pub(super) fn upper(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_lowercase()) {
        text
    } else {
        text.to_uppercase().into()
    }
}

/// Every word with a capital at its beginning and lower case after it.
///
/// Words end at white space and punctuation, but not at an apostrophe: `o'neil` becomes `O'neil`, `jean-luc` becomes
/// `Jean-Luc`, `3rd` stays.
pub(super) fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let word_end = rest.find(ends_word).unwrap_or(rest.len());
        let (word, after) = rest.split_at(word_end);
        push_capitalized(&mut out, word);
        let mut characters = after.chars();
        out.extend(characters.next());
        rest = characters.as_str();
    }
    out
}

fn push_capitalized(out: &mut String, word: &str) {
    // An opening quote is no part of the word that it opens.
    let start = word.find(char::is_alphanumeric).unwrap_or(0);
    let (quote, word) = word.split_at(start);
    out.push_str(quote);
    let mut characters = word.chars();
    let Some(first) = characters.next() else { return };
    // `ß` alone has no capital: its upper case is the two letters `SS`, and a title has `Ss`.
    let mut capital = first.to_uppercase();
    out.extend(capital.next());
    for character in capital {
        out.extend(character.to_lowercase());
    }
    out.push_str(&characters.as_str().to_lowercase());
}

fn ends_word(character: char) -> bool {
    match character {
        '\'' | '\u{2019}' => false,
        '\u{a1}' | '\u{ab}' | '\u{b7}' | '\u{bb}' | '\u{bf}' => true,
        '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}' | '\u{3001}'..='\u{3003}' => true,
        _ => character.is_whitespace() || character.is_ascii_punctuation(),
    }
}

/// ASCII digits only.
pub(super) fn digits(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text;
    }
    text.chars().filter(char::is_ascii_digit).collect::<String>().into()
}

/// No more than so many characters.
pub(super) fn truncate(text: Cow<'_, str>, characters: usize) -> Cow<'_, str> {
    // A text has at most as many characters as bytes, so most need no counting.
    if text.len() <= characters {
        return text;
    }
    let Some((end, _)) = text.char_indices().nth(characters) else { return text };
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
        Cow::Owned(mut text) => {
            text.truncate(end);
            Cow::Owned(text)
        }
    }
}

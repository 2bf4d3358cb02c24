//! The words of an expression: a rough look at its text, for what only has to be near the truth (warnings, and which fields
//! count as read where unknown ones are refused).

/// A word: a name, or what stands in quotes.
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    /// What stands before it, without white space.
    pub(super) before: &'a str,
}

/// The words of a text, in order.
pub(super) fn words(text: &str) -> impl Iterator<Item = Word<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + text[at..].find(|c: char| c.is_alphabetic() || matches!(c, '_' | '"' | '\''))?;
        let rest = &text[start..];
        let quote = rest.chars().next().filter(|first| matches!(first, '"' | '\''));
        let (from, end) = match quote {
            Some(quote) => {
                let end = rest[1..].find(quote).map_or(text.len(), |end| start + 1 + end);
                at = (end + 1).min(text.len());
                (start + 1, end)
            }
            None => {
                let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(text.len(), |end| start + end);
                at = end;
                (start, end)
            }
        };
        Some(Word { text: &text[from..end], before: text[..start].trim_end() })
    })
}

/// The fields of the record that it reads without asking whether they are there: `data.price`, but not `has(data.price)`,
/// `data.?price`, or what is behind a test of its own.
pub(super) fn bare_fields(text: &str) -> Vec<&str> {
    if text.contains(".?") || text.contains("[?") || text.contains("has(") || words(text).any(|word| word.text == "in")
    {
        return Vec::new();
    }
    let mut fields = Vec::new();
    for word in words(text) {
        let path = word.before.strip_suffix('.').or_else(|| word.before.strip_suffix('[')).map(str::trim_end);
        let of_data = path.and_then(|path| path.strip_suffix("data"));
        let whole = |before: &str| !before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '.'));
        if of_data.is_some_and(whole) && !fields.contains(&word.text) {
            fields.push(word.text);
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_names_and_what_stands_in_quotes() {
        let found = |text| words(text).map(|word| word.text).collect::<Vec<_>>();
        assert_eq!(
            found(r#"data.price * 1.1 > 5 && data["first name"] != 'x'"#),
            ["data", "price", "data", "first name", "x"]
        );
        assert_eq!(found("größe_2 == \"open"), ["größe_2", "open"]);
        assert_eq!(found(""), [""; 0]);
    }

    #[test]
    fn bare_fields_are_those_that_may_be_missing() {
        assert_eq!(bare_fields("data.live && data['a b'] > data.live"), ["live", "a b"]);
        assert_eq!(bare_fields("metadata.live || x.data.live || action == 'delete'"), [""; 0]);
        assert_eq!(bare_fields("has(data.live) && data.live"), [""; 0]);
        assert_eq!(bare_fields("data.?live.orValue(true)"), [""; 0]);
    }
}

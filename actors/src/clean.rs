//! The cleaning steps of a route's column: what is done to a text before it is cast.
//!
//! Called by [`crate::mapping`] for each value whose column has steps; values that are not text pass untouched.

use std::borrow::Cow;

use crate::{cast::Value, route::CleanStep};

/// The value after all steps, in order.
pub(crate) fn clean<'a>(value: Value<'a>, steps: &[CleanStep]) -> Value<'a> {
    steps.iter().fold(value, |value, step| match value {
        Value::Text(text) => apply(text, step),
        other => other,
    })
}

fn apply<'a>(text: Cow<'a, str>, step: &CleanStep) -> Value<'a> {
    Value::Text(match step {
        CleanStep::Trim => match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
            Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
        },
        CleanStep::Collapse => Cow::Owned(collapse(&text)),
        CleanStep::Lower => Cow::Owned(text.to_lowercase()),
        CleanStep::Upper => Cow::Owned(text.to_uppercase()),
        CleanStep::NullIfEmpty if text.is_empty() => return Value::Null,
        _ => text,
    })
}

fn collapse(text: &str) -> String {
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
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_does_what_it_says_and_leaves_other_values_alone() {
        use CleanStep::{Collapse, Lower, NullIfEmpty, Trim, Upper};
        let table: &[(&str, &[CleanStep], Option<&str>)] = &[
            ("  a b\u{a0}", &[Trim], Some("a b")),
            ("\ta \n\n b ", &[Collapse], Some(" a b ")),
            ("\ta \n\n b ", &[Collapse, Trim], Some("a b")),
            ("ÄÖ Straße", &[Lower], Some("äö straße")),
            ("straße", &[Upper], Some("STRASSE")),
            ("", &[NullIfEmpty], None),
            ("   ", &[NullIfEmpty], Some("   ")),
            ("   ", &[Trim, NullIfEmpty], None),
            ("   ", &[Trim, NullIfEmpty, Upper], None),
            ("", &[], Some("")),
        ];
        for (text, steps, expected) in table {
            let expected = expected.map_or(Value::Null, |text| Value::Text(text.into()));
            assert_eq!(clean(Value::Text((*text).into()), steps), expected, "{text:?} {steps:?}");
        }
        assert_eq!(clean(Value::Number("5".into()), &[Trim, Upper]), Value::Number("5".into()));
        assert_eq!(clean(Value::Bool(true), &[NullIfEmpty]), Value::Bool(true));
    }
}

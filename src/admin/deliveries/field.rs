//! A condition on a record's field: at a path, or anywhere in it. Pure; a record that has not even the bytes is passed over
//! without being read.

use serde::de::{Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tidegate_actors::mapping::Path;

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It is this: the text of a string, else as JSON has it; numbers are compared as they are written.
    Is,
    /// Its text contains this, in whatever case.
    Contains,
}

/// A field and what is wanted of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    path: Option<Path>,
    condition: Condition,
    wanted: String,
    /// For `Contains`.
    lower: String,
}

impl Field {
    /// A condition on the field at this path; empty: on any field.
    ///
    /// # Errors
    /// The text is no path; why.
    pub fn new(path: &str, condition: Condition, wanted: &str) -> Result<Self, String> {
        let path = path.trim();
        let path = (!path.is_empty()).then(|| Path::parse(path).map_err(|error| error.to_string())).transpose()?;
        Ok(Self { path, condition, wanted: wanted.to_owned(), lower: wanted.to_lowercase() })
    }

    /// Whether the record has such a field.
    #[must_use]
    pub fn matches(&self, record: &str) -> bool {
        // Without a backslash every text stands in the record as it is.
        if self.condition == Condition::Is && !record.contains('\\') && !record.contains(&self.wanted) {
            return false;
        }
        match &self.path {
            Some(path) => path.find(record).is_some_and(|found| self.holds(found)),
            None => Anywhere(self).look(record),
        }
    }

    /// Whether a value, as JSON, is what is wanted. An array or object never is one value; it may contain a text.
    fn holds(&self, json: &str) -> bool {
        let text = if json.starts_with('"') { serde_json::from_str::<String>(json).ok() } else { None };
        let text = text.as_deref().unwrap_or(json);
        match self.condition {
            Condition::Is => text == self.wanted || json == self.wanted,
            Condition::Contains => text.to_lowercase().contains(&self.lower),
        }
    }
}

/// Goes through all values of a record, until one holds.
struct Anywhere<'f>(&'f Field);

impl Anywhere<'_> {
    fn look(&self, json: &str) -> bool {
        let mut reader = serde_json::Deserializer::from_str(json);
        match json.trim_start().as_bytes().first() {
            Some(b'{') => reader.deserialize_map(Self(self.0)).unwrap_or(false),
            Some(b'[') => reader.deserialize_seq(Self(self.0)).unwrap_or(false),
            _ => self.0.holds(json),
        }
    }
}

impl<'de> Visitor<'de> for Anywhere<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut found = false;
        while map.next_key::<serde::de::IgnoredAny>()?.is_some() {
            let value: &RawValue = map.next_value()?;
            found = found || self.look(value.get());
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<bool, A::Error> {
        let mut found = false;
        while let Some(value) = seq.next_element::<&RawValue>()? {
            found = found || self.look(value.get());
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_field_is_found_where_it_stands() {
        let record =
            r#"{"id":1.50,"name":"Toyota \"Avanza\"","customer":{"city":"Bandung","tags":["new","Lama"]},"none":null}"#;
        for (path, condition, wanted, found) in [
            ("id", Condition::Is, "1.50", true),
            ("id", Condition::Is, "1.5", false),
            ("name", Condition::Is, "Toyota \"Avanza\"", true),
            ("name", Condition::Contains, "avanza", true),
            ("customer.city", Condition::Is, "Bandung", true),
            ("customer.city", Condition::Is, "bandung", false),
            ("customer.tags[1]", Condition::Is, "Lama", true),
            ("customer", Condition::Contains, "bandung", true),
            ("none", Condition::Is, "null", true),
            ("missing", Condition::Contains, "", false),
            ("", Condition::Is, "new", true),
            ("", Condition::Contains, "LAM", true),
            ("", Condition::Is, "city", false),
            ("", Condition::Contains, "customer", false),
        ] {
            let field = Field::new(path, condition, wanted).unwrap();
            assert_eq!(field.matches(record), found, "{path} {condition:?} {wanted}");
        }
        let escaped = Field::new("name", Condition::Is, "A").unwrap();
        assert!(escaped.matches(r#"{"name":"\u0041"}"#));
        assert!(Field::new("a..b", Condition::Is, "x").is_err());
    }
}

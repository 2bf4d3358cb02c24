//! Records as text: taken apart and made smaller or larger without a change of any value, so that numbers keep every digit.

use serde_json::value::RawValue;

/// The members of an object in their order, each value as it is written; `None` for what is no object.
#[must_use]
pub fn members(json: &str) -> Option<Vec<(String, &str)>> {
    struct InOrder;
    impl<'de> serde::de::Visitor<'de> for InOrder {
        type Value = Vec<(String, &'de str)>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                members.push((name, value.get()));
            }
            Ok(members)
        }
    }
    let mut reader = serde_json::Deserializer::from_str(json);
    serde::Deserializer::deserialize_map(&mut reader, InOrder).ok()
}

/// One field a line, each value with the digits it came with; what is no object as it is.
#[must_use]
pub fn pretty(data: &str) -> String {
    let Some(fields) = members(data).filter(|fields| !fields.is_empty()) else { return data.to_owned() };
    let name = |name: &str| serde_json::to_string(name).unwrap_or_default();
    let lines: Vec<String> = fields.iter().map(|(field, value)| format!("  {}: {value}", name(field))).collect();
    format!("{{\n{}\n}}", lines.join(",\n"))
}

/// JSON without the white space around its parts.
#[must_use]
pub fn compact(json: &str) -> String {
    let (mut out, mut in_text, mut escaped) = (String::with_capacity(json.len()), false, false);
    for character in json.chars() {
        match (in_text, character) {
            (false, ' ' | '\t' | '\n' | '\r') => continue,
            (true, '\\') if !escaped => escaped = true,
            (_, '"') if !escaped => in_text = !in_text,
            _ => escaped = false,
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_within_texts_stays() {
        let record = "{\n  \"id\": 1.50,\n \"note\": \"a \\\"b c\\\\\",  \"list\": [1, 2]\n}\n";
        assert_eq!(compact(record), r#"{"id":1.50,"note":"a \"b c\\","list":[1,2]}"#);
        assert_eq!(pretty(r#"{"id":1.50,"a":{"b":1}}"#), "{\n  \"id\": 1.50,\n  \"a\": {\"b\":1}\n}");
        assert_eq!(pretty("[1]"), "[1]");
    }
}

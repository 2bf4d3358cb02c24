//! The JSON Schemas of an application's topics, read where apply runs and compiled before they are kept.

use std::collections::BTreeMap;

use super::{
    super::{
        manifest::{ApplicationEntry, Manifest, Mistake, SchemaSource},
        topic_schema::TopicSchema,
    },
    Means,
};

/// The schemas of an application's topics, each of which compiles.
pub(super) fn read(
    manifest: &Manifest,
    entry: &ApplicationEntry,
    means: &Means<'_>,
) -> Result<BTreeMap<String, String>, Vec<Mistake>> {
    let (mut found, mut mistakes) = (BTreeMap::new(), Vec::new());
    for (topic, source) in &entry.schemas {
        let text = match source {
            SchemaSource::Text(text) => Ok(text.clone()),
            SchemaSource::File(path) => {
                let path = means.folder.join(path);
                std::fs::read_to_string(&path)
                    .map_err(|error| format!("cannot read {}: {error}; check the path and its rights", path.display()))
            }
        };
        let checked = text.and_then(|text| {
            TopicSchema::compile(&text)?;
            Ok(compact(&text))
        });
        match checked {
            Ok(text) => drop(found.insert(topic.clone(), text)),
            Err(why) => {
                let place = entry.schema_places.get(topic).copied().unwrap_or_default();
                let message = format!("the schema of topic `{topic}` of `{}`: {why}", entry.name);
                mistakes.push(manifest.mistake(place, message));
            }
        }
    }
    if mistakes.is_empty() { Ok(found) } else { Err(mistakes) }
}

/// JSON without the white space around its tokens, every token as it was.
fn compact(json: &str) -> String {
    let (mut out, mut quoted, mut escaped) = (String::with_capacity(json.len()), false, false);
    for char in json.chars() {
        if quoted || !char.is_ascii_whitespace() {
            out.push(char);
        }
        quoted = if char == '"' && !escaped { !quoted } else { quoted };
        escaped = quoted && char == '\\' && !escaped;
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn white_space_goes_from_between_tokens_only() {
        let compact = super::compact("{ \"a b\\\" \" :\n [1 , \" \\\\\" ] }");
        assert_eq!(compact, "{\"a b\\\" \":[1,\" \\\\\"]}");
    }
}

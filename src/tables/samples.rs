//! What sample records have in common: every path that occurs in them, with some of its values.
//!
//! Values stay the text that came in. A list of objects is a table of its own and is not looked into.

use std::collections::HashMap;

use super::record::members;

/// Most values that are kept of a path.
const MAX_VALUES: usize = 500;
/// Deepest level that is looked into.
const MAX_DEPTH: usize = 8;
/// Most paths; a record has at most 2,000 fields.
const MAX_PATHS: usize = 2_000;

/// What a path holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Strings, numbers, booleans, or null alone.
    Scalar,
    /// Objects.
    Object,
    /// Lists of scalars or of anything.
    List,
    /// Lists of objects.
    ListOfObjects,
}

/// One path and what was found there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sampled {
    /// The names along the path.
    pub names: Vec<String>,
    /// What it holds.
    pub shape: Shape,
    /// Values that are not null, as raw JSON.
    pub values: Vec<String>,
    /// In how many records it was null.
    pub nulls: usize,
    /// In how many records it was, null or not.
    pub seen: usize,
}

impl Sampled {
    /// The path as a route writes it.
    #[must_use]
    pub fn path(&self) -> String {
        written(&self.names)
    }
}

/// All records together.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// How many there are.
    pub records: usize,
    /// How many came with a key that is one value, and the names of the parts of those that came with several.
    pub scalar_keys: usize,
    /// Parts of composite keys, in the order of their first occurrence.
    pub key_parts: Vec<String>,
    /// Every path, in the order of its first occurrence.
    pub paths: Vec<Sampled>,
    places: HashMap<Vec<String>, usize>,
}

impl Samples {
    /// Adds a record, which is a JSON object, and its message's key.
    pub fn add(&mut self, record: &str, key: Option<&str>) {
        self.records += 1;
        match key.map(|key| (key, members(key))) {
            None => {}
            Some((_, Some(parts))) => {
                for (part, _) in parts {
                    if !self.key_parts.contains(&part) {
                        self.key_parts.push(part);
                    }
                }
            }
            Some(_) => self.scalar_keys += 1,
        }
        self.descend(&mut Vec::new(), record);
    }

    fn descend(&mut self, names: &mut Vec<String>, object: &str) {
        for (name, value) in members(object).unwrap_or_default() {
            names.push(name);
            self.note(names, value.get());
            if value.get().starts_with('{') && names.len() < MAX_DEPTH {
                self.descend(names, value.get());
            }
            names.pop();
        }
    }

    fn note(&mut self, names: &[String], raw: &str) {
        let place = match self.places.get(names) {
            Some(place) => *place,
            None if self.paths.len() == MAX_PATHS => return,
            None => {
                let (names, shape) = (names.to_vec(), Shape::Scalar);
                self.places.insert(names.clone(), self.paths.len());
                self.paths.push(Sampled { names, shape, values: Vec::new(), nulls: 0, seen: 0 });
                self.paths.len() - 1
            }
        };
        let path = &mut self.paths[place];
        path.seen += 1;
        if raw == "null" {
            path.nulls += 1;
            return;
        }
        if let Some(shape) = shape_of(raw) {
            path.shape = shape;
        }
        if path.values.len() < MAX_VALUES {
            path.values.push(raw.to_owned());
        }
    }
}

fn shape_of(raw: &str) -> Option<Shape> {
    match raw.as_bytes().first()? {
        b'{' => Some(Shape::Object),
        b'[' if raw[1..].trim_start().starts_with('{') => Some(Shape::ListOfObjects),
        b'[' => Some(Shape::List),
        _ => None,
    }
}

/// A path as a route writes it: `customer.address.city`, `customer["first.name"]`.
#[must_use]
pub fn written(names: &[String]) -> String {
    let mut path = String::new();
    for name in names {
        if name.is_empty() || name.contains(['.', '[', ']', '"']) {
            path += &format!("[{}]", serde_json::Value::from(name.as_str()));
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path += name;
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_found_once_with_its_values() {
        let mut samples = Samples::default();
        samples
            .add(r#"{"id":1.50,"owner":{"name":"A","first.name":null},"tags":["x"],"lines":[ {"sku":1}]}"#, Some("1"));
        samples.add(r#"{"id":2,"owner":{"name":"B"}}"#, Some(r#"{"no":1,"branch":"JKT"}"#));
        let found: Vec<_> = samples.paths.iter().map(|path| (path.path(), path.shape, path.seen, path.nulls)).collect();
        let scalar = Shape::Scalar;
        assert_eq!(
            found,
            [
                ("id".to_owned(), scalar, 2, 0),
                ("owner".to_owned(), Shape::Object, 2, 0),
                ("owner.name".to_owned(), scalar, 2, 0),
                ("owner[\"first.name\"]".to_owned(), scalar, 1, 1),
                ("tags".to_owned(), Shape::List, 1, 0),
                ("lines".to_owned(), Shape::ListOfObjects, 1, 0),
            ]
        );
        assert_eq!(samples.paths[0].values, ["1.50", "2"]);
        assert_eq!((samples.records, samples.scalar_keys), (2, 1));
        assert_eq!(samples.key_parts, ["no", "branch"]);
    }
}

//! The fields a route reads, and how they are found in a record in one pass without copying a value.
//!
//! Values stay the text that came in, so that numbers keep every digit. Fields that no column wants are skipped.

use std::{collections::HashMap, fmt, hash::BuildHasherDefault};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::rejection;
use crate::{fnv::Fnv, ports::Rejection};

/// The names of a route's fields, and where each is kept.
// FNV: the keys are an operator's few names, so nobody can fill a bucket, and short names hash in a few nanoseconds.
#[derive(Debug, Default)]
pub(super) struct FieldTable {
    names: Vec<Box<str>>,
    exact: HashMap<Box<str>, usize, BuildHasherDefault<Fnv>>,
    /// For `"matching"`: names in lower case, `None` where two columns differ in nothing but case.
    folded: Option<HashMap<Box<str>, Option<usize>, BuildHasherDefault<Fnv>>>,
}

/// What was found for one field.
#[derive(Clone, Copy, Default)]
struct Slot<'m> {
    raw: Option<&'m str>,
    /// Found by its exact name, not by its name in another case.
    exact: bool,
    /// Found in two spellings, neither of them exact.
    ambiguous: bool,
}

impl FieldTable {
    /// With `any_case`, a field whose name differs from a column's in case only is found too, where that is unambiguous.
    pub(super) fn new(any_case: bool) -> Self {
        Self { folded: any_case.then(HashMap::default), ..Self::default() }
    }

    /// The place of this field, made if need be.
    pub(super) fn add(&mut self, name: &str) -> usize {
        if let Some(place) = self.exact.get(name) {
            return *place;
        }
        let place = self.names.len();
        self.names.push(name.into());
        self.exact.insert(name.into(), place);
        if let Some(folded) = &mut self.folded {
            let lower = name.to_ascii_lowercase().into();
            folded.entry(lower).and_modify(|entry| *entry = None).or_insert(Some(place));
        }
        place
    }

    pub(super) fn name(&self, place: usize) -> &str {
        &self.names[place]
    }

    fn find(&self, name: &str) -> Option<(usize, bool)> {
        if let Some(place) = self.exact.get(name) {
            return Some((*place, true));
        }
        let folded = self.folded.as_ref()?.get(&*name.to_ascii_lowercase())?;
        folded.map(|place| (place, false))
    }

    /// The raw JSON of each field, by place.
    pub(super) fn read<'m>(&self, data: &'m str, table: &str) -> Result<Vec<Option<&'m str>>, Rejection> {
        let mut slots = vec![Slot::default(); self.names.len()];
        let mut twice = None;
        let mut json = serde_json::Deserializer::from_str(data);
        let outcome = Record { fields: self, slots: &mut slots, twice: &mut twice }.deserialize(&mut json);
        if let Err(error) = outcome.and_then(|()| json.end()) {
            let why = match twice {
                Some(field) => format!("field `{}` stands in the record twice", self.names[field]),
                // The parser's own words could show what stands in the record.
                None => format!(
                    "the record is not a JSON object that can be read (line {}, column {})",
                    error.line(),
                    error.column()
                ),
            };
            return Err(rejection("type", None, format!("{why}; it was meant for table `{table}`")));
        }
        if let Some(field) = slots.iter().position(|slot| slot.ambiguous) {
            let name = &self.names[field];
            return Err(rejection(
                "type",
                Some(name),
                format!(
                    "two fields differ from column `{name}` of table `{table}` in case only: name one of them `{name}`"
                ),
            ));
        }
        Ok(slots.into_iter().map(|slot| slot.raw).collect())
    }
}

/// Reads an object into the slots of the fields it has.
struct Record<'t, 's, 'm> {
    fields: &'t FieldTable,
    slots: &'s mut [Slot<'m>],
    twice: &'s mut Option<usize>,
}

impl<'m> DeserializeSeed<'m> for Record<'_, '_, 'm> {
    type Value = ();

    fn deserialize<D: Deserializer<'m>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'m> Visitor<'m> for Record<'_, '_, 'm> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'m>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(found) = map.next_key_seed(Name(|name: &str| self.fields.find(name)))? {
            let Some((place, exact)) = found else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let raw = map.next_value::<&'m RawValue>()?.get();
            let slot = &mut self.slots[place];
            match (slot.raw.is_some(), slot.exact, exact) {
                (true, true, true) => {
                    *self.twice = Some(place);
                    return Err(A::Error::custom("a field stands there twice"));
                }
                (true, true, false) => {}
                (true, false, false) => slot.ambiguous = true,
                (false, _, _) | (true, false, true) => *slot = Slot { raw: Some(raw), exact, ambiguous: false },
            }
        }
        Ok(())
    }
}

/// Reads a member's name and turns it into something at once, without keeping it.
struct Name<F>(F);

impl<'m, T, F: FnOnce(&str) -> T> DeserializeSeed<'m> for Name<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'m>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T, F: FnOnce(&str) -> T> Visitor<'_> for Name<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<T, E> {
        Ok((self.0)(name))
    }
}

/// The members of an object in their order, values as raw JSON.
pub(super) fn members(object: &str) -> Result<Vec<(String, &str)>, serde_json::Error> {
    struct Members;

    impl<'m> Visitor<'m> for Members {
        type Value = Vec<(String, &'m str)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'m>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(name) = map.next_key_seed(Name(str::to_owned))? {
                members.push((name, map.next_value::<&'m RawValue>()?.get()));
            }
            Ok(members)
        }
    }

    let mut json = serde_json::Deserializer::from_str(object);
    let members = json.deserialize_map(Members)?;
    json.end()?;
    Ok(members)
}

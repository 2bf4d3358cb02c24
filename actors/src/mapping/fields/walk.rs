//! The walk through a record along the tree of wanted paths, as the JSON reader comes upon its values.
//!
//! One pass: what is wanted is kept as text, what is on the way is entered, all else is skipped. Called by [`super`] alone.

use std::{collections::HashSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{FieldTable, Slot, Unread};
use crate::mapping::path::Step;

/// One walk through a record.
pub(super) struct Walk<'w, 'm> {
    pub(super) fields: &'w FieldTable,
    pub(super) slots: &'w mut [Slot<'m>],
    pub(super) strict: Option<&'w HashSet<Box<str>>>,
    /// Whether every value on the way is first taken as text: twice the work, for what can't be decoded.
    pub(super) careful: bool,
    pub(super) stopped: Option<Unread>,
}

impl Walk<'_, '_> {
    pub(super) fn end(self, outcome: Result<(), serde_json::Error>) -> Result<(), Unread> {
        match (outcome, self.stopped) {
            (_, Some(stopped)) => Err(stopped),
            // The parser's own words could show what stands in the record.
            (Err(error), None) => Err(Unread::Broken(error.line(), error.column())),
            (Ok(()), None) => Ok(()),
        }
    }

    /// Nothing below `node` can be found, or nothing of those steps.
    #[cold]
    fn wrong(&mut self, node: usize, kind: &'static str, of: fn(&Step) -> bool) {
        let nodes = &self.fields.nodes;
        let mut below = vec![false; nodes.len()];
        for at in node + 1..nodes.len() {
            if let Some((above, step)) = &nodes[at].from
                && (below[*above] || *above == node && of(step))
            {
                below[at] = true;
                self.slots[at] = Slot::Wrong(node, kind);
            }
        }
    }

    /// What to do with a value that was found for `node`.
    fn meets(&mut self, node: usize, exact: bool) -> Meeting {
        match (self.slots[node], exact) {
            (Slot::Absent, _) | (Slot::Alike(_) | Slot::Ambiguous, true) => Meeting::Take,
            (Slot::Alike(_), false) => {
                self.slots[node] = Slot::Ambiguous;
                Meeting::Skip
            }
            (_, false) => Meeting::Skip,
            (_, true) => Meeting::Twice,
        }
    }
}

enum Meeting {
    Take,
    Skip,
    Twice,
}

/// A value that stands at a node.
struct At<'r, 'w, 'm> {
    node: usize,
    exact: bool,
    walk: &'r mut Walk<'w, 'm>,
}

impl<'m> DeserializeSeed<'m> for At<'_, '_, 'm> {
    type Value = ();

    fn deserialize<D: Deserializer<'m>>(self, deserializer: D) -> Result<(), D::Error> {
        let Self { node, exact, walk } = self;
        let this = &walk.fields.nodes[node];
        let leaf = this.is_leaf() || !exact;
        if !leaf && !this.wanted && !walk.careful {
            walk.slots[node] = Slot::Entered;
            return deserializer.deserialize_any(Inside { node, walk });
        }
        let raw = <&'m RawValue as serde::Deserialize>::deserialize(deserializer)?.get();
        walk.slots[node] = match (this.wanted, exact) {
            (true, true) => Slot::Raw(raw),
            (true, false) => Slot::Alike(raw),
            (false, _) => Slot::Entered,
        };
        if leaf {
            return Ok(());
        }
        let mut json = serde_json::Deserializer::from_str(raw);
        let kind = match raw.as_bytes().first() {
            Some(b'{') => return json.deserialize_map(Inside { node, walk }).map_err(D::Error::custom),
            Some(b'[') => return json.deserialize_seq(Inside { node, walk }).map_err(D::Error::custom),
            Some(b'"') => "a string",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => return Inside { node, walk }.visit_unit(),
            _ => "a number",
        };
        walk.wrong(node, kind, |_| true);
        Ok(())
    }
}

/// What is in a value on the way.
pub(super) struct Inside<'r, 'w, 'm> {
    pub(super) node: usize,
    pub(super) walk: &'r mut Walk<'w, 'm>,
}

impl Inside<'_, '_, '_> {
    fn nothing<E>(self, kind: &'static str) -> Result<(), E> {
        self.walk.wrong(self.node, kind, |_| true);
        Ok(())
    }
}

impl<'m> Visitor<'m> for Inside<'_, '_, 'm> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'m>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { node, walk } = self;
        let (fields, strict) = (walk.fields, walk.strict);
        if !fields.nodes[node].items.is_empty() {
            walk.wrong(node, "an object", |step| matches!(step, Step::Index(_)));
        }
        let find = |name: &str| {
            fields.find(node, name).ok_or_else(|| strict.and_then(|mentioned| fields.unknown(node, name, mentioned)))
        };
        while let Some(found) = map.next_key_seed(Name(find))? {
            let (found, exact) = match found {
                Ok(found) => found,
                Err(unknown) => {
                    if let (Some(name), None) = (unknown, &walk.stopped) {
                        walk.stopped = Some(Unread::Unknown(node, name));
                    }
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            match walk.meets(found, exact) {
                Meeting::Take => map.next_value_seed(At { node: found, exact, walk: &mut *walk })?,
                Meeting::Skip => {
                    map.next_value::<IgnoredAny>()?;
                }
                Meeting::Twice => {
                    walk.stopped = Some(Unread::Twice(found));
                    return Err(A::Error::custom("a field stands there twice"));
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'m>>(self, mut items: A) -> Result<(), A::Error> {
        let Self { node, walk } = self;
        let fields = walk.fields;
        if !fields.nodes[node].names.is_empty() {
            walk.wrong(node, "an array", |step| matches!(step, Step::Name(_)));
        }
        let mut place = 0;
        for &(wanted, found) in &fields.nodes[node].items {
            while place < wanted {
                if items.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(());
                }
                place += 1;
            }
            if items.next_element_seed(At { node: found, exact: true, walk: &mut *walk })?.is_none() {
                return Ok(());
            }
            place += 1;
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        // An element that is null is no record of its own; elsewhere null is absent.
        if self.node == 0 { self.nothing("null") } else { Ok(()) }
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.nothing("a boolean")
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.nothing("a number")
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.nothing("a number")
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.nothing("a number")
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.nothing("a string")
    }
}

/// The elements of an array, each a record of its own.
pub(super) struct Each<'r, 'w, 'm, 'e> {
    pub(super) walk: &'r mut Walk<'w, 'm>,
    pub(super) place: &'r mut usize,
    pub(super) ended: &'r mut bool,
    pub(super) each: &'e mut dyn FnMut(usize, &[Slot<'m>]) -> bool,
}

impl<'m> Visitor<'m> for Each<'_, '_, 'm, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'m>>(self, mut items: A) -> Result<(), A::Error> {
        let Self { walk, place, ended, each } = self;
        loop {
            walk.slots.fill(Slot::Absent);
            if items.next_element_seed(At { node: 0, exact: true, walk: &mut *walk })?.is_none() {
                return Ok(());
            }
            if walk.stopped.is_none()
                && let Err(unread) = walk.fields.ambiguous(walk.slots)
            {
                walk.stopped = Some(unread);
            }
            if walk.stopped.is_none() && !each(*place, walk.slots) {
                *ended = true;
                return Err(A::Error::custom("ended"));
            }
            if walk.stopped.is_some() {
                // Told with the place; the rest of the array can't change it.
                return Err(A::Error::custom("stopped"));
            }
            *place += 1;
        }
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

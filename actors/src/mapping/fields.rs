//! The fields a route reads, and how they are found in a record in one pass without copying a value.
//!
//! The wanted paths are a tree; the record is walked once along it, and what nobody wants is skipped. Values stay the text
//! that came in, so that numbers keep every digit. Called by [`super::Mapping`] for each record, and for each element of an
//! array that goes into a table of its own.

use std::{
    collections::{HashMap, HashSet},
    hash::BuildHasherDefault,
};

use serde::de::Deserializer;

use super::path::{Path, Step};
use crate::fnv::Fnv;

mod flat;
mod walk;

use walk::{Each, Inside, Walk};

// FNV: the keys are an operator's few names, so nobody can fill a bucket, and short names hash in a few nanoseconds.
type ByName<T> = HashMap<Box<str>, T, BuildHasherDefault<Fnv>>;

/// Names up to this length, in bytes, are looked up in lower case without an allocation.
const SHORT_NAME: usize = 64;

/// Longest name of an unknown field that is kept for the rejection, in characters.
const MAX_NAME_CHARS: usize = 64;

/// The tree of a route's paths.
#[derive(Debug)]
pub(super) struct FieldTable {
    /// The root is the record itself; whatever is below a node comes after it.
    nodes: Vec<Node>,
    /// For `"matching"`: names of the root in lower case, `None` where two columns differ in nothing but case.
    folded: Option<ByName<Option<usize>>>,
    /// Whether every wanted field stands at the top of the record.
    flat: bool,
    /// Where fields that nobody reads are refused: names that count as read wherever they stand.
    strict: Option<HashSet<Box<str>>>,
}

#[derive(Debug)]
struct Node {
    /// The node above it and the step from there; the root has none.
    from: Option<(usize, Step)>,
    /// Whether its value itself is wanted.
    wanted: bool,
    names: ByName<usize>,
    /// By place, ascending.
    items: Vec<(usize, usize)>,
}

impl Node {
    fn new(from: Option<(usize, Step)>) -> Self {
        Self { from, wanted: false, names: HashMap::default(), items: Vec::new() }
    }

    fn is_leaf(&self) -> bool {
        self.names.is_empty() && self.items.is_empty()
    }
}

/// What was found for one node of the tree.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Slot<'m> {
    /// Not there, or `null` was on the way.
    #[default]
    Absent,
    /// The value as it came.
    Raw(&'m str),
    /// The same, found by its name in another case.
    Alike(&'m str),
    /// Found in two spellings, neither of them exact.
    Ambiguous,
    /// There, and only what is in it is wanted.
    Entered,
    /// The node above it (given) is a value of this kind, that has nothing in it to be found.
    Wrong(usize, &'static str),
}

/// Why a record can't be read.
#[derive(Debug)]
pub(super) enum Unread {
    /// It is no JSON that can be read, or no object: line and column.
    Broken(usize, usize),
    /// The field of this node stands there twice.
    Twice(usize),
    /// The field of this node stands there in two spellings, neither of them exact.
    Ambiguous(usize),
    /// Nobody reads the field of this name below this node.
    Unknown(usize, Box<str>),
}

impl FieldTable {
    /// With `any_case`, a field whose name differs from a column's in case only is found too, where that is unambiguous.
    pub(super) fn new(any_case: bool) -> Self {
        Self { nodes: vec![Node::new(None)], folded: any_case.then(HashMap::default), flat: true, strict: None }
    }

    /// The node of this path, made if need be; its value is wanted.
    pub(super) fn add(&mut self, path: &Path) -> usize {
        self.flat &= matches!(path.steps(), [Step::Name(_)]);
        let mut at = 0;
        for step in path.steps() {
            let next = self.nodes.len();
            let node = &mut self.nodes[at];
            let there = match step {
                Step::Name(name) => *node.names.entry(name.clone()).or_insert(next),
                Step::Index(index) => match node.items.binary_search_by_key(index, |(place, _)| *place) {
                    Ok(found) => node.items[found].1,
                    Err(place) => {
                        node.items.insert(place, (*index, next));
                        next
                    }
                },
            };
            if there == next {
                self.nodes.push(Node::new(Some((at, step.clone()))));
            }
            at = there;
        }
        self.nodes[at].wanted = true;
        at
    }

    /// The node of the field of this column; with `any_case`, its name is found in another case too.
    pub(super) fn add_column(&mut self, name: &str) -> usize {
        let node = self.add(&Path::of_name(name));
        if let Some(folded) = &mut self.folded {
            let entry = folded.entry(name.to_ascii_lowercase().into());
            entry.and_modify(|entry| *entry = entry.filter(|known| *known == node)).or_insert(Some(node));
        }
        node
    }

    /// Refuses fields that nobody reads, but for those of these names.
    pub(super) fn refuse_unknown(&mut self, mentioned: HashSet<Box<str>>) {
        self.strict = Some(mentioned);
    }

    /// How many slots a record needs.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The path of a node.
    pub(super) fn path(&self, mut node: usize) -> Path {
        let mut steps = Vec::new();
        while let Some((above, step)) = &self.nodes[node].from {
            steps.push(step);
            node = *above;
        }
        steps.into_iter().rev().fold(Path::default(), |path, step| match step {
            Step::Name(name) => path.name(name),
            Step::Index(index) => path.index(*index),
        })
    }

    /// Of which kind the value of `above` would have to be for `below`, which is on from it.
    pub(super) fn wanted_kind(&self, above: usize, below: usize) -> &'static str {
        let mut node = below;
        while let Some((over, step)) = &self.nodes[node].from {
            if *over == above {
                return if matches!(step, Step::Name(_)) { "an object" } else { "an array" };
            }
            node = *over;
        }
        "an object"
    }

    /// The names that are read at a node.
    pub(super) fn names(&self, node: usize) -> impl Iterator<Item = &str> {
        self.nodes[node].names.keys().map(|name| &**name)
    }

    /// Reads a record, which must be an object, into one slot for each node; with `lenient`, whatever else stands in it.
    pub(super) fn read<'m>(&self, data: &'m str, slots: &mut Vec<Slot<'m>>, lenient: bool) -> Result<(), Unread> {
        if self.flat && (lenient || self.strict.is_none()) {
            slots.clear();
            slots.resize(self.nodes.len(), Slot::Absent);
            if flat::read(self, data, slots).is_some() {
                return Ok(());
            }
        }
        let outcome = self.attempt(data, slots, lenient, false);
        let outcome = match outcome {
            // Reading in one go fails at numbers and texts that can't be decoded, even where they are not wanted.
            Err(Unread::Broken(..)) if self.nodes.iter().skip(1).any(|node| !node.is_leaf()) => {
                self.attempt(data, slots, lenient, true)
            }
            other => other,
        };
        outcome?;
        self.ambiguous(slots)
    }

    fn attempt<'m>(
        &self,
        data: &'m str,
        slots: &mut Vec<Slot<'m>>,
        lenient: bool,
        careful: bool,
    ) -> Result<(), Unread> {
        slots.clear();
        slots.resize(self.nodes.len(), Slot::Absent);
        if self.nodes[0].wanted {
            slots[0] = Slot::Raw(data.trim());
        }
        let mut walk =
            Walk { fields: self, slots, strict: self.strict.as_ref().filter(|_| !lenient), careful, stopped: None };
        let mut json = serde_json::Deserializer::from_str(data);
        let outcome = json.deserialize_map(Inside { node: 0, walk: &mut walk }).and_then(|()| json.end());
        walk.end(outcome)
    }

    /// Reads an array, element by element, into one slot for each node, and shows the slots of each with its place. `each`
    /// says no to end it; it may begin anew, at place 0.
    pub(super) fn read_each<'m>(
        &self,
        array: &'m str,
        mut each: impl FnMut(usize, &[Slot<'m>]) -> bool,
    ) -> Result<(), (usize, Unread)> {
        let outcome = self.attempt_each(array, false, &mut each);
        match outcome {
            Err((_, Unread::Broken(..))) => self.attempt_each(array, true, &mut each),
            other => other,
        }
    }

    fn attempt_each<'m>(
        &self,
        array: &'m str,
        careful: bool,
        each: &mut dyn FnMut(usize, &[Slot<'m>]) -> bool,
    ) -> Result<(), (usize, Unread)> {
        let mut slots = vec![Slot::Absent; self.nodes.len()];
        let mut place = 0;
        let mut ended = false;
        let mut walk = Walk { fields: self, slots: &mut slots, strict: self.strict.as_ref(), careful, stopped: None };
        let mut json = serde_json::Deserializer::from_str(array);
        let outcome = json.deserialize_seq(Each { walk: &mut walk, place: &mut place, ended: &mut ended, each });
        if ended {
            return Ok(());
        }
        let outcome = outcome.and_then(|()| json.end());
        walk.end(outcome).map_err(|unread| (place, unread))
    }

    fn ambiguous(&self, slots: &[Slot<'_>]) -> Result<(), Unread> {
        if self.folded.is_none() {
            return Ok(());
        }
        match slots.iter().position(|slot| matches!(slot, Slot::Ambiguous)) {
            Some(node) => Err(Unread::Ambiguous(node)),
            None => Ok(()),
        }
    }

    /// The node of this name below `node`, and whether that is its exact name.
    fn find(&self, node: usize, name: &str) -> Option<(usize, bool)> {
        if let Some(found) = self.nodes[node].names.get(name) {
            return Some((*found, true));
        }
        let folded = self.folded.as_ref().filter(|_| node == 0)?;
        let mut lower = [0; SHORT_NAME];
        let found = match lower.get_mut(..name.len()) {
            Some(lower) => {
                lower.copy_from_slice(name.as_bytes());
                lower.make_ascii_lowercase();
                folded.get(std::str::from_utf8(lower).ok()?)
            }
            None => folded.get(&*name.to_ascii_lowercase()),
        };
        found?.map(|found| (found, false))
    }

    /// The name to keep, where it is to be refused that nobody reads it.
    #[cold]
    fn unknown(&self, node: usize, name: &str, mentioned: &HashSet<Box<str>>) -> Option<Box<str>> {
        // Where the value is taken as a whole, all of it is read.
        let mut above = Some(node);
        while let Some(at) = above {
            if self.nodes[at].wanted {
                return None;
            }
            above = self.nodes[at].from.as_ref().map(|(above, _)| *above);
        }
        (!mentioned.contains(name)).then(|| name.chars().take(MAX_NAME_CHARS).collect::<String>().into())
    }
}

//! From a piece of the log to one transaction: pure, called by [`crate::delivery`] for every piece.
//!
//! Each message goes through the mapping of every route of its topic; the changes are folded, grouped into statements
//! and, together with the dead letters the piece passes, made into what a driver writes.

pub(crate) mod block;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use crate::{
    fold::{Change, Tables, fold},
    mapping::{Mapped, Mapping, Whence},
    message::{Generation, Message, Position, StreamId},
    ports::Rejection,
    route::{OnExisting, RouteSpec},
    transaction::{DeadId, DeadRow, Statement, Supersede, Trial},
};

mod ahead;
mod group;

pub use ahead::{AheadOf, MappedAhead};

/// One route, compiled against the table as it stands.
#[derive(Debug)]
pub struct Plan {
    /// The route.
    pub route: Arc<RouteSpec>,
    /// Its mapping.
    pub mapping: Mapping,
    /// Under which the log keeps route and table.
    pub digest: String,
    /// The same number for routes into the same table.
    pub table: usize,
    /// When the catalogue was read.
    pub read_at: Instant,
}

impl Plan {
    /// Whether its changes write child tables too.
    #[must_use]
    pub fn has_children(&self) -> bool {
        !self.mapping.children.is_empty()
    }
}

/// Whether a route's changes are never folded: it says so; a change counts only against the version that is there when its
/// turn comes; or children are written only if their parent was not there.
#[must_use]
pub fn stays_apart(route: &RouteSpec, mapping: &Mapping) -> bool {
    let if_absent = route.on_existing == OnExisting::Ignore && !mapping.children.is_empty();
    route.every_change || mapping.plan.version.is_some() || if_absent
}

/// All routes of one destination that are compiled.
#[derive(Debug, Default)]
pub struct Plans {
    list: Vec<Plan>,
    /// For each plan the first one that writes the same table by the same key.
    spaces: Vec<usize>,
    /// For each plan the numbers of its child tables, of the same kind as [`Plan::table`].
    child_tables: Vec<Vec<usize>>,
    /// For each plan whether its changes are never folded.
    apart: Vec<bool>,
    /// By application, then by topic.
    by_topic: HashMap<Box<str>, HashMap<Box<str>, Vec<usize>>>,
}

impl Plans {
    /// Puts the plans in order.
    #[must_use]
    pub fn new(list: Vec<Plan>) -> Self {
        let mut by_topic: HashMap<_, HashMap<_, Vec<usize>>> = HashMap::new();
        for (place, plan) in list.iter().enumerate() {
            let topics = by_topic.entry(plan.route.application.as_str().into()).or_default();
            topics.entry(plan.route.topic.as_str().into()).or_default().push(place);
        }
        let space = |plan: &Plan| {
            let same = |other: &Plan| other.table == plan.table && key_columns(other).eq(key_columns(plan));
            list.iter().position(same).unwrap_or_default()
        };
        let spaces = list.iter().map(space).collect();
        let child_tables = child_tables(&list);
        let apart = list.iter().map(|plan| stays_apart(&plan.route, &plan.mapping)).collect();
        Self { list, spaces, child_tables, apart, by_topic }
    }

    /// The plan at this place.
    #[must_use]
    pub fn get(&self, place: usize) -> &Plan {
        &self.list[place]
    }

    /// The places of the plans for a topic.
    fn of_topic(&self, application: &str, topic: &str) -> &[usize] {
        self.by_topic.get(application).and_then(|topics| topics.get(topic)).map_or(&[], Vec::as_slice)
    }

    /// Every plan.
    #[must_use]
    pub fn all(&self) -> &[Plan] {
        &self.list
    }

    /// The plan of the route with this id.
    #[must_use]
    pub fn of_route(&self, id: &str) -> Option<usize> {
        self.list.iter().position(|plan| plan.route.id == id)
    }
}

/// Numbers for the child tables: a table that is a route's own too has one number.
fn child_tables(list: &[Plan]) -> Vec<Vec<usize>> {
    let mut numbers: HashMap<(&str, &str), usize> = HashMap::new();
    for plan in list {
        let table = &plan.mapping.plan.table;
        numbers.insert((&table.schema, &table.name), plan.table);
    }
    let mut next = list.iter().map(|plan| plan.table + 1).max().unwrap_or_default();
    let mut all = Vec::with_capacity(list.len());
    for plan in list {
        let mut of_plan = Vec::with_capacity(plan.mapping.children.len());
        for child in &plan.mapping.children {
            let number = *numbers.entry((&child.table.schema, &child.table.name)).or_insert(next);
            next = next.max(number + 1);
            of_plan.push(number);
        }
        all.push(of_plan);
    }
    all
}

/// Places of the key's columns in the table.
fn key_columns(plan: &Plan) -> impl Iterator<Item = usize> {
    let plan = &plan.mapping.plan;
    plan.key.iter().map(|&place| plan.columns[place])
}

impl Tables for Plans {
    fn table(&self, plan: usize) -> usize {
        self.list[plan].table
    }

    fn key_space(&self, plan: usize) -> usize {
        self.spaces[plan]
    }

    fn every_change(&self, plan: usize) -> bool {
        self.apart[plan]
    }

    fn child_tables(&self, plan: usize) -> &[usize] {
        &self.child_tables[plan]
    }
}

/// Where each route of a lane begins, seen from the generation that is being read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Starts {
    begin: HashMap<String, Begin>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    After(StreamId),
    Later,
}

impl Starts {
    /// Orders the starts of a lane by its stream's generations.
    #[must_use]
    pub fn new(starts: &[(String, Position)], order: &[Generation], current: &Generation) -> Self {
        let place = |generation: &Generation| order.iter().position(|known| known == generation);
        let now = place(current);
        let begin = starts.iter().map(|(route, start)| {
            let begin = match place(&start.generation).cmp(&now) {
                std::cmp::Ordering::Less => Begin::After(StreamId::ZERO),
                std::cmp::Ordering::Equal => Begin::After(start.id),
                std::cmp::Ordering::Greater => Begin::Later,
            };
            (route.clone(), begin)
        });
        Self { begin: begin.collect() }
    }

    /// Leaves a route to another row of the lane.
    pub fn leave(&mut self, route: &str) {
        self.begin.insert(route.to_owned(), Begin::Later);
    }

    /// Takes everything of a route, wherever it began: what is sent again may lie before that.
    pub fn take_all(&mut self, route: &str) {
        self.begin.insert(route.to_owned(), Begin::After(StreamId::ZERO));
    }

    fn wants(&self, route: &str, id: StreamId) -> bool {
        match self.begin.get(route) {
            Some(Begin::After(after)) => id > *after,
            Some(Begin::Later) => false,
            None => true,
        }
    }
}

/// Dead letters that still stand, by table and key: a later record of the key makes them obsolete.
pub type DeadKeys = HashMap<(Box<str>, Box<str>), Vec<DeadId>>;

/// What a piece is composed from.
#[derive(Debug)]
pub struct Piece<'a> {
    /// The application whose stream it is.
    pub application: &'a str,
    /// The generation that is being read.
    pub generation: &'a Generation,
    /// The messages, in order.
    pub messages: &'a [&'a Message],
    /// Where the routes begin.
    pub starts: &'a Starts,
    /// What the database refused already: (message, plan) → why. These become dead letters.
    pub refused: &'a BTreeMap<(usize, usize), Rejection>,
    /// Dead letters that stand.
    pub dead: &'a DeadKeys,
    /// Whether changes of one key may be folded.
    pub fold: bool,
}

/// A message that one route can't write.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Place in the piece.
    pub message: usize,
    /// Place of the plan.
    pub plan: usize,
    /// Why.
    pub reason: Rejection,
    /// Whether mapping found it (the catalogue may have changed since it was read) or the database did.
    pub by_mapping: bool,
    /// The dead letter of its key that it waits behind, where there is nothing else against it.
    pub blocked_by: Option<DeadId>,
}

/// A piece, composed.
#[derive(Debug, Default)]
pub struct Composed {
    /// What is written.
    pub statements: Vec<Statement>,
    /// The changes behind each row of each statement: places in the piece and in the plans.
    pub sources: Vec<Vec<(Vec<usize>, usize)>>,
    /// What is given up.
    pub refused: Vec<Refused>,
    /// The rows for that.
    pub bury: Vec<DeadRow>,
    /// What becomes obsolete.
    pub supersede: Vec<Supersede>,
    /// Plans that had something to do here.
    pub plans: Vec<usize>,
    /// What is written on trial.
    pub trials: Vec<Trial>,
    /// Why each of these is on trial: what it is given up for, unless the database says otherwise.
    pub tried: Vec<Refused>,
    /// Only the messages before this place are composed: the fate of a trial decides what becomes of it.
    pub cut: Option<usize>,
    /// The statements that write child tables.
    pub of_children: BTreeSet<usize>,
}

impl Composed {
    /// Rows that are written for messages: those of the routes' own tables and those of child tables, but not what is cleared
    /// before.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.sources.iter().map(Vec::len).sum()
    }

    /// The same of some of the statements.
    #[must_use]
    pub fn rows_in(&self, statements: std::ops::Range<usize>) -> usize {
        self.sources.get(statements).map_or(0, |of| of.iter().map(Vec::len).sum())
    }

    /// How many of the rows are written, where these touched nothing.
    #[must_use]
    pub fn rows_written(&self, untouched: &[(usize, usize)]) -> usize {
        let counted =
            |(statement, row): &&(usize, usize)| self.sources.get(*statement).is_some_and(|of| *row < of.len());
        self.rows().saturating_sub(untouched.iter().filter(counted).count())
    }

    /// Places of the messages whose own rows are among these, which touched nothing.
    pub fn untouched_messages(&self, untouched: &[(usize, usize)]) -> impl Iterator<Item = usize> {
        let own = untouched.iter().filter(|(statement, _)| !self.of_children.contains(statement));
        own.filter_map(|&(statement, row)| self.sources.get(statement)?.get(row)).flat_map(|(at, _)| at).copied()
    }
}

/// Composes a piece.
#[must_use]
pub fn compose(piece: &Piece<'_>, plans: &Plans) -> Composed {
    compose_with(piece, &BTreeMap::new(), plans, None)
}

/// The same with some changes, (message, plan), on trial: each stands alone, after all that comes before it in the log. What was
/// mapped ahead need not be mapped now.
#[must_use]
pub fn compose_with(
    piece: &Piece<'_>,
    on_trial: &BTreeMap<(usize, usize), Rejection>,
    plans: &Plans,
    ahead: Option<&mut MappedAhead>,
) -> Composed {
    let mut composed = Composed::default();
    let whence = Whence { application: piece.application, generation: piece.generation };
    let mut changes = Vec::with_capacity(piece.messages.len());
    let mut later: Vec<(Box<str>, Box<str>, StreamId)> = Vec::new();
    let mut tried_keys: HashSet<(Box<str>, Box<str>)> = HashSet::new();
    let ahead = ahead.filter(|ahead| ahead.is_for(plans, whence)).zip(piece.messages.first());
    let mut ahead = ahead.map(|(ahead, first)| ahead.from(first.id));
    for (place, message) in piece.messages.iter().enumerate() {
        let of_topic = plans.of_topic(piece.application, &message.topic);
        let first_row = ahead.as_mut().and_then(|rows| rows.first_of(message));
        for (nth, &at) in of_topic.iter().enumerate() {
            let plan = plans.get(at);
            if !piece.starts.wants(&plan.route.id, message.id) {
                continue;
            }
            let mapped = match piece.refused.get(&(place, at)) {
                Some(reason) => Err(Box::new(Refused::by_database(place, at, reason.clone()))),
                None => {
                    match taken(&mut ahead, first_row, nth).unwrap_or_else(|| plan.mapping.apply(message, whence)) {
                        Ok(Mapped::Row(row)) => block::checked(piece, &composed.bury, plan, row, place, at),
                        Ok(Mapped::Skipped | Mapped::Nothing) => Ok(None),
                        Err(reason) => Err(Box::new(Refused {
                            message: place,
                            plan: at,
                            reason,
                            by_mapping: true,
                            blocked_by: None,
                        })),
                    }
                }
            };
            let trial = on_trial.get(&(place, at)).filter(|_| matches!(mapped, Ok(Some(_))));
            let key = match &mapped {
                _ if tried_keys.is_empty() && trial.is_none() => None,
                Ok(row) => row.as_ref().and_then(|row| row.key.clone()),
                Err(refused) if refused.blocked_by.is_some() => plan.mapping.key(message, whence),
                Err(_) => None,
            };
            if let Some(key) = key {
                let named = (plan.route.table.as_str().into(), key);
                let given_up =
                    || composed.bury.iter().any(|dead| dead.table == named.0 && dead.key.as_ref() == Some(&named.1));
                // What it makes obsolete, or waits for, is known only once the trial is over.
                if place > 0 && (tried_keys.contains(&named) || (trial.is_some() && given_up())) {
                    let shorter = Piece { messages: &piece.messages[..place], ..*piece };
                    return Composed { cut: Some(place), ..compose_with(&shorter, on_trial, plans, None) };
                }
                if trial.is_some() {
                    tried_keys.insert(named);
                }
            }
            if !composed.plans.contains(&at) {
                composed.plans.push(at);
            }
            match mapped {
                Ok(None) => {}
                Ok(Some(row)) => {
                    let key = row.key.clone();
                    let change = Change {
                        plan: at,
                        op: row.op,
                        must_touch: row.must_touch,
                        cells: row.cells,
                        insert_only: row.insert_only,
                        key: row.key,
                        children: row.children,
                        messages: vec![place],
                        wave: 0,
                    };
                    let Some(reason) = trial else {
                        if let Some(key) = &key {
                            note_later(piece, &composed.bury, &mut later, &plan.route.table, key, message.id);
                        }
                        changes.push(change);
                        continue;
                    };
                    composed.add(std::mem::take(&mut changes), piece.fold, plans);
                    let first = composed.statements.len();
                    composed.add(vec![change], false, plans);
                    let table: Box<str> = plan.route.table.as_str().into();
                    let named = key.clone().map(|key| (table.clone(), key));
                    let stands = named.filter(|named| piece.dead.contains_key(named));
                    composed.trials.push(Trial {
                        statements: first..composed.statements.len(),
                        bury: dead_row(piece, message, plan, key),
                        supersede: stands.map(|(table, key)| Supersede { table, key, by: message.id }),
                    });
                    composed.tried.push(Refused::by_database(place, at, reason.clone()));
                }
                Err(refused) => {
                    let key = plan.mapping.key(message, whence);
                    composed.bury.push(dead_row(piece, message, plan, key));
                    composed.refused.push(*refused);
                }
            }
        }
    }
    for (table, key, by) in later {
        for row in &mut composed.bury {
            let older = row.dead.id < by && row.superseded_by.is_none();
            if older && row.table == table && row.key.as_ref() == Some(&key) {
                row.superseded_by = Some(by);
            }
        }
        // The first one counts, and each key is named once: a database may pick any of several.
        let named = |known: &Supersede| known.table == table && known.key == key;
        // What is sent again, or catches up, may be older than all that is dead of its key.
        let newer = |dead: &DeadId| dead.generation == *piece.generation && dead.id > by;
        let older = |standing: &Vec<DeadId>| !standing.iter().all(newer);
        let obsolete = piece.dead.get(&(table.clone(), key.clone())).is_some_and(older);
        if obsolete && !composed.supersede.iter().any(named) {
            composed.supersede.push(Supersede { table, key, by });
        }
    }
    composed.add(changes, piece.fold, plans);
    composed
}

/// The row of a message's `nth` plan, where it was mapped ahead.
fn taken(ahead: &mut Option<ahead::Rows<'_>>, first: Option<usize>, nth: usize) -> Option<Result<Mapped, Rejection>> {
    ahead.as_mut()?.take(first? + nth)
}

impl Refused {
    fn by_database(message: usize, plan: usize, reason: Rejection) -> Self {
        Self { message, plan, reason, by_mapping: false, blocked_by: None }
    }
}

impl Composed {
    /// Adds these changes behind all that is there.
    fn add(&mut self, changes: Vec<Change>, folding: bool, plans: &Plans) {
        let mut changes = if folding { fold(changes, plans) } else { changes };
        changes.sort_by_key(|change| change.wave);
        let mut part = Self::default();
        group::group(changes, plans, &mut part);
        let before = self.statements.len();
        for statement in &mut part.statements {
            statement.parents.iter_mut().for_each(|(parent, _)| *parent += before);
        }
        self.of_children.extend(part.of_children.into_iter().map(|at| before + at));
        self.statements.append(&mut part.statements);
        self.sources.append(&mut part.sources);
    }
}

fn dead_row(piece: &Piece<'_>, message: &Message, plan: &Plan, key: Option<Box<str>>) -> DeadRow {
    DeadRow {
        dead: DeadId { generation: piece.generation.clone(), id: message.id, route: plan.route.id.as_str().into() },
        table: plan.route.table.as_str().into(),
        key,
        superseded_by: None,
    }
}

/// Remembers that a key is written again, where a dead letter of that key may stand.
fn note_later(
    piece: &Piece<'_>,
    bury: &[DeadRow],
    later: &mut Vec<(Box<str>, Box<str>, StreamId)>,
    table: &str,
    key: &str,
    id: StreamId,
) {
    if piece.dead.is_empty() && bury.is_empty() {
        return;
    }
    let buried_here = bury.iter().any(|row| &*row.table == table && row.key.as_deref() == Some(key));
    if buried_here || piece.dead.contains_key(&(table.into(), key.into())) {
        later.push((table.into(), key.into(), id));
    }
}

#[cfg(test)]
mod tests;

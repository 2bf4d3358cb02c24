//! From a piece of the log to one transaction: pure, called by [`crate::delivery`] for every piece.
//!
//! Each message goes through the mapping of every route of its topic; the changes are folded, grouped into statements
//! and, together with the dead letters the piece passes, made into what a driver writes.

pub(crate) mod block;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use crate::{
    fold::{Change, Tables, fold},
    mapping::{Mapped, Mapping, Whence},
    message::{Action, Generation, Message, Position, StreamId},
    ports::Rejection,
    route::RouteSpec,
    transaction::{Cell, DeadId, DeadRow, Op, Statement, Supersede, Trial},
};

/// A statement is only looked for among so many of the last ones: beyond it a new one is begun, so that a batch whose
/// rows all differ in their columns costs no quadratic search.
const STATEMENTS_SEARCHED: usize = 32;

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

/// All routes of one destination that are compiled.
#[derive(Debug, Default)]
pub struct Plans {
    list: Vec<Plan>,
    /// For each plan the first one that writes the same table by the same key.
    spaces: Vec<usize>,
    by_topic: HashMap<(Box<str>, Box<str>), Vec<usize>>,
}

impl Plans {
    /// Puts the plans in order.
    #[must_use]
    pub fn new(list: Vec<Plan>) -> Self {
        let mut by_topic: HashMap<_, Vec<usize>> = HashMap::new();
        for (place, plan) in list.iter().enumerate() {
            let topic = (plan.route.application.as_str().into(), plan.route.topic.as_str().into());
            by_topic.entry(topic).or_default().push(place);
        }
        let space = |plan: &Plan| {
            let same = |other: &Plan| other.table == plan.table && key_columns(other).eq(key_columns(plan));
            list.iter().position(same).unwrap_or_default()
        };
        let spaces = list.iter().map(space).collect();
        Self { list, spaces, by_topic }
    }

    /// The plan at this place.
    #[must_use]
    pub fn get(&self, place: usize) -> &Plan {
        &self.list[place]
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
        self.list[plan].route.every_change
    }
}

/// Where each route of a lane begins, seen from the generation that is being read.
#[derive(Clone, Debug, Default)]
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
}

impl Composed {
    /// Rows in all.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.statements.iter().map(|statement| statement.rows.len()).sum()
    }
}

/// Composes a piece.
#[must_use]
pub fn compose(piece: &Piece<'_>, plans: &Plans) -> Composed {
    compose_with(piece, &BTreeMap::new(), plans)
}

/// The same with some changes, (message, plan), on trial: each stands alone, after all that comes before it in the log.
#[must_use]
pub fn compose_with(piece: &Piece<'_>, on_trial: &BTreeMap<(usize, usize), Rejection>, plans: &Plans) -> Composed {
    let mut composed = Composed::default();
    let whence = Whence { application: piece.application, generation: piece.generation };
    let mut changes = Vec::with_capacity(piece.messages.len());
    let mut later: Vec<(Box<str>, Box<str>, StreamId)> = Vec::new();
    let mut tried_keys: HashSet<(Box<str>, Box<str>)> = HashSet::new();
    let mut topic_plans: HashMap<&str, &[usize]> = HashMap::new();
    for (place, message) in piece.messages.iter().enumerate() {
        let of_topic = *topic_plans.entry(&message.topic).or_insert_with(|| {
            let topic = (piece.application.into(), message.topic.clone());
            plans.by_topic.get(&topic).map_or(&[], Vec::as_slice)
        });
        for &at in of_topic {
            let plan = plans.get(at);
            if !piece.starts.wants(&plan.route.id, message.id) {
                continue;
            }
            let mapped = match piece.refused.get(&(place, at)) {
                Some(reason) => Err(Box::new(Refused::by_database(place, at, reason.clone()))),
                None => match plan.mapping.apply(message, whence) {
                    Ok(Mapped::Row(row)) => block::checked(piece, &composed.bury, plan, row, place, at),
                    Ok(Mapped::Skipped) => Ok(None),
                    Err(reason) => {
                        Err(Box::new(Refused { message: place, plan: at, reason, by_mapping: true, blocked_by: None }))
                    }
                },
            };
            let trial = on_trial.get(&(place, at)).filter(|_| matches!(mapped, Ok(Some(_))));
            let key = match &mapped {
                _ if tried_keys.is_empty() && trial.is_none() => None,
                Ok(row) => row.as_ref().and_then(|row| row.key.clone()),
                Err(refused) if refused.blocked_by.is_some() => key_of(&plan.mapping, message, whence),
                Err(_) => None,
            };
            if let Some(key) = key {
                let named = (plan.route.table.as_str().into(), key);
                let given_up =
                    || composed.bury.iter().any(|dead| dead.table == named.0 && dead.key.as_ref() == Some(&named.1));
                // What it makes obsolete, or waits for, is known only once the trial is over.
                if place > 0 && (tried_keys.contains(&named) || (trial.is_some() && given_up())) {
                    let shorter = Piece { messages: &piece.messages[..place], ..*piece };
                    return Composed { cut: Some(place), ..compose_with(&shorter, on_trial, plans) };
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
                    let key = key_of(&plan.mapping, message, whence);
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
        if piece.dead.contains_key(&(table.clone(), key.clone())) && !composed.supersede.iter().any(named) {
            composed.supersede.push(Supersede { table, key, by });
        }
    }
    composed.add(changes, piece.fold, plans);
    composed
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
        group(changes, plans, &mut part);
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

/// The key of a record that can't be written: what a delete of it would look for.
fn key_of(mapping: &Mapping, message: &Message, whence: Whence<'_>) -> Option<Box<str>> {
    let delete = Message { action: Action::Delete, ..message.clone() };
    match mapping.apply(&delete, whence) {
        Ok(Mapped::Row(row)) => row.key,
        _ => None,
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

fn group(changes: Vec<Change>, plans: &Plans, composed: &mut Composed) {
    let mut waves: Vec<usize> = Vec::new();
    for mut change in changes {
        let plan = plans.get(change.plan);
        for (place, cell) in &change.insert_only {
            change.cells[*place] = cell.clone();
        }
        let is_key = |place: &usize| plan.mapping.plan.key.contains(place);
        let written =
            |place: &usize| change.cells[*place] != Cell::Absent && (change.op != Op::Delete || is_key(place));
        let only_on_insert =
            |place: usize| change.op == Op::Upsert && change.insert_only.iter().any(|(only, _)| *only == place);
        let fits = |statement: &Statement| {
            Arc::ptr_eq(&statement.plan, &plan.mapping.plan)
                && statement.op == change.op
                && statement.must_touch == change.must_touch
                && statement.columns.iter().copied().eq((0..change.cells.len()).filter(written))
                && statement.insert_only.iter().map(|&at| statement.columns[at]).eq(statement
                    .columns
                    .iter()
                    .copied()
                    .filter(|&place| only_on_insert(place)))
        };
        let found = (0..composed.statements.len())
            .rev()
            .take(STATEMENTS_SEARCHED)
            .take_while(|&at| waves[at] == change.wave)
            .find(|&at| fits(&composed.statements[at]));
        let at = found.unwrap_or_else(|| {
            let columns: Vec<_> = (0..change.cells.len()).filter(written).collect();
            let only = columns.iter().enumerate().filter(|(_, place)| only_on_insert(**place)).map(|(at, _)| at);
            composed.statements.push(Statement {
                plan: Arc::clone(&plan.mapping.plan),
                op: change.op,
                must_touch: change.must_touch,
                insert_only: only.collect(),
                columns,
                rows: Vec::new(),
            });
            composed.sources.push(Vec::new());
            waves.push(change.wave);
            composed.statements.len() - 1
        });
        let statement = &mut composed.statements[at];
        let row = if statement.columns.len() == change.cells.len() {
            change.cells
        } else {
            statement.columns.iter().map(|&place| std::mem::replace(&mut change.cells[place], Cell::Absent)).collect()
        };
        statement.rows.push(row);
        composed.sources[at].push((change.messages, change.plan));
    }
}

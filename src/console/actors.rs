//! The tree of every node's actors: state, restarts, progress, what each does, and what went wrong last. Live.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use serde_json::Value;
use tidegate_actors::status::{ActorHealth, ActorKind, ActorState, DestinationDetail};

use super::{
    live::Part,
    look::{Html, Look},
    overview,
    page::{Frame, Nav, PageContext, PageError},
    texts::overview::{self as texts, Overview},
};
use crate::admin::overview::{NodeSeen, Sighting};

/// Progress within this is "just now": the figure would change with every look otherwise.
const JUST_NOW_S: f64 = 3.0;

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(web::resource("/actors").route(web::get().to(show)));
}

#[derive(Template)]
#[template(path = "actors/page.html")]
struct Page {
    frame: Frame,
    text: &'static Overview,
    query: Query,
    /// The names of all nodes.
    names: Vec<String>,
    alarms: Html,
    nodes: Html,
    /// Nothing is like what is asked for.
    nothing: bool,
}

/// What the list is asked for. The page's script goes by the same, since what is drawn live is drawn once for all viewers.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Query {
    /// A part of the name of an actor or of its kind.
    q: String,
    /// One node alone.
    node: String,
    /// Only those in trouble, where it says anything.
    trouble: String,
}

impl Query {
    fn is_filtered(&self) -> bool {
        ![&self.q, &self.node, &self.trouble].into_iter().all(String::is_empty)
    }

    fn lets_through(&self, row: &Row) -> bool {
        let wanted = self.q.trim().to_lowercase();
        let named = format!("{} {}", row.kind, row.name).to_lowercase().contains(&wanted);
        named && (self.trouble.is_empty() || row.is_troubled())
    }
}

/// The nodes with their tables, which are filled by themselves.
#[derive(Template)]
#[template(path = "actors/nodes.html")]
struct Nodes<'a> {
    text: &'static Overview,
    nodes: Vec<(&'a NodeSeen, Html, Html)>,
}

#[derive(Template)]
#[template(path = "actors/head.html")]
struct Head<'a> {
    look: Look,
    text: &'static Overview,
    node: &'a NodeSeen,
    /// How many are in trouble, in words.
    troubled: Option<String>,
}

#[derive(Template)]
#[template(path = "actors/rows.html")]
struct Rows {
    look: Look,
    text: &'static Overview,
    rows: Vec<Row>,
}

/// One actor.
struct Row {
    /// 1 for the supervisor, 2 for whom it watches, 3 for a destination's reader.
    level: u8,
    kind: &'static str,
    name: String,
    state: &'static str,
    tone: &'static str,
    icon: &'static str,
    restarts: u64,
    progress: String,
    work: String,
    breaker: Option<&'static str>,
    breaker_open: bool,
    lease: String,
    epoch: Option<u64>,
    backlog: Option<u64>,
    error: Option<String>,
}

impl Row {
    fn is_troubled(&self) -> bool {
        matches!(self.tone, "bad" | "warning")
    }
}

async fn show(page: PageContext, query: web::Query<Query>) -> Result<HttpResponse, PageError> {
    let query = query.into_inner();
    let look = page.look();
    let text = look.pick(&texts::EN, &texts::ID);
    let sighting = page.console().live.latest();
    let frame = page.frame(Nav::Actors, text.actors_title).of_live_screen();
    let alarms = Html::of(&overview::Alarms::of(&sighting, look))?;
    let names = sighting.nodes.iter().map(|node| node.name.clone()).collect();
    let mut shown = nodes(&sighting, look)?;
    let mut nothing = false;
    if query.is_filtered() {
        shown.nodes.retain(|(node, ..)| query.node.is_empty() || node.name == query.node);
        nothing = true;
        for (node, _, html) in &mut shown.nodes {
            let mut rows = rows(node, look);
            rows.rows.retain(|row| query.lets_through(row));
            nothing &= rows.rows.is_empty();
            *html = Html::of(&rows)?;
        }
    }
    let nodes = Html::of(&shown)?;
    page.render(&Page { frame, text, query, names, alarms, nodes, nothing })
}

fn nodes(sighting: &Sighting, look: Look) -> Result<Nodes<'_>, PageError> {
    let text = look.pick(&texts::EN, &texts::ID);
    let one = |node| Ok((node, Html::of(&head(node, look))?, Html::of(&rows(node, look))?));
    let nodes = sighting.nodes.iter().map(one).collect::<Result<_, PageError>>()?;
    Ok(Nodes { text, nodes })
}

/// The parts of the page that change.
pub(super) fn parts(sighting: &Sighting, look: Look) -> Result<Vec<Part>, PageError> {
    let nodes = nodes(sighting, look)?;
    let shape = sighting.nodes.iter().map(|node| format!("{}\n", node.instance)).collect();
    let mut parts = vec![
        Part::new("alarms", Html::of(&overview::Alarms::of(sighting, look))?.to_string()),
        Part { name: "nodes".into(), html: nodes.render().map_err(PageError::broken)?, shape: Some(shape) },
    ];
    for (node, head, rows) in nodes.nodes {
        parts.push(Part::new(format!("head-{}", node.instance), head.to_string()));
        parts.push(Part::new(format!("rows-{}", node.instance), rows.to_string()));
    }
    Ok(parts)
}

fn head(node: &NodeSeen, look: Look) -> Head<'_> {
    let troubled = node.actors.iter().filter(|actor| error(&actor.detail).is_some() && is_at_fault(actor)).count();
    let text = look.pick(&texts::EN, &texts::ID);
    let troubled = (troubled > 0).then(|| text.troubled.replacen("{}", &look.count(troubled as u64), 1));
    Head { look, text, node, troubled }
}

/// Whether an error is of now: a destination keeps its last one after it is well again.
fn is_at_fault(actor: &ActorHealth) -> bool {
    actor.state != ActorState::Running
}

/// The supervisor, those it watches, and each destination with its reader.
fn rows(node: &NodeSeen, look: Look) -> Rows {
    let text = look.pick(&texts::EN, &texts::ID);
    let order = |actor: &&ActorHealth| match actor.kind {
        ActorKind::Supervisor => (0, String::new(), 0),
        ActorKind::Ingest => (1, actor.name.clone(), 0),
        ActorKind::Janitor => (2, actor.name.clone(), 0),
        ActorKind::Broadcast => (3, actor.name.clone(), 0),
        ActorKind::Destination => (4, actor.name.clone(), 0),
        ActorKind::StreamReader => (4, actor.name.clone(), 1),
    };
    let mut actors: Vec<&ActorHealth> = node.actors.iter().collect();
    actors.sort_by_key(order);
    Rows { look, text, rows: actors.into_iter().map(|actor| row(actor, node, look, text)).collect() }
}

fn error(detail: &Value) -> Option<String> {
    let said = |name: &str| detail.get(name).and_then(Value::as_str).map(str::to_owned);
    said("held").or_else(|| said("last_error"))
}

fn row(actor: &ActorHealth, node: &NodeSeen, look: Look, text: &'static Overview) -> Row {
    let number = |name: &str| actor.detail.get(name).and_then(Value::as_u64);
    let counted = |name: &str, words: &str| number(name).map(|count| words.replacen("{}", &look.count(count), 1));
    let some = |name: &str, words: &str| counted(name, words).filter(|_| number(name) != Some(0));
    let detail: Option<DestinationDetail> =
        (actor.kind == ActorKind::Destination).then(|| serde_json::from_value(actor.detail.clone()).ok()).flatten();
    let work: Vec<Option<String>> = match actor.kind {
        ActorKind::Supervisor => vec![counted("units", text.work_units)],
        ActorKind::Ingest => vec![
            counted("messages", text.work_ingest),
            some("refused", text.work_refused),
            some("in_flight_requests", text.work_under_way),
        ],
        ActorKind::StreamReader => vec![counted("entries_read", text.work_read)],
        ActorKind::Destination => vec![counted("rows_written", text.work_written)],
        ActorKind::Janitor => {
            let share = actor.detail.get("memory_ratio").and_then(Value::as_f64);
            vec![share.map(|share| text.work_memory.replacen("{}", &look.share(share), 1))]
        }
        ActorKind::Broadcast => vec![counted("terminals", text.work_terminals), some("lag_ms", text.work_behind)],
    };
    let [starting, running, waiting, restarting, stopped] = text.actor_states;
    let (state, tone, icon) = match actor.state {
        ActorState::Starting => (starting, "note", "clock"),
        ActorState::Running => (running, "good", "up"),
        ActorState::Waiting => (waiting, waits(actor, detail.as_ref()), "standby"),
        ActorState::Restarting => (restarting, "warning", "refresh"),
        ActorState::Stopped => (stopped, "bad", "down"),
    };
    let [supervisor, ingest, reader, destination, janitor, broadcast] = text.kinds;
    let kind = match actor.kind {
        ActorKind::Supervisor => supervisor,
        ActorKind::Ingest => ingest,
        ActorKind::StreamReader => reader,
        ActorKind::Destination => destination,
        ActorKind::Janitor => janitor,
        ActorKind::Broadcast => broadcast,
    };
    let held_here = detail.as_ref().is_some_and(|detail| detail.leased);
    let lease = match detail.as_ref().map(|detail| (held_here, &detail.owner)) {
        Some((true, _)) => text.lease_here.to_owned(),
        Some((false, Some(owner))) if *owner != node.name => owner.clone(),
        _ => String::new(),
    };
    Row {
        level: match actor.kind {
            ActorKind::Supervisor => 1,
            ActorKind::StreamReader => 3,
            _ => 2,
        },
        kind,
        // There is one of its kind: its name would say it twice.
        name: if actor.name == actor.kind.as_str() { String::new() } else { actor.name.clone() },
        state,
        tone,
        icon,
        restarts: actor.restarts,
        progress: if actor.last_progress_s < JUST_NOW_S {
            text.just_now.to_owned()
        } else {
            text.ago.replacen("{}", &look.span(actor.last_progress_s.round()), 1)
        },
        work: work.into_iter().flatten().collect::<Vec<_>>().join(" · "),
        breaker: detail.as_ref().map(|detail| overview::breaker(text, detail.breaker)),
        breaker_open: detail.as_ref().is_some_and(|detail| detail.breaker.as_str() != "closed"),
        lease,
        epoch: detail.as_ref().and_then(|detail| detail.epoch),
        backlog: detail.as_ref().filter(|_| held_here).map(|detail| detail.backlog),
        error: error(&actor.detail),
    }
}

/// A destination that stands by waits as it should; one that is down or held does not.
fn waits(actor: &ActorHealth, detail: Option<&DestinationDetail>) -> &'static str {
    use tidegate_actors::status::DestinationStatus::{Down, Held};
    match detail.map(|detail| detail.status) {
        Some(Down) => "bad",
        Some(Held) => "warning",
        Some(_) => "note",
        None if actor.detail.get("last_error").is_some_and(|error| !error.is_null()) => "warning",
        None => "note",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;
    use crate::users::Lang;

    fn actor(kind: ActorKind, name: &str, detail: Value) -> ActorHealth {
        ActorHealth { kind, name: name.into(), state: ActorState::Running, restarts: 2, last_progress_s: 0.2, detail }
    }

    #[test]
    fn a_reader_stands_below_its_destination_and_what_went_wrong_is_text() {
        let down = DestinationDetail {
            last_error: Some("<b>refused</b>".into()),
            leased: true,
            epoch: Some(7),
            backlog: 1_234,
            ..DestinationDetail::default()
        };
        let node = NodeSeen {
            name: "a".into(),
            instance: "i".into(),
            version: "1".into(),
            started_ms: 0,
            draining: false,
            writes: Vec::new(),
            here: true,
            old: false,
            actors: vec![
                actor(ActorKind::StreamReader, "rooms", json!({"entries_read": 5, "last_error": null})),
                actor(ActorKind::Destination, "rooms", serde_json::to_value(down).unwrap()),
                actor(ActorKind::Supervisor, "supervisor", json!({"units": 1})),
                actor(ActorKind::Broadcast, "terminals", json!({"terminals": 1_250, "lag_ms": 0, "last_error": null})),
            ],
        };
        let look = Look { lang: Lang::En };
        let rows = rows(&node, look);
        assert_eq!(rows.rows.iter().map(|row| row.level).collect::<Vec<_>>(), [1, 2, 2, 3]);
        let html = rows.render().unwrap();
        assert!(html.contains("&lt;b&gt;refused") && html.contains("1,234") && html.contains("held here"), "{html}");
        assert!(html.contains("terminals connected: 1,250") && !html.contains("behind the log"), "{html}");
        assert!(html.contains("5 entries read") && html.contains("just now"), "{html}");
    }
}

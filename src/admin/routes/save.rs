//! Making, changing and removing a route. All of it goes through the reading and planning of `tidegate apply`: a route is
//! written as its TOML, read back, planned against the registry and held against its tables.

use std::path::Path;

use serde::Serialize;
use tidegate_actors::{
    delivery::now_ms,
    route::{RouteSpec, Start},
};
use tokio::time::timeout;

use super::{Difference, WITHIN, current, destination, differences, route};
use crate::{
    admin::{ActError, Admin, FieldError, Role, Who},
    redis::{dead, sides, status},
    registry::{
        Edit,
        export::route as toml_of,
        manifest::{Manifest, Mistake},
        plan::{Means, Plan, Verb, plan},
    },
    resources::Document,
    tables::fit::{self, Severity},
};

/// A route as somebody wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The route; its id and version are the registry's.
    pub spec: RouteSpec,
    /// The version that was edited; `None` makes a new one.
    pub base: Option<u64>,
}

/// Something that does not keep a route from being saved, and that may not be meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// What of the route it is about: `columns.price`, `key`, `table`; empty for all of it.
    pub field: String,
    /// A stable word: `doubtful` where it may not be meant, `unchecked` where the database could not be asked.
    pub code: &'static str,
    /// The sentence, in English.
    pub message: String,
}

/// What saving would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outlook {
    /// Whether the route is new.
    pub is_new: bool,
    /// Whether it is another route from then on, which begins at its start: its application or destination changes.
    pub begins_anew: bool,
    /// What changes, in words; empty where nothing does.
    pub changes: Vec<String>,
    /// What changes, part by part.
    pub differences: Vec<Difference>,
    /// What may not be meant.
    pub notes: Vec<Note>,
}

/// What saving did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Saved {
    /// The route's name.
    pub name: String,
    /// Its version now.
    pub version: u64,
    /// What it did.
    pub outlook: Outlook,
    /// From where on it catches up with the others of its destination, as the time of a message in milliseconds since the
    /// Unix epoch (0: the earliest one); `None` where it has nothing to catch up with.
    pub catches_up_from_ms: Option<u64>,
}

/// What removing a route would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Removal {
    /// The route.
    pub name: String,
    /// The version that would be removed.
    pub version: u64,
    /// The application.
    pub application: String,
    /// The destination.
    pub destination: String,
    /// The table, which stays as it is with all its rows.
    pub table: String,
    /// Whether it is the last route from its application to its destination: all that waits there for it is forgotten then,
    /// and a route that is made later begins anew.
    pub is_last: bool,
    /// Messages of the application that its destination has yet to pass.
    pub waiting: u64,
    /// Dead letters of this route.
    pub dead: u64,
}

/// The route alone, as `apply` takes it.
#[must_use]
pub fn toml(spec: &RouteSpec) -> String {
    toml_of(spec)
}

/// What saving this would do, after all that can be wrong with it was looked for: the registry is read, the database is
/// asked for its tables, nothing is changed.
///
/// # Errors
/// They may not; what is wrong, field by field; somebody else changed the route meanwhile; Redis is away.
pub async fn outlook(admin: &Admin, who: &Who, draft: &Draft) -> Result<Outlook, ActError> {
    who.needs(Role::Operator)?;
    let document = current(admin).await?;
    looked_at(admin, &document, draft).await
}

async fn looked_at(admin: &Admin, document: &Document, draft: &Draft) -> Result<Outlook, ActError> {
    let plan = planned(document, draft)?;
    let spec = route(&plan.document, &draft.spec.name)?;
    let (mut refused, mut notes) = (Vec::new(), Vec::new());
    for finding in fit::check(&plan.document, &[spec], admin.master_key.as_deref(), &admin.node).await {
        let message = without_name(&finding.message, &spec.name);
        match finding.severity {
            Severity::Refused => refused.push(FieldError { field: finding.at, code: "unfit", message }),
            Severity::Doubtful => notes.push(Note { field: finding.at, code: "doubtful", message }),
            Severity::Unchecked => notes.push(Note { field: finding.at, code: "unchecked", message }),
        }
    }
    if !refused.is_empty() {
        return Err(ActError::Invalid(refused));
    }
    notes.extend(plan.notes.iter().map(|note| Note { field: String::new(), code: "doubtful", message: note.clone() }));
    Ok(foreseen(document, &plan, draft, notes))
}

/// The form says which route it is about.
fn without_name(message: &str, name: &str) -> String {
    message.strip_prefix(&format!("route `{name}`: ")).unwrap_or(message).to_owned()
}

fn foreseen(document: &Document, plan: &Plan, draft: &Draft, notes: Vec<Note>) -> Outlook {
    let before = document.routes.iter().find(|route| route.name == draft.spec.name);
    Outlook {
        is_new: before.is_none(),
        begins_anew: plan.changes.iter().any(|change| change.verb == Verb::Replace),
        changes: plan.changes.iter().map(ToString::to_string).collect(),
        differences: before.map_or_else(Vec::new, |before| differences(before, &draft.spec)),
        notes,
    }
}

/// Makes or changes a route, in one entry of the list of changes, and keeps what it was.
///
/// # Errors
/// As [`outlook`]; nothing was changed then, unless the message says so.
pub async fn save(admin: &Admin, who: &Who, draft: &Draft) -> Result<Saved, ActError> {
    who.needs(Role::Operator)?;
    let document = current(admin).await?;
    let notes = looked_at(admin, &document, draft).await?.notes;
    let mut registry = admin.registry(who)?;
    let (spec, outlook) = registry
        .change(|now| {
            let plan = planned(now, draft)?;
            let spec = route(&plan.document, &draft.spec.name)?.clone();
            let outlook = foreseen(now, &plan, draft, notes.clone());
            Ok::<_, ActError>(Edit { what: outlook.changes.clone(), value: (spec, outlook), document: plan.document })
        })
        .await?;
    let begins = outlook.is_new || outlook.begins_anew;
    let catches_up_from_ms = if begins && spec.start != Start::Now {
        let from = timeout(WITHIN, sides::catches_up_from(&admin.redis, &spec.application, &spec.id)).await;
        // It is saved, whether or not this is known.
        from.ok().and_then(Result::ok).flatten().map(|from| from.id.ms)
    } else {
        None
    };
    Ok(Saved { name: spec.name, version: spec.version, outlook, catches_up_from_ms })
}

/// What `apply` would make of it.
fn planned(document: &Document, draft: &Draft) -> Result<Plan, ActError> {
    let name = &draft.spec.name;
    let known = document.routes.iter().find(|route| route.name == *name);
    match (known, draft.base) {
        (Some(_), None) => {
            let message = format!("there is a route `{name}` already; give this one another name");
            return Err(ActError::Invalid(vec![FieldError { field: "name".into(), code: "taken", message }]));
        }
        (None, Some(_)) => return Err(ActError::Conflict(format!("route `{name}` was removed meanwhile"))),
        (Some(known), Some(base)) if known.version != base => {
            return Err(ActError::Conflict(format!(
                "route `{name}` was changed meanwhile: it is at version {} now, and this began with version {base}; look at what \
                 changed, and edit it anew",
                known.version
            )));
        }
        _ => {}
    }
    let missing = missing(&draft.spec);
    if !missing.is_empty() {
        return Err(ActError::Invalid(missing));
    }
    let text = toml_of(&draft.spec);
    let means =
        Means { master_key: None, environment: &|_| None, folder: Path::new("."), now_ms: now_ms(), prune: false };
    let planned = Manifest::parse(&text).and_then(|manifest| plan(&manifest, document, &means));
    planned.map_err(|mistaken| {
        ActError::Invalid(mistaken.0.into_iter().map(|mistake| field_error(&text, mistake, &draft.spec)).collect())
    })
}

/// What a form leaves empty and a file can't.
fn missing(spec: &RouteSpec) -> Vec<FieldError> {
    let needed = [
        ("name", &spec.name, "give the route a name: up to 64 letters, digits, `-`, `_` and `.`"),
        ("application", &spec.application, "choose the application whose records these are"),
        ("topic", &spec.topic, "choose a topic of the application"),
        ("destination", &spec.destination, "choose the destination that the records go to"),
        ("table", &spec.table, "choose the table that the records go into"),
    ];
    let empty = needed.into_iter().filter(|(_, given, _)| given.is_empty());
    empty.map(|(field, _, what)| FieldError { field: field.into(), code: "missing", message: what.into() }).collect()
}

fn field_error(text: &str, mistake: Mistake, spec: &RouteSpec) -> FieldError {
    let code = if mistake.message.starts_with("there is no ") { "unknown" } else { "invalid" };
    FieldError { field: field_at(text, mistake.line), code, message: without_name(&mistake.message, &spec.name) }
}

/// The field that stands in this line, from 1: the export writes each on a line of its own.
fn field_at(text: &str, line: usize) -> String {
    let (mut within, mut children) = (String::new(), 0);
    let mut lines = text.lines().take(line).peekable();
    while let Some(line) = lines.next() {
        let is_last = lines.peek().is_none();
        match line {
            "[[route]]" => within.clear(),
            "[route.columns]" => "columns".clone_into(&mut within),
            "[[route.children]]" => {
                within = format!("children[{children}]");
                children += 1;
            }
            "[route.children.columns]" => within.push_str(".columns"),
            _ if is_last => {
                let name = line.parse::<toml::Table>().ok().and_then(|table| table.keys().next().cloned());
                let dot = if within.is_empty() || name.is_none() { "" } else { "." };
                return format!("{within}{dot}{}", name.unwrap_or_default());
            }
            _ => {}
        }
    }
    within
}

/// What removing this route would do.
///
/// # Errors
/// They may not; there is none of this name; Redis is away.
pub async fn removal(admin: &Admin, who: &Who, name: &str) -> Result<Removal, ActError> {
    who.needs(Role::Operator)?;
    let document = current(admin).await?;
    let spec = route(&document, name)?;
    let to = destination(&document, &spec.destination)?;
    let counted = timeout(WITHIN, async {
        let lanes = status::lanes(&admin.redis, &spec.application).await?;
        let dead = dead::ids(&admin.redis, &spec.application, &to.id).await?;
        let waiting = lanes.iter().find(|lane| lane.destination == to.id).map_or(0, |lane| lane.backlog.messages);
        Ok::<_, ActError>((waiting, dead.iter().filter(|dead| *dead.route == *spec.id).count() as u64))
    });
    let (waiting, dead) = counted.await.map_err(|_| ActError::Unavailable("Redis does not answer".into()))??;
    let beside = |other: &&RouteSpec| {
        other.name != spec.name && other.application == spec.application && other.destination == spec.destination
    };
    Ok(Removal {
        name: spec.name.clone(),
        version: spec.version,
        application: spec.application.clone(),
        destination: spec.destination.clone(),
        table: spec.table.clone(),
        is_last: !document.routes.iter().any(|other| beside(&other)),
        waiting,
        dead,
    })
}

/// Removes a route, if this is still its version. Its table and the rows in it stay.
///
/// # Errors
/// They may not; there is none of this name; somebody changed it meanwhile; Redis is away.
pub async fn remove(admin: &Admin, who: &Who, name: &str, version: u64) -> Result<(), ActError> {
    who.needs(Role::Operator)?;
    admin
        .registry(who)?
        .change(|now| {
            let spec = route(now, name)?;
            if spec.version != version {
                return Err(ActError::Conflict(format!(
                    "route `{name}` was changed meanwhile: it is at version {} now, and version {version} was to be removed; \
                     look at what changed",
                    spec.version
                )));
            }
            let what = format!(
                "remove route `{name}`: topic `{}` of `{}` into table `{}` of `{}`",
                spec.topic, spec.application, spec.table, spec.destination
            );
            let mut document = now.clone();
            document.routes.retain(|route| route.name != name);
            Ok(Edit { document, what: vec![what], value: () })
        })
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use serde_json::json;

    use super::*;
    use crate::resources::{Application, Destination};

    fn document(routes: Vec<RouteSpec>) -> Document {
        let application = Application {
            name: "shop".into(),
            topics: vec![],
            schemas: Default::default(),
            created_at_ms: 1,
            keys: vec![],
            records_per_s: None,
            broadcasts: false,
        };
        let destination = Destination {
            id: "d1".into(),
            name: "sales".into(),
            kind: "sqlite".into(),
            url: "sqlite:///tmp/sales.db".into(),
            password: None,
            delivery: Default::default(),
            tls: None,
            node: None,
            revision: 1,
            by_hand: Default::default(),
        };
        Document { applications: vec![application], destinations: vec![destination], routes, ..Document::default() }
    }

    fn spec(more: serde_json::Value) -> RouteSpec {
        let mut value = json!({ "name": "cars", "application": "shop", "topic": "cars", "destination": "sales",
            "table": "cars", "columns": { "id": "id", "a = \"b": "price" } });
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(value).unwrap()
    }

    fn wrong(document: &Document, spec: RouteSpec) -> Vec<(String, &'static str)> {
        match planned(document, &Draft { spec, base: None }) {
            Err(ActError::Invalid(fields)) => fields.into_iter().map(|error| (error.field, error.code)).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_mistake_is_told_at_its_field() {
        let empty = document(Vec::new());
        let told = |more| wrong(&empty, spec(more));
        assert_eq!(told(json!({ "name": "a b" })), [("name".to_owned(), "invalid")]);
        assert_eq!(
            told(json!({ "name": "", "table": "" })),
            [("name".to_owned(), "missing"), ("table".to_owned(), "missing")]
        );
        assert_eq!(told(json!({ "destination": "sale" })), [("destination".to_owned(), "unknown")]);
        assert_eq!(told(json!({ "key": ["idd"] })), [("key".to_owned(), "invalid")]);
        assert_eq!(told(json!({ "start": "tomorrow" })), [("start".to_owned(), "invalid")]);
        assert_eq!(told(json!({ "columns": {} })), [("columns".to_owned(), "invalid")]);
        assert_eq!(told(json!({ "filter": "data." })), [("filter".to_owned(), "invalid")]);
        let rule = json!({ "columns": { "id": "id", "a = \"b": { "from": "x[", "clean": ["trim"] } } });
        assert_eq!(told(rule), [("columns.a = \"b".to_owned(), "invalid")]);
        let child = json!({ "from": "lines", "table": "lines", "parent": { "car": "id" }, "columns": { "n": { "from": "a..b" } } });
        let mut other = child.clone();
        other["table"] = "others".into();
        let children = json!({ "key": ["id"], "children": [child, other] });
        assert_eq!(told(children)[1], ("children[1].columns.n".to_owned(), "invalid"));
    }

    #[test]
    fn a_route_is_made_once_and_changed_from_the_version_that_was_seen() {
        let empty = document(Vec::new());
        let made = planned(&empty, &Draft { spec: spec(json!({})), base: None }).unwrap();
        assert_eq!((made.document.routes[0].version, made.changes.len()), (1, 1));
        assert_eq!(wrong(&made.document, spec(json!({}))), [("name".to_owned(), "taken")]);
        let edit = |base, more| planned(&made.document, &Draft { spec: spec(more), base: Some(base) });
        assert!(matches!(edit(2, json!({})), Err(ActError::Conflict(_))), "somebody else's version");
        assert!(edit(1, json!({})).unwrap().changes.is_empty(), "nothing changes");
        let changed = edit(1, json!({ "table": "vehicles" })).unwrap();
        assert_eq!(
            (changed.document.routes[0].version, &changed.document.routes[0].id),
            (2, &made.document.routes[0].id)
        );
        assert!(matches!(planned(&empty, &Draft { spec: spec(json!({})), base: Some(1) }), Err(ActError::Conflict(_))));
    }
}

//! One message as a producer writes it, `{"topic","action","key","data","id"}`, and the rules it must keep before it is
//! appended: its topic exists, its key and its record agree, a change has a key.
//!
//! [`super::batch`] calls [`read`] for each message of a request; [`super::cloudevents`] fills a [`Draft`] of its own and
//! shares [`admit`].

use std::borrow::Cow;

use tidegate_actors::{
    mapping::{KeyPart, KeySource, Path, Step, key_conflict},
    message::Action,
    ports::NewRecord,
};

use super::{
    directory::{KeyedRoute, KnownApplication},
    json::{Fault, Member, Scanner},
    key::{Key, same_scalar},
};
use crate::databases::nearest;

/// Longest own id, in characters.
pub(crate) const MAX_ID_CHARS: usize = 255;

const MEMBERS: [&str; 5] = ["topic", "action", "key", "data", "id"];

/// A message that has been read, its rules not checked yet.
#[derive(Default)]
pub(crate) struct Draft<'a> {
    pub(crate) topic: Option<Cow<'a, str>>,
    pub(crate) action: Option<Action>,
    pub(crate) key: Option<Key<'a>>,
    pub(crate) own_id: Option<Cow<'a, str>>,
    pub(crate) traceparent: Option<Cow<'a, str>>,
    pub(crate) data: Option<&'a str>,
}

/// Reads one message and checks it.
pub(crate) fn read(scanner: &mut Scanner<'_>, application: &KnownApplication) -> Result<NewRecord, Box<Fault>> {
    let mut draft = Draft::default();
    scanner.begin_message();
    if scanner.peek() != Some(b'{') {
        return Err(scanner.unexpected("a message is a JSON object"));
    }
    scanner.object(|scanner, name| member(scanner, &name, &mut draft).map_err(|fault| fault.within(&name)))?;
    admit(draft, scanner.members(), application)
}

fn member<'a>(scanner: &mut Scanner<'a>, name: &str, draft: &mut Draft<'a>) -> Result<(), Box<Fault>> {
    let at = scanner.at();
    let twice = match name {
        "topic" => draft.topic.replace(text(scanner, "`topic` is a string")?).is_some(),
        "action" => {
            let given = text(scanner, "`action` is a string: insert, upsert, update or delete")?;
            draft.action.replace(action(&given, at)?).is_some()
        }
        "key" => draft.key.replace(Key::read(scanner)?).is_some(),
        "data" => draft.data.replace(scanner.record()?).is_some(),
        "id" => draft.own_id.replace(own_id(text(scanner, "`id` is a string")?, at)?).is_some(),
        _ => {
            let hint = nearest(name, MEMBERS).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            let message = format!("a message has no such member{hint} (it has {})", MEMBERS.join(", "));
            return Err(Fault::new("unknown_member", at, message));
        }
    };
    if twice { Err(Fault::new("duplicate_name", at, "this name occurs twice in its object")) } else { Ok(()) }
}

/// A string, or a sentence about what should be one.
pub(crate) fn text<'a>(scanner: &mut Scanner<'a>, wanted: &'static str) -> Result<Cow<'a, str>, Box<Fault>> {
    if scanner.peek() == Some(b'"') { Ok(scanner.string()?.decode()) } else { Err(scanner.unexpected(wanted)) }
}

fn action(name: &str, at: usize) -> Result<Action, Box<Fault>> {
    Action::parse(name).ok_or_else(|| {
        let names = Action::ALL.map(Action::as_str);
        let hint = nearest(name, names).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        Fault::new("unknown_action", at, format!("there is no such action{hint} (there are {})", names.join(", ")))
    })
}

fn own_id(id: Cow<'_, str>, at: usize) -> Result<Cow<'_, str>, Box<Fault>> {
    if id.is_empty() || id.chars().count() > MAX_ID_CHARS || id.chars().any(char::is_control) {
        let message = format!("`id` has 1 to {MAX_ID_CHARS} characters, none of them a control character");
        return Err(Fault::new("id", at, message));
    }
    Ok(id)
}

/// Checks a draft against the application's topics and their routes. `members` are those of its data.
pub(crate) fn admit(
    draft: Draft<'_>,
    members: &[Member<'_>],
    application: &KnownApplication,
) -> Result<NewRecord, Box<Fault>> {
    let Some(topic) = draft.topic else {
        return Err(Fault::new("required", 0, "a message says its topic").within("topic"));
    };
    let Some(routes) = application.topics.get(&*topic) else {
        return Err(unknown_topic(&topic, application));
    };
    let action = draft.action.unwrap_or(if draft.key.is_some() { Action::Upsert } else { Action::Insert });
    let data = match draft.data {
        Some(data) => data,
        None if action == Action::Delete => "{}",
        None => return Err(Fault::new("required", 0, "only a delete needs no data").within("data")),
    };
    let members = if draft.data.is_some() { members } else { &[] };
    match &draft.key {
        Some(key) => agree(key, data, members, routes)?,
        None if action == Action::Insert => {}
        None => needs_key(action, members, routes)?,
    }
    Ok(NewRecord {
        topic: topic.into(),
        action,
        key: draft.key.map(|key| key.to_json().into()),
        own_id: draft.own_id.map(Into::into),
        traceparent: draft.traceparent.map(Into::into),
        data: data.into(),
    })
}

fn unknown_topic(topic: &str, application: &KnownApplication) -> Box<Fault> {
    let shown: String = topic.chars().take(100).collect();
    let hint = match nearest(&shown, application.topics.keys().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if application.topics.is_empty() => "it has none yet: list one for it, or give it a route".to_owned(),
        None => "list it for the application, or give it a route".to_owned(),
    };
    let message = format!("`{}` has no topic `{shown}`; {hint}", application.name);
    Fault::new("unknown_topic", 0, message).within("topic")
}

/// The key and the record say the same wherever both speak of a route's key column. Texts that differ are looked at
/// once more by mapping's own rule: a UUID in another case, or the same instant in another zone, is the same key.
fn agree(key: &Key<'_>, data: &str, members: &[Member<'_>], routes: &[KeyedRoute]) -> Result<(), Box<Fault>> {
    for route in routes {
        for column in &route.key {
            let (Some(in_data), Some(in_key)) = (field(members, column), key.value(&route.key, column)) else {
                continue;
            };
            let Some(named) = column.field() else { continue };
            if !same_scalar(in_data, in_key) && key_conflict(&route.spec, data, &key.to_json()).is_some() {
                let message = format!(
                    "`key` and the field `{}` of `data` differ; both are the key column `{}` of route `{}`",
                    named, column.column, route.spec.name
                );
                return Err(Fault::new("key_mismatch", 0, message).within("key"));
            }
        }
    }
    Ok(())
}

/// Without `key`, a change of a row finds the key of every route in the record. What an expression comes to, only mapping knows.
fn needs_key(action: Action, members: &[Member<'_>], routes: &[KeyedRoute]) -> Result<(), Box<Fault>> {
    let action = action.as_str();
    for route in routes {
        let lacks = |column: &&KeyPart| match column.source {
            KeySource::Field(_) => !column.has_default && field(members, column).is_none(),
            KeySource::Key => !column.has_default,
            KeySource::Known | KeySource::Computed => false,
        };
        if let Some(column) = route.key.iter().find(lacks) {
            let field = column.field().map_or_else(String::new, |field| format!(", or the field `{field}` in `data`"));
            let message = format!(
                "`{action}` needs a key: give `key`{field}, which route `{}` tells rows apart by",
                route.spec.name
            );
            return Err(Fault::new("key_required", 0, message).within("key"));
        }
    }
    if routes.is_empty() && action != Action::Upsert.as_str() {
        return Err(Fault::new("key_required", 0, format!("`{action}` needs a key: give `key`")).within("key"));
    }
    Ok(())
}

fn field<'a>(members: &'a [Member<'_>], column: &KeyPart) -> Option<&'a str> {
    let KeySource::Field(path) = &column.source else { return None };
    let (Step::Name(name), further) = path.steps().split_first()? else { return None };
    let exact = members.iter().find(|member| member.name == **name);
    let alike = || members.iter().find(|member| member.name.eq_ignore_ascii_case(name));
    let found = exact.or_else(|| if column.any_case { alike() } else { None })?;
    if further.is_empty() { Some(found.value) } else { Path::find_from(further, found.value) }
}

//! The TOML of `tidegate apply`: applications, destinations and routes as an operator writes them.
//!
//! [`Manifest::parse`] checks all that can be told from the file alone and answers with every mistake, each with its line,
//! its column and the remedy. What depends on the registry's state is [`super::plan`]'s.

mod columns;
mod places;
pub(crate) mod reader;
mod route;

use std::{collections::BTreeMap, fmt};

use secrecy::{ExposeSecret, SecretString};
use tidegate_actors::route::RouteSpec;
use toml::de::DeTable;
use url::Url;

pub(crate) use self::places::{Places, place_of};
pub use self::reader::Mistake;
use self::reader::{Fields, Mistakes, Place, Text, described, mistake_at};
use crate::{
    databases::{Connection, kind},
    resources::{Category, Delivery, MOST_RECORDS_PER_S, Shop, Tls, is_name},
};

/// What a file asks for.
#[derive(Debug)]
pub struct Manifest {
    // A password may stand in it.
    text: SecretString,
    /// The `[[application]]` tables.
    pub applications: Vec<ApplicationEntry>,
    /// The `[[destination]]` tables.
    pub destinations: Vec<DestinationEntry>,
    /// The `[[route]]` tables.
    pub routes: Vec<RouteEntry>,
    /// The `[[shop]]` tables.
    pub shops: Vec<Shop>,
    /// The `[[category]]` tables.
    pub categories: Vec<Category>,
}

/// One `[[application]]`.
#[derive(Debug)]
pub struct ApplicationEntry {
    /// Its name.
    pub name: String,
    /// Its topics, in the order of the file.
    pub topics: Vec<String>,
    /// The JSON Schemas of some of them, by topic.
    pub schemas: BTreeMap<String, SchemaSource>,
    /// Most records a second that each node takes of it; `None` is as many as there are.
    pub records_per_s: Option<u32>,
    /// Whether its keys may send broadcasts.
    pub broadcasts: bool,
    pub(super) schema_places: BTreeMap<String, Place>,
}

/// Where a topic's JSON Schema comes from.
#[derive(Debug)]
pub enum SchemaSource {
    /// The manifest itself: JSON as a text.
    Text(String),
    /// A file; relative to the manifest's folder.
    File(String),
}

/// One `[[destination]]`.
#[derive(Debug)]
pub struct DestinationEntry {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Its address, without a password.
    pub url: String,
    /// Where its password comes from.
    pub password: Option<PasswordSource>,
    /// Ordered or parallel.
    pub delivery: Delivery,
    /// How the connection is secured.
    pub tls: Option<Tls>,
    /// The node that owns a file.
    pub node: Option<String>,
    pub(super) password_place: Place,
    pub(super) delivery_place: Place,
}

/// Where a destination's password comes from.
#[derive(Debug)]
pub enum PasswordSource {
    /// The file itself.
    Text(SecretString),
    /// An environment variable of the machine where apply runs.
    Env(String),
    /// A file on that machine; relative to the manifest's folder.
    File(String),
    /// What the registry has stays.
    Kept,
}

/// One `[[route]]`; its id and version are the registry's.
#[derive(Debug)]
pub struct RouteEntry {
    /// The route.
    pub spec: RouteSpec,
    pub(super) application_place: Place,
    pub(super) destination_place: Place,
    /// Where each of its parts stands.
    pub(crate) places: Places,
}

/// Every mistake of a file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub struct Mistaken(pub Vec<Mistake>);

impl fmt::Display for Mistaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            mistake.fmt(f)?;
        }
        Ok(())
    }
}

impl Manifest {
    /// Reads a file's text.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Mistaken> {
        let document = DeTable::parse(text).map_err(|error| {
            let message = format!("this is not TOML: {}", error.message().replace('\n', ", "));
            Mistaken(vec![mistake_at(text, error.span().map_or(0, |span| span.start), message)])
        })?;
        let mistakes = Mistakes::new(text);
        let mut fields = Fields::new("a manifest", document.get_ref(), document.span(), &mistakes);
        let mut taken = BTreeMap::new();
        let applications =
            fields.tables("application", "an application").into_iter().map(|f| application(f, &mut taken)).collect();
        taken.clear();
        let destinations =
            fields.tables("destination", "a destination").into_iter().map(|f| destination(f, &mut taken)).collect();
        taken.clear();
        let routes = fields.tables("route", "a route").into_iter().map(|f| route::read(f, &mut taken)).collect();
        taken.clear();
        let shops = fields.tables("shop", "a shop").into_iter().map(|f| shop(f, &mut taken)).collect();
        taken.clear();
        let categories = fields.tables("category", "a category").into_iter().map(|f| category(f, &mut taken)).collect();
        fields.finish();
        match mistakes.into_sorted() {
            none if none.is_empty() => {
                Ok(Self { text: text.to_owned().into(), applications, destinations, routes, shops, categories })
            }
            found => Err(Mistaken(found)),
        }
    }

    pub(crate) fn mistake(&self, place: Place, message: impl Into<String>) -> Mistake {
        mistake_at(self.text.expose_secret(), place, message)
    }
}

type Taken = BTreeMap<String, usize>;

fn application(mut fields: Fields<'_, '_>, taken: &mut Taken) -> ApplicationEntry {
    let name = name(&mut fields, "application", taken);
    if name == "registry" {
        // Its stream's keys would share the hash tag of the registry's own.
        fields
            .mistakes
            .add(fields.place(), "`registry` is taken by Tidegate itself; give the application another name");
    }
    let mut topics: Vec<String> = Vec::new();
    for topic in fields.texts("topics") {
        check_name("topic", &topic, &fields.mistakes);
        if topics.contains(&topic.value) {
            fields.mistakes.add(topic.place, format!("topic `{}` is listed twice", topic.value));
        }
        topics.push(topic.value);
    }
    let (mut schemas, mut schema_places) = (BTreeMap::new(), BTreeMap::new());
    for (topic, source, place) in self::schemas(&mut fields) {
        schema_places.insert(topic.clone(), place);
        schemas.insert(topic, source);
    }
    let records_per_s = records_per_s(&mut fields);
    let broadcasts = fields.flag("broadcasts");
    fields.finish();
    ApplicationEntry { name, topics, schemas, records_per_s, broadcasts, schema_places }
}

fn records_per_s(fields: &mut Fields<'_, '_>) -> Option<u32> {
    let (number, place) = fields.whole_number("records_per_s")?;
    let limit = u32::try_from(number).ok().filter(|limit| (1..=MOST_RECORDS_PER_S).contains(limit));
    if limit.is_none() {
        let message =
            format!("`records_per_s` is a number of records from 1 to {MOST_RECORDS_PER_S}; leave it out for no limit");
        fields.mistakes.add(place, message);
    }
    limit
}

fn shop(mut fields: Fields<'_, '_>, taken: &mut Taken) -> Shop {
    let name = name(&mut fields, "shop", taken);
    let title = line(&mut fields, "title").unwrap_or_else(|| name.clone());
    let region = line(&mut fields, "region").unwrap_or_default();
    fields.finish();
    Shop { name, title, region }
}

fn category(mut fields: Fields<'_, '_>, taken: &mut Taken) -> Category {
    let name = name(&mut fields, "category", taken);
    let title = line(&mut fields, "title").unwrap_or_else(|| name.clone());
    let title_id = line(&mut fields, "title_id");
    let (colour, icon, sound) = (fields.choice("colour"), fields.choice("icon"), fields.choice("sound"));
    fields.finish();
    Category {
        name,
        title,
        title_id,
        colour: colour.unwrap_or_default(),
        icon: icon.unwrap_or_default(),
        sound: sound.unwrap_or_default(),
    }
}

/// One line of text for people; `None` where it is left out or empty.
fn line(fields: &mut Fields<'_, '_>, field: &'static str) -> Option<String> {
    const MOST_CHARS: usize = 120;
    let text = fields.optional_text(field)?;
    let value = text.value.trim();
    if value.chars().count() > MOST_CHARS || value.chars().any(char::is_control) {
        fields.mistakes.add(text.place, format!("`{field}` is one line of at most {MOST_CHARS} characters"));
        return None;
    }
    (!value.is_empty()).then(|| value.to_owned())
}

fn schemas(fields: &mut Fields<'_, '_>) -> Vec<(String, SchemaSource, Place)> {
    const FORMS: &str = "a schema is { file = \"cars.schema.json\" }, or JSON as a text";
    let Some(value) = fields.get("schemas") else { return Vec::new() };
    let Some(inner) = Fields::of("`schemas`", value, &fields.mistakes) else { return Vec::new() };
    let mut found = Vec::new();
    for (topic, source) in inner.entries() {
        check_name("topic", &topic, &fields.mistakes);
        let place = source.span().start;
        if let Some(text) = source.get_ref().as_str() {
            found.push((topic.value, SchemaSource::Text(text.to_owned()), place));
            continue;
        }
        if source.get_ref().as_table().is_none() {
            fields.mistakes.add(place, format!("{FORMS}, not {}", described(source.get_ref())));
            continue;
        }
        let Some(mut form) = Fields::of("a schema", source, &fields.mistakes) else { continue };
        let file = form.text("file");
        form.finish();
        found.push((topic.value, SchemaSource::File(file.value), place));
    }
    found
}

fn destination(mut fields: Fields<'_, '_>, taken: &mut Taken) -> DestinationEntry {
    let name = name(&mut fields, "destination", taken);
    let kind_name = fields.text("kind");
    let url = fields.text("url");
    let password_place = fields.get("password").map_or(fields.place(), |value| value.span().start);
    let delivery_place = fields.get("delivery").map_or(fields.place(), |value| value.span().start);
    let password = password(&mut fields);
    let delivery = fields.choice("delivery").unwrap_or_default();
    let tls = tls(&mut fields);
    let node = fields.optional_text("node").map(|node| {
        check_name("node", &node, &fields.mistakes);
        node.value
    });
    if let (Some(url), false) = (address(&url, &fields.mistakes), kind_name.value.is_empty()) {
        let connection = Connection {
            name: name.clone(),
            url,
            password: None,
            tls: tls.clone(),
            connect_timeout: std::time::Duration::from_secs(5),
            session_timeout: std::time::Duration::from_secs(5),
            home: None,
        };
        match kind(&kind_name.value) {
            Err(sentence) => fields.mistakes.add(kind_name.place, sentence),
            Ok(kind) => {
                if let Err(sentence) = (kind.validate)(&connection) {
                    fields.mistakes.add(fields.place(), format!("destination `{name}`: {sentence}"));
                }
            }
        }
    }
    fields.finish();
    DestinationEntry {
        name,
        kind: kind_name.value,
        url: url.value,
        password,
        delivery,
        tls,
        node,
        password_place,
        delivery_place,
    }
}

fn tls(fields: &mut Fields<'_, '_>) -> Option<Tls> {
    let mut inner = Fields::of("`tls`", fields.get("tls")?, &fields.mistakes)?;
    if inner.get("mode").is_none() {
        inner.mistakes.add(inner.place(), "`tls` needs `mode`: verify, require or off");
    }
    let mode = inner.choice("mode");
    let ca = inner.optional_text("ca").map(|ca| ca.value);
    inner.finish();
    Some(Tls { mode: mode?, ca })
}

fn password(fields: &mut Fields<'_, '_>) -> Option<PasswordSource> {
    const FORMS: &str = "`password` is a text, { env = \"NAME\" }, { file = \"path\" } or { kept = true }";
    let value = fields.get("password")?;
    if let Some(text) = value.get_ref().as_str() {
        return Some(PasswordSource::Text(text.to_owned().into()));
    }
    if value.get_ref().as_table().is_none() {
        fields.mistakes.add(value.span().start, format!("{FORMS}, not {}", described(value.get_ref())));
        return None;
    }
    let mut inner = Fields::of("`password`", value, &fields.mistakes)?;
    let (env, file, kept) = (inner.optional_text("env"), inner.optional_text("file"), inner.flag("kept"));
    let (place, mistakes) = (inner.place(), inner.mistakes.clone());
    let empty = inner.entries().next().is_none();
    inner.finish();
    match (env, file, kept) {
        (Some(env), None, false) => Some(PasswordSource::Env(env.value)),
        (None, Some(file), false) => Some(PasswordSource::File(file.value)),
        (None, None, true) => Some(PasswordSource::Kept),
        (None, None, false) if !empty => None,
        _ => {
            mistakes.add(place, format!("{FORMS}; give one of them"));
            None
        }
    }
}

/// The address, if it is one without a password. What is wrong with it is told without showing it.
fn address(url: &Text, mistakes: &Mistakes<'_>) -> Option<Url> {
    if url.value.is_empty() {
        return None;
    }
    match Url::parse(&url.value) {
        Err(error) => {
            mistakes.add(
                url.place,
                format!("`url` is not an address ({error}); write one such as mysql://user@host/database"),
            );
            None
        }
        Ok(parsed) => {
            let in_query = |(name, _): (std::borrow::Cow<'_, str>, _)| {
                matches!(&*name.to_lowercase(), "password" | "passwd" | "pwd")
            };
            if parsed.password().is_some() || parsed.query_pairs().any(in_query) {
                mistakes.add(
                    url.place,
                    "`url` holds a password, and addresses are shown and logged; take it out and write \
                     password = { env = \"…\" } or { file = \"…\" } beside it",
                );
                return None;
            }
            Some(parsed)
        }
    }
}

fn name(fields: &mut Fields<'_, '_>, what: &'static str, taken: &mut Taken) -> String {
    let name = fields.text("name");
    if name.value.is_empty() {
        return name.value;
    }
    check_name(what, &name, &fields.mistakes);
    if taken.insert(name.value.clone(), name.place).is_some() {
        fields.mistakes.add(name.place, format!("there are two {what}s `{}`; names are unique", name.value));
    }
    name.value
}

fn check_name(what: &str, name: &Text, mistakes: &Mistakes<'_>) {
    if !is_name(&name.value) {
        mistakes.add(
            name.place,
            format!("`{}` cannot be the {what}'s name; use up to 64 letters, digits, `-`, `_` and `.`", name.value),
        );
    }
}

#[cfg(test)]
mod tests;

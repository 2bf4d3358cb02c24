//! Broadcasts: writing to shops, what was sent and who has it, and the terminals, shops and categories that this takes.
//!
//! Everybody who may see the console may read here; broadcasters, operators and admins write. Shops and categories are an
//! operator's. What can't be saved comes back as it was typed.

mod categories;
mod compose;
mod form;
mod message;
mod sent;
mod shops;
mod terminals;

use actix_web::{HttpResponse, http::StatusCode, web};

use super::{
    page::{PageContext, PageError},
    texts::broadcast::{self as texts, Broadcast, said},
};
use crate::{
    admin::{ActError, FieldError, Role},
    broadcast::message::Audience,
    resources::{Category, Document},
    users::Lang,
};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .configure(categories::configure)
        .configure(compose::configure)
        .configure(sent::configure)
        .configure(message::configure)
        .configure(terminals::configure)
        .configure(shops::configure);
}

fn text(page: &PageContext) -> &'static Broadcast {
    page.pick(&texts::EN, &texts::ID)
}

/// One of the screens here.
struct Tab {
    href: &'static str,
    label: &'static str,
    current: bool,
}

/// The screens, with the one that is open.
fn tabs(page: &PageContext, current: &str) -> Vec<Tab> {
    let text = text(page);
    let all = [
        ("/console/broadcast", text.compose),
        ("/console/broadcast/sent", text.sent),
        ("/console/terminals", text.terminals),
        ("/console/shops", text.shops),
        ("/console/broadcast/categories", text.categories),
    ];
    // There is nothing to write for whoever may only read.
    let shown = if may_act(page) { &all[..] } else { &all[1..] };
    shown.iter().map(|&(href, label)| Tab { href, label, current: href == current }).collect()
}

/// Whether they may write, remind, enrol and revoke.
fn may_act(page: &PageContext) -> bool {
    page.may(Role::Broadcaster)
}

/// What is wrong with a form.
#[derive(Default)]
struct Wrong {
    /// On top of it.
    top: Option<String>,
    /// Why a message could not be sent although nothing is wrong with it.
    away: Option<String>,
    fields: Vec<FieldError>,
    lang: Lang,
}

impl Wrong {
    /// Why an act was refused, and the answer's status; what is no matter of the form is a page of its own.
    fn of(page: &PageContext, error: ActError) -> Result<(StatusCode, Self), PageError> {
        let top = |why: String| Self {
            top: Some(format!("{} {}.", text(page).not_saved, page.look().why(why))),
            ..Self::default()
        };
        match error {
            ActError::Invalid(fields) => Ok((StatusCode::UNPROCESSABLE_ENTITY, Self::fields(page, fields))),
            ActError::Conflict(why) => Ok((StatusCode::CONFLICT, top(why))),
            ActError::Unavailable(why) => Ok((StatusCode::SERVICE_UNAVAILABLE, top(why))),
            other => Err(other.into()),
        }
    }

    fn fields(page: &PageContext, fields: Vec<FieldError>) -> Self {
        Self { fields, lang: page.lang(), ..Self::default() }
    }

    fn any(&self) -> bool {
        !self.fields.is_empty()
    }

    /// What is wrong with this field.
    fn at(&self, field: &str) -> Option<String> {
        self.fields.iter().find(|error| error.field == field).map(|error| said(self.lang, error))
    }
}

/// Refuses a form while Redis is away, rather than let somebody wait for it.
fn present(page: &PageContext) -> Result<(), ActError> {
    page.redis_away().map_or(Ok(()), |why| Err(ActError::Unavailable(why.to_owned())))
}

/// After an act that has no form to come back to: what was done, or why not, on another page.
fn answer(
    page: &PageContext,
    path: &str,
    outcome: Result<(), ActError>,
    done: String,
) -> Result<HttpResponse, PageError> {
    match outcome {
        Ok(()) => Ok(page.done(path, done)),
        Err(error @ (ActError::Forbidden { .. } | ActError::Unknown(_))) => Err(error.into()),
        Err(ActError::Invalid(fields)) => {
            let all: Vec<String> = fields.iter().map(|error| said(page.lang(), error)).collect();
            Ok(page.failed(path, all.join(" ")))
        }
        Err(error) => {
            let why = page.look().why(error.to_string());
            Ok(page.failed(path, format!("{} {why}.", text(page).not_saved)))
        }
    }
}

/// A category as pages show it.
#[derive(Clone)]
struct Shown {
    name: String,
    title: String,
    colour: &'static str,
    icon: &'static str,
    sound: &'static str,
}

impl Shown {
    fn of(category: &Category, lang: Lang) -> Self {
        let own = category.title_id.as_ref().filter(|_| lang == Lang::Id);
        Self {
            name: category.name.clone(),
            title: own.unwrap_or(&category.title).clone(),
            colour: category.colour.as_str(),
            icon: category.icon.as_str(),
            sound: category.sound.as_str(),
        }
    }

    /// The one of this name; a plain one where it is gone.
    fn find(all: &[Self], name: &str) -> Self {
        all.iter().find(|one| one.name == name).cloned().unwrap_or_else(|| Self {
            name: name.to_owned(),
            title: name.to_owned(),
            colour: "grey",
            icon: "megaphone",
            sound: "none",
        })
    }
}

/// All categories, as this node knows them.
fn categories_of(document: &Document, lang: Lang) -> Vec<Shown> {
    crate::broadcast::parts::all_categories(&document.categories)
        .iter()
        .map(|category| Shown::of(category, lang))
        .collect()
}

/// A shop in a list to choose from.
struct Choice {
    name: String,
    title: String,
    region: String,
}

/// All shops by title.
fn shops_of(document: &Document) -> Vec<Choice> {
    let choice = |shop: &crate::resources::Shop| Choice {
        name: shop.name.clone(),
        title: shop.title.clone(),
        region: shop.region.clone(),
    };
    let mut all: Vec<Choice> = document.shops.iter().map(choice).collect();
    all.sort_by_key(|one| (one.title.to_lowercase(), one.name.clone()));
    all
}

/// Shops or regions that are named before the rest is counted.
const NAMED: usize = 4;

/// What a shop is called; its name, where it is gone.
fn title_of<'a>(document: &'a Document, name: &'a str) -> &'a str {
    document.shops.iter().find(|shop| shop.name == name).map_or(name, |shop| shop.title.as_str())
}

/// Whom a broadcast is for, in words.
fn audience_words(text: &'static Broadcast, document: &Document, audience: &Audience) -> String {
    if audience.all {
        return text.everybody.to_owned();
    }
    let some = |words: &str, names: Vec<&str>| {
        let mut named = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        if names.len() > NAMED {
            named = format!("{named} {}", text.and_more.replace("{}", &(names.len() - NAMED).to_string()));
        }
        words.replace("{}", &named)
    };
    let mut parts = Vec::new();
    if !audience.regions.is_empty() {
        parts.push(some(text.regions_of, audience.regions.iter().map(String::as_str).collect()));
    }
    if !audience.shops.is_empty() {
        parts.push(some(text.shops_of, audience.shops.iter().map(|name| title_of(document, name)).collect()));
    }
    parts.join(". ")
}

/// A text with each `{}` in turn replaced.
fn filled(text: &str, values: &[&str]) -> String {
    values.iter().fold(text.to_owned(), |text, value| text.replacen("{}", value, 1))
}

/// A part of a path, whatever is in it.
fn encoded(part: &str) -> String {
    url::form_urlencoded::byte_serialize(part.as_bytes()).collect::<String>().replace('+', "%20")
}

/// Where the terminal's sounds are, to listen to them here.
fn sounds() -> String {
    crate::terminal::address("sound.js")
}

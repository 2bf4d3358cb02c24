//! What was sent: searched, a page at a time.

use serde::Serialize;

use super::of;
use crate::{
    admin::{ActError, Admin, Who},
    broadcast::{
        message::{Message, State},
        store::{Page, Place},
    },
};

/// Messages of a page.
pub const PAGE: usize = 50;
/// Messages that are looked at for one page: a search that finds little goes on with the next.
const LOOKED_AT: usize = 5_000;
const PIECE: usize = 200;

/// What is looked for; what is empty is not asked for.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// In title, text, category and by whom, without regard to upper and lower case.
    pub q: String,
    /// How it stands.
    pub state: Option<State>,
    /// The category's name.
    pub category: String,
    /// A shop that it was for, by its name among the audience's shops, or by its region, or because it was for all.
    pub shop: String,
    /// Sent, or to be sent, at or after this moment, in milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// Before this one.
    pub until_ms: Option<u64>,
    /// From where on: `next` of the page before.
    pub before: String,
}

/// A broadcast with how many have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The broadcast.
    pub message: Message,
    /// How many terminals have received it.
    pub received: u64,
    /// How many have confirmed it.
    pub confirmed: u64,
}

/// A page of the history.
#[derive(Clone, Debug, Default, Serialize)]
pub struct History {
    /// Newest first; what is scheduled comes by its time.
    pub rows: Vec<Row>,
    /// For `before` of the next page.
    pub next: Option<String>,
}

/// Everything that was sent, is to be, or was recalled.
///
/// # Errors
/// Redis is away, or `before` is no place.
pub async fn list(admin: &Admin, _who: &Who, query: &Query) -> Result<History, ActError> {
    let broadcasts = of(admin);
    let document = admin.document();
    let region = document.shops.iter().find(|shop| shop.name == query.shop).map_or("", |shop| shop.region.as_str());
    let q = query.q.trim().to_lowercase();
    let fits = |message: &Message| {
        query.state.is_none_or(|state| message.state == state)
            && (query.category.is_empty() || message.content.category == query.category)
            && (query.shop.is_empty() || message.audience.has(&query.shop, region))
            && query.since_ms.is_none_or(|since| message.at_ms() >= since)
            && query.until_ms.is_none_or(|until| message.at_ms() < until)
            && (q.is_empty() || says(message, &q))
    };
    let mut before = match query.before.as_str() {
        "" => None,
        text => Some(text.parse::<Place>().map_err(|()| ActError::Unknown("there is no such page".into()))?),
    };
    let (mut found, mut looked, mut next) = (Vec::new(), 0, None);
    while found.len() < PAGE && looked < LOOKED_AT {
        let Page { messages, next: further } = broadcasts.page(before.as_ref(), 0, PIECE).await?;
        looked += messages.len().max(1);
        let mut last = None;
        for message in messages {
            if found.len() == PAGE {
                break;
            }
            last = Some(Place::of(&message));
            if fits(&message) {
                found.push(message);
            }
        }
        next = if found.len() == PAGE { last } else { further.clone() };
        before = match further {
            Some(place) => Some(place),
            None => break,
        };
    }
    let ids: Vec<&str> = found.iter().map(|message| message.id.as_str()).collect();
    let tallies = broadcasts.tallies(&ids).await?;
    let rows =
        found.into_iter().zip(tallies).map(|(message, (received, confirmed))| Row { message, received, confirmed });
    Ok(History { rows: rows.collect(), next: next.map(|place| place.to_string()) })
}

/// One broadcast.
///
/// # Errors
/// There is none of this id, or Redis is away.
pub async fn show(admin: &Admin, _who: &Who, id: &str) -> Result<Row, ActError> {
    let broadcasts = of(admin);
    let message = broadcasts.get(id).await?;
    let (received, confirmed) = broadcasts.tallies(&[id]).await?.first().copied().unwrap_or_default();
    Ok(Row { message, received, confirmed })
}

/// An image of a broadcast, with its type.
///
/// # Errors
/// It is not there, or Redis is away.
pub async fn image(admin: &Admin, _who: &Who, digest: &str) -> Result<(&'static str, Vec<u8>), ActError> {
    let found = of(admin).image(digest).await?;
    let found = found.and_then(|bytes| Some((crate::broadcast::store::image_type(&bytes)?, bytes)));
    found.ok_or_else(|| ActError::Unknown("there is no such image, or it is no longer kept".into()))
}

fn says(message: &Message, q: &str) -> bool {
    let content = &message.content;
    [&content.title, &content.text, &content.category, &message.by].iter().any(|text| text.to_lowercase().contains(q))
}

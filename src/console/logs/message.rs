//! A message's page: what came, and on every route what was sent of it and how that went.

use actix_web::{HttpResponse, web};
use askama::Template;
use tidegate_actors::message::MessageId;

use super::{Logs, Marked as _, Shows as _, in_time};
use crate::{
    admin::{
        compare::Mark,
        deliveries::State,
        json::pretty,
        messages::{self, Life, Way},
    },
    console::page::{Frame, Nav, PageContext, PageError},
    registry::store::AuditEntry,
};

/// Where a message's page is.
pub(in crate::console) fn address(application: &str, id: &str) -> String {
    let application: String = url::form_urlencoded::byte_serialize(application.as_bytes()).collect();
    format!("/console/messages/{application}/{id}")
}

/// Where a dead letter's page is.
pub(in crate::console) fn letter_address(application: &str, destination: &str, route_id: &str, id: &str) -> String {
    let part = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("/console/dead/letter/{}/{}/{}/{id}", part(application), part(destination), part(route_id))
}

#[derive(Template)]
#[template(path = "logs/message.html")]
struct MessagePage {
    frame: Frame,
    text: &'static Logs,
    life: Life,
    record: String,
    changes: Vec<AuditEntry>,
}

impl MessagePage {
    fn letter(&self, way: &Way) -> Option<String> {
        let letter = way.letter.as_ref()?;
        Some(letter_address(&self.life.application, &way.row.destination, &letter.route_id, &self.life.id))
    }

    fn address(&self, id: &str) -> String {
        address(&self.life.application, id)
    }
}

pub(super) async fn show(page: PageContext, path: web::Path<(String, String)>) -> Result<HttpResponse, PageError> {
    let (application, id) = path.into_inner();
    let text = page.logs();
    let gone = || PageError::NotFound(text.gone.to_owned());
    let id: MessageId = id.parse().map_err(|_| gone())?;
    let document = page.admin().documents.borrow().clone().unwrap_or_default();
    let life = in_time(messages::life(&page.admin().redis, &document, &application, &id)).await?.ok_or_else(gone)?;
    let mut store = page.admin().store()?;
    let changes = in_time(messages::changes(&mut store, &life.id)).await.unwrap_or_default();
    let frame = page.frame(Nav::Logs, format!("{} {}", text.message, page.look().short_id(&life.id)));
    let record = pretty(&life.data);
    page.render(&MessagePage { frame, text, life, record, changes })
}

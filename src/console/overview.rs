//! The first screen: how every destination does, and the nodes that write them.

use actix_web::{HttpResponse, web};
use askama::Template;

use super::page::{Frame, Nav, PageContext, PageError};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(web::resource("/").route(web::get().to(show)));
}

#[derive(Template)]
#[template(path = "overview/page.html")]
struct Page {
    frame: Frame,
}

async fn show(page: PageContext) -> Result<HttpResponse, PageError> {
    // Nothing of it is a broadcaster's.
    if !page.may(crate::admin::Role::Viewer) {
        return Ok(page.see("/console/broadcast"));
    }
    let frame = page.frame(Nav::Overview, page.pick("Overview", "Ringkasan"));
    page.render(&Page { frame })
}

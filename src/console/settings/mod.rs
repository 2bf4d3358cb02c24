//! Settings: users, the list of changes, retention, alerts, export and import. All of it is an admin's.

mod alerts;
mod audit;
mod retention;
mod transfer;
mod users;

use actix_web::{HttpResponse, http::StatusCode, web};

use super::{
    page::{PageContext, PageError},
    texts::{
        errors,
        settings::{self as texts, Settings},
    },
};
use crate::{
    admin::{ActError, FieldError, Role},
    users::Lang,
};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/settings").route(web::get().to(first)))
        .configure(users::configure)
        .configure(audit::configure)
        .configure(retention::configure)
        .configure(alerts::configure)
        .configure(transfer::configure);
}

async fn first(page: PageContext) -> Result<HttpResponse, PageError> {
    page.needs(Role::Admin)?;
    Ok(page.see("/console/settings/users"))
}

/// One of the screens here.
pub(super) struct Tab {
    href: &'static str,
    label: &'static str,
    current: bool,
}

/// The screens, with the one that is open.
pub(super) fn tabs(text: &'static Settings, current: &str) -> Vec<Tab> {
    [
        ("/console/settings/users", text.users),
        ("/console/settings/retention", text.retention),
        ("/console/settings/alerts", text.alerts),
        ("/console/settings/transfer", text.transfer),
        ("/console/settings/audit", text.audit),
    ]
    .into_iter()
    .map(|(href, label)| Tab { href, label, current: href.ends_with(current) })
    .collect()
}

pub(super) fn text(page: &PageContext) -> &'static Settings {
    page.pick(&texts::EN, &texts::ID)
}

/// What is wrong with a form.
#[derive(Default)]
pub(super) struct Wrong {
    /// On top of it.
    pub(super) top: Option<String>,
    fields: Vec<FieldError>,
    lang: Lang,
}

impl Wrong {
    /// Why an act was refused, and the answer's status; what is no matter of the form is a page of its own.
    pub(super) fn of(page: &PageContext, error: ActError) -> Result<(StatusCode, Self), PageError> {
        let top = |why: String| {
            let why = errors::why(page.lang(), &why);
            Self { top: Some(format!("{} {why}.", text(page).not_saved)), ..Self::default() }
        };
        match error {
            ActError::Invalid(fields) => {
                Ok((StatusCode::UNPROCESSABLE_ENTITY, Self { top: None, fields, lang: page.lang() }))
            }
            ActError::Conflict(why) => Ok((StatusCode::CONFLICT, top(why))),
            ActError::Unavailable(why) => Ok((StatusCode::SERVICE_UNAVAILABLE, top(why))),
            other => Err(other.into()),
        }
    }

    /// One field that is wrong.
    pub(super) fn field(page: &PageContext, field: &str, code: &'static str, message: &str) -> Self {
        let error = FieldError { field: field.into(), code, message: message.into() };
        Self { top: None, fields: vec![error], lang: page.lang() }
    }

    /// What is wrong with this field.
    pub(super) fn at(&self, field: &str) -> Option<String> {
        self.fields.iter().find(|error| error.field == field).map(|error| errors::said(self.lang, error))
    }
}

/// Refuses a form while Redis is away, rather than let somebody wait for it.
pub(super) fn present(page: &PageContext) -> Result<(), ActError> {
    page.redis_away().map_or(Ok(()), |why| Err(ActError::Unavailable(why.to_owned())))
}

/// After an act that has no form to come back to: what was done, or why not, on another page.
pub(super) fn answer(
    page: &PageContext,
    path: &str,
    outcome: Result<(), ActError>,
    done: String,
) -> Result<HttpResponse, PageError> {
    match outcome {
        Ok(()) => Ok(page.done(path, done)),
        Err(error @ (ActError::Forbidden { .. } | ActError::Unknown(_))) => Err(error.into()),
        Err(ActError::Invalid(fields)) => {
            let all: Vec<String> = fields.iter().map(|error| errors::said(page.lang(), error)).collect();
            Ok(page.failed(path, all.join(" ")))
        }
        Err(error) => Ok(page.failed(path, error.to_string())),
    }
}

/// A part of a path, whatever is in it.
pub(super) fn encoded(part: &str) -> String {
    url::form_urlencoded::byte_serialize(part.as_bytes()).collect::<String>().replace('+', "%20")
}

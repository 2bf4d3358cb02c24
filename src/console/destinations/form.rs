//! The form of a destination: its parts as a person gives them, made into an address and taken apart again, and its check.

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use serde::Deserialize;

use super::{Destinations, at, texts_of};
use crate::{
    admin::{
        ActError, FieldError, Role,
        destinations::{self as acts, DestinationView, Draft, Progress, Step},
    },
    console::page::{Frame, Nav, PageContext, PageError},
    databases::{KINDS, Kind, kind},
    resources::{Delivery, Tls, TlsMode},
};

/// The fields, as they are typed.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Form {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) host: String,
    pub(super) port: String,
    pub(super) database: String,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) options: String,
    pub(super) tls: String,
    pub(super) ca: String,
    pub(super) delivery: String,
    pub(super) node: String,
    /// Names a check that found exactly this good.
    pub(super) token: String,
}

impl Form {
    /// Of a destination that there is; never its password.
    pub(super) fn of(view: &DestinationView) -> Self {
        let url = url::Url::parse(&view.url).ok();
        let is_file = kind(&view.kind).is_ok_and(Kind::is_file);
        let decoded = |text: &str| {
            url::form_urlencoded::parse(format!("x={}", text.replace('+', "%2B")).as_bytes())
                .next()
                .map(|(_, value)| value.into_owned())
                .unwrap_or_default()
        };
        let path = url.as_ref().map(|url| decoded(url.path())).unwrap_or_default();
        Self {
            kind: view.kind.clone(),
            name: view.name.clone(),
            host: url.as_ref().and_then(|url| url.host_str()).unwrap_or_default().to_owned(),
            port: url.as_ref().and_then(|url| url.port()).map(|port| port.to_string()).unwrap_or_default(),
            database: if is_file { path } else { path.trim_start_matches('/').to_owned() },
            user: url.as_ref().map(|url| decoded(url.username())).unwrap_or_default(),
            options: url.as_ref().and_then(|url| url.query()).unwrap_or_default().to_owned(),
            tls: view.tls.as_ref().map_or("", |tls| tls_word(tls.mode)).to_owned(),
            ca: view.tls.as_ref().and_then(|tls| tls.ca.clone()).unwrap_or_default(),
            delivery: if view.delivery == Delivery::Parallel { "parallel".into() } else { "ordered".into() },
            node: view.node.clone().unwrap_or_default(),
            password: String::new(),
            token: String::new(),
        }
    }

    /// The address that its parts make.
    fn url(&self) -> Result<String, FieldError> {
        let wrong =
            |field: &str, message: &str| FieldError { field: field.into(), code: "missing", message: message.into() };
        let kind =
            kind(&self.kind).map_err(|why| FieldError { field: "kind".into(), code: "unknown_kind", message: why })?;
        if kind.here {
            return Ok(format!("{}://shops", self.kind));
        }
        let database = self.database.trim();
        if database.is_empty() {
            return Err(wrong("database", "give the database"));
        }
        let options = self.options.trim().trim_start_matches('?');
        let options = if options.is_empty() { String::new() } else { format!("?{options}") };
        if kind.is_file() {
            let path = database.trim_start_matches('/');
            return Ok(format!("{}:///{}{options}", self.kind, encoded(path, "/")));
        }
        let (host, user) = (self.host.trim(), self.user.trim());
        if host.is_empty() {
            return Err(wrong("host", "give the server's name or address"));
        }
        if user.is_empty() {
            return Err(wrong("user", "give the database's user that writes"));
        }
        if host.contains(['/', '@', '?', '#', ' ']) {
            return Err(FieldError { field: "host".into(), code: "not_an_address", message: "this is no host".into() });
        }
        let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
        let port = self.port.trim();
        let port = match port.parse::<u16>() {
            Ok(port) if port > 0 => format!(":{port}"),
            _ if port.is_empty() => String::new(),
            _ => {
                let message = "give a port from 1 to 65535, or nothing".into();
                return Err(FieldError { field: "port".into(), code: "not_a_port", message });
            }
        };
        Ok(format!("{}://{}@{host}{port}/{}{options}", self.kind, encoded(user, ""), encoded(database, "")))
    }

    /// What is to become of the destination.
    pub(super) fn draft(&self) -> Result<Draft, ActError> {
        let url = self.url().map_err(|error| ActError::Invalid(vec![error]))?;
        let mode = match self.tls.as_str() {
            "verify" => Some(TlsMode::Verify),
            "require" => Some(TlsMode::Require),
            "off" => Some(TlsMode::Off),
            _ => None,
        };
        let ca = Some(self.ca.trim().to_owned()).filter(|ca| !ca.is_empty());
        Ok(Draft {
            name: self.name.trim().to_owned(),
            kind: self.kind.clone(),
            url,
            password: (!self.password.is_empty()).then(|| self.password.clone().into()),
            delivery: if self.delivery == "parallel" { Delivery::Parallel } else { Delivery::Ordered },
            tls: mode.or_else(|| ca.is_some().then_some(TlsMode::Verify)).map(|mode| Tls { mode, ca }),
            node: Some(self.node.trim().to_owned()).filter(|node| !node.is_empty()),
        })
    }
}

fn tls_word(mode: TlsMode) -> &'static str {
    match mode {
        TlsMode::Verify => "verify",
        TlsMode::Require => "require",
        TlsMode::Off => "off",
    }
}

/// Text for a part of an address.
fn encoded(text: &str, also: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || also.as_bytes().contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[derive(Template)]
#[template(path = "destinations/check.html")]
struct CheckPart {
    look: crate::console::look::Look,
    text: &'static Destinations,
    progress: Progress,
    /// Where to look for more.
    poll: Option<String>,
}

#[derive(Template)]
#[template(path = "destinations/form.html")]
struct FormPage {
    frame: Frame,
    text: &'static Destinations,
    form: Form,
    /// The destination that is changed.
    of: Option<String>,
    has_password: bool,
    kinds: &'static [Kind],
    is_file: bool,
    is_here: bool,
    default_port: u16,
    notes: &'static str,
    failure: Option<String>,
    wrong: Vec<FieldError>,
    progress: Option<Progress>,
    grants: String,
    ddl: &'static str,
}

impl FormPage {
    fn error(&self, field: &str) -> Option<String> {
        // What the parts make is told beside the part that most likely is at fault.
        let beside = if field == "host" { "url" } else { field };
        let found = self.wrong.iter().find(|error| error.field == field || error.field == beside)?;
        Some(self.text.error(found.code).map_or_else(|| self.frame.wrong(found), str::to_owned))
    }

    fn action(&self) -> String {
        self.of.as_ref().map_or_else(|| "/console/destinations".into(), |name| format!("{}/edit", at(name)))
    }

    fn check_action(&self) -> String {
        self.of.as_ref().map_or_else(|| "/console/destinations/~check".into(), |name| format!("{}/check", at(name)))
    }
}

#[derive(Default)]
pub(super) struct With {
    pub(super) failure: Option<String>,
    pub(super) wrong: Vec<FieldError>,
    pub(super) progress: Option<Progress>,
}

/// The page with the form; `view` is the destination that is changed.
pub(super) fn form_page(
    page: &PageContext,
    status: StatusCode,
    mut form: Form,
    view: Option<&DestinationView>,
    with: With,
) -> Result<HttpResponse, PageError> {
    let text = texts_of(page);
    // Passwords are never sent back.
    form.password.clear();
    let chosen = kind(&form.kind).unwrap_or(&KINDS[0]);
    form.kind = chosen.name.to_owned();
    let (grants, ddl) = acts::for_a_dba(chosen.name, &form.user, &form.database)?;
    let title = view.map_or_else(|| text.new.to_owned(), |view| text.edit_title.replace("{}", &view.name));
    let frame = page.frame(Nav::Destinations, title);
    let frame = if let Some(view) = view { frame.below(at(&view.name), view.name.as_str()) } else { frame };
    let With { failure, wrong, progress } = with;
    page.render_with(
        status,
        &FormPage {
            frame,
            text,
            of: view.map(|view| view.name.clone()),
            has_password: view.is_some_and(|view| view.has_password),
            kinds: KINDS,
            is_file: chosen.is_file(),
            is_here: chosen.here,
            default_port: chosen.port.unwrap_or_default(),
            notes: chosen.notes,
            form,
            failure,
            wrong,
            progress,
            grants,
            ddl,
        },
    )
}

/// What a failed act makes of the form.
pub(super) fn form_again(
    page: &PageContext,
    form: Form,
    view: Option<&DestinationView>,
    error: ActError,
) -> Result<HttpResponse, PageError> {
    let (status, with) = match error {
        ActError::Invalid(wrong) => {
            // Something that stands beside no field is told on top.
            let top = wrong
                .iter()
                .find(|error| matches!(error.field.as_str(), "check" | "kind"))
                .map(|error| page.look().wrong(error));
            (StatusCode::UNPROCESSABLE_ENTITY, With { wrong, failure: top, progress: None })
        }
        ActError::Conflict(why) => (StatusCode::CONFLICT, With { failure: Some(why), ..With::default() }),
        ActError::Unavailable(why) => (StatusCode::SERVICE_UNAVAILABLE, With { failure: Some(why), ..With::default() }),
        error => return Err(error.into()),
    };
    form_page(page, status, form, view, with)
}

async fn view_of(page: &PageContext, of: Option<&str>) -> Result<Option<DestinationView>, PageError> {
    match of {
        Some(name) => Ok(Some(acts::show(page.admin(), &page.who(), name).await?.0)),
        None => Ok(None),
    }
}

/// Checks what is typed: with htmx as a part that follows it step by step, else as the page again with all steps.
pub(super) async fn check(page: PageContext, of: Option<String>, form: Form) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let draft = match form.draft() {
        Ok(draft) => draft,
        Err(error) => return refused(&page, of.as_deref(), form, error).await,
    };
    if !page.is_htmx() {
        return match acts::check(page.admin(), &page.who(), &draft, of.as_deref(), |_| {}).await {
            Ok(checked) => {
                let steps = checked.steps.iter().map(Step::from).collect();
                let progress = Progress { steps, done: true, token: checked.token.clone(), failure: None };
                let form = Form { token: checked.token.unwrap_or_default(), ..form };
                let view = view_of(&page, of.as_deref()).await?;
                form_page(
                    &page,
                    StatusCode::OK,
                    form,
                    view.as_ref(),
                    With { progress: Some(progress), ..With::default() },
                )
            }
            Err(error) => refused(&page, of.as_deref(), form, error).await,
        };
    }
    match acts::begin_check(page.admin(), &page.who(), draft, of.clone()).await {
        Ok(id) => part(&page, Progress::default(), Some(&id)),
        Err(error) => refused(&page, of.as_deref(), form, error).await,
    }
}

async fn refused(page: &PageContext, of: Option<&str>, form: Form, error: ActError) -> Result<HttpResponse, PageError> {
    if page.is_htmx() {
        let failure = match &error {
            ActError::Invalid(wrong) => {
                let text = texts_of(page);
                let words =
                    |error: &FieldError| text.error(error.code).map_or_else(|| page.look().wrong(error), str::to_owned);
                wrong.iter().map(|error| format!("{}: {}", error.field, words(error))).collect::<Vec<_>>().join(" ")
            }
            other => other.to_string(),
        };
        return part(page, Progress { done: true, failure: Some(failure), ..Progress::default() }, None);
    }
    let view = view_of(page, of).await?;
    form_again(page, form, view.as_ref(), error)
}

/// How far a check is that this console began.
pub(super) async fn progress(page: PageContext, id: web::Path<String>) -> Result<HttpResponse, PageError> {
    match acts::follow_check(page.admin(), &page.who(), &id).await {
        Ok(progress) => part(&page, progress, Some(&id)),
        // The form is there all the same, and its button asks for another.
        Err(ActError::Unknown(why)) => {
            part(&page, Progress { done: true, failure: Some(why), ..Progress::default() }, None)
        }
        Err(error) => Err(error.into()),
    }
}

fn part(page: &PageContext, progress: Progress, id: Option<&str>) -> Result<HttpResponse, PageError> {
    let poll = id.filter(|_| !progress.done).map(|id| format!("/console/destinations/~checks/{id}"));
    page.render(&CheckPart { look: page.look(), text: texts_of(page), progress, poll })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn form() -> Form {
        Form {
            kind: "mysql".into(),
            name: "rooms".into(),
            host: "db.example".into(),
            port: "3307".into(),
            database: "cars room".into(),
            user: "wri@ter".into(),
            ..Form::default()
        }
    }

    #[test]
    fn parts_make_an_address_that_says_the_same() {
        assert_eq!(form().url().unwrap(), "mysql://wri%40ter@db.example:3307/cars%20room");
        let six = Form { host: "2001:db8::1".into(), port: String::new(), ..form() };
        assert_eq!(six.url().unwrap(), "mysql://wri%40ter@[2001:db8::1]/cars%20room");
        let file = Form { kind: "sqlite".into(), database: "/srv/my rooms.db".into(), ..Form::default() };
        assert_eq!(file.url().unwrap(), "sqlite:///srv/my%20rooms.db");
        let shops = Form { kind: "broadcast".into(), ..Form::default() };
        assert_eq!(shops.url().unwrap(), "broadcast://shops");
    }

    #[test]
    fn a_part_cannot_smuggle_another_in() {
        for host in ["evil@169.254.169.254", "a/b", "a?host=b", "a#b"] {
            let form = Form { host: host.into(), ..form() };
            assert_eq!(form.url().unwrap_err().field, "host", "{host}");
        }
        assert_eq!(Form { port: "70000".into(), ..form() }.url().unwrap_err().code, "not_a_port");
        assert!(Form { database: "x?host=127.0.0.1".into(), ..form() }.url().unwrap().contains("%3Fhost%3D"));
    }
}

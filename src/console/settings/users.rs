//! Users: the list, one user with what an admin does to them, and the form for a new one.

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::{Tab, Wrong, answer, encoded, present, tabs, text};
use crate::{
    admin::{
        Role,
        users::{self as acts, UserView},
    },
    console::{
        list::{List, ROWS},
        look::Html,
        page::{Frame, Nav, PageContext, PageError},
        secret::Typed,
        texts::settings::Settings,
    },
};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/settings/users").route(web::get().to(list)))
        .service(web::resource("/settings/users/~new").route(web::get().to(show_new)).route(web::post().to(add)))
        .service(web::resource("/settings/users/{name}").route(web::get().to(show)))
        .service(web::resource("/settings/users/{name}/{act}").route(web::post().to(act)));
}

#[derive(Template)]
#[template(path = "settings/users.html")]
struct ListPage {
    frame: Frame,
    text: &'static Settings,
    tabs: Vec<Tab>,
    list: List,
    users: Vec<UserView>,
    found: u64,
    query: Query,
    roles: Vec<(Role, &'static str)>,
    pager: Html,
}

#[derive(Template)]
#[template(path = "settings/user.html")]
struct One {
    frame: Frame,
    text: &'static Settings,
    tabs: Vec<Tab>,
    user: UserView,
    /// The role that they have.
    role: Role,
    path: String,
    roles: Vec<(Role, &'static str, &'static str)>,
    wrong: Wrong,
}

impl ListPage {
    /// A part of an address.
    fn part(&self, text: &str) -> String {
        encoded(text)
    }
}

impl One {
    /// A question about this user.
    fn ask(&self, words: &str) -> String {
        words.replace("{}", &self.user.name)
    }
}

#[derive(Template)]
#[template(path = "settings/user_new.html")]
struct New {
    frame: Frame,
    text: &'static Settings,
    tabs: Vec<Tab>,
    name: String,
    role: Role,
    roles: Vec<(Role, &'static str, &'static str)>,
    wrong: Wrong,
}

#[derive(Default, Deserialize)]
struct Query {
    #[serde(default)]
    q: String,
    #[serde(default)]
    role: String,
    /// `name`, `role`, `second`, `seen` or `added`; with `-` before it the other way round.
    #[serde(default)]
    sort: String,
    #[serde(default)]
    page: Option<usize>,
}

fn described(page: &PageContext, frame: &Frame) -> Vec<(Role, &'static str, &'static str)> {
    let text = text(page);
    let hints = [text.role_viewer, text.role_broadcaster, text.role_operator, text.role_admin];
    Role::ALL.into_iter().zip(hints).map(|(role, hint)| (role, frame.shell.role(role), hint)).collect()
}

fn role(name: &str) -> Option<Role> {
    Role::ALL.into_iter().find(|role| role.as_str() == name)
}

async fn list(page: PageContext, query: web::Query<Query>) -> Result<HttpResponse, PageError> {
    let mut users = acts::list(&page.console().users, &page.who()).await?;
    let query = query.into_inner();
    let (wanted, role) = (query.q.trim().to_lowercase(), role(&query.role));
    users.retain(|user| user.name.contains(&wanted) && role.is_none_or(|role| user.role == role));
    let given = [("q", query.q.as_str()), ("role", &query.role)];
    let list = List::new("/console/settings/users", &given, &query.sort, "name", query.page);
    list.order(&mut users, |column, a, b| match column {
        "role" => a.role.as_str().cmp(b.role.as_str()),
        "seen" => a.signed_in_at_ms.cmp(&b.signed_in_at_ms),
        "second" => a.second_factor.cmp(&b.second_factor),
        "added" => a.created_at_ms.cmp(&b.created_at_ms),
        _ => a.name.cmp(&b.name),
    });
    let found = users.len();
    let (users, pager) = list.cut(users, ROWS, page.look());
    let frame = page.frame(Nav::Settings, text(&page).users);
    let roles = Role::ALL.into_iter().map(|role| (role, frame.shell.role(role))).collect();
    let (text, found) = (text(&page), found as u64);
    page.render(&ListPage { frame, text, tabs: tabs(text, "users"), list, users, found, query, roles, pager })
}

async fn find(page: &PageContext, name: &str) -> Result<UserView, PageError> {
    let users = acts::list(&page.console().users, &page.who()).await?;
    users.into_iter().find(|user| user.name == name).ok_or_else(|| PageError::NotFound(String::new()))
}

async fn show(page: PageContext, name: web::Path<String>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Admin)?;
    let user = find(&page, &name).await?;
    one(&page, StatusCode::OK, user, Wrong::default())
}

fn one(page: &PageContext, status: StatusCode, user: UserView, wrong: Wrong) -> Result<HttpResponse, PageError> {
    let (text, frame) = (text(page), page.frame(Nav::Settings, user.name.as_str()));
    let (roles, path) = (described(page, &frame), format!("/console/settings/users/{}", encoded(&user.name)));
    page.render_with(status, &One { frame, text, tabs: tabs(text, "users"), role: user.role, user, path, roles, wrong })
}

async fn show_new(page: PageContext) -> Result<HttpResponse, PageError> {
    page.needs(Role::Admin)?;
    new(&page, StatusCode::OK, String::new(), Role::Operator, Wrong::default())
}

fn new(
    page: &PageContext,
    status: StatusCode,
    name: String,
    role: Role,
    wrong: Wrong,
) -> Result<HttpResponse, PageError> {
    let (text, frame) = (text(page), page.frame(Nav::Settings, text(page).user_add));
    let roles = described(page, &frame);
    page.render_with(status, &New { frame, text, tabs: tabs(text, "users"), name, role, roles, wrong })
}

#[derive(Deserialize)]
struct GivenNew {
    name: String,
    role: String,
    password: Typed,
    again: Typed,
}

async fn add(page: PageContext, given: web::Form<GivenNew>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Admin)?;
    let GivenNew { name, role: wanted, password: Typed(password), again: Typed(again) } = given.into_inner();
    let Some(role) = role(&wanted) else { return Err(PageError::Bad("there is no such role".into())) };
    if password.expose_secret() != again.expose_secret() {
        let wrong = Wrong::field(&page, "again", "password_differs", text(&page).password_differs);
        return new(&page, StatusCode::UNPROCESSABLE_ENTITY, name, role, wrong);
    }
    let added = match present(&page) {
        Ok(()) => acts::add(&page.console().users, &page.who(), &name, role, password).await,
        Err(away) => Err(away),
    };
    match added {
        Ok(name) => {
            let path = format!("/console/settings/users/{}", encoded(&name));
            Ok(page.done(&path, text(&page).done_user_added.replace("{}", &name)))
        }
        Err(error) => {
            let (status, wrong) = Wrong::of(&page, error)?;
            new(&page, status, name, role, wrong)
        }
    }
}

#[derive(Deserialize)]
struct GivenAct {
    role: Option<String>,
    password: Option<Typed>,
    again: Option<Typed>,
}

async fn act(
    page: PageContext,
    path: web::Path<(String, String)>,
    given: web::Form<GivenAct>,
) -> Result<HttpResponse, PageError> {
    page.needs(Role::Admin)?;
    let (name, act) = path.into_inner();
    let (users, who, text) = (&page.console().users, page.who(), text(&page));
    let given = given.into_inner();
    let own = *page.session().user == *name;
    let back = format!("/console/settings/users/{}", encoded(&name));
    let done = |words: &str| words.replace("{}", &name);
    match act.as_str() {
        "role" => {
            let wanted = given.role.as_deref().and_then(role);
            let Some(wanted) = wanted else { return Err(PageError::Bad("there is no such role".into())) };
            let outcome = acts::set_role(users, &who, &name, wanted).await;
            answer(&page, &back, outcome, done(text.done_role))
        }
        "password" => {
            let (Some(Typed(password)), Some(Typed(again))) = (given.password, given.again) else {
                return Err(PageError::Bad("there is no password".into()));
            };
            if password.expose_secret() != again.expose_secret() {
                let wrong = Wrong::field(&page, "again", "password_differs", text.password_differs);
                return one(&page, StatusCode::UNPROCESSABLE_ENTITY, find(&page, &name).await?, wrong);
            }
            match acts::set_password(users, &who, &name, password).await {
                // One's own session is over with the others.
                Ok(()) => Ok(page.done(if own { "/console/sign-in" } else { &back }, done(text.done_password))),
                Err(error) => {
                    let (status, wrong) = Wrong::of(&page, error)?;
                    one(&page, status, find(&page, &name).await?, wrong)
                }
            }
        }
        "end-sessions" => {
            let outcome = acts::end_sessions(users, &who, &name).await;
            answer(&page, if own { "/console/sign-in" } else { &back }, outcome, done(text.done_sessions))
        }
        "totp-off" => {
            let outcome = acts::second_factor_off(users, &who, &name).await;
            answer(&page, &back, outcome, done(text.done_totp))
        }
        "remove" => {
            let outcome = acts::remove(users, &who, &name).await;
            let path = if outcome.is_ok() { "/console/settings/users" } else { back.as_str() };
            answer(&page, path, outcome, done(text.done_user_removed))
        }
        _ => Err(PageError::NotFound(String::new())),
    }
}

//! Alerts: the marks from which on something is an alarm, who is told, and the test that shows whether it arrives.

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{Tab, Wrong, answer, present, tabs, text};
use crate::{
    admin::{
        ActError, FieldError, Role,
        alerts::{self as acts, GivenWay, TargetView, View},
    },
    alerts::{
        outbound::Allowed,
        target::{AlarmKind, AlertTarget, MailTls, Way},
    },
    console::{
        list::{List, ROWS},
        look::Html,
        page::{Frame, Nav, PageContext, PageError},
        texts::settings::Settings,
    },
    databases::CheckStep,
    registry::secrets::MasterKey,
};

const HOME: &str = "/console/settings/alerts";

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/settings/alerts").route(web::get().to(show)).route(web::post().to(marks)))
        .service(web::resource("/settings/alerts/~new").route(web::get().to(show_new)).route(web::post().to(add)))
        .service(web::resource("/settings/alerts/{id}").route(web::get().to(show_one)).route(web::post().to(edit)))
        .service(web::resource("/settings/alerts/{id}/{act}").route(web::post().to(act)));
}

/// Which targets are looked for.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Query {
    /// In name and address.
    q: String,
    /// `webhook` or `email`.
    way: String,
    /// What they are told of.
    kind: String,
    /// `fine`, or `waiting` for those that take nothing.
    state: String,
    sort: String,
    page: Option<usize>,
}

impl Query {
    fn list(&self) -> List {
        let given = [("q", self.q.as_str()), ("way", &self.way), ("kind", &self.kind), ("state", &self.state)];
        List::new(HOME, &given, &self.sort, "name", self.page)
    }

    fn lets_through(&self, target: &TargetView) -> bool {
        let q = self.q.trim().to_lowercase();
        (self.way.is_empty() || target.way == self.way)
            && AlarmKind::parse(&self.kind).is_none_or(|kind| target.kinds.contains(&kind))
            && match self.state.as_str() {
                "fine" => target.waiting == 0,
                "waiting" => target.waiting > 0,
                _ => true,
            }
            && [&target.name, &target.to].iter().any(|text| text.to_lowercase().contains(&q))
    }
}

#[derive(Template)]
#[template(path = "settings/alerts.html")]
struct Screen {
    frame: Frame,
    text: &'static Settings,
    tabs: Vec<Tab>,
    given: GivenMarks,
    query: Query,
    list: List,
    /// How many there are at all.
    all: usize,
    targets: Vec<TargetView>,
    pager: Html,
    kinds: Vec<(AlarmKind, &'static str)>,
    has_key: bool,
    wrong: Wrong,
}

impl Screen {
    fn kind(&self, kind: &AlarmKind) -> &'static str {
        named(self.text, *kind)
    }

    fn ask_remove(&self, name: &str) -> String {
        self.text.remove_target_ask.replace("{}", name)
    }
}

#[derive(Template)]
#[template(path = "settings/target.html")]
struct Form {
    frame: Frame,
    text: &'static Settings,
    tabs: Vec<Tab>,
    /// Where the form goes.
    path: String,
    given: Given,
    kinds: Vec<(AlarmKind, &'static str, bool)>,
    ways: Vec<(MailTls, &'static str)>,
    /// It is stored already.
    known: bool,
    wrong: Wrong,
}

#[derive(Template)]
#[template(path = "settings/secret.html")]
struct Secret {
    frame: Frame,
    text: &'static Settings,
    tabs: Vec<Tab>,
    secret: String,
}

#[derive(Template)]
#[template(path = "settings/test.html")]
struct Test {
    frame: Frame,
    text: &'static Settings,
    tabs: Vec<Tab>,
    id: String,
    steps: Vec<CheckStep>,
    good: bool,
}

impl Test {
    fn step(&self, step: &CheckStep) -> &'static str {
        match step.step {
            "name" => self.text.step_name,
            "answer" => self.text.step_answer,
            "secret" => self.text.step_secret,
            _ => self.text.step_address,
        }
    }
}

fn named(text: &'static Settings, kind: AlarmKind) -> &'static str {
    match kind {
        AlarmKind::DestinationDown => text.kind_destination_down,
        AlarmKind::DestinationHeld => text.kind_destination_held,
        AlarmKind::DeadLetters => text.kind_dead_letters,
        AlarmKind::RedisMemory => text.kind_redis_memory,
        AlarmKind::StreamGap => text.kind_stream_gap,
        AlarmKind::RegistryRestored => text.kind_registry_restored,
    }
}

/// The marks, as they were typed.
#[derive(Deserialize)]
struct GivenMarks {
    down_after_s: String,
    dead_above: String,
    memory_percent: String,
}

async fn show(page: PageContext, query: web::Query<Query>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Admin)?;
    let view = acts::view(&page.admin().redis, &page.who()).await?;
    screen(&page, StatusCode::OK, view, query.into_inner(), None, Wrong::default())
}

fn screen(
    page: &PageContext,
    status: StatusCode,
    view: View,
    query: Query,
    given: Option<GivenMarks>,
    wrong: Wrong,
) -> Result<HttpResponse, PageError> {
    let given = given.unwrap_or_else(|| GivenMarks {
        down_after_s: view.down_after_s.to_string(),
        dead_above: view.dead_above.to_string(),
        memory_percent: view.memory_percent.to_string(),
    });
    let (text, frame) = (text(page), page.frame(Nav::Settings, text(page).alerts));
    let has_key = page.admin().master_key.is_some();
    let tabs = tabs(text, "alerts");
    let (list, mut targets) = (query.list(), view.targets);
    let all = targets.len();
    targets.retain(|target| query.lets_through(target));
    list.order(&mut targets, |column, a, b| match column {
        "to" => a.to.cmp(&b.to),
        "state" => a.waiting.cmp(&b.waiting),
        _ => a.name.to_lowercase().cmp(&b.name.to_lowercase()),
    });
    let (targets, pager) = list.cut(targets, ROWS, page.look());
    let kinds = AlarmKind::ALL.into_iter().map(|kind| (kind, named(text, kind))).collect();
    page.render_with(
        status,
        &Screen { frame, text, tabs, given, query, list, all, targets, pager, kinds, has_key, wrong },
    )
}

async fn marks(page: PageContext, given: web::Form<GivenMarks>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Admin)?;
    let given = given.into_inner();
    let (redis, who) = (&page.admin().redis, page.who());
    let saved = match present(&page).map_err(Err).and_then(|()| read_marks(&given).map_err(Ok)) {
        Err(Err(away)) => Err(away),
        Ok((down, dead, memory)) => acts::set_marks(redis, &who, down, dead, memory).await,
        Err(Ok(wrong)) => Err(ActError::Invalid(wrong)),
    };
    match saved {
        Ok(()) => Ok(page.done(HOME, text(&page).done_saved)),
        Err(error) => {
            let (status, wrong) = Wrong::of(&page, error)?;
            // While Redis is away the list is not known, and the form is kept all the same.
            let view = acts::view(redis, &who).await.unwrap_or_else(|_| View {
                down_after_s: 0,
                dead_above: 0,
                memory_percent: 0,
                targets: Vec::new(),
            });
            screen(&page, status, view, Query::default(), Some(given), wrong)
        }
    }
}

fn read_marks(given: &GivenMarks) -> Result<(u32, u64, u8), Vec<FieldError>> {
    let mut wrong = Vec::new();
    let mut refuse = |field: &str, code: &'static str, message: &str| {
        wrong.push(FieldError { field: field.into(), code, message: message.into() });
    };
    let down = given.down_after_s.trim().parse();
    if down.is_err() {
        refuse("down_after_s", "down_after", "give a time from 5 to 86400 seconds");
    }
    let dead = given.dead_above.trim().parse();
    if dead.is_err() {
        refuse("dead_above", "number", "give a whole number");
    }
    let memory = given.memory_percent.trim().parse();
    if memory.is_err() {
        refuse("memory_percent", "percent", "give a whole number of percent from 1 to 100");
    }
    match (down, dead, memory) {
        (Ok(down), Ok(dead), Ok(memory)) => Ok((down, dead, memory)),
        _ => Err(wrong),
    }
}

/// A target, as it was typed.
#[derive(Default)]
struct Given {
    way: String,
    name: String,
    kinds: Vec<AlarmKind>,
    url: String,
    host: String,
    port: String,
    tls: String,
    user: String,
    from: String,
    to: String,
    password: Option<SecretString>,
}

impl Given {
    /// A form may have one name many times, so it is read pair by pair.
    fn read(body: &[u8]) -> Self {
        let mut given = Self::default();
        for (name, value) in url::form_urlencoded::parse(body) {
            let value = value.into_owned();
            match &*name {
                "way" => given.way = value,
                "name" => given.name = value,
                "kind" => given.kinds.extend(AlarmKind::parse(&value)),
                "url" => given.url = value,
                "host" => given.host = value,
                "port" => given.port = value,
                "tls" => given.tls = value,
                "user" => given.user = value,
                "from" => given.from = value,
                "to" => given.to = value,
                "password" => given.password = Some(value.into()),
                _ => {}
            }
        }
        given
    }

    fn of(target: &AlertTarget) -> Self {
        let mut given = Self { name: target.name.clone(), kinds: target.kinds.clone(), ..Self::default() };
        match &target.way {
            Way::Webhook { url, .. } => {
                given.way = "webhook".into();
                given.url.clone_from(url);
            }
            Way::Email { host, port, tls, user, from, to, .. } => {
                given.way = "email".into();
                given.host.clone_from(host);
                given.port = port.to_string();
                given.tls = tls.as_str().into();
                given.user = user.clone().unwrap_or_default();
                given.from.clone_from(from);
                given.to = to.join(", ");
            }
        }
        given
    }

    fn act(&self) -> acts::Given {
        let way = if self.way == "email" {
            GivenWay::Email {
                host: self.host.clone(),
                port: self.port.trim().parse().unwrap_or(0),
                tls: MailTls::parse(&self.tls).unwrap_or_default(),
                user: self.user.clone(),
                password: self.password.clone(),
                from: self.from.clone(),
                to: self.to.clone(),
            }
        } else {
            GivenWay::Webhook { url: self.url.clone() }
        };
        acts::Given { name: self.name.clone(), kinds: self.kinds.clone(), way }
    }
}

#[derive(Deserialize)]
struct WhichWay {
    #[serde(default)]
    way: String,
}

async fn show_new(page: PageContext, query: web::Query<WhichWay>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Admin)?;
    let way = if query.way == "email" { "email" } else { "webhook" };
    let given = Given {
        way: way.into(),
        port: "465".into(),
        kinds: AlarmKind::ALL.to_vec(),
        tls: MailTls::Tls.as_str().into(),
        ..Given::default()
    };
    form(&page, StatusCode::OK, None, given, Wrong::default())
}

async fn show_one(page: PageContext, id: web::Path<String>) -> Result<HttpResponse, PageError> {
    let target = acts::target(&page.admin().redis, &page.who(), &id).await?;
    form(&page, StatusCode::OK, Some(&id), Given::of(&target), Wrong::default())
}

fn form(
    page: &PageContext,
    status: StatusCode,
    id: Option<&str>,
    given: Given,
    wrong: Wrong,
) -> Result<HttpResponse, PageError> {
    let text = text(page);
    let title = match (id, given.way.as_str()) {
        (Some(_), _) => text.edit,
        (None, "email") => text.add_email,
        (None, _) => text.add_webhook,
    };
    let kinds = AlarmKind::ALL.into_iter().map(|kind| (kind, named(text, kind), given.kinds.contains(&kind))).collect();
    let ways = MailTls::ALL.into_iter().zip([text.mail_tls_tls, text.mail_tls_starttls, text.mail_tls_off]).collect();
    let (frame, path) = (page.frame(Nav::Settings, title), format!("{HOME}/{}", id.unwrap_or("~new")));
    let (tabs, known) = (tabs(text, "alerts"), id.is_some());
    page.render_with(status, &Form { frame, text, tabs, path, given, kinds, ways, known, wrong })
}

fn master_key(page: &PageContext) -> Option<&MasterKey> {
    page.admin().master_key.as_deref()
}

fn secret(page: &PageContext, secret: &SecretString) -> Result<HttpResponse, PageError> {
    let (text, frame) = (text(page), page.frame(Nav::Settings, text(page).secret_title));
    let secret = secret.expose_secret().to_owned();
    page.render(&Secret { frame, text, tabs: tabs(text, "alerts"), secret })
}

async fn add(page: PageContext, body: web::Bytes) -> Result<HttpResponse, PageError> {
    page.needs(Role::Admin)?;
    let given = Given::read(&body);
    let added = match present(&page) {
        Ok(()) => acts::add(&page.admin().redis, master_key(&page), &page.who(), &given.act()).await,
        Err(away) => Err(away),
    };
    match added {
        Ok(acts::Added { secret: Some(made), .. }) => secret(&page, &made),
        Ok(acts::Added { secret: None, .. }) => {
            Ok(page.done(HOME, text(&page).done_target.replace("{}", given.name.trim())))
        }
        Err(error) => {
            let (status, wrong) = Wrong::of(&page, error)?;
            form(&page, status, None, given, wrong)
        }
    }
}

async fn edit(page: PageContext, id: web::Path<String>, body: web::Bytes) -> Result<HttpResponse, PageError> {
    page.needs(Role::Admin)?;
    let given = Given::read(&body);
    let edited = match present(&page) {
        Ok(()) => acts::edit(&page.admin().redis, master_key(&page), &page.who(), &id, &given.act()).await,
        Err(away) => Err(away),
    };
    match edited {
        Ok(()) => Ok(page.done(HOME, text(&page).done_target.replace("{}", given.name.trim()))),
        Err(error) => {
            let (status, wrong) = Wrong::of(&page, error)?;
            form(&page, status, Some(&id), given, wrong)
        }
    }
}

async fn act(page: PageContext, path: web::Path<(String, String)>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Admin)?;
    let (id, act) = path.into_inner();
    let (redis, who, text) = (&page.admin().redis, page.who(), text(&page));
    match act.as_str() {
        "test" => {
            let name = acts::target(redis, &who, &id).await?.name;
            let allowed = Allowed(page.admin().settings.alerts_allow.clone());
            let steps = acts::test(redis, master_key(&page), &allowed, &page.admin().node, &who, &id).await?;
            let good = steps.iter().all(|step| step.outcome.is_ok());
            let frame = page.frame(Nav::Settings, text.test_title.replace("{}", &name));
            page.render(&Test { frame, text, tabs: tabs(text, "alerts"), id, steps, good })
        }
        "secret" => match acts::renew_secret(redis, master_key(&page), &who, &id).await {
            Ok(made) => secret(&page, &made),
            Err(error) => answer(&page, HOME, Err(error), String::new()),
        },
        "remove" => {
            let name = acts::target(redis, &who, &id).await?.name;
            let outcome = acts::remove(redis, &who, &id).await;
            answer(&page, HOME, outcome, text.done_target_removed.replace("{}", &name))
        }
        _ => Err(PageError::NotFound(String::new())),
    }
}

//! Destinations: how every database does, and what operators do to it: create, edit, check, pause, the breaker, give a backlog
//! up, remove.

mod decide;
mod form;

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use serde::Deserialize;
use tidegate_actors::{breaker::BreakerState, message::MessageId, status::DestinationStatus};

use self::form::{Form, With, form_again, form_page};
use super::{
    list::{List, ROWS},
    look::{Html, Look},
    page::{Frame, Nav, PageContext, PageError},
    texts::destinations::{self as texts, Destinations},
};
use crate::admin::{
    ActError, Role,
    destinations::{self as acts, Abandonment, DestinationView, HealthChange, Removal, Until},
};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    let check_new = |page: PageContext, form: web::Form<Form>| form::check(page, None, form.into_inner());
    let check_edit = |page: PageContext, name: web::Path<String>, form: web::Form<Form>| {
        form::check(page, Some(name.into_inner()), form.into_inner())
    };
    config
        .service(web::resource("/destinations").route(web::get().to(list)).route(web::post().to(create)))
        .service(web::resource("/destinations/~new").route(web::get().to(new)))
        .service(web::resource("/destinations/~check").route(web::post().to(check_new)))
        .service(web::resource("/destinations/~checks/{id}").route(web::get().to(form::progress)))
        .service(web::resource("/destinations/{name}").route(web::get().to(one)))
        .service(web::resource("/destinations/{name}/state").route(web::get().to(state)))
        .service(web::resource("/destinations/{name}/edit").route(web::get().to(edit)).route(web::post().to(save)))
        .service(web::resource("/destinations/{name}/check").route(web::post().to(check_edit)))
        .service(web::resource("/destinations/{name}/by-hand").route(web::post().to(by_hand)))
        .service(
            web::resource("/destinations/{name}/abandon")
                .route(web::get().to(ask_abandon))
                .route(web::post().to(abandon)),
        )
        .service(
            web::resource("/destinations/{name}/remove")
                .route(web::get().to(ask_removal))
                .route(web::post().to(remove)),
        )
        .configure(decide::configure);
}

/// Changes of a destination's state on a page, which has more than them.
const HISTORY: usize = 20;

fn texts_of(page: &PageContext) -> &'static Destinations {
    page.pick(&texts::EN, &texts::ID)
}

fn at(name: &str) -> String {
    format!("/console/destinations/{name}")
}

/// Class, sign and word of a state.
fn badge(text: &'static Destinations, status: DestinationStatus) -> (&'static str, &'static str, &'static str) {
    match status {
        DestinationStatus::Up => ("good", "up", text.up),
        DestinationStatus::Down => ("bad", "down", text.down),
        DestinationStatus::Paused => ("note", "paused", text.paused),
        DestinationStatus::Held => ("warning", "held", text.held),
        DestinationStatus::Standby => ("", "standby", text.standby),
    }
}

/// The same by the state's word.
fn badge_of(text: &'static Destinations, word: &str) -> (&'static str, &'static str, &'static str) {
    badge(
        text,
        match word {
            "up" => DestinationStatus::Up,
            "down" => DestinationStatus::Down,
            "paused" => DestinationStatus::Paused,
            "held" => DestinationStatus::Held,
            _ => DestinationStatus::Standby,
        },
    )
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Query {
    q: String,
    state: String,
    /// A column; with `-` before it the largest first.
    sort: String,
    page: Option<usize>,
}

impl Query {
    fn list(&self) -> List {
        let given = [("q", self.q.as_str()), ("state", &self.state)];
        List::new("/console/destinations", &given, &self.sort, "name", self.page)
    }
}

#[derive(Template)]
#[template(path = "destinations/list.html")]
struct ListPage {
    frame: Frame,
    text: &'static Destinations,
    query: Query,
    list: List,
    all: usize,
    counts: Vec<(&'static str, &'static str, usize)>,
    rows: Vec<DestinationView>,
    pager: Html,
    away: Option<String>,
    may_edit: bool,
}

impl ListPage {
    fn badge(&self, view: &DestinationView) -> (&'static str, &'static str, &'static str) {
        badge(self.text, view.status())
    }
}

fn word(status: DestinationStatus) -> &'static str {
    match status {
        DestinationStatus::Up => "up",
        DestinationStatus::Down => "down",
        DestinationStatus::Paused => "paused",
        DestinationStatus::Held => "held",
        DestinationStatus::Standby => "standby",
    }
}

async fn list(page: PageContext, query: web::Query<Query>) -> Result<HttpResponse, PageError> {
    let query = query.into_inner();
    let (mut rows, away) = acts::list(page.admin(), &page.who()).await?;
    let text = texts_of(&page);
    let all = rows.len();
    let states = [
        DestinationStatus::Up,
        DestinationStatus::Down,
        DestinationStatus::Paused,
        DestinationStatus::Held,
        DestinationStatus::Standby,
    ];
    let counts =
        states.map(|state| (word(state), badge(text, state).2, rows.iter().filter(|v| v.status() == state).count()));
    let wanted = query.q.trim().to_lowercase();
    rows.retain(|view| {
        let holds = |field: &str| field.to_lowercase().contains(&wanted);
        let found =
            wanted.is_empty() || holds(&view.name) || holds(&view.host) || holds(&view.database) || holds(&view.title);
        found && (query.state.is_empty() || word(view.status()) == query.state)
    });
    let backlog = |view: &DestinationView| view.detail.as_ref().map_or(0, |detail| detail.backlog);
    let list = query.list();
    list.order(&mut rows, |column, a, b| match column {
        "kind" => a.title.cmp(&b.title),
        "host" => a.host.cmp(&b.host),
        "database" => a.database.cmp(&b.database),
        "state" => word(a.status()).cmp(word(b.status())),
        "backlog" => backlog(a).cmp(&backlog(b)),
        _ => a.name.cmp(&b.name),
    });
    let (rows, pager) = list.cut(rows, ROWS, page.look());
    let (away, may_edit) = (away.map(|error| error.to_string()), page.may(Role::Operator));
    let frame = page.frame(Nav::Destinations, text.title);
    page.render(&ListPage { frame, text, query, list, all, counts: counts.to_vec(), rows, pager, away, may_edit })
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NewQuery {
    kind: String,
}

async fn new(page: PageContext, query: web::Query<NewQuery>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let form = Form { kind: query.kind.clone(), node: String::new(), ..Form::default() };
    form_page(&page, StatusCode::OK, form, None, With::default())
}

async fn create(page: PageContext, form: web::Form<Form>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let form = form.into_inner();
    let made = async {
        let draft = form.draft()?;
        let token = Some(form.token.as_str()).filter(|token| !token.is_empty());
        acts::create(page.admin(), &page.who(), &draft, token).await
    };
    match made.await {
        Ok(()) => {
            let name = form.name.trim();
            Ok(page.done(&at(name), texts_of(&page).created.replace("{}", name)))
        }
        Err(error) => form_again(&page, form, None, error),
    }
}

async fn edit(page: PageContext, name: web::Path<String>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let (view, _) = acts::show(page.admin(), &page.who(), &name).await?;
    form_page(&page, StatusCode::OK, Form::of(&view), Some(&view), With::default())
}

async fn save(page: PageContext, name: web::Path<String>, form: web::Form<Form>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let form = form.into_inner();
    let made = async {
        let draft = form.draft()?;
        let token = Some(form.token.as_str()).filter(|token| !token.is_empty());
        acts::edit(page.admin(), &page.who(), &name, &draft, token).await
    };
    match made.await {
        Ok(()) => Ok(page.done(&at(&name), texts_of(&page).saved)),
        Err(error) => {
            let (view, _) = acts::show(page.admin(), &page.who(), &name).await?;
            form_again(&page, form, Some(&view), error)
        }
    }
}

#[derive(Template)]
#[template(path = "destinations/one.html")]
struct OnePage {
    frame: Frame,
    text: &'static Destinations,
    view: DestinationView,
    state: Html,
    history: History,
    grants: String,
    ddl: &'static str,
    away: Option<String>,
    may_edit: bool,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct HistoryQuery {
    /// The state that it came into.
    state: String,
    page: Option<usize>,
}

/// The changes of its state that are shown.
struct History {
    list: List,
    state: String,
    rows: Vec<HealthChange>,
    pager: Html,
    /// How many there are of each state.
    counts: Vec<(String, usize)>,
}

impl History {
    fn of(page: &PageContext, view: &DestinationView, query: HistoryQuery) -> Self {
        let list = List::new(at(&view.name), &[("state", &query.state)], "", "", query.page);
        let mut counts: Vec<(String, usize)> = Vec::new();
        for change in &view.history {
            match counts.iter_mut().find(|(known, _)| *known == change.status) {
                Some((_, many)) => *many += 1,
                None => counts.push((change.status.clone(), 1)),
            }
        }
        let wanted = |change: &&HealthChange| query.state.is_empty() || change.status == query.state;
        let rows = view.history.iter().filter(wanted).cloned().collect();
        let (rows, pager) = list.cut(rows, HISTORY, page.look());
        Self { list, state: query.state, rows, pager, counts }
    }
}

impl OnePage {
    /// An act's name with the destination's, for where the page is not seen.
    fn named(&self, act: &str) -> String {
        format!("{act}: {}", self.view.name)
    }

    fn badge_of(&self, word: &str) -> (&'static str, &'static str, &'static str) {
        badge_of(self.text, word)
    }

    fn to(&self, given: &tidegate_actors::ports::Abandoned) -> String {
        MessageId(given.to.clone()).to_string()
    }
}

/// How it does, which the page asks for again and again.
#[derive(Template)]
#[template(path = "destinations/state.html")]
struct StatePart<'a> {
    look: Look,
    text: &'static Destinations,
    view: &'a DestinationView,
    may_edit: bool,
}

impl StatePart<'_> {
    fn badge(&self) -> (&'static str, &'static str, &'static str) {
        badge(self.text, self.view.status())
    }

    fn breaker(&self) -> Option<&'static str> {
        let breaker = self.view.detail.as_ref()?.breaker;
        Some(match breaker {
            BreakerState::Closed => self.text.closed,
            BreakerState::Open => self.text.open,
            BreakerState::HalfOpen => self.text.half_open,
        })
    }
}

async fn state(page: PageContext, name: web::Path<String>) -> Result<HttpResponse, PageError> {
    let (views, away) = acts::list(page.admin(), &page.who()).await?;
    // What this node knows by itself is no news for a page that shows what was seen last.
    if let Some(error) = away {
        return Err(error.into());
    }
    let gone = || PageError::NotFound(format!("there is no destination `{name}`"));
    let view = views.iter().find(|view| view.name == *name).ok_or_else(gone)?;
    page.render(&StatePart { look: page.look(), text: texts_of(&page), view, may_edit: page.may(Role::Operator) })
}

async fn one(
    page: PageContext,
    name: web::Path<String>,
    query: web::Query<HistoryQuery>,
) -> Result<HttpResponse, PageError> {
    let (view, away) = acts::show(page.admin(), &page.who(), &name).await?;
    let (look, text, may_edit) = (page.look(), texts_of(&page), page.may(Role::Operator));
    let state = Html::of(&StatePart { look, text, view: &view, may_edit })?;
    let (grants, ddl) = acts::for_a_dba(&view.kind, &view.user, &view.database).unwrap_or_default();
    let frame = page.frame(Nav::Destinations, view.name.clone());
    let away = away.map(|error| error.to_string());
    let history = History::of(&page, &view, query.into_inner());
    page.render(&OnePage { frame, text, view, state, history, grants, ddl, away, may_edit })
}

#[derive(Deserialize)]
struct ByHandForm {
    act: String,
}

/// Pause, resume, and the breaker.
async fn by_hand(
    page: PageContext,
    name: web::Path<String>,
    form: web::Form<ByHandForm>,
) -> Result<HttpResponse, PageError> {
    let (admin, who, text) = (page.admin(), page.who(), texts_of(&page));
    let (done, said) = match form.act.as_str() {
        "pause" => (acts::pause(admin, &who, &name).await, text.was_paused),
        "resume" => (acts::resume(admin, &who, &name).await, text.was_resumed),
        "open" => (acts::open_breaker(admin, &who, &name).await, text.was_opened),
        "close" => (acts::close_breaker(admin, &who, &name).await, text.was_closed),
        _ => return Err(PageError::Bad("there is no such act".into())),
    };
    match done {
        Ok(()) => Ok(page.done(&at(&name), said)),
        Err(ActError::Conflict(why) | ActError::Unavailable(why)) => Ok(page.failed(&at(&name), why)),
        Err(error) => Err(error.into()),
    }
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct AbandonForm {
    until: String,
    application: String,
    reason: String,
    /// What was shown, so that nothing else is given up: `application id,application id`.
    seen: String,
}

#[derive(Template)]
#[template(path = "destinations/abandon.html")]
struct AbandonPage {
    frame: Frame,
    text: &'static Destinations,
    name: String,
    form: AbandonForm,
    seen: Option<Vec<Abandonment>>,
    failure: Option<String>,
}

impl AbandonPage {
    /// What is shown, as the next form carries it.
    fn carried(&self) -> String {
        let seen = self.seen.iter().flatten();
        seen.map(|one| format!("{} {}", one.application, one.to)).collect::<Vec<_>>().join(",")
    }
}

async fn ask_abandon(
    page: PageContext,
    name: web::Path<String>,
    query: web::Query<AbandonForm>,
) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let asked = !query.until.is_empty();
    abandon_page(&page, StatusCode::OK, &name, query.into_inner(), asked, None).await
}

async fn abandon_page(
    page: &PageContext,
    status: StatusCode,
    name: &str,
    form: AbandonForm,
    asked: bool,
    failure: Option<String>,
) -> Result<HttpResponse, PageError> {
    let look = async || {
        let only = Some(form.application.as_str()).filter(|only| !only.is_empty());
        let until = Until::parse(&form.until).map_err(|error| ActError::Invalid(vec![error]))?;
        acts::look(page.admin(), &page.who(), name, only, &until).await
    };
    let looked = if asked { look().await.map(Some) } else { Ok(None) };
    let (seen, status, failure) = match looked {
        Ok(seen) => (seen, status, failure),
        Err(error @ (ActError::Invalid(_) | ActError::Unknown(_))) => {
            (None, StatusCode::UNPROCESSABLE_ENTITY, Some(error.to_string()))
        }
        Err(error @ ActError::Unavailable(_)) => (None, StatusCode::SERVICE_UNAVAILABLE, Some(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    let text = texts_of(page);
    let frame = page.frame(Nav::Destinations, text.abandon_title.replace("{}", name)).below(at(name), name);
    page.render_with(status, &AbandonPage { frame, text, name: name.to_owned(), form, seen, failure })
}

async fn abandon(
    page: PageContext,
    name: web::Path<String>,
    form: web::Form<AbandonForm>,
) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let form = form.into_inner();
    let done = async {
        let mut seen = Vec::new();
        for one in form.seen.split(',').filter(|one| !one.is_empty()) {
            let (application, id) = one.split_once(' ').unwrap_or((one, ""));
            let id = id.parse().map_err(|_| ActError::Conflict("look again what waits".into()))?;
            // Exactly what was shown, however much came since.
            seen.extend(acts::look(page.admin(), &page.who(), &name, Some(application), &Until::Place(id)).await?);
        }
        acts::abandon(page.admin(), &page.who(), &name, &seen, Some(&form.reason)).await
    };
    match done.await {
        Ok(given) => {
            let text = texts_of(&page);
            let said = if given.iter().all(|given| given.done) { text.given_up } else { text.will_be_given_up };
            Ok(page.done(&at(&name), said))
        }
        Err(error @ (ActError::Conflict(_) | ActError::Invalid(_) | ActError::Unknown(_))) => {
            abandon_page(&page, StatusCode::CONFLICT, &name, form, true, Some(error.to_string())).await
        }
        Err(error @ ActError::Unavailable(_)) => {
            abandon_page(&page, StatusCode::SERVICE_UNAVAILABLE, &name, form, true, Some(error.to_string())).await
        }
        Err(error) => Err(error.into()),
    }
}

#[derive(Template)]
#[template(path = "destinations/remove.html")]
struct RemovePage {
    frame: Frame,
    text: &'static Destinations,
    name: String,
    removal: Removal,
}

async fn ask_removal(page: PageContext, name: web::Path<String>) -> Result<HttpResponse, PageError> {
    let removal = acts::removal(page.admin(), &page.who(), &name).await?;
    let text = texts_of(&page);
    let frame = page.frame(Nav::Destinations, text.remove_title.replace("{}", &name)).below(at(&name), name.as_str());
    page.render(&RemovePage { frame, text, name: name.into_inner(), removal })
}

async fn remove(page: PageContext, name: web::Path<String>) -> Result<HttpResponse, PageError> {
    match acts::remove(page.admin(), &page.who(), &name).await {
        Ok(()) => Ok(page.done("/console/destinations", texts_of(&page).removed.replace("{}", &name))),
        Err(ActError::Conflict(why) | ActError::Unavailable(why)) => Ok(page.failed(&at(&name), why)),
        Err(error) => Err(error.into()),
    }
}

//! Applications: who sends, with which keys and topics, how much, and how: examples with the application's own values.

use std::{net::IpAddr, time::Duration};

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use secrecy::ExposeSecret as _;
use serde::Deserialize;

use super::{
    list::{List, ROWS},
    look::{Html, Look},
    page::{Frame, Nav, PageContext, PageError},
    texts::applications::{self as texts, Applications},
};
use crate::{
    admin::{
        ActError, FieldError, Role,
        applications::{self as acts, ApplicationView, KeyState, KeyView},
    },
    registry::keys::Which,
};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/applications").route(web::get().to(list)).route(web::post().to(create)))
        .service(web::resource("/applications/~new").route(web::get().to(new)))
        .service(web::resource("/applications/{name}").route(web::get().to(one)))
        .service(web::resource("/applications/{name}/topics").route(web::post().to(set_topics)))
        .service(web::resource("/applications/{name}/limit").route(web::post().to(set_limit)))
        .service(web::resource("/applications/{name}/keys").route(web::post().to(create_key)))
        .service(web::resource("/applications/{name}/rotate").route(web::post().to(rotate)))
        .service(
            web::resource("/applications/{name}/keys/{id}/revoke")
                .route(web::get().to(ask_revoke))
                .route(web::post().to(revoke)),
        );
}

fn texts_of(page: &PageContext) -> &'static Applications {
    page.pick(&texts::EN, &texts::ID)
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Query {
    q: String,
    /// A column; with `-` before it the latest or most first.
    sort: String,
    page: Option<usize>,
}

#[derive(Template)]
#[template(path = "applications/list.html")]
struct ListPage {
    frame: Frame,
    text: &'static Applications,
    query: Query,
    list: List,
    all: usize,
    rows: Vec<ApplicationView>,
    pager: Html,
    away: Option<String>,
    may_edit: bool,
}

async fn list(page: PageContext, query: web::Query<Query>) -> Result<HttpResponse, PageError> {
    let query = query.into_inner();
    let (mut rows, away) = acts::list(page.admin(), &page.who()).await?;
    let all = rows.len();
    let wanted = query.q.trim().to_lowercase();
    let holds = |view: &ApplicationView| {
        wanted.is_empty()
            || view.name.to_lowercase().contains(&wanted)
            || view.topics.iter().any(|topic| topic.to_lowercase().contains(&wanted))
            || view.keys.iter().any(|key| key.id.to_lowercase() == wanted)
    };
    rows.retain(holds);
    let list = List::new("/console/applications", &[("q", &query.q)], &query.sort, "name", query.page);
    list.order(&mut rows, |column, a, b| match column {
        "created" => a.created_at_ms.cmp(&b.created_at_ms),
        "seen" => a.last_record_ms.cmp(&b.last_record_ms),
        "rate" => a.rate_per_s.unwrap_or(0.0).total_cmp(&b.rate_per_s.unwrap_or(0.0)),
        "keys" => a.active_keys().cmp(&b.active_keys()),
        _ => a.name.cmp(&b.name),
    });
    let (rows, pager) = list.cut(rows, ROWS, page.look());
    let text = texts_of(&page);
    let frame = page.frame(Nav::Applications, text.title);
    let (away, may_edit) = (away.map(|error| error.to_string()), page.may(Role::Operator));
    page.render(&ListPage { frame, text, query, list, all, rows, pager, away, may_edit })
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct NewForm {
    name: String,
    topics: String,
    records_per_s: String,
}

#[derive(Template)]
#[template(path = "applications/new.html")]
struct NewPage {
    frame: Frame,
    text: &'static Applications,
    form: NewForm,
    failure: Option<String>,
    wrong: Vec<FieldError>,
}

impl NewPage {
    fn error(&self, field: &str) -> Option<String> {
        error_of(self.frame.look, self.text, &self.wrong, field)
    }
}

/// What is wrong with a field, in the reader's language where there are words for it.
fn error_of(look: Look, text: &'static Applications, wrong: &[FieldError], field: &str) -> Option<String> {
    let found = wrong.iter().find(|error| error.field == field)?;
    Some(text.error(found.code).map_or_else(|| look.wrong(found), str::to_owned))
}

async fn new(page: PageContext) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    new_page(&page, StatusCode::OK, NewForm::default(), None, Vec::new())
}

fn new_page(
    page: &PageContext,
    status: StatusCode,
    form: NewForm,
    failure: Option<String>,
    wrong: Vec<FieldError>,
) -> Result<HttpResponse, PageError> {
    let text = texts_of(page);
    page.render_with(status, &NewPage { frame: page.frame(Nav::Applications, text.new), text, form, failure, wrong })
}

/// Topics as a form has them: one a line, or with commas.
fn topics_of(text: &str) -> Vec<String> {
    let parts = text.split([',', '\n', '\r', ' ']).map(str::trim).filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

/// A limit as a form has it.
fn limit_of(text: &str) -> Result<Option<u32>, FieldError> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| FieldError {
        field: "records_per_s".into(),
        code: "out_of_range",
        message: format!("give a whole number from 1 to {}", acts::MOST_RECORDS_PER_S),
    })
}

async fn create(page: PageContext, form: web::Form<NewForm>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let (form, text) = (form.into_inner(), texts_of(&page));
    let made = async {
        let limit = limit_of(&form.records_per_s).map_err(|error| ActError::Invalid(vec![error]))?;
        acts::create(page.admin(), &page.who(), form.name.trim(), &topics_of(&form.topics), limit).await
    };
    match made.await {
        Ok(()) => {
            let name = form.name.trim();
            Ok(page.done(&format!("/console/applications/{name}"), text.created.replace("{}", name)))
        }
        Err(ActError::Invalid(wrong)) => new_page(&page, StatusCode::UNPROCESSABLE_ENTITY, form, None, wrong),
        Err(error @ ActError::Unavailable(_)) => {
            new_page(&page, StatusCode::SERVICE_UNAVAILABLE, form, Some(error.to_string()), Vec::new())
        }
        Err(error @ ActError::Conflict(_)) => {
            new_page(&page, StatusCode::CONFLICT, form, Some(error.to_string()), Vec::new())
        }
        Err(error) => Err(error.into()),
    }
}

/// An example of how to send, in one language of programmers.
struct Example {
    id: &'static str,
    title: &'static str,
    code: String,
}

#[derive(Template)]
#[template(path = "applications/one.html")]
struct OnePage {
    frame: Frame,
    text: &'static Applications,
    view: ApplicationView,
    keys: Keys,
    /// A key that was made just now: shown this once.
    fresh: Option<String>,
    topics: String,
    limit: String,
    failure: Option<String>,
    wrong: Vec<FieldError>,
    examples: Vec<Example>,
    away: Option<String>,
    may_edit: bool,
}

/// The keys that are shown, of all that there are.
struct Keys {
    list: List,
    query: KeyQuery,
    rows: Vec<KeyView>,
    pager: Html,
    /// States with their words and how many are so.
    states: [(&'static str, &'static str, usize); 3],
}

impl Keys {
    fn of(page: &PageContext, view: &ApplicationView, query: KeyQuery) -> Self {
        let text = texts_of(page);
        let list = List::new(at(&view.name), &[("state", &query.state)], &query.sort, "-created", query.page);
        let is_active = |key: &KeyView| key.state == KeyState::Active;
        let active = view.keys.iter().filter(|key| is_active(key)).count();
        let states = [
            ("", text.keys_all, view.keys.len()),
            ("active", text.keys_active, active),
            ("ended", text.keys_ended, view.keys.len() - active),
        ];
        let mut rows = view.keys.clone();
        rows.retain(|key| match query.state.as_str() {
            "active" => is_active(key),
            "ended" => !is_active(key),
            _ => true,
        });
        // One that does not end ends last.
        let ends = |key: &KeyView| key.revoked_at_ms.or(key.expires_at_ms).unwrap_or(u64::MAX);
        list.order(&mut rows, |column, a, b| match column {
            "key" => a.id.cmp(&b.id),
            "state" => is_active(b).cmp(&is_active(a)),
            "used" => a.last_used_at_ms.cmp(&b.last_used_at_ms),
            "ends" => ends(a).cmp(&ends(b)),
            _ => a.created_at_ms.cmp(&b.created_at_ms),
        });
        let (rows, pager) = list.cut(rows, ROWS, page.look());
        Self { list, query, rows, pager, states }
    }
}

impl OnePage {
    fn error(&self, field: &str) -> Option<String> {
        error_of(self.frame.look, self.text, &self.wrong, field)
    }

    fn tone(&self, key: &KeyView) -> &'static str {
        if key.state == KeyState::Active { "good" } else { "" }
    }

    fn is_active(&self, key: &KeyView) -> bool {
        key.state == KeyState::Active
    }
}

/// How the keys are looked at.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct KeyQuery {
    /// `active` or `ended`.
    state: String,
    /// A column; with `-` before it the latest first.
    sort: String,
    page: Option<usize>,
}

/// What is shown beside the application itself.
#[derive(Default)]
struct Shown {
    keys: KeyQuery,
    fresh: Option<String>,
    topics: Option<String>,
    limit: Option<String>,
    failure: Option<String>,
    wrong: Vec<FieldError>,
}

async fn one_page(page: &PageContext, status: StatusCode, name: &str, shown: Shown) -> Result<HttpResponse, PageError> {
    let (view, away) = acts::show(page.admin(), &page.who(), name).await?;
    let text = texts_of(page);
    let listen = page.admin().settings.listen;
    // On all addresses: the one by which this browser has found the node.
    let found = url::Url::parse(&page.origin()).ok().and_then(|url| url.host_str().map(str::to_owned));
    let host = match listen.ip() {
        ip if ip.is_unspecified() => found.unwrap_or_else(|| "localhost".into()),
        IpAddr::V6(ip) => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    let topic = view.topics.first().or(view.routed_topics.first()).map_or("orders", String::as_str);
    let examples = examples(&format!("http://{host}:{}", listen.port()), topic, shown.fresh.as_deref());
    let of_view = |limit: Option<u32>| limit.map(|limit| limit.to_string()).unwrap_or_default();
    page.render_with(
        status,
        &OnePage {
            frame: page.frame(Nav::Applications, view.name.clone()),
            text,
            topics: shown.topics.unwrap_or_else(|| view.topics.join("\n")),
            limit: shown.limit.unwrap_or_else(|| of_view(view.records_per_s)),
            keys: Keys::of(page, &view, shown.keys),
            view,
            fresh: shown.fresh,
            failure: shown.failure,
            wrong: shown.wrong,
            examples,
            away: away.map(|error| error.to_string()),
            may_edit: page.may(Role::Operator),
        },
    )
}

async fn one(
    page: PageContext,
    name: web::Path<String>,
    keys: web::Query<KeyQuery>,
) -> Result<HttpResponse, PageError> {
    one_page(&page, StatusCode::OK, &name, Shown { keys: keys.into_inner(), ..Shown::default() }).await
}

/// The page again, with what was typed and why it was not done.
async fn again(page: &PageContext, name: &str, error: ActError, shown: Shown) -> Result<HttpResponse, PageError> {
    match error {
        ActError::Invalid(wrong) => {
            one_page(page, StatusCode::UNPROCESSABLE_ENTITY, name, Shown { wrong, ..shown }).await
        }
        ActError::Conflict(why) => {
            one_page(page, StatusCode::CONFLICT, name, Shown { failure: Some(why), ..shown }).await
        }
        ActError::Unavailable(why) => {
            one_page(page, StatusCode::SERVICE_UNAVAILABLE, name, Shown { failure: Some(why), ..shown }).await
        }
        error => Err(error.into()),
    }
}

fn at(name: &str) -> String {
    format!("/console/applications/{name}")
}

#[derive(Deserialize)]
struct TopicsForm {
    topics: String,
}

async fn set_topics(
    page: PageContext,
    name: web::Path<String>,
    form: web::Form<TopicsForm>,
) -> Result<HttpResponse, PageError> {
    match acts::set_topics(page.admin(), &page.who(), &name, &topics_of(&form.topics)).await {
        Ok(()) => Ok(page.done(&at(&name), texts_of(&page).topics_saved)),
        Err(error) => again(&page, &name, error, Shown { topics: Some(form.topics.clone()), ..Shown::default() }).await,
    }
}

#[derive(Deserialize)]
struct LimitForm {
    records_per_s: String,
}

async fn set_limit(
    page: PageContext,
    name: web::Path<String>,
    form: web::Form<LimitForm>,
) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let set = async {
        let limit = limit_of(&form.records_per_s).map_err(|error| ActError::Invalid(vec![error]))?;
        acts::set_limit(page.admin(), &page.who(), &name, limit).await
    };
    match set.await {
        Ok(()) => Ok(page.done(&at(&name), texts_of(&page).limit_saved)),
        Err(error) => {
            let limit = Some(form.records_per_s.clone());
            again(&page, &name, error, Shown { limit, ..Shown::default() }).await
        }
    }
}

#[derive(Deserialize)]
struct KeyForm {
    /// Days until it ends; nothing is never.
    #[serde(default)]
    days: String,
}

/// Days as a form has them.
fn days_of(text: &str) -> Result<Option<Duration>, ActError> {
    let wrong = || {
        let message = "give a whole number of days from 1 to 3650, or nothing".into();
        ActError::Invalid(vec![FieldError { field: "days".into(), code: "not_days", message }])
    };
    match text.trim() {
        "" => Ok(None),
        days => match days.parse::<u64>() {
            Ok(days @ 0..=3650) => Ok(Some(Duration::from_secs(days * 86_400))),
            _ => Err(wrong()),
        },
    }
}

/// A key that was made is shown on the answer itself, never on a page that can be opened again.
async fn create_key(
    page: PageContext,
    name: web::Path<String>,
    form: web::Form<KeyForm>,
) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let made = async {
        let ends = days_of(&form.days)?.filter(|time| !time.is_zero());
        let ends = ends.map(|time| tidegate_actors::delivery::now_ms() + time.as_secs() * 1_000);
        acts::create_key(page.admin(), &page.who(), &name, ends).await
    };
    match made.await {
        Ok((text, _)) => {
            let fresh = Some(text.expose_secret().to_owned());
            one_page(&page, StatusCode::OK, &name, Shown { fresh, ..Shown::default() }).await
        }
        Err(error) => again(&page, &name, error, Shown::default()).await,
    }
}

async fn rotate(
    page: PageContext,
    name: web::Path<String>,
    form: web::Form<KeyForm>,
) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let made = async {
        let old_ends = days_of(&form.days)?;
        acts::rotate_key(page.admin(), &page.who(), &name, old_ends).await
    };
    match made.await {
        Ok((text, _)) => {
            let fresh = Some(text.expose_secret().to_owned());
            one_page(&page, StatusCode::OK, &name, Shown { fresh, ..Shown::default() }).await
        }
        Err(error) => again(&page, &name, error, Shown::default()).await,
    }
}

#[derive(Template)]
#[template(path = "applications/revoke.html")]
struct RevokePage {
    frame: Frame,
    text: &'static Applications,
    name: String,
    key: KeyView,
    is_last: bool,
}

async fn ask_revoke(page: PageContext, path: web::Path<(String, String)>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let (name, id) = path.into_inner();
    let (view, _) = acts::show(page.admin(), &page.who(), &name).await?;
    let text = texts_of(&page);
    let is_last = view.active_keys() == 1;
    let key = view.keys.into_iter().find(|key| key.id == id && key.state == KeyState::Active);
    let key = key.ok_or_else(|| PageError::NotFound(format!("application `{name}` has no active key `{id}`")))?;
    let frame = page.frame(Nav::Applications, text.revoke_title.replace("{}", &id)).below(at(&name), name.as_str());
    page.render(&RevokePage { frame, text, name, key, is_last })
}

async fn revoke(page: PageContext, path: web::Path<(String, String)>) -> Result<HttpResponse, PageError> {
    let (name, id) = path.into_inner();
    match acts::revoke_key(page.admin(), &page.who(), &name, &Which::Named(id.clone())).await {
        Ok(_) => Ok(page.done(&at(&name), texts_of(&page).revoked.replace("{}", &id))),
        Err(error @ (ActError::Conflict(_) | ActError::Unavailable(_))) => {
            again(&page, &name, error, Shown::default()).await
        }
        Err(error) => Err(error.into()),
    }
}

/// How to send one record, with this application's values. The key stands in only while it is shown anyway.
fn examples(base: &str, topic: &str, key: Option<&str>) -> Vec<Example> {
    let url = format!("{base}/v1/messages");
    let key = key.unwrap_or("$TIDEGATE_API_KEY");
    let from_environment = key.starts_with('$');
    let in_php = if from_environment { "' . getenv('TIDEGATE_API_KEY')".to_owned() } else { format!("{key}'") };
    let in_python = if from_environment { "os.environ['TIDEGATE_API_KEY']".to_owned() } else { format!("\"{key}\"") };
    let in_node = if from_environment { "process.env.TIDEGATE_API_KEY".to_owned() } else { format!("\"{key}\"") };
    vec![
        Example {
            id: "curl",
            title: "curl",
            code: format!(
                "curl -sS {url} \\\n  -H \"Authorization: Bearer {key}\" \\\n  -H 'Content-Type: application/json' \\\n  -d '{{\"topic\":\"{topic}\",\"key\":1,\"data\":{{\"id\":1,\"name\":\"first\"}}}}'"
            ),
        },
        Example {
            id: "php",
            title: "PHP",
            code: format!(
                "<?php\n$request = curl_init('{url}');\ncurl_setopt_array($request, [\n    CURLOPT_POST => true,\n    CURLOPT_RETURNTRANSFER => true,\n    CURLOPT_HTTPHEADER => [\n        'Authorization: Bearer {in_php},\n        'Content-Type: application/json',\n    ],\n    CURLOPT_POSTFIELDS => json_encode([\n        'topic' => '{topic}', 'key' => 1, 'data' => ['id' => 1, 'name' => 'first'],\n    ]),\n]);\necho curl_exec($request);"
            ),
        },
        Example {
            id: "python",
            title: "Python",
            code: format!(
                "import json, os, urllib.request\n\nrequest = urllib.request.Request(\n    \"{url}\",\n    data=json.dumps({{\"topic\": \"{topic}\", \"key\": 1, \"data\": {{\"id\": 1, \"name\": \"first\"}}}}).encode(),\n    headers={{\"Authorization\": \"Bearer \" + {in_python}, \"Content-Type\": \"application/json\"}},\n)\nprint(urllib.request.urlopen(request).read().decode())"
            ),
        },
        Example {
            id: "node",
            title: "Node",
            code: format!(
                "const answer = await fetch(\"{url}\", {{\n  method: \"POST\",\n  headers: {{ Authorization: \"Bearer \" + {in_node}, \"Content-Type\": \"application/json\" }},\n  body: JSON.stringify({{ topic: \"{topic}\", key: 1, data: {{ id: 1, name: \"first\" }} }}),\n}});\nconsole.log(answer.status, await answer.json());"
            ),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_as_people_write_them() {
        assert_eq!(topics_of(" cars, rooms\nbookings\r\n\r\n"), ["cars", "rooms", "bookings"]);
        assert!(topics_of("").is_empty());
    }

    #[test]
    fn examples_have_the_applications_own_values() {
        for example in examples("http://localhost:8080", "cars", Some("tg_live_x")) {
            let has = ["http://localhost:8080/v1/messages", "cars", "tg_live_x"];
            assert!(has.iter().all(|part| example.code.contains(part)), "{}", example.code);
        }
        for example in examples("http://localhost:8080", "cars", None) {
            assert!(example.code.contains("TIDEGATE_API_KEY") && !example.code.contains("tg_live"), "{}", example.code);
        }
    }
}

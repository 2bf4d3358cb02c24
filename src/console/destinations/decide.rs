//! Where a held destination goes on, after a gap or in another database: what each answer would mean is counted first, and the
//! one that is chosen is carried out as it was shown.

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use serde::Deserialize;
use tidegate_actors::message::MessageId;

use super::{Destinations, at, texts_of};
use crate::{
    admin::{
        ActError, Role,
        destinations::{self as acts, Decision, GoOnFrom},
    },
    console::page::{Frame, Nav, PageContext, PageError},
};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    let decide = web::resource("/destinations/{name}/decide");
    config.service(decide.route(web::get().to(ask)).route(web::post().to(take)));
}

/// The answers, the careful one first.
const ANSWERS: [(GoOnFrom, &str); 3] =
    [(GoOnFrom::Last, "last"), (GoOnFrom::Earliest, "earliest"), (GoOnFrom::Now, "now")];

/// What one answer would mean.
struct Answer {
    word: &'static str,
    title: &'static str,
    text: &'static str,
    /// Why there is no such answer, or what it means on each stream.
    seen: Result<Vec<Decision>, String>,
}

impl Answer {
    /// What is shown, as the form carries it.
    fn carried(&self) -> String {
        carried(self.seen.as_deref().unwrap_or_default())
    }
}

fn carried(seen: &[Decision]) -> String {
    seen.iter().map(|one| format!("{} {}", one.application, one.after)).collect::<Vec<_>>().join(",")
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Form {
    from: String,
    seen_last: String,
    seen_earliest: String,
    /// What it was held for when this was shown.
    held: String,
}

#[derive(Template)]
#[template(path = "destinations/decide.html")]
struct Page {
    frame: Frame,
    text: &'static Destinations,
    name: String,
    held: Option<String>,
    asks: bool,
    chosen: String,
    answers: Vec<Answer>,
    failure: Option<String>,
}

impl Page {
    /// When what was sent last was accepted.
    fn after_ms(&self, decision: &Decision) -> Option<u64> {
        let id: MessageId = decision.after.parse().ok()?;
        Some(id.0.id.ms).filter(|ms| *ms > 0)
    }

    /// What becomes of the records of one stream, in words.
    fn meaning(&self, decision: &Decision) -> String {
        let (text, count) = (self.text, |number: u64| self.frame.count(number));
        let mut words = vec![text.decide_sent.replace("{}", &count(decision.sent))];
        match decision.waiting {
            Some(waiting) if waiting > decision.sent => {
                words.push(text.decide_never.replace("{}", &count(waiting - decision.sent)));
            }
            Some(waiting) if waiting < decision.sent => {
                words.push(text.decide_again.replace("{}", &count(decision.sent - waiting)));
            }
            Some(_) => {}
            None => words.push(text.decide_unknown.to_owned()),
        }
        words.join(" ")
    }
}

async fn ask(page: PageContext, name: web::Path<String>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    shown(&page, StatusCode::OK, &name, String::new(), None).await
}

async fn shown(
    page: &PageContext,
    status: StatusCode,
    name: &str,
    chosen: String,
    failure: Option<String>,
) -> Result<HttpResponse, PageError> {
    let (view, away) = acts::show(page.admin(), &page.who(), name).await?;
    let text = texts_of(page);
    let words = [
        (text.decide_last, text.decide_last_text),
        (text.decide_earliest, text.decide_earliest_text),
        (text.decide_now, text.decide_now_text),
    ];
    let (asks, away) = (view.asks_for_decision(), away.map(|error| error.to_string()));
    let mut answers = Vec::with_capacity(ANSWERS.len());
    for ((from, word), (title, about)) in ANSWERS.into_iter().zip(words) {
        let seen = match &away {
            // Nobody knows, and what was chosen stays.
            Some(why) => Err(why.clone()),
            // What each answer would mean is counted where there is a question.
            None if !asks => break,
            None => match acts::look_resume(page.admin(), &page.who(), name, None, from).await {
                Ok(seen) => Ok(seen),
                Err(error @ (ActError::Conflict(_) | ActError::Unavailable(_))) => Err(error.to_string()),
                // Nothing leads there any more, so that nothing can be decided.
                Err(error) => return Err(error.into()),
            },
        };
        answers.push(Answer { word, title, text: about, seen });
    }
    let chosen = if chosen.is_empty() {
        answers.iter().find(|answer| answer.seen.is_ok()).map_or(String::new(), |answer| answer.word.to_owned())
    } else {
        chosen
    };
    let failure = failure.or(away);
    let held = view.detail.and_then(|detail| detail.held);
    let frame = page.frame(Nav::Destinations, text.decide_title.replace("{}", name)).below(at(name), name);
    page.render_with(status, &Page { frame, text, name: name.to_owned(), held, asks, chosen, answers, failure })
}

async fn take(page: PageContext, name: web::Path<String>, form: web::Form<Form>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let form = form.into_inner();
    let Some((from, _)) = ANSWERS.into_iter().find(|(_, word)| *word == form.from) else {
        return Err(PageError::Bad("choose where it goes on".into()));
    };
    let decided = async {
        let seen = acts::look_resume(page.admin(), &page.who(), &name, None, from).await?;
        let was = match from {
            GoOnFrom::Last => Some(&form.seen_last),
            GoOnFrom::Earliest => Some(&form.seen_earliest),
            // This moment is the moment of the decision.
            GoOnFrom::Now => None,
        };
        let (view, _) = acts::show(page.admin(), &page.who(), &name).await?;
        let held = view.detail.as_ref().and_then(|detail| detail.held.as_deref()).unwrap_or_default();
        // Otherwise the answer to one question would be taken for that to another, perhaps tomorrow's.
        let asked = view.asks_for_decision() && held == form.held;
        if !asked || was.is_some_and(|was| *was != carried(&seen)) {
            return Err(ActError::Conflict(texts_of(&page).decide_moved.into()));
        }
        acts::decide(page.admin(), &page.who(), &name, &seen).await
    };
    let (status, why) = match decided.await {
        Ok(()) => return Ok(page.done(&at(&name), texts_of(&page).decided)),
        Err(ActError::Conflict(why)) => (StatusCode::CONFLICT, why),
        Err(ActError::Unavailable(why)) => (StatusCode::SERVICE_UNAVAILABLE, why),
        Err(error) => return Err(error.into()),
    };
    shown(&page, status, &name, form.from, Some(why)).await
}

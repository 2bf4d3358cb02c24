//! What changes while somebody looks: drawn once a second and node for all viewers of a screen, and sent as what changed.
//!
//! Without viewers nothing is drawn; the series alone goes on, a look every two seconds. A viewer's stream is one answer that
//! does not end (server-sent events, as HTML's standard has them); each part is an event by the name of its place in the page.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use actix_web::{
    HttpResponse,
    http::header::{CONTENT_TYPE, HeaderName},
    web,
};
use bytes::Bytes;
use serde::Deserialize;
use tokio::{sync::watch, time::MissedTickBehavior};

use super::{
    Console, actors,
    look::Look,
    overview,
    page::{PageContext, PageError},
};
use crate::{
    admin::{
        overview::{Sighting, Watcher},
        series::{Point, Series},
    },
    users::Lang,
};

/// How often a screen that somebody looks at is drawn.
const EVERY: Duration = Duration::from_secs(1);
/// A stream that has nothing to say gives a sign of life, lest a proxy takes it for dead.
const SIGN_EVERY: Duration = Duration::from_secs(15);
/// A stream ends after this, and the browser asks again: so somebody whose session is over sees no more.
const LASTS: Duration = Duration::from_secs(120);
/// Most streams of a node.
const MOST_VIEWERS: usize = 256;

/// A screen that is live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Topic {
    Overview,
    Actors,
}

/// A part of a page that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Its place in the page: the name in `sse-swap`.
    pub(super) name: String,
    /// What it is made of.
    pub(super) html: String,
    /// For a part that holds others: it is sent when this changes, since what is in them is sent by themselves.
    pub(super) shape: Option<String>,
}

impl Part {
    /// A part that is sent when it changes.
    pub(super) fn new(name: impl Into<String>, html: String) -> Self {
        Self { name: name.into(), html, shape: None }
    }

    fn changed(&self, before: Option<&Self>) -> bool {
        before.is_none_or(|before| match &self.shape {
            Some(shape) => before.shape.as_ref() != Some(shape),
            None => before.html != self.html,
        })
    }
}

/// A screen as it was drawn, for whoever comes and for those who had the one before.
#[derive(Default)]
struct Picture {
    number: u64,
    whole: Bytes,
    change: Bytes,
}

/// One screen in one language.
struct Channel {
    sender: watch::Sender<Arc<Picture>>,
    parts: Vec<Part>,
}

/// What this node shows live.
#[derive(Default)]
pub(super) struct Live {
    latest: Mutex<Option<Arc<Sighting>>>,
    series: Mutex<Series>,
    channels: Mutex<HashMap<(Topic, Lang), Channel>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind it is replaced whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Live {
    /// Everything as it was seen last; nothing before the first look.
    pub(super) fn latest(&self) -> Arc<Sighting> {
        locked(&self.latest).clone().unwrap_or_default()
    }

    /// The last quarter of an hour.
    pub(super) fn series(&self) -> MutexGuard<'_, Series> {
        locked(&self.series)
    }

    fn viewers(&self) -> usize {
        locked(&self.channels).values().map(|channel| channel.sender.receiver_count()).sum()
    }

    fn draw(&self, topic: Topic, lang: Lang) -> Vec<Part> {
        let (sighting, look) = (self.latest(), Look { lang });
        let parts = match topic {
            Topic::Overview => overview::parts(&sighting, &self.series(), look),
            Topic::Actors => actors::parts(&sighting, look),
        };
        // A template that can't be written is one line in the log a second, and no end of the page.
        parts.unwrap_or_else(|error| {
            tracing::error!(%error, "a screen could not be drawn");
            Vec::new()
        })
    }

    /// Draws every screen that somebody looks at.
    fn redraw(&self, point: Option<&Point>) {
        let point = point.and_then(|point| serde_json::to_string(point).ok());
        let mut channels = locked(&self.channels);
        channels.retain(|_, channel| channel.sender.receiver_count() > 0);
        for ((topic, lang), channel) in channels.iter_mut() {
            let parts = self.draw(*topic, *lang);
            let mut change = String::new();
            let before: HashMap<&str, &Part> = channel.parts.iter().map(|part| (part.name.as_str(), part)).collect();
            for part in &parts {
                if part.changed(before.get(part.name.as_str()).copied()) {
                    event(&mut change, &part.name, &part.html);
                }
            }
            if let (Topic::Overview, Some(point)) = (topic, &point) {
                event(&mut change, "point", point);
            }
            let number = channel.sender.borrow().number + 1;
            let picture = Picture { number, whole: whole(&parts), change: change.into() };
            channel.parts = parts;
            channel.sender.send_replace(Arc::new(picture));
        }
    }

    /// Begins to look at a screen; the first thing that comes is all of it.
    fn subscribe(&self, topic: Topic, lang: Lang) -> Option<watch::Receiver<Arc<Picture>>> {
        if self.viewers() >= MOST_VIEWERS {
            return None;
        }
        let mut channels = locked(&self.channels);
        if let Some(channel) = channels.get(&(topic, lang)).filter(|channel| channel.sender.receiver_count() > 0) {
            return Some(channel.sender.subscribe());
        }
        let parts = self.draw(topic, lang);
        let picture = Picture { number: 0, whole: whole(&parts), change: Bytes::new() };
        let (sender, receiver) = watch::channel(Arc::new(picture));
        channels.insert((topic, lang), Channel { sender, parts });
        Some(receiver)
    }
}

fn whole(parts: &[Part]) -> Bytes {
    // What holds others comes first, and with them in it.
    let mut text = String::from("retry: 1000\n");
    for part in parts {
        event(&mut text, &part.name, &part.html);
    }
    text.into()
}

/// One event; a line of its own for each line of what it carries.
fn event(out: &mut String, name: &str, data: &str) {
    let _ = writeln!(out, "event: {name}");
    for line in data.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let _ = writeln!(out, "data: {line}");
    }
    if data.trim().is_empty() {
        out.push_str("data:\n");
    }
    out.push('\n');
}

impl Console {
    /// Looks once a second while somebody does, else every two; ends with the node.
    pub async fn pulse(self: Arc<Self>, instance: String) {
        let (board, readiness) = (self.board.clone(), Arc::clone(&self.readiness));
        let mut watcher = Watcher::new(self.admin.clone(), board, readiness, &instance);
        let mut beat = tokio::time::interval(EVERY);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopped = self.stopped.clone();
        let mut for_series = true;
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => return,
                _ = beat.tick() => {}
            }
            let seen = self.live.viewers() > 0;
            if for_series || seen {
                let mut sighting = watcher.look(seen).await;
                // What this node knows by itself, whatever its janitor could say of it.
                for alarm in self.alarms.borrow().iter() {
                    if !sighting.alarms.iter().any(|known| known.what == alarm.what) {
                        sighting.alarms.push(alarm.clone());
                    }
                }
                let sighting = Arc::new(sighting);
                *locked(&self.live.latest) = Some(Arc::clone(&sighting));
                let point = if for_series { self.live.series().take(&sighting).cloned() } else { None };
                if seen {
                    self.live.redraw(point.as_ref());
                }
            }
            for_series = !for_series;
        }
    }
}

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/events").route(web::get().to(events)))
        .service(web::resource("/series").route(web::get().to(series)));
}

#[derive(Deserialize)]
struct Of {
    of: Topic,
}

struct Stream {
    pictures: watch::Receiver<Arc<Picture>>,
    /// The picture that the viewer has.
    number: Option<u64>,
    stopped: watch::Receiver<bool>,
    ends: Instant,
}

impl Stream {
    /// What to send next; `None` ends it.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if Instant::now() >= self.ends {
                return None;
            }
            let picture = Arc::clone(&self.pictures.borrow_and_update());
            let had = self.number.replace(picture.number);
            match had {
                Some(number) if number == picture.number => {}
                Some(number) if number + 1 == picture.number && picture.change.is_empty() => {}
                Some(number) if number + 1 == picture.number => return Some(picture.change.clone()),
                // It has just come, or was too slow for one.
                _ => return Some(picture.whole.clone()),
            }
            tokio::select! {
                changed = self.pictures.changed() => changed.ok()?,
                () = tokio::time::sleep(SIGN_EVERY) => return Some(Bytes::from_static(b": still here\n\n")),
                _ = self.stopped.wait_for(|stopped| *stopped) => return None,
            }
        }
    }
}

async fn events(page: PageContext, query: web::Query<Of>) -> Result<HttpResponse, PageError> {
    let console = page.console();
    let pictures = console.live.subscribe(query.of, page.lang());
    let pictures = pictures.ok_or_else(|| PageError::Conflict("too many people look at this node already".into()))?;
    let (stopped, ends) = (console.stopped.clone(), Instant::now() + LASTS);
    let stream = Stream { pictures, number: None, stopped, ends };
    let stream = futures_util::stream::unfold(stream, |mut stream| async move {
        let bytes = stream.next().await?;
        Some((Ok::<_, actix_web::Error>(bytes), stream))
    });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        // nginx would keep what comes until it has a page full.
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"))
        .streaming(Box::pin(stream)))
}

/// The last quarter of an hour, for the charts.
async fn series(page: PageContext) -> HttpResponse {
    let series = page.console().live.series();
    HttpResponse::Ok().json(series.columns())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_carries_lines_as_lines() {
        let mut out = String::new();
        event(&mut out, "tile-a", "<p>\n  one\n</p>\n");
        event(&mut out, "empty", "");
        assert_eq!(out, "event: tile-a\ndata: <p>\ndata: one\ndata: </p>\n\nevent: empty\ndata:\n\n");
    }

    #[test]
    fn a_part_that_holds_others_is_sent_when_its_shape_changes() {
        let part = |html: &str, shape: Option<&str>| Part {
            name: "tiles".into(),
            html: html.into(),
            shape: shape.map(str::to_owned),
        };
        assert!(part("a", None).changed(None));
        assert!(part("b", None).changed(Some(&part("a", None))));
        assert!(!part("b", Some("1")).changed(Some(&part("a", Some("1")))));
        assert!(part("a", Some("2")).changed(Some(&part("a", Some("1")))));
    }
}

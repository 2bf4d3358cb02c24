//! The first screen: how every destination does, what comes in and what goes out, and the nodes that do it. Live.

use actix_web::{HttpResponse, web};
use askama::Template;
use tidegate_actors::{
    breaker::BreakerState,
    status::{DestinationDetail, HeldTable},
};

use super::{
    live::Part,
    look::{Html, Look},
    page::{Banner, Frame, Nav, PageContext, PageError, Tone},
    texts::overview::{self as texts, Overview},
};
use crate::admin::{
    Role,
    overview::{DestinationSeen, NodeSeen, Sighting, State},
    series::Series,
};

/// Points of the small picture in a tile.
const SPARK_POINTS: usize = 90;
/// Its width and height, in the units of its own.
const SPARK: (f64, f64) = (180.0, 30.0);

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(web::resource("/").route(web::get().to(show)));
}

#[derive(Template)]
#[template(path = "overview/page.html")]
struct Page {
    frame: Frame,
    text: &'static Overview,
    summary: Html,
    tiles: Html,
    alarms: Html,
    nodes: Html,
}

#[derive(Template)]
#[template(path = "overview/summary.html")]
struct Summary<'a> {
    look: Look,
    text: &'static Overview,
    headline: String,
    tone: Tone,
    figures: [Figure; 4],
    memory: Option<f64>,
    memory_tone: &'a str,
}

/// One figure of the summary.
struct Figure {
    label: &'static str,
    value: String,
    unit: String,
    note: String,
}

#[derive(Template)]
#[template(path = "overview/tiles.html")]
struct Tiles {
    look: Look,
    text: &'static Overview,
    /// Ids, names, kinds, and what is in each.
    tiles: Vec<(String, String, String, Html)>,
}

#[derive(Template)]
#[template(path = "overview/tile.html")]
struct Tile<'a> {
    look: Look,
    text: &'static Overview,
    seen: &'a DestinationSeen,
    detail: &'a DestinationDetail,
    state: Badge,
    /// The breaker's word, where it is not closed.
    breaker: Option<&'static str>,
    rate: Option<f64>,
    spark: Option<Spark>,
    /// Why it is not up.
    why: Option<&'a str>,
    written_by: String,
    dead: Option<String>,
    held: Vec<(String, &'a HeldTable)>,
    catching_up: Vec<String>,
}

/// How a state is shown.
#[derive(Clone, Copy)]
struct Badge {
    class: &'static str,
    icon: &'static str,
    word: &'static str,
}

/// The small picture of what waited.
struct Spark {
    line: String,
    area: String,
    is_flat: bool,
    words: String,
}

/// What an operator must hear of: that Redis is away, and alarms.
#[derive(Template)]
#[template(path = "overview/alarms.html")]
pub(super) struct Alarms<'a> {
    look: Look,
    text: &'static Overview,
    sighting: &'a Sighting,
    away: Option<Banner>,
}

impl<'a> Alarms<'a> {
    pub(super) fn of(sighting: &'a Sighting, look: Look) -> Self {
        let away = sighting.away.as_deref().map(|why| look.away(why));
        Self { look, text: look.pick(&texts::EN, &texts::ID), sighting, away }
    }
}

#[derive(Template)]
#[template(path = "overview/nodes.html")]
struct Nodes<'a> {
    look: Look,
    text: &'static Overview,
    nodes: &'a [NodeSeen],
}

impl NodeSeen {
    pub(super) fn tone(&self) -> Tone {
        match (self.old, self.draining) {
            (true, _) => Tone::Bad,
            (_, true) => Tone::Warning,
            _ => Tone::Good,
        }
    }

    pub(super) fn word(&self, text: &'static Overview) -> &'static str {
        match (self.old, self.draining) {
            (true, _) => text.node_old,
            (_, true) => text.node_draining,
            _ => text.node_up,
        }
    }
}

fn badge(text: &'static Overview, state: State) -> Badge {
    let (class, icon) = match state {
        State::Up => ("good", "up"),
        State::Down => ("bad", "down"),
        State::Held => ("warning", "held"),
        State::Silent => ("warning", "alert"),
        State::Paused => ("note", "paused"),
        State::Standby => ("note", "standby"),
    };
    Badge { class, icon, word: text.state_of(state) }
}

/// The breaker's word.
pub(super) fn breaker(text: &'static Overview, state: BreakerState) -> &'static str {
    let [closed, open, half_open] = text.breakers;
    match state {
        BreakerState::Closed => closed,
        BreakerState::Open => open,
        BreakerState::HalfOpen => half_open,
    }
}

async fn show(page: PageContext) -> Result<HttpResponse, PageError> {
    // Nothing of it is a broadcaster's.
    if !page.may(Role::Viewer) {
        return Ok(page.see("/console/broadcast"));
    }
    let look = page.look();
    let text = look.pick(&texts::EN, &texts::ID);
    let live = &page.console().live;
    let sighting = live.latest();
    let (summary, tiles) = {
        let series = live.series();
        (summary(&sighting, &series, look)?, tiles(&sighting, &series, look)?)
    };
    let frame = page.frame(Nav::Overview, text.title).of_live_screen();
    page.render(&Page {
        summary: Html::of(&summary)?,
        tiles: Html::of(&tiles)?,
        alarms: Html::of(&Alarms::of(&sighting, look))?,
        nodes: Html::of(&Nodes { look, text, nodes: &sighting.nodes })?,
        frame,
        text,
    })
}

/// The parts of the page that change.
pub(super) fn parts(sighting: &Sighting, series: &Series, look: Look) -> Result<Vec<Part>, PageError> {
    let text = look.pick(&texts::EN, &texts::ID);
    let drawn = |template: &dyn askama::DynTemplate| template.dyn_render().map_err(PageError::broken);
    let tiles = tiles(sighting, series, look)?;
    let shape = tiles.tiles.iter().map(|(id, name, ..)| format!("{id} {name}\n")).collect();
    let mut parts = vec![
        Part::new("summary", drawn(&summary(sighting, series, look)?)?),
        Part::new("alarms", drawn(&Alarms::of(sighting, look))?),
        Part { name: "tiles".into(), html: drawn(&tiles)?, shape: Some(shape) },
        Part::new("nodes", drawn(&Nodes { look, text, nodes: &sighting.nodes })?),
    ];
    parts.extend(tiles.tiles.into_iter().map(|(id, _, _, html)| Part::new(format!("tile-{id}"), html.to_string())));
    Ok(parts)
}

fn summary<'a>(sighting: &Sighting, series: &Series, look: Look) -> Result<Summary<'a>, PageError> {
    let text = look.pick(&texts::EN, &texts::ID);
    let (all, need) = (sighting.destinations.len(), sighting.in_need());
    let number = |count: usize| look.count(count as u64);
    let (tone, headline) = match (sighting.at_ms, all, need) {
        (0, ..) => (Tone::Note, text.first_look.to_owned()),
        (_, 0, _) => (Tone::Note, text.nothing_yet.to_owned()),
        (_, 1, 0) => (Tone::Good, text.one_well.to_owned()),
        (_, all, 0) => (Tone::Good, text.all_well.replacen("{}", &number(all), 1)),
        (_, all, need) => {
            let tone = if sighting.destinations.iter().any(|one| one.state == State::Down) {
                Tone::Bad
            } else {
                Tone::Warning
            };
            (tone, text.in_need.replacen("{}", &number(need), 1).replacen("{}", &number(all), 1))
        }
    };
    let last = series.last();
    let known = |rate: Option<f64>| rate.map_or_else(|| "–".to_owned(), |rate| look.short(rate));
    let delivered: Option<f64> = last.map(|point| point.destinations.values().filter_map(|line| line.rate).sum());
    let oldest = sighting.destinations.iter().map(|one| one.detail.backlog_age_s).fold(0.0, f64::max);
    let memory = sighting.memory.as_ref();
    let (memory_value, memory_of) = match memory {
        None => ("–".to_owned(), None),
        Some(memory) => match (memory.share, memory.sample.limit_bytes) {
            (Some(share), Some(limit)) => {
                let (used, limit) = (look.bytes(memory.sample.used_bytes), look.bytes(limit));
                (look.share(share), Some(text.memory_of.replacen("{}", &used, 1).replacen("{}", &limit, 1)))
            }
            _ => (look.bytes(memory.sample.used_bytes), None),
        },
    };
    let pressure = memory.map(|memory| memory.pressure.as_str());
    let memory_note = match (pressure, memory.and_then(|memory| memory.full_in_s), memory) {
        (None, ..) => text.unknown.to_owned(),
        (Some("hard"), ..) => text.pressure_hard.to_owned(),
        (Some("soft"), ..) => text.pressure_soft.to_owned(),
        (_, Some(seconds), _) => text.full_in.replacen("{}", &look.span(seconds), 1),
        (_, None, Some(memory)) if memory.sample.limit_bytes.is_none() => text.no_limit.to_owned(),
        _ => String::new(),
    };
    let memory_note = match memory_of {
        Some(of) if memory_note.is_empty() => of,
        Some(of) => format!("{of}, {memory_note}"),
        None => memory_note,
    };
    let most = last.and_then(|point| point.most_ms);
    let most = most.map(|ms| format!("{} {}", text.line_most, look.span(ms / 1_000.0))).unwrap_or_default();
    let age =
        if oldest > 0.0 { format!("{} {}", text.oldest.to_lowercase(), look.span(oldest)) } else { String::new() };
    let rates = (known(last.and_then(|point| point.ingest)), known(delivered));
    let figure = |label, value, unit: &str, note| Figure { label, value, unit: unit.to_owned(), note };
    Ok(Summary {
        look,
        text,
        headline,
        tone,
        figures: [
            figure(text.ingest, rates.0, text.ingest_unit, most),
            figure(text.delivered, rates.1, text.delivered_unit, String::new()),
            figure(text.waiting, look.short_count(sighting.backlog()), text.waiting_unit, age),
            figure(text.memory, memory_value, "", memory_note),
        ],
        memory: memory.and_then(|memory| memory.share),
        memory_tone: match pressure {
            Some("hard") => "bad",
            Some("soft") => "warning",
            _ => "",
        },
    })
}

fn tiles(sighting: &Sighting, series: &Series, look: Look) -> Result<Tiles, PageError> {
    let text = look.pick(&texts::EN, &texts::ID);
    let tile = |seen: &DestinationSeen| {
        let html = Html::of(&tile(seen, series, look, text))?;
        Ok((seen.id.clone(), seen.name.clone(), kind(&seen.kind).to_owned(), html))
    };
    Ok(Tiles { look, text, tiles: sighting.destinations.iter().map(tile).collect::<Result<_, PageError>>()? })
}

fn tile<'a>(seen: &'a DestinationSeen, series: &Series, look: Look, text: &'static Overview) -> Tile<'a> {
    let detail = &seen.detail;
    let rate = series.last().and_then(|point| point.destinations.get(seen.name.as_str())?.rate);
    let why = match seen.state {
        State::Up | State::Standby | State::Silent => None,
        State::Held => detail.held.as_deref(),
        State::Down | State::Paused => detail.last_error.as_deref(),
    };
    Tile {
        look,
        text,
        seen,
        detail,
        state: badge(text, seen.state),
        breaker: (detail.breaker != BreakerState::Closed).then(|| breaker(text, detail.breaker)),
        rate: rate.filter(|_| matches!(seen.state, State::Up | State::Held)),
        spark: spark(&series.backlogs(&seen.name, SPARK_POINTS), look, text),
        why,
        written_by: match (&detail.owner, detail.leased) {
            (Some(owner), _) => text.written_by.replacen("{}", owner, 1),
            (None, true) => text.written_by.replacen("{}", seen.told_by.as_deref().unwrap_or_default(), 1),
            (None, false) => text.nobody.to_owned(),
        },
        dead: match seen.dead {
            None | Some(0) => None,
            Some(1) => Some(text.dead_one.to_owned()),
            Some(dead) => Some(text.dead.replacen("{}", &look.count(dead), 1)),
        },
        held: detail.held_tables.iter().map(|held| (text.held_table.replacen("{}", &held.table, 1), held)).collect(),
        catching_up: detail.catching_up.iter().map(|one| text.catching_up.replacen("{}", &one.route, 1)).collect(),
    }
}

/// Where nothing waited it is a quiet line at the bottom.
fn spark(backlogs: &[u64], look: Look, text: &'static Overview) -> Option<Spark> {
    let most = backlogs.iter().copied().max().filter(|_| backlogs.len() > 1)?;
    let (width, height) = SPARK;
    let step = width / backlogs.len().saturating_sub(1).max(1) as f64;
    let mut line = String::new();
    for (place, backlog) in backlogs.iter().enumerate() {
        let y = height - 1.5 - (*backlog as f64 / most.max(1) as f64) * (height - 3.0);
        line += &format!("{:.1},{y:.1} ", place as f64 * step);
    }
    let line = line.trim_end().to_owned();
    let area = format!("0,{height} {line} {width},{height}");
    Some(Spark { line, area, is_flat: most == 0, words: text.spark.replacen("{}", &look.count(most), 1) })
}

/// The kind as people write it.
pub(super) fn kind(kind: &str) -> &str {
    match kind {
        "postgres" => "PostgreSQL",
        "mysql" => "MySQL",
        "mariadb" => "MariaDB",
        "sqlserver" => "SQL Server",
        "sqlite" => "SQLite",
        "broadcast" => "Broadcasts",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::users::Lang;

    fn seen(name: &str, state: State) -> DestinationSeen {
        let detail = DestinationDetail {
            last_error: Some("<script>alert(1)</script> is away".into()),
            down_since: Some("2026-11-22T10:00:00.000Z".into()),
            ..DestinationDetail::default()
        };
        let id = format!("id-{name}");
        DestinationSeen { id, name: name.into(), kind: "postgres".into(), state, told_by: None, detail, dead: Some(2) }
    }

    #[test]
    fn what_needs_somebody_is_said_first_and_in_words() {
        let look = Look { lang: Lang::En };
        let sighting = Sighting {
            at_ms: 1,
            destinations: vec![seen("rooms", State::Down), seen("cars", State::Up)],
            ..Sighting::default()
        };
        let parts = parts(&sighting, &Series::default(), look).unwrap();
        let html = |name: &str| parts.iter().find(|part| part.name == name).map(|part| part.html.clone()).unwrap();
        assert!(html("summary").contains("1 of 2 destinations need attention"));
        let down = html("tile-id-rooms");
        assert!(down.contains("Down") && down.contains("datetime=\"2026-11-22T10:00:00.000Z\""), "{down}");
        assert!(down.contains("&lt;script&gt;") && !down.contains("<script>"), "{down}");
        assert!(down.contains("2 dead letters") && !html("tile-id-cars").contains("is away"), "{down}");
    }

    #[test]
    fn the_small_picture_fills_its_height() {
        let look = Look { lang: Lang::En };
        assert!(spark(&[5], look, &texts::EN).is_none());
        let flat = spark(&[0, 0, 0], look, &texts::EN).unwrap();
        assert!(flat.is_flat && flat.line == "0.0,28.5 90.0,28.5 180.0,28.5", "{}", flat.line);
        let spark = spark(&[0, 10, 5], look, &texts::EN).unwrap();
        assert_eq!(spark.line, "0.0,28.5 90.0,1.5 180.0,15.0");
        assert_eq!(spark.words, "What waited in the last 15 minutes; at most 10");
    }
}

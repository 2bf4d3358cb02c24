//! The running demo as the onlooker sees it: what was sent, which node writes which database, and how far each is.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use console::Style;
use futures_util::future::join_all;
use tidegate_actors::status::{ActorKind, DestinationDetail, DestinationStatus};

use super::{databases::Database, records::Sent};
use crate::cli::{
    health,
    live::Live,
    stage::Stage,
    table::{Column, Table, count, left, paint, right, width},
};

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(200);
/// Without any progress for this long the demo has failed.
const STANDSTILL: Duration = Duration::from_secs(60);
/// Cells of the bar.
const BAR: u64 = 16;

/// One database at one moment.
#[derive(Clone)]
pub(super) struct Row {
    pub(super) status: Option<DestinationStatus>,
    /// As last seen, where the database is away.
    pub(super) written: u64,
    pub(super) waiting: u64,
    /// The node that writes it.
    pub(super) owner: Option<&'static str>,
    /// Rows that its node has written, in all its tables.
    pub(super) rows: u64,
}

impl Row {
    pub(super) const fn new() -> Self {
        Self { status: None, written: 0, waiting: 0, owner: None, rows: 0 }
    }

    /// Whether the node has noticed that the database is away.
    pub(super) fn is_away(&self) -> bool {
        matches!(self.status, Some(DestinationStatus::Down | DestinationStatus::Held))
    }

    /// Takes what the running nodes say of it. Whoever holds the lease knows best; of a database that is away, so may nobody
    /// for a moment, and then it is shown as before.
    fn hear(&mut self, told: &[(&'static str, DestinationDetail)]) {
        let at_work = |(_, detail): &&(&'static str, DestinationDetail)| detail.status != DestinationStatus::Standby;
        let writes = told.iter().find(|(_, detail)| detail.leased);
        let as_before = || told.iter().filter(at_work).find(|(node, _)| Some(*node) == self.owner);
        let known = writes.or_else(as_before).or_else(|| told.iter().find(at_work));
        self.owner = known.map(|(node, _)| *node);
        self.status = known.map(|(_, detail)| detail.status);
        self.rows = known.map_or(self.rows, |(_, detail)| detail.rows_written);
    }
}

/// Looks, draws, and tells.
pub(super) struct Scene<'a> {
    pub(super) live: Live,
    pub(super) stage: &'a mut Stage,
    pub(super) databases: &'a [Database],
    pub(super) sent: Rc<Sent>,
    pub(super) total: u64,
    pub(super) rows: Vec<Row>,
    /// The producer, once it sends.
    pub(super) feeding: Option<actix_rt::task::JoinHandle<anyhow::Result<()>>>,
}

impl Scene<'_> {
    /// Records that were acknowledged.
    pub(super) fn sent(&self) -> u64 {
        self.sent.records.get()
    }

    /// Who writes what, in few words; nodes that write nothing are left out.
    pub(super) fn owners(&self) -> String {
        let of = |node: &str| {
            let rows = self.databases.iter().zip(&self.rows).filter(|(_, row)| row.owner == Some(node));
            rows.map(|(database, _)| database.name).collect::<Vec<_>>()
        };
        let all = self.stage.nodes.iter().map(|node| (node.name, of(node.name))).filter(|(_, owned)| !owned.is_empty());
        all.map(|(node, owned)| format!("{node}: {}", owned.join(", "))).collect::<Vec<_>>().join("   ")
    }

    /// Says something for good.
    pub(super) fn say(&mut self, text: &str) -> std::io::Result<()> {
        self.live.say(text)
    }

    /// Lets it run, before everybody's eyes, until this is so.
    pub(super) async fn until(&mut self, wanted: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let (mut before, mut moved_at) = (0, Instant::now());
        loop {
            self.look().await;
            if self.live.is_terminal() {
                let lines = self.lines(width());
                self.live.draw(&lines)?;
            }
            if wanted(self) {
                return Ok(());
            }
            if let Some(feeding) = self.feeding.take_if(|feeding| feeding.is_finished())
                && self.sent.records.get() < self.total
            {
                feeding.await.context("the producer has ended")??;
                bail!("the producer has ended too early");
            }
            let now = self.sent() + self.rows.iter().map(|row| row.written).sum::<u64>();
            if now != before {
                (before, moved_at) = (now, Instant::now());
            }
            if moved_at.elapsed() > STANDSTILL {
                bail!("nothing has moved for {} s:\n{}", STANDSTILL.as_secs(), self.lines(None).join("\n"));
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Where nobody sees the table move, it is shown at the turning points.
    pub(super) fn snapshot(&mut self) -> std::io::Result<()> {
        if self.live.is_terminal() {
            return Ok(());
        }
        let lines = self.lines(None);
        lines.iter().try_for_each(|line| self.live.say(line))
    }

    /// Sees how everything is just now.
    pub(super) async fn look(&mut self) {
        let running = self.stage.nodes.iter().filter(|node| node.is_running());
        let answers =
            join_all(running.map(async |node| (node.name, health::ask(([127, 0, 0, 1], node.admin).into()).await)))
                .await;
        let sent = self.sent();
        for (database, row) in self.databases.iter().zip(&mut self.rows) {
            let told = answers.iter().filter_map(|(name, node)| {
                let actors = node.iter().flat_map(|node| &node.actors);
                let mut its = actors.filter(|a| a.kind == ActorKind::Destination && a.name == database.name);
                Some((*name, serde_json::from_value(its.next()?.detail.clone()).ok()?))
            });
            row.hear(&told.collect::<Vec<_>>());
            if let Some(written) = database.arrived().await {
                row.written = written;
            }
            // Every record is for every database.
            row.waiting = sent.saturating_sub(row.written);
        }
    }

    fn lines(&self, width: Option<usize>) -> Vec<String> {
        let heads: [Column; 7] = [
            left("   DATABASE"),
            left("KEEPS"),
            left("NODE"),
            left("STATE"),
            right("WRITTEN"),
            right("WAITING"),
            left(""),
        ];
        let mut table = Table::new(heads);
        for (database, row) in self.databases.iter().zip(&self.rows) {
            let (state, style) = match row.status {
                Some(DestinationStatus::Up) => ("up", Style::new().green()),
                Some(DestinationStatus::Down) => ("down", Style::new().red().bold()),
                Some(DestinationStatus::Held) => ("held", Style::new().red().bold()),
                _ => ("waits", Style::new().yellow()),
            };
            let kind = match database.kind {
                "postgres" => " (PostgreSQL)",
                "mysql" => " (MariaDB)",
                _ => "",
            };
            table.row([
                format!("   {}{kind}", database.name),
                keeps(database.keeps),
                row.owner.unwrap_or("-").to_owned(),
                paint(state, &style),
                count(row.written),
                count(row.waiting),
                self.bar(row),
            ]);
        }
        let mut lines = vec![
            String::new(),
            format!("   {} of {} records sent and acknowledged", count(self.sent()), count(self.total)),
        ];
        lines.extend(table.lines(width));
        lines.push(String::new());
        lines
    }

    /// What is written, what waits, what is still to be sent.
    fn bar(&self, row: &Row) -> String {
        let cells = |number: u64| (number * BAR / self.total.max(1)).min(BAR);
        let written = cells(row.written);
        let waiting = cells(row.written + row.waiting).saturating_sub(written);
        let repeat = |sign: &str, times: u64| sign.repeat(usize::try_from(times).unwrap_or(0));
        format!(
            "{}{}{}",
            paint(&repeat("█", written), &Style::new().green()),
            paint(&repeat("▒", waiting), &Style::new().red()),
            repeat("·", BAR - written - waiting)
        )
    }
}

/// The columns, in few words.
fn keeps(columns: &[&str]) -> String {
    if columns.len() > 4 { "everything".to_owned() } else { columns.join(", ").replace("car_name", "name") }
}

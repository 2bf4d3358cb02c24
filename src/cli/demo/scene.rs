//! The running demo as the onlooker sees it: what was sent, and how far each database is.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use console::Style;
use tidegate_actors::status::DestinationStatus;

use super::{databases::Database, stage::Stage};
use crate::cli::{
    health,
    live::Live,
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
}

impl Row {
    /// Whether the node has noticed that the database is away.
    pub(super) fn is_away(&self) -> bool {
        matches!(self.status, Some(DestinationStatus::Down | DestinationStatus::Held))
    }
}

/// Looks, draws, and tells.
pub(super) struct Scene<'a> {
    pub(super) live: Live,
    pub(super) stage: &'a Stage,
    pub(super) databases: &'a [Database],
    pub(super) sent: Rc<Cell<u64>>,
    pub(super) total: u64,
    pub(super) rows: Vec<Row>,
    pub(super) feeding: actix_rt::task::JoinHandle<anyhow::Result<()>>,
}

impl Scene<'_> {
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
            if self.feeding.is_finished() && self.sent.get() < self.total {
                (&mut self.feeding).await.context("the producer has ended")??;
                bail!("the producer has ended too early");
            }
            let now = self.sent.get() + self.rows.iter().map(|row| row.written).sum::<u64>();
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

    async fn look(&mut self) {
        let cluster = health::ask(([127, 0, 0, 1], self.stage.admin).into(), None).await.unwrap_or_default();
        let told = cluster.destinations();
        for (database, row) in self.databases.iter().zip(&mut self.rows) {
            if let Some((_, detail)) = told.get(database.name) {
                row.status = Some(detail.status);
                row.waiting = detail.backlog;
            }
            if let Some(written) = database.arrived().await {
                row.written = written;
                // The node counts once a second; what has been written since no longer waits.
                row.waiting = row.waiting.min(self.sent.get().saturating_sub(written));
            }
        }
    }

    fn lines(&self, width: Option<usize>) -> Vec<String> {
        let heads: [Column; 6] =
            [left("   DATABASE"), left("KEEPS"), left("STATE"), right("WRITTEN"), right("WAITING"), left("")];
        let mut table = Table::new(heads);
        for (database, row) in self.databases.iter().zip(&self.rows) {
            let (state, style) = match row.status {
                Some(DestinationStatus::Up) => ("up", Style::new().green()),
                Some(DestinationStatus::Down) => ("down", Style::new().red().bold()),
                Some(DestinationStatus::Held) => ("held", Style::new().red().bold()),
                _ => ("starting", Style::new().yellow()),
            };
            let kind = match database.kind {
                "postgres" => " (PostgreSQL)",
                "mysql" => " (MariaDB)",
                _ => "",
            };
            table.row([
                format!("   {}{kind}", database.name),
                keeps(database.keeps),
                paint(state, &style),
                count(row.written),
                count(row.waiting),
                self.bar(row),
            ]);
        }
        let mut lines = vec![
            String::new(),
            format!("   {} of {} records sent and acknowledged", count(self.sent.get()), count(self.total)),
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

//! `tidegate status`: where every destination stands, once or as a table that is drawn anew every second.

mod look;
mod show;

use std::{process::ExitCode, time::Duration};

use clap::Args;

use self::look::Looker;
use super::{live::Live, settings};
use crate::config::Flags;

/// How often the table is drawn anew.
const EVERY: Duration = Duration::from_secs(1);

/// Show the nodes and every destination: who writes it, its state, what waits for it, dead letters, the last error
///
/// All of it comes from Redis, where every node tells how its actors are about once a second: it can be asked from any
/// machine that reaches Redis. Where no node speaks of a destination, only `leased` (a node writes it) or `no node` is told.
/// At a terminal the table is drawn anew every second until Ctrl-C.
#[derive(Args)]
pub(super) struct Status {
    /// Look once, also at a terminal
    #[arg(long)]
    once: bool,
    /// One JSON object a line, once
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) async fn run(self, flags: &Flags) -> anyhow::Result<ExitCode> {
        let mut looker = Looker::new(&settings(flags)?)?;
        let mut live = Live::new();
        if self.json {
            show::json(&looker.look().await?)?;
            return Ok(ExitCode::SUCCESS);
        }
        if self.once || !live.is_terminal() {
            show::text(&looker.look().await?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut stop = std::pin::pin!(tokio::signal::ctrl_c());
        let mut beat = tokio::time::interval(EVERY);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = &mut stop => return Ok(ExitCode::SUCCESS),
                _ = beat.tick() => {}
            }
            let seen = tokio::select! {
                _ = &mut stop => return Ok(ExitCode::SUCCESS),
                seen = looker.look() => seen,
            };
            match seen {
                Ok(seen) => live.draw(&show::lines(&seen, super::table::width()))?,
                // It may be back a second later, and then the table is too.
                Err(error) => live.draw(&[format!("{error:#}")])?,
            }
        }
    }
}

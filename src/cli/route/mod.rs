//! `tidegate route`: a route suggested, tried without writing, and the statements that make what it lacks.

mod ddl;
mod records;
mod source;
mod suggest;
mod try_out;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::config::Flags;

/// Suggest a route for a table, try a route on records, and make the table a route needs
#[derive(Args)]
pub(super) struct Route {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    Suggest(suggest::Suggest),
    Try(try_out::Try),
    Ddl(ddl::Ddl),
}

impl Route {
    pub(super) async fn run(self, flags: &Flags) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Suggest(suggest) => suggest.run(flags).await,
            Action::Try(attempt) => attempt.run(flags).await,
            Action::Ddl(ddl) => ddl.run(flags).await,
        }
    }
}

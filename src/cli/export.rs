//! `tidegate export`: the registry as the file that `apply` reads.

use std::{io::Write, process::ExitCode};

use clap::Args;

use super::{registry, settings};
use crate::{config::Flags, registry::export::export};

/// Print applications, destinations and routes as the TOML that `apply` reads
///
/// Passwords stay where they are: the file says { kept = true } for them, which apply leaves as it is.
#[derive(Args)]
pub(super) struct Export {}

impl Export {
    pub(super) async fn run(self, flags: &Flags) -> anyhow::Result<ExitCode> {
        let document = registry(&settings(flags)?, "export")?.document().await?;
        std::io::stdout().write_all(export(&document).as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}

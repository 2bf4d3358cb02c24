//! `tidegate apply`: makes the registry what a file says, once the routes that are new or change fit their tables.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use chrono::{DateTime, SecondsFormat};
use clap::Args;

use super::{acting, settings};
use crate::{
    admin::{
        Admin,
        transfer::{self, CatchesUp, Given, Planned, Reads, Refusal},
    },
    config::Flags,
    registry::plan::Plan,
    tables::fit::Severity,
};

/// Largest file: a thousand routes are a tenth of it.
const MAX_MANIFEST_BYTES: u64 = 8 * 1024 * 1024;

/// Create and update applications, destinations and routes from a TOML file
///
/// What the file lacks is left as it is, unless --prune is given. Passwords given as { env = "NAME" } or { file = "path" }
/// are read here and now, and kept sealed with the master key. Running it twice changes nothing the second time. New and
/// changed routes are held against their tables: one that can never work is refused, and a database that does not answer
/// within 5 s is noted.
/// Exit status: 0 when the registry is (or, with --dry-run, would be) as the file says, 1 when something is wrong.
#[derive(Args)]
pub(super) struct Apply {
    /// The file; `-` reads standard input
    file: PathBuf,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Remove what the file lacks, after showing it
    #[arg(long)]
    prune: bool,
    /// Do not look whether new and changed routes fit their tables
    #[arg(long)]
    no_check: bool,
    /// Begin a new installation although this machine knows one in this Redis that is gone
    ///
    /// The nodes of the old one follow the new one. Everything that the databases were sent before is unknown to it.
    #[arg(long)]
    new_installation: bool,
}

impl Apply {
    pub(super) async fn run(self, flags: &Flags) -> anyhow::Result<ExitCode> {
        let settings = settings(flags)?;
        let who = acting(&settings, "apply");
        let text = self.read()?;
        let admin = Admin::before_reading(settings)?;
        let given = Given {
            text: &text,
            prune: self.prune,
            reads: Reads::OfThisMachine {
                environment: &|name| std::env::var(name).ok(),
                folder: self.file.parent().unwrap_or(Path::new(".")),
            },
            check: !self.no_check,
            new_installation: self.new_installation,
        };
        let planned = transfer::planned(&admin, &who, &given).await.map_err(|refusal| self.refused(refusal))?;
        // Whoever reads our output may have seen enough (`| head`); what they asked for is done all the same.
        match self.show(&planned) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            shown => shown?,
        }
        if self.dry_run {
            return Ok(ExitCode::SUCCESS);
        }
        let changed = transfer::carry_out(&admin, &who, &planned).await?;
        if !changed.is_empty() {
            let mut out = std::io::stdout();
            writeln!(out, "Applied.")?;
            for CatchesUp { route, destination, from_ms } in transfer::catching_up(&admin, &planned).await? {
                let from =
                    match i64::try_from(from_ms).ok().filter(|ms| *ms > 0).and_then(DateTime::from_timestamp_millis) {
                        Some(moment) => moment.to_rfc3339_opts(SecondsFormat::Millis, true),
                        None => "the earliest record".to_owned(),
                    };
                writeln!(
                    out,
                    "route {route} catches up from {from}, beside the other routes of {destination} (`tidegate status` shows how \
                     far it is)"
                )?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn read(&self) -> anyhow::Result<String> {
        let mut text = String::new();
        let name = self.name();
        let read = if self.file == Path::new("-") {
            std::io::stdin().lock().take(MAX_MANIFEST_BYTES + 1).read_to_string(&mut text)
        } else {
            std::fs::File::open(&self.file).and_then(|file| file.take(MAX_MANIFEST_BYTES + 1).read_to_string(&mut text))
        };
        let bytes = read.with_context(|| format!("cannot read {name}; check the path and its rights"))?;
        if bytes as u64 > MAX_MANIFEST_BYTES {
            bail!("{name} is larger than 8 MiB; split it into several files");
        }
        Ok(text)
    }

    fn name(&self) -> String {
        if self.file == Path::new("-") { "standard input".into() } else { self.file.display().to_string() }
    }

    fn refused(&self, refusal: Refusal) -> anyhow::Error {
        let mistakes = match refusal {
            Refusal::Act(error) => return error.into(),
            Refusal::Mistakes(mistakes) => mistakes,
        };
        let many = if mistakes.len() == 1 { "a mistake".into() } else { format!("{} mistakes", mistakes.len()) };
        let lines: Vec<String> = mistakes.iter().map(|mistake| format!("\n  {mistake}")).collect();
        anyhow::anyhow!("{} has {many}; nothing was changed:{}", self.name(), lines.concat())
    }

    fn show(&self, planned: &Planned) -> std::io::Result<()> {
        let mut told = std::io::stderr().lock();
        for finding in &planned.findings {
            let word = if finding.severity == Severity::Unchecked { "note" } else { "warning" };
            writeln!(told, "{word}: {}", finding.message)?;
        }
        let Plan { changes, left, notes, .. } = &planned.plan;
        let mut out = std::io::stdout().lock();
        for change in changes {
            writeln!(out, "{change}")?;
        }
        for left in left {
            writeln!(out, "left as it is, since the file lacks it: {left} (--prune removes it)")?;
        }
        for note in notes {
            writeln!(out, "note: {note}")?;
        }
        match (changes.len(), self.dry_run) {
            (0, _) => writeln!(out, "No changes."),
            (_, true) => writeln!(out, "Nothing was changed: this was a dry run."),
            (_, false) => Ok(()),
        }
    }
}

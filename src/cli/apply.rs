//! `tidegate apply`: makes the registry what a file says, once the routes that are new or change fit their tables.

mod check;

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, bail};
use chrono::{DateTime, SecondsFormat};
use clap::Args;
use tidegate_actors::route::{RouteSpec, Start};

use super::{now_ms, registry, settings};
use crate::{
    config::{Flags, Settings},
    redis::{Redis, sides},
    registry::{
        Edit, Registry, StreamRegistration,
        manifest::{Manifest, Mistaken},
        plan::{Means, Plan, plan},
        secrets::MasterKey,
        snapshot::Snapshot,
    },
    resources::Document,
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
        let master_key = MasterKey::from_settings(&settings)?.map(Arc::new);
        let manifest = Manifest::parse(&self.read()?).map_err(|mistaken| self.mistaken(&mistaken))?;
        let mut registry = registry(&settings, "apply")?;
        let current = registry.settled().await?;
        if current.installation.is_empty() {
            self.refuse_a_second(&settings, master_key.clone(), &mut registry)?;
        }
        let means = Means {
            master_key: master_key.as_deref(),
            environment: &|name| std::env::var(name).ok(),
            folder: self.file.parent().unwrap_or(Path::new(".")),
            now_ms: now_ms()?,
            prune: self.prune,
        };
        let plan = plan(&manifest, &current, &means).map_err(|mistaken| self.mistaken(&mistaken))?;
        if !self.no_check {
            self.check(&manifest, &current, &plan, master_key.as_deref(), &settings.node).await?;
        }
        // Whoever reads our output may have seen enough (`| head`); what they asked for is done all the same.
        match self.show(&plan) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            shown => shown?,
        }
        if self.dry_run {
            return Ok(ExitCode::SUCCESS);
        }
        let what: Vec<String> = plan.changes.iter().map(ToString::to_string).collect();
        registry
            .change(|now| {
                // What was shown is what is done: nothing else may have come in between.
                if now.version != current.version || now.installation != current.installation {
                    return Err("somebody else changed the registry meanwhile; nothing was changed: apply again");
                }
                Ok(Edit { document: plan.document.clone(), what: what.clone(), value: () })
            })
            .await?;
        registry.acknowledge().await?;
        if !what.is_empty() {
            writeln!(std::io::stdout(), "Applied.")?;
            catching_up(&settings, &current, &plan.document).await?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Redis has no registry, and no node has restored one. If there was one, a new installation is hardly what is wanted.
    fn refuse_a_second(
        &self,
        settings: &Settings,
        master_key: Option<Arc<MasterKey>>,
        registry: &mut Registry<Box<dyn StreamRegistration>>,
    ) -> anyhow::Result<()> {
        let snapshot = Snapshot::new(&settings.state_dir, &settings.prefix, master_key);
        let Some(known) = snapshot.installation()? else { return Ok(()) };
        if !self.new_installation {
            bail!(
                "Redis at {} has no registry under the prefix `{}`, and {} knows one (installation {known}): Redis was \
                 emptied. Start a node (`tidegate serve`) with this `state_dir`: it puts the registry back. If you mean to \
                 begin anew, say --new-installation; nothing was changed",
                settings.redis_url,
                settings.prefix,
                snapshot.path().display(),
            );
        }
        registry.supersede(known);
        Ok(())
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

    fn mistaken(&self, mistaken: &Mistaken) -> anyhow::Error {
        let many = if mistaken.0.len() == 1 { "a mistake".into() } else { format!("{} mistakes", mistaken.0.len()) };
        let lines: Vec<String> = mistaken.0.iter().map(|mistake| format!("\n  {mistake}")).collect();
        anyhow::anyhow!("{} has {many}; nothing was changed:{}", self.name(), lines.concat())
    }

    fn show(&self, plan: &Plan) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        for change in &plan.changes {
            writeln!(out, "{change}")?;
        }
        for left in &plan.left {
            writeln!(out, "left as it is, since the file lacks it: {left} (--prune removes it)")?;
        }
        for note in &plan.notes {
            writeln!(out, "note: {note}")?;
        }
        match (plan.changes.len(), self.dry_run) {
            (0, _) => writeln!(out, "No changes."),
            (_, true) => writeln!(out, "Nothing was changed: this was a dry run."),
            (_, false) => Ok(()),
        }
    }
}

/// Says from where on new routes catch up that begin below where their destinations may stand already.
async fn catching_up(settings: &Settings, before: &Document, now: &Document) -> anyhow::Result<()> {
    let redis = Redis::open(settings.redis_url.expose(), &settings.prefix)?;
    let mut out = std::io::stdout();
    let new = now.routes.iter().filter(|route| !before.routes.iter().any(|known| known.id == route.id));
    let led = |route: &RouteSpec| {
        before.routes.iter().any(|old| old.application == route.application && old.destination == route.destination)
    };
    for route in new.filter(|route| route.start != Start::Now && led(route)) {
        let Some(from) = sides::catches_up_from(&redis, &route.application, &route.id).await? else { continue };
        let from = match i64::try_from(from.id.ms).ok().filter(|ms| *ms > 0).and_then(DateTime::from_timestamp_millis) {
            Some(moment) => moment.to_rfc3339_opts(SecondsFormat::Millis, true),
            None => "the earliest record".to_owned(),
        };
        writeln!(
            out,
            "route {} catches up from {from}, beside the other routes of {} (`tidegate status` shows how far it is)",
            route.name, route.destination
        )?;
    }
    Ok(())
}

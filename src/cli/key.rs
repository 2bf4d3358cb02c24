//! `tidegate key`: the producers' API keys, and the master key.

use std::{io::Write, process::ExitCode, time::Duration};

use anyhow::Context;
use chrono::{DateTime, SecondsFormat};
use clap::{Args, Subcommand};
use secrecy::ExposeSecret;
use serde::Serialize;

use super::{acting, now_ms, registry, settings};
use crate::{
    admin::{Admin, applications as acts},
    config::Flags,
    registry::{
        keys::{self, Which},
        secrets::MasterKey,
    },
    resources::{ApiKey, Application},
};

/// Create, list and revoke producers' API keys; make a master key
#[derive(Args)]
pub(super) struct Key {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Create a key and print it, for this once
    ///
    /// Standard output gets the key and nothing else. An application may have several keys at a time: create the new one,
    /// give it to the producers, then revoke the old one.
    Create {
        /// The application
        application: String,
        /// When it stops working, from now: `90d`, `12h` [default: never]
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        expires: Option<Duration>,
    },
    /// List keys: their ids and states, never the keys themselves
    List {
        /// Only this application's
        application: Option<String>,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key; nodes refuse it within a second
    Revoke {
        /// The application
        application: String,
        /// The key's id, as `key list` shows it; may be left out where there is only one
        #[arg(conflicts_with = "all")]
        key: Option<String>,
        /// Every key of the application
        #[arg(long)]
        all: bool,
    },
    /// Print a new master key
    ///
    /// It seals the destinations' passwords. Put it into a file that only Tidegate may read, name that file in the setting
    /// master_key_file on every machine, and keep a copy in a safe place: without it the passwords must be applied anew.
    GenerateMaster,
}

impl Key {
    pub(super) async fn run(self, flags: &Flags) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Create { application, expires } => create(flags, &application, expires).await?,
            Action::List { application, json } => list(flags, application.as_deref(), json).await?,
            Action::Revoke { application, key, all } => {
                let which = if all { Which::All } else { key.map_or(Which::Only, Which::Named) };
                revoke(flags, &application, &which).await?;
            }
            Action::GenerateMaster => {
                writeln!(std::io::stdout(), "{}", MasterKey::generate().to_text().expose_secret())?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn create(flags: &Flags, application: &str, expires: Option<Duration>) -> anyhow::Result<()> {
    let now = now_ms()?;
    let expires = expires
        .map(|time| {
            u64::try_from(time.as_millis()).ok().and_then(|ms| now.checked_add(ms)).context("--expires is too far away")
        })
        .transpose()?;
    let settings = settings(flags)?;
    let who = acting(&settings, "key create");
    let (text, _) = acts::create_key(&Admin::for_command(settings).await?, &who, application, expires).await?;
    writeln!(std::io::stdout(), "{}", text.expose_secret())?;
    Ok(())
}

async fn revoke(flags: &Flags, application: &str, which: &Which) -> anyhow::Result<()> {
    let settings = settings(flags)?;
    let who = acting(&settings, "key revoke");
    for id in acts::revoke_key(&Admin::for_command(settings).await?, &who, application, which).await? {
        writeln!(std::io::stdout(), "revoked {id}")?;
    }
    Ok(())
}

/// A line of `key list --json`.
#[derive(Serialize)]
struct Line<'a> {
    application: &'a str,
    id: &'a str,
    state: &'static str,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
}

async fn list(flags: &Flags, only: Option<&str>, json: bool) -> anyhow::Result<()> {
    let now = now_ms()?;
    let document = registry(&settings(flags)?, "key list")?.document().await?;
    let applications: Vec<&Application> = match only {
        Some(name) => vec![keys::application(&document, name)?],
        None => document.applications.iter().collect(),
    };
    let lines: Vec<Line<'_>> =
        applications.into_iter().flat_map(|app| app.keys.iter().map(move |key| line(app, key, now))).collect();
    let mut out = std::io::stdout().lock();
    if json {
        for line in &lines {
            writeln!(out, "{}", serde_json::to_string(line)?)?;
        }
        return Ok(());
    }
    let width = lines.iter().map(|line| line.application.len()).max().unwrap_or(0).max("APPLICATION".len());
    writeln!(out, "{:width$}  {:8}  {:7}  {:20}  EXPIRES", "APPLICATION", "KEY", "STATE", "CREATED")?;
    for line in &lines {
        let expires = line.expires_at.as_deref().unwrap_or("never");
        writeln!(
            out,
            "{:width$}  {:8}  {:7}  {:20}  {expires}",
            line.application, line.id, line.state, line.created_at
        )?;
    }
    Ok(())
}

fn line<'a>(application: &'a Application, key: &'a ApiKey, now_ms: u64) -> Line<'a> {
    let state = match key {
        ApiKey { revoked_at_ms: Some(_), .. } => "revoked",
        key if keys::is_active(key, now_ms) => "active",
        _ => "expired",
    };
    Line {
        application: &application.name,
        id: &key.id,
        state,
        created_at: instant(key.created_at_ms),
        expires_at: key.expires_at_ms.map(instant),
        revoked_at: key.revoked_at_ms.map(instant),
    }
}

fn instant(ms: u64) -> String {
    let moment = i64::try_from(ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
    moment.to_rfc3339_opts(SecondsFormat::Secs, true)
}

//! `tidegate check`: the settings, Redis, and every destination step by step, with the remedy where one fails.

use std::{io::Write, process::ExitCode};

use clap::Args;

use super::settings;
use crate::{
    admin::check::{self, Line, Told},
    config::Flags,
    console,
};

/// Check the settings, Redis, and every destination's connection, rights, tables and columns
///
/// For each destination: name, TCP, TLS, login, rights, then table and columns of each of its routes; the first step that
/// fails is shown with what to do. It writes nothing. Exit status: 0 when everything is right, 1 when something is not.
#[derive(Args)]
pub(super) struct Check {
    /// Only this destination
    destination: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Prints lines as they come: a step may take seconds.
fn show(told: Told<'_>, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match told {
        Told::Destination { .. } if json => {}
        Told::Destination { name, kind } => writeln!(out, "destination {name} ({kind})")?,
        Told::Line(line) if json => writeln!(out, "{}", serde_json::to_string(line)?)?,
        Told::Line(Line { destination, route, step, subject, ok, detail }) => {
            let (mark, indent) = (if *ok { '✓' } else { '✗' }, if destination.is_some() { "  " } else { "" });
            let route = route.as_ref().map_or(String::new(), |route| format!("{route}: "));
            let colon = if detail.is_empty() { "" } else { ": " };
            writeln!(out, "{indent}{mark} {step:<8} {route}{subject}{colon}{detail}")?;
        }
    }
    Ok(())
}

impl Check {
    pub(super) async fn run(self, flags: &Flags) -> anyhow::Result<ExitCode> {
        let json = self.json;
        let loaded = settings(flags).and_then(|settings| {
            if let Some((cert, key)) = &settings.console_tls {
                console::server_config(cert, key)?;
            }
            Ok(settings)
        });
        let failed = check::check(loaded, self.destination.as_deref(), &mut |told| show(told, json)).await?;
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

//! `tidegate serve`: runs a node until it is told to end.

use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    app,
    config::{Flags, LogFormat, Settings},
};

/// Runs a node: takes records over HTTP and delivers them.
///
/// SIGTERM or Ctrl-C ends it in good order: not ready at once, in service for `drain_delay_s` more (at most 1 s at a
/// terminal), then requests and batches in hand are finished.
#[derive(Args)]
pub(crate) struct Serve {}

impl Serve {
    pub(crate) async fn run(self, flags: &Flags) -> anyhow::Result<ExitCode> {
        let mut settings = super::settings(flags)?;
        log_to_standard_error(&settings);
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        // At a terminal nobody waits for a load balancer.
        if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
            settings.drain_delay = settings.drain_delay.min(std::time::Duration::from_secs(1));
        }
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        app::serve(settings, shutdown, |_| {}).await?;
        Ok(ExitCode::SUCCESS)
    }
}

fn log_to_standard_error(settings: &Settings) {
    use tracing_subscriber::{EnvFilter, fmt, prelude::*};
    let mut filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,actix_server=warn,sqlx=warn"));
    // The driver of SQL Server logs every error in the server's own words, which quote values.
    if let Ok(silent) = "tiberius=off".parse() {
        filter = filter.add_directive(silent);
    }
    let registry = tracing_subscriber::registry().with(filter);
    let layer = fmt::layer().with_writer(std::io::stderr).with_target(false);
    // An error means that a subscriber is set already, which is as good.
    let _ = match settings.log {
        LogFormat::Text => {
            registry.with(layer.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))).try_init()
        }
        LogFormat::Json => registry.with(layer.json()).try_init(),
    };
}

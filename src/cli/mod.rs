//! The commands. Each is a file with its arguments, its help and what it does; those that change something speak to Redis
//! directly, with the code that the admin API uses, and so work before any node runs.

mod apply;
mod bench;
mod check;
mod dead;
mod demo;
mod destination;
mod export;
mod health;
mod key;
mod listen;
mod live;
mod replay;
mod resume;
mod route;
mod send;
mod serve;
mod stage;
mod status;
mod table;
mod tables;
mod user;

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::{
    admin::{Role, Who},
    config::{Flags, Settings},
    databases::nearest,
    redis::Redis,
    registry::{Registry, Store, StreamRegistration},
};

/// Takes a record once over HTTP and sees to it that every database that wants it has it, in order, exactly once.
#[derive(Parser)]
#[command(name = "tidegate", version, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Every setting may also stand in the environment, as TIDEGATE_ and its name in capitals \
    (TIDEGATE_REDIS_URL), or in tidegate.toml under its name (redis_url). `tidegate COMMAND --help` says more.")]
pub struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

/// A new command is a file, a line here and a line in [`run`].
#[derive(Subcommand)]
enum Command {
    Apply(apply::Apply),
    Bench(bench::Bench),
    Export(export::Export),
    Check(check::Check),
    Key(key::Key),
    Listen(listen::Listen),
    Dead(dead::Dead),
    Demo(demo::Demo),
    Destination(destination::Destination),
    Replay(replay::Replay),
    Resume(resume::Resume),
    Route(route::Route),
    Send(send::Send),
    Serve(serve::Serve),
    Status(status::Status),
    Tables(tables::Tables),
    User(user::User),
}

/// Does what the command line asks for.
///
/// # Errors
/// What `main` prints: a sentence with its causes.
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let flags = &cli.flags;
    match cli.command {
        Command::Apply(apply) => apply.run(flags).await,
        Command::Bench(bench) => bench.run(flags).await,
        Command::Export(export) => export.run(flags).await,
        Command::Check(check) => check.run(flags).await,
        Command::Key(key) => key.run(flags).await,
        Command::Listen(listen) => listen.run(flags).await,
        Command::Dead(dead) => dead.run(flags).await,
        Command::Demo(demo) => demo.run(flags).await,
        Command::Destination(destination) => destination.run(flags).await,
        Command::Replay(replay) => replay.run(flags).await,
        Command::Resume(resume) => resume.run(flags).await,
        Command::Route(route) => route.run(flags).await,
        Command::Send(send) => send.run(flags).await,
        Command::Serve(serve) => serve.run(flags).await,
        Command::Status(status) => status.run(flags).await,
        Command::Tables(tables) => tables.run(flags).await,
        Command::User(user) => user.run(flags).await,
    }
}

/// The registry that the settings lead to, signed by whoever runs this.
fn registry(settings: &Settings, command: &str) -> anyhow::Result<Registry<Box<dyn StreamRegistration>>> {
    let store = Store::open(&settings.redis_url, &settings.prefix)?;
    Ok(Registry::new(store, streams(settings)?, format!("{} (tidegate {command})", person(settings))))
}

/// The streams that learn of the registry's changes.
fn streams(settings: &Settings) -> anyhow::Result<Box<dyn StreamRegistration>> {
    Ok(Box::new(Redis::open(settings.redis_url.expose(), &settings.prefix)?))
}

fn settings(flags: &Flags) -> anyhow::Result<Settings> {
    Ok(Settings::load(flags)?)
}

/// Who is at the keyboard, as far as the environment tells: for the list of changes, not for permission.
fn person(settings: &Settings) -> String {
    let user = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    format!("{}@{}", user.as_deref().unwrap_or("unknown"), settings.node)
}

/// Whoever runs this command: they have the machine, so they may do everything.
fn acting(settings: &Settings, command: &str) -> Who {
    Who { name: person(settings).into(), role: Role::Admin, from: format!("tidegate {command}").into() }
}

/// A name that was asked for must be one there is.
fn known<'a>(what: &str, name: &str, names: impl Iterator<Item = &'a str> + Clone) -> anyhow::Result<()> {
    if names.clone().any(|known| known == name) {
        return Ok(());
    }
    let hint = nearest(name, names).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
    anyhow::bail!("there is no {what} `{name}`{hint}")
}

/// The time, in milliseconds since the Unix epoch.
fn now_ms() -> anyhow::Result<u64> {
    u64::try_from(chrono::Utc::now().timestamp_millis()).context("this machine's clock stands before 1970")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_mistyped_name_is_answered_with_the_nearest() {
        let error = |arguments: &[&str]| Cli::try_parse_from(arguments).err().unwrap().to_string();
        assert!(error(&["tidegate", "aply"]).contains("'apply'"));
        assert!(error(&["tidegate", "apply", "f", "--dryrun"]).contains("'--dry-run'"));
        assert!(error(&["tidegate", "export", "--redis-ulr", "x"]).contains("'--redis-url'"));
        assert!(error(&["tidegate", "key", "creat", "a"]).contains("'create'"));
    }
}

//! `tidegate user`: who may sign in to the console. The same acts as the console's, for the first admin and for whoever
//! locked themselves out.

use std::{
    io::{IsTerminal, Read, Write},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, bail};
use chrono::{DateTime, SecondsFormat};
use clap::{Args, Subcommand, ValueEnum};
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};

use super::{person, settings};
use crate::{
    admin::{ActError, Role, Who, users as acts},
    config::{Flags, Settings},
    redis::Redis,
    registry::{secrets::MasterKey, snapshot::Snapshot},
    users::{Users, password},
};

/// Longest input of `--password-stdin`.
const MOST_INPUT_BYTES: u64 = 4096;

/// Add, list and change the console's users
#[derive(Args)]
pub(super) struct User {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Add a user; asks for the password twice
    Add {
        /// The user's name: letters, digits, `-`, `_`, `.` and `@`
        name: String,
        /// What they may do
        #[arg(long)]
        role: RoleName,
        /// Read the password from standard input, up to the first line's end
        #[arg(long)]
        password_stdin: bool,
    },
    /// List users: role, last sign-in, second factor; never a password
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Give a user another role; their sessions end
    Role {
        /// The user
        name: String,
        /// What they may do from now on
        role: RoleName,
    },
    /// Set a user's password; their sessions end, and a lock after wrong attempts with them
    Password {
        /// The user
        name: String,
        /// Read the password from standard input, up to the first line's end
        #[arg(long)]
        password_stdin: bool,
    },
    /// Remove a user; their sessions end
    Remove {
        /// The user
        name: String,
    },
    /// End all sessions of a user
    EndSessions {
        /// The user
        name: String,
    },
    /// The second factor of signing in (TOTP)
    Totp {
        #[command(subcommand)]
        action: Totp,
    },
}

#[derive(Subcommand)]
enum Totp {
    /// Turn it off for a user who has lost the device and the recovery codes
    Off {
        /// The user
        name: String,
    },
}

/// A role by its name.
#[derive(Clone, Copy, ValueEnum)]
enum RoleName {
    /// Sees everything but secrets, does nothing
    Viewer,
    /// The broadcast screens only
    Broadcaster,
    /// Does everything but what is an admin's
    Operator,
    /// Users, settings, export and import too
    Admin,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Viewer => Self::Viewer,
            RoleName::Broadcaster => Self::Broadcaster,
            RoleName::Operator => Self::Operator,
            RoleName::Admin => Self::Admin,
        }
    }
}

impl User {
    pub(super) async fn run(self, flags: &Flags) -> anyhow::Result<ExitCode> {
        let settings = settings(flags)?;
        let redis = Redis::open(settings.redis_url.expose(), &settings.prefix)?;
        let users = Users::new(redis).with_master_key(MasterKey::from_settings(&settings)?.map(Arc::new));
        let mut out = std::io::stdout();
        let who = |command: &str| Who {
            name: person(&settings).into(),
            role: Role::Admin,
            from: format!("tidegate user {command}").into(),
        };
        match self.action {
            Action::Add { name, role, password_stdin } => {
                refuse_a_second(&settings, &users).await?;
                let password = ask(password_stdin)?;
                let name = done(acts::add(&users, &who("add"), &name, role.into(), password).await)?;
                writeln!(out, "added {name}")?;
            }
            Action::List { json } => list(&users, &who("list"), json).await?,
            Action::Role { name, role } => {
                done(acts::set_role(&users, &who("role"), &name, role.into()).await)?;
                writeln!(out, "{name} is {} now", Role::from(role).as_str())?;
            }
            Action::Password { name, password_stdin } => {
                done(acts::known(&users, &name).await)?;
                let password = ask(password_stdin)?;
                done(acts::set_password(&users, &who("password"), &name, password).await)?;
                writeln!(out, "the password of {name} is set; their sessions have ended")?;
            }
            Action::Remove { name } => {
                done(acts::remove(&users, &who("remove"), &name).await)?;
                writeln!(out, "removed {name}")?;
            }
            Action::EndSessions { name } => {
                done(acts::end_sessions(&users, &who("end-sessions"), &name).await)?;
                writeln!(out, "all sessions of {name} have ended")?;
            }
            Action::Totp { action: Totp::Off { name } } => {
                done(acts::second_factor_off(&users, &who("totp off"), &name).await)?;
                writeln!(out, "{name} signs in without a code now")?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// All that is wrong, not only the first.
fn done<T>(outcome: Result<T, ActError>) -> anyhow::Result<T> {
    outcome.map_err(|error| match error {
        ActError::Invalid(fields) => {
            anyhow::anyhow!(fields.into_iter().map(|field| field.message).collect::<Vec<_>>().join("; "))
        }
        other => other.into(),
    })
}

/// A Redis without a registry, where this machine knows one, was emptied: a user must not begin another installation.
async fn refuse_a_second(settings: &Settings, users: &Users) -> anyhow::Result<()> {
    if !users.all().await?.is_empty() {
        return Ok(());
    }
    let mut registry = super::registry(settings, "user add")?;
    if !registry.settled().await?.installation.is_empty() {
        return Ok(());
    }
    let snapshot = Snapshot::new(&settings.state_dir, &settings.prefix, None);
    let Some(known) = snapshot.installation()? else { return Ok(()) };
    bail!(
        "Redis at {} has no registry under the prefix `{}`, and {} knows one (installation {known}): Redis was emptied. Start a \
         node (`tidegate serve`) with this `state_dir`: it puts the registry back, with its users",
        settings.redis_url,
        settings.prefix,
        snapshot.path().display(),
    )
}

/// The password: from standard input, or asked for twice without showing it.
fn ask(stdin: bool) -> anyhow::Result<SecretString> {
    if stdin {
        let mut text = Zeroizing::new(String::new());
        std::io::stdin().lock().take(MOST_INPUT_BYTES).read_to_string(&mut text).context("cannot read the password")?;
        return Ok(text.lines().next().unwrap_or_default().to_owned().into());
    }
    let terminal = console::Term::stderr();
    if !std::io::stdin().is_terminal() || !terminal.is_term() {
        bail!("there is no terminal to ask for the password; give it with --password-stdin");
    }
    let read = |prompt: &str| -> anyhow::Result<SecretString> {
        terminal.write_str(prompt)?;
        Ok(terminal.read_secure_line()?.into())
    };
    let first = read(&format!("Password ({} or more characters): ", password::LEAST_CHARS))?;
    let again = read("The same once more: ")?;
    if first.expose_secret() != again.expose_secret() {
        bail!("the two passwords are not the same; nothing was changed");
    }
    Ok(first)
}

async fn list(users: &Users, who: &Who, json: bool) -> anyhow::Result<()> {
    let all = acts::list(users, who).await?;
    let mut out = std::io::stdout().lock();
    if json {
        for user in &all {
            writeln!(out, "{}", serde_json::to_string(user)?)?;
        }
        return Ok(());
    }
    let width = all.iter().map(|user| user.name.len()).max().unwrap_or(0).max("USER".len());
    writeln!(out, "{:width$}  {:11}  {:4}  {:20}  LOCKED UNTIL", "USER", "ROLE", "CODE", "LAST SIGN-IN")?;
    for user in &all {
        let code = if user.second_factor { "yes" } else { "no" };
        let last = user.signed_in_at_ms.map_or("never".to_owned(), instant);
        let locked = user.locked_until_ms.map_or("-".to_owned(), instant);
        writeln!(out, "{:width$}  {:11}  {code:4}  {last:20}  {locked}", user.name, user.role.as_str())?;
    }
    Ok(())
}

fn instant(ms: u64) -> String {
    let moment = i64::try_from(ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
    moment.to_rfc3339_opts(SecondsFormat::Secs, true)
}

//! `tidegate listen`: a shop's terminal without a browser. It shows what head office sends on the terminal and as a notification
//! of the desktop, says what was received and confirmed, and goes on for ever where it stopped.

mod events;
mod kept;
mod node;
mod notify;
mod show;
mod work;

use std::{cell::RefCell, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, bail};
use clap::Args;
use sha2::{Digest as _, Sha256};

use self::{
    kept::{Keeper, Kept},
    node::{Nodes, Trouble, TroubleWith},
    notify::Desktop,
    show::{Screen, note},
    work::Work,
};
use super::settings;
use crate::config::Flags;

/// The file beside the node's, where no other was named.
const FILE: &str = "listen.json";

/// Show head office's messages on this computer, without a browser
///
/// Enrol once with a code or a link from the console (Terminals): `tidegate listen https://console.example --code ABCD-EFGH-JKLM`.
/// From then on `tidegate listen https://console.example` shows each message on the terminal and as a notification of the
/// desktop. It connects again for ever; what was sent meanwhile and is still valid comes in order, once. The token, the place
/// and receipts that wait are kept in one file that only its owner can read. Run it as a service of the desktop's user, so
/// that notifications can be shown.
#[derive(Args)]
pub(super) struct Listen {
    /// The console's address, or the enrolment link; further addresses of the same installation are tried in turn
    #[arg(required = true, value_name = "URL")]
    urls: Vec<String>,
    /// The one-time code; it may stay there, it is used once
    #[arg(long)]
    code: Option<String>,
    /// Where the token and the place are kept [default: listen.json in the state directory]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// One JSON object a line: what came, with `event` beside it
    #[arg(long)]
    json: bool,
    /// Enter confirms the oldest message that must be confirmed
    #[arg(long)]
    confirm: bool,
    /// Show nothing on the desktop
    #[arg(long)]
    no_notifications: bool,
    /// Certificates (PEM) to trust instead of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Listen {
    pub(super) async fn run(self, flags: &Flags) -> anyhow::Result<ExitCode> {
        let mut code = self.code.clone();
        let mut addresses = Vec::new();
        for given in &self.urls {
            let (address, of_link) = address(given)?;
            code = code.or(of_link);
            addresses.push(address);
        }
        let path = match self.token_file {
            Some(path) => path,
            None => settings(flags)?.state_dir.join(FILE),
        };
        let mut keeper = Keeper::open(path)?;
        let nodes = Nodes::new(addresses, self.ca.as_deref())?;
        if let Some(code) = &code
            && keeper.kept.code != digest(code)
        {
            let name = enrol(&nodes, &mut keeper, code).await?;
            note(&format!("This computer is enrolled as {name}; its token is kept in {}.", keeper.path().display()));
        }
        if keeper.kept.token.is_empty() {
            bail!(
                "this computer is not enrolled: {} holds no token; make a code in the console (Terminals), and give it with --code",
                keeper.path().display()
            );
        }
        nodes.use_token(&keeper.kept.token);
        let (desktop, pressed) = if self.no_notifications {
            (None, None)
        } else {
            let (desktop, pressed) = Desktop::start();
            (Some(desktop), Some(pressed))
        };
        let screen = Screen { json: self.json, desktop, categories: RefCell::default() };
        tokio::select! {
            ended = Work::new(nodes, keeper, screen, self.confirm).run(pressed) => ended.map(|()| ExitCode::SUCCESS),
            _ = tokio::signal::ctrl_c() => Ok(ExitCode::SUCCESS),
        }
    }
}

/// Enrols at the first address that answers; what the terminal is called.
async fn enrol(nodes: &Nodes, keeper: &mut Keeper, code: &str) -> anyhow::Result<String> {
    let body = serde_json::json!({"code": code, "token": true});
    let mut away = Vec::new();
    let answer = loop {
        match nodes.post("enrol", &body).await {
            Ok(answer) => break answer,
            Err(Trouble { with: TroubleWith::Refusal { .. }, why }) => bail!("this computer was not enrolled: {why}"),
            Err(Trouble { why, .. }) => away.push(format!("{}: {why}", nodes.address())),
        }
        if away.len() == nodes.len() {
            bail!("nobody could be asked to enrol this computer ({}); try again", away.join("; "));
        }
        nodes.turn();
    };
    let token =
        answer["token"].as_str().context("the answer holds no token; is the address that of a Tidegate console?")?;
    // A new terminal: nothing of an old one counts.
    keeper.kept = Kept { code: digest(code), token: token.to_owned(), ..Kept::default() };
    keeper.save()?;
    Ok(named(&answer["terminal"]))
}

/// `Till 1 (Shop One)`.
fn named(terminal: &serde_json::Value) -> String {
    let text = |value: &serde_json::Value| super::table::plain(value.as_str().unwrap_or_default());
    format!("{} ({})", text(&terminal["name"]), text(&terminal["shop"]["title"]))
}

/// By which a code is known again, however it is typed.
fn digest(code: &str) -> String {
    let normal: String =
        code.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_uppercase()).collect();
    Sha256::digest(normal).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A console's address without a slash at its end, and the code where it is an enrolment link.
fn address(given: &str) -> anyhow::Result<(String, Option<String>)> {
    let url = url::Url::parse(given).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let Some(mut url) = url else {
        bail!("`{given}` is no address of a console; give one like https://console.example or http://127.0.0.1:8081")
    };
    let here = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if url.scheme() == "http" && !here {
        bail!("`{given}` would send the token over the network in the clear; give an https:// address");
    }
    let code = url.fragment().and_then(|part| part.strip_prefix("code=")).map(str::to_owned);
    url.set_fragment(None);
    url.set_query(None);
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/terminal").unwrap_or(path).to_owned();
    url.set_path(&path);
    Ok((url.as_str().trim_end_matches('/').to_owned(), code))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_address_may_be_the_enrolment_link() {
        let link = address("https://console.example/terminal/#code=ABCD-EFGH-JKLM").unwrap();
        assert_eq!(link, ("https://console.example".into(), Some("ABCD-EFGH-JKLM".into())));
        assert_eq!(address("http://127.0.0.1:8081/").unwrap(), ("http://127.0.0.1:8081".into(), None));
        assert_eq!(address("http://[::1]:8081/terminal").unwrap(), ("http://[::1]:8081".into(), None));
        for wrong in ["console.example", "redis://127.0.0.1", "http://console.example"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_code_is_the_same_however_it_is_typed() {
        assert_eq!(digest("abcd efgh-jklm"), digest("ABCD-EFGH-JKLM"));
        assert_ne!(digest("ABCD-EFGH-JKLM"), digest("ABCD-EFGH-JKLN"));
    }
}

//! The web console over HTTP: the real program, a real Redis.

mod applications;
mod asks;
mod broadcast;
pub(crate) mod browser;
mod chromium;
mod dead;
mod destinations;
mod hung;
mod lists;
mod live;
mod logs;
mod names;
mod picture;
mod polls;
mod replays;
mod routes;
mod scale;
mod settings;
mod shell;
mod story;
mod tables;
mod tls;

use std::time::Duration;

use self::browser::Browser;
use crate::{
    e2e::installation::{Installation, Node},
    servers::{free_port, wait_for},
};

/// The password of everybody here.
pub(crate) const PASSWORD: &str = "a long enough phrase";

/// An installation with one node whose console is open, and a user of each role, named by the role.
pub(crate) struct Scene {
    /// Redis and a folder.
    pub(crate) installation: Installation,
    /// The node.
    pub(crate) node: Node,
    /// Where its console is.
    pub(crate) base: String,
}

impl Scene {
    /// Starts everything, with these users (`name:role`), and waits until the console answers.
    pub(crate) async fn start(users: &[&str]) -> Self {
        Self::start_with(users, &[]).await
    }

    /// The same with further settings of the node.
    pub(crate) async fn start_with(users: &[&str], settings: &[(&'static str, &str)]) -> Self {
        let installation = Installation::new().await;
        for user in users {
            add_user(&installation, user);
        }
        let mut node = installation.new_node("a");
        let address = format!("127.0.0.1:{}", free_port());
        node.environment.insert("TIDEGATE_CONSOLE", address.clone());
        node.environment.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        node.start(&installation);
        node.ready().await;
        Self { installation, node, base: format!("http://{address}") }
    }

    /// A browser that nobody has signed in with.
    pub(crate) fn browser(&self) -> Browser {
        Browser::at(&self.base)
    }

    /// A browser in which this user is signed in.
    pub(crate) async fn browser_of(&self, name: &str) -> Browser {
        let mut browser = self.browser();
        browser.sign_in(name, PASSWORD).await;
        browser
    }

    /// The path of the link that the node printed at its start.
    pub(crate) async fn first_link(&self) -> String {
        wait_for("the link for the first admin", Duration::from_secs(20), async || {
            let logged = self.node.logged();
            let (_, rest) = logged.split_once("/console/first?token=")?;
            let token = rest.split_whitespace().next()?;
            Some(format!("/console/first?token={token}"))
        })
        .await
    }
}

/// Adds `name:role` by the command.
fn add_user(installation: &Installation, user: &str) {
    use std::io::Write as _;
    let (name, role) = user.split_once(':').unwrap();
    let mut command = installation.command(&["user", "add", name, "--role", role, "--password-stdin"]);
    let mut child = command.stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(PASSWORD.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

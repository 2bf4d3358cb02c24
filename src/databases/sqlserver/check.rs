//! The steps of a connection check that are SQL Server's own: `tls`, `login` and `rights`.

use tidegate_actors::ports::WriteError;

use super::{
    address::{self, PORT, is_loopback, tls_mode},
    own_tables,
    session::{Session, Unopened},
};
use crate::{
    databases::{CheckStep, Connection},
    resources::TlsMode,
};

/// The steps, up to the first that fails.
pub(super) async fn steps(settings: &Connection) -> Vec<CheckStep> {
    let url = &settings.url;
    let server = format!("{}:{}", url.host_str().unwrap_or_default(), url.port().unwrap_or(PORT));
    let tls = |outcome| CheckStep { step: "tls", subject: server.clone(), outcome };
    let login = |outcome| CheckStep { step: "login", subject: address::user(url), outcome };
    let secured = || match (tls_mode(settings), is_loopback(url)) {
        (TlsMode::Verify, _) => "encrypted; certificate and name are right".to_owned(),
        (TlsMode::Require, _) => "encrypted; the certificate is not checked".to_owned(),
        (TlsMode::Off, true) => "off; the server is on this machine".to_owned(),
        (TlsMode::Off, false) => "OFF: passwords and records cross the network readable".to_owned(),
    };
    let mut session = match Session::open(settings).await {
        Ok(session) => session,
        Err(Unopened { step: "tls", why }) => return vec![tls(Err(words(&why)))],
        Err(Unopened { why, .. }) => return vec![tls(Ok(secured())), login(Err(words(&why)))],
    };
    let found = format!("logged in; SQL Server {} {}", session.server.version, session.server.edition);
    let rights = own_tables::rights(&mut session, &settings.name).await;
    vec![
        tls(Ok(secured())),
        login(Ok(found.trim_end().to_owned())),
        CheckStep { step: "rights", subject: address::database(url), outcome: rights },
    ]
}

fn words(error: &WriteError) -> String {
    error.to_string()
}

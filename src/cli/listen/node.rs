//! The way to the nodes: several addresses of one installation, of which one is used until it does not answer.

use std::{
    cell::{Cell, RefCell},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use awc::http::header::AUTHORIZATION;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use crate::cli::table::plain;

/// Longest time for a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(4);
/// Longest time for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);
/// Longest time of a stream; nodes end theirs after ten minutes.
const STREAM_LASTS: Duration = Duration::from_secs(15 * 60);
/// Longest body of an answer, in bytes.
const MOST_BODY: usize = 1 << 20;

/// What went wrong.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) with: TroubleWith,
    pub(super) why: String,
}

/// With what.
#[derive(Debug)]
pub(super) enum TroubleWith {
    /// The way there, or the node.
    Way,
    /// What was asked: status and the problem's code.
    Refusal { status: u16, code: String },
}

impl Trouble {
    fn way(why: impl std::fmt::Display) -> Self {
        Self { with: TroubleWith::Way, why: plain(&why.to_string()) }
    }

    /// Whether this terminal may see nothing (any more).
    pub(super) fn is_the_end(&self) -> bool {
        matches!(self.with, TroubleWith::Refusal { status: 401, .. })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    code: String,
    detail: String,
}

/// The nodes.
pub(super) struct Nodes {
    client: awc::Client,
    addresses: Vec<String>,
    at: Cell<usize>,
    token: RefCell<String>,
}

/// A stream of events.
pub(super) type Stream = awc::ClientResponse;

impl Nodes {
    /// Nodes at these addresses, of which there is at least one.
    pub(super) fn new(addresses: Vec<String>, ca: Option<&Path>) -> anyhow::Result<Self> {
        let connector = awc::Connector::new().timeout(CONNECT_WITHIN).rustls_0_23(Arc::new(tls(ca)?));
        let client = awc::Client::builder().connector(connector).disable_redirects().timeout(ANSWER_WITHIN).finish();
        Ok(Self { client, addresses, at: Cell::new(0), token: RefCell::default() })
    }

    pub(super) fn use_token(&self, token: &str) {
        token.clone_into(&mut self.token.borrow_mut());
    }

    pub(super) fn len(&self) -> usize {
        self.addresses.len()
    }

    /// The address that is used now.
    pub(super) fn address(&self) -> &str {
        self.addresses.get(self.at.get()).map_or("", String::as_str)
    }

    /// Uses the next one.
    pub(super) fn turn(&self) {
        self.at.set((self.at.get() + 1) % self.addresses.len().max(1));
    }

    fn bearer(&self) -> Option<(awc::http::header::HeaderName, String)> {
        let token = self.token.borrow();
        (!token.is_empty()).then(|| (AUTHORIZATION, format!("Bearer {token}")))
    }

    /// Posts to this path below `/terminal`; the answer's body, where there is one.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, Trouble> {
        let mut request = self.client.post(format!("{}/terminal/{path}", self.address()));
        if let Some(bearer) = self.bearer() {
            request = request.insert_header(bearer);
        }
        answer(request.send_json(body).await.map_err(Trouble::way)?).await
    }

    /// What the terminal is told of itself.
    pub(super) async fn me(&self) -> Result<Value, Trouble> {
        let mut request = self.client.get(format!("{}/terminal/me", self.address()));
        if let Some(bearer) = self.bearer() {
            request = request.insert_header(bearer);
        }
        answer(request.send().await.map_err(Trouble::way)?).await
    }

    /// Opens the stream of events behind a cursor.
    pub(super) async fn events(&self, cursor: Option<&str>) -> Result<Stream, Trouble> {
        let request = self.client.get(format!("{}/terminal/events", self.address()));
        let mut request = request.timeout(STREAM_LASTS).no_decompress().insert_header(("Accept", "text/event-stream"));
        if let Some(bearer) = self.bearer() {
            request = request.insert_header(bearer);
        }
        if let Some(cursor) = cursor {
            request = request.insert_header(("Last-Event-ID", cursor));
        }
        let sent = timeout(ANSWER_WITHIN, request.send()).await;
        let stream = sent.map_err(|_| Trouble::way("no answer"))?.map_err(Trouble::way)?;
        if stream.status().is_success() {
            return Ok(stream);
        }
        Err(refusal(stream).await)
    }
}

async fn answer(mut answer: Stream) -> Result<Value, Trouble> {
    if !answer.status().is_success() {
        return Err(refusal(answer).await);
    }
    let body = answer.body().limit(MOST_BODY).await.map_err(Trouble::way)?;
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&body).map_err(|_| Trouble::way("the answer is not a Tidegate console's"))
}

async fn refusal(mut answer: Stream) -> Trouble {
    let status = answer.status().as_u16();
    let body = timeout(ANSWER_WITHIN, answer.body().limit(MOST_BODY)).await;
    let body = body.ok().and_then(Result::ok).unwrap_or_default();
    let Problem { code, detail } = serde_json::from_slice(&body).unwrap_or_default();
    let why = if detail.is_empty() { format!("the answer was {status}") } else { plain(&detail) };
    // A proxy's 401 says nothing of the terminal.
    let ours = !code.is_empty();
    let with = if ours && status < 500 { TroubleWith::Refusal { status, code } } else { TroubleWith::Way };
    Trouble { with, why }
}

fn tls(ca: Option<&Path>) -> anyhow::Result<ClientConfig> {
    let mut trusted = RootCertStore::empty();
    match ca {
        Some(file) => {
            let wrong = || format!("--ca {} holds no certificate in PEM that can be used", file.display());
            for certificate in CertificateDer::pem_file_iter(file).with_context(wrong)? {
                trusted.add(certificate.with_context(wrong)?).with_context(wrong)?;
            }
            if trusted.is_empty() {
                bail!("{}", wrong());
            }
        }
        None => drop(trusted.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    Ok(ClientConfig::builder().with_root_certificates(trusted).with_no_client_auth())
}

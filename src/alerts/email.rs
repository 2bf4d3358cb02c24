//! An alert as a letter over SMTP, to the address that was judged, with the certificate held against the name that was given.

use std::time::Duration;

use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Tls, TlsParameters},
    },
};
use secrecy::{ExposeSecret, SecretString};

use super::{
    event::Event,
    outbound::{Allowed, resolve},
    target::MailTls,
};
use crate::databases::CheckStep;

/// Longest time for all of it.
const WITHIN: Duration = Duration::from_secs(20);

/// A mail server and a letter's ends.
pub(super) struct Post<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) tls: MailTls,
    pub(super) login: Option<(&'a str, SecretString)>,
    pub(super) from: &'a str,
    pub(super) to: &'a [String],
}

/// Whether this is somebody's address.
pub(crate) fn is_mailbox(text: &str) -> bool {
    text.parse::<Mailbox>().is_ok()
}

/// Sends it; each step with what came of it, the last of them the first that failed.
pub(super) async fn send(post: &Post<'_>, event: &Event, allowed: &Allowed) -> Vec<CheckStep> {
    let mut steps = Vec::new();
    let address = match resolve(post.host, post.port, allowed).await {
        Ok(address) => {
            steps.push(CheckStep {
                step: "name",
                subject: post.host.to_owned(),
                outcome: Ok(address.ip().to_string()),
            });
            address
        }
        Err(why) => {
            steps.push(CheckStep { step: "name", subject: post.host.to_owned(), outcome: Err(why) });
            return steps;
        }
    };
    let subject = format!("{}:{}", post.host, post.port);
    let sent = tokio::time::timeout(WITHIN, deliver(post, address.ip(), event)).await;
    let outcome = sent.unwrap_or_else(|_| Err(format!("no answer within {} s", WITHIN.as_secs())));
    steps.push(CheckStep { step: "answer", subject, outcome });
    steps
}

async fn deliver(post: &Post<'_>, address: std::net::IpAddr, event: &Event) -> Result<String, String> {
    let mailbox = |text: &str| text.parse::<Mailbox>().map_err(|_| format!("`{text}` is no address of somebody"));
    let mut letter = Message::builder().from(mailbox(post.from)?).subject(event.subject());
    for to in post.to {
        letter = letter.to(mailbox(to)?);
    }
    let letter = letter.header(ContentType::TEXT_PLAIN).body(event.letter()).map_err(|error| error.to_string())?;
    let parameters = || TlsParameters::new(post.host.to_owned()).map_err(|error| error.to_string());
    let tls = match post.tls {
        MailTls::Tls => Tls::Wrapper(parameters()?),
        MailTls::Starttls => Tls::Required(parameters()?),
        MailTls::Off => Tls::None,
    };
    let mut server = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.to_string())
        .port(post.port)
        .tls(tls)
        .timeout(Some(WITHIN));
    if let Some((user, password)) = &post.login {
        server = server.credentials(Credentials::new((*user).to_owned(), password.expose_secret().to_owned()));
    }
    let server = server.build();
    match server.send(letter).await {
        Ok(answer) => Ok(format!("taken: {}", answer.code())),
        // A server's words may quote a login; the code says enough.
        Err(error) => Err(match error.status() {
            Some(code) if code.to_string().starts_with("53") => format!("refused the user or password ({code})"),
            Some(code) => format!("refused the letter ({code})"),
            None if error.is_timeout() => "no answer in time; a firewall on the way probably drops the packets".into(),
            None if error.is_tls() => {
                format!("TLS failed; is its certificate for {}, and is the way of securing right?", post.host)
            }
            None => "can't be spoken to; check host, port and the way of securing".into(),
        }),
    }
}

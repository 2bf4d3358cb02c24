//! CloudEvents 1.0 as messages: an event's last part of `type` is the action, `subject` the key, the extension `topic` or
//! the last segment of `source` the topic, and `id` with `source` the message's own id.
//!
//! Structured events and batches are read by [`read`]; binary ones, whose attributes are headers (CloudEvents, *HTTP
//! Protocol Binding*), are collected by [`Attributes::of_headers`] and finished by [`read_binary`].

use std::borrow::Cow;

use actix_web::http::header::HeaderMap;
use tidegate_actors::{message::Action, ports::NewRecord};

use super::{
    directory::KnownApplication,
    envelope::{Draft, admit, text},
    json::{Fault, Scanner},
    key::Key,
    problem::{BAD_REQUEST, Problem},
};

/// Longest own id that `source` and `id` make together, in characters.
const MAX_ID_CHARS: usize = 512;

/// The attributes that mean something here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes<'a> {
    specversion: Option<Cow<'a, str>>,
    id: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    kind: Option<Cow<'a, str>>,
    subject: Option<Cow<'a, str>>,
    topic: Option<Cow<'a, str>>,
    content_type: Option<Cow<'a, str>>,
    traceparent: Option<Cow<'a, str>>,
}

impl<'a> Attributes<'a> {
    fn slot(&mut self, name: &str) -> Option<&mut Option<Cow<'a, str>>> {
        Some(match name {
            "specversion" => &mut self.specversion,
            "id" => &mut self.id,
            "source" => &mut self.source,
            "type" => &mut self.kind,
            "subject" => &mut self.subject,
            "topic" => &mut self.topic,
            "datacontenttype" => &mut self.content_type,
            "traceparent" => &mut self.traceparent,
            _ => return None,
        })
    }

    /// The attributes in the `ce-` headers, percent-decoded.
    pub(crate) fn of_headers(headers: &HeaderMap) -> Result<Attributes<'static>, Problem> {
        let mut attributes = Attributes::default();
        for (name, value) in headers {
            let Some(name) = name.as_str().strip_prefix("ce-") else { continue };
            let Some(slot) = attributes.slot(name) else { continue };
            let value = value.to_str().ok().and_then(percent_decoded).ok_or_else(|| {
                Problem::new(&BAD_REQUEST, format!("The header `ce-{name}` is not percent-encoded UTF-8."))
            })?;
            *slot = Some(Cow::Owned(value));
        }
        Ok(attributes)
    }

    /// What a digest of the request must cover beside its body.
    pub(crate) fn digest(&self, mut update: impl FnMut(&[u8])) {
        for value in [&self.id, &self.source, &self.kind, &self.subject, &self.topic] {
            update(value.as_deref().unwrap_or_default().as_bytes());
            update(&[0]);
        }
    }

    fn draft(self, data: Option<&'a str>) -> Result<Draft<'a>, Box<Fault>> {
        let required = |value: Option<Cow<'a, str>>, name: &'static str| {
            value.filter(|value| !value.is_empty()).ok_or_else(|| {
                Fault::new("required", 0, format!("a CloudEvent has the attribute `{name}`")).within(name)
            })
        };
        let version = required(self.specversion, "specversion")?;
        if version != "1.0" {
            let message = "only CloudEvents 1.0 is read";
            return Err(Fault::new("specversion", 0, message).within("specversion"));
        }
        let id = required(self.id, "id")?;
        let source = required(self.source, "source")?;
        let kind = required(self.kind, "type")?;
        if self.content_type.as_deref().is_some_and(|kind| !is_json(kind)) {
            let fault = Fault::new("datacontenttype", 0, "only JSON data is read");
            return Err(fault.within("datacontenttype"));
        }
        // A URI reference has no space in it, so the two can be told apart.
        let own_id = format!("{source} {id}");
        if own_id.chars().count() > MAX_ID_CHARS || own_id.chars().any(char::is_control) {
            let message = format!("`source` and `id` have at most {MAX_ID_CHARS} characters, none a control character");
            return Err(Fault::new("id", 0, message).within("id"));
        }
        let action = kind.rsplit('.').next().and_then(|last| Action::parse(&last.to_ascii_lowercase()));
        Ok(Draft {
            topic: Some(self.topic.unwrap_or_else(|| Cow::Owned(last_segment(&source).to_owned()))),
            action,
            key: self.subject.filter(|subject| !subject.is_empty()).map(|subject| Key::text(&subject)),
            own_id: Some(Cow::Owned(own_id)),
            traceparent: self.traceparent.filter(|value| is_traceparent(value)),
            data,
        })
    }
}

/// Reads one structured event and checks it.
pub(crate) fn read(scanner: &mut Scanner<'_>, application: &KnownApplication) -> Result<NewRecord, Box<Fault>> {
    let mut attributes = Attributes::default();
    let mut data = None;
    let mut names: Vec<Cow<'_, str>> = Vec::new();
    scanner.begin_message();
    if scanner.peek() != Some(b'{') {
        return Err(scanner.unexpected("a CloudEvent is a JSON object"));
    }
    scanner.object(|scanner, name| {
        let mut member = || -> Result<(), Box<Fault>> {
            let at = scanner.at();
            if names.len() == MAX_ATTRIBUTES {
                return Err(Fault::new("too_many_fields", at, format!("more than {MAX_ATTRIBUTES} attributes")));
            }
            if names.contains(&name) {
                return Err(Fault::new("duplicate_name", at, "this name occurs twice in its object"));
            }
            match &*name {
                "data" => data = Some(scanner.record()?),
                "data_base64" => return Err(Fault::new("data_base64", at, "only JSON data is read, in `data`")),
                _ => match attributes.slot(&name) {
                    Some(slot) if scanner.peek() == Some(b'n') => {
                        *slot = None;
                        scanner.value(0)?;
                    }
                    Some(slot) => *slot = Some(text(scanner, "this attribute is a string")?),
                    None if matches!(scanner.peek(), Some(b'{' | b'[')) => {
                        return Err(scanner.unexpected("an extension is a string, a number or a boolean"));
                    }
                    None => scanner.value(0)?,
                },
            }
            Ok(())
        };
        member().map_err(|fault| fault.within(&name))?;
        names.push(name);
        Ok(())
    })?;
    admit(attributes.draft(data)?, scanner.members(), application)
}

/// Most attributes of one event, extensions included.
const MAX_ATTRIBUTES: usize = 64;

/// Reads the data of a binary event, which is the whole body, and checks it with its attributes.
pub(crate) fn read_binary(
    attributes: &Attributes<'static>,
    scanner: &mut Scanner<'_>,
    application: &KnownApplication,
) -> Result<NewRecord, Box<Fault>> {
    scanner.begin_message();
    let data = if scanner.peek().is_none() { None } else { Some(scanner.record()?) };
    admit(attributes.clone().draft(data)?, scanner.members(), application)
}

fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.ends_with("/json") || essence.ends_with("+json")
}

fn last_segment(source: &str) -> &str {
    let path = source.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    path.rsplit(['/', ':']).next().unwrap_or_default()
}

/// Whether this is a trace context's `traceparent` (W3C, *Trace Context*, version 00).
pub(crate) fn is_traceparent(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 55
        && bytes.iter().enumerate().all(|(place, byte)| match place {
            2 | 35 | 52 => *byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

fn percent_decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_segment_of_a_source_is_the_topic() {
        for (source, segment) in [
            ("/cars", "cars"),
            ("cars", "cars"),
            ("https://shop.example/branches/7/cars/?x=1#y", "cars"),
            ("urn:car-app:cars", "cars"),
            ("/", ""),
        ] {
            assert_eq!(last_segment(source), segment, "{source}");
        }
    }

    #[test]
    fn headers_are_percent_decoded() {
        for (text, decoded) in [
            ("plain", Some("plain")),
            ("a%20b%C3%A9", Some("a bé")),
            ("%", None),
            ("%2", None),
            ("%ff", None),
            ("%zz", None),
        ] {
            assert_eq!(percent_decoded(text).as_deref(), decoded, "{text}");
        }
    }

    #[test]
    fn a_traceparent_is_told_from_other_text() {
        assert!(is_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        assert!(!is_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"));
        assert!(!is_traceparent("00-4BF92F3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
    }
}

//! Refusals as `application/problem+json` (RFC 9457, *Problem Details for HTTP APIs*): one shape for every error that a
//! client can meet, with the places in its body where it can be told.
//!
//! Every handler answers errors with a [`Problem`]; nothing in one repeats a record's contents or a secret.

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::{StatusCode, header},
};
use serde::Serialize;

use super::json::{Fault, line_and_column};

/// Most entries of `errors` in one answer.
pub(crate) const MAX_ERRORS: usize = 100;

/// A class of problem: where it is explained, what it is called, and its status.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// Anchor on the page `/docs`; the end of `type`.
    pub(crate) slug: &'static str,
    /// The same words every time.
    pub(crate) title: &'static str,
    /// The HTTP status.
    pub(crate) status: u16,
}

macro_rules! kinds {
    ($($name:ident $status:literal $slug:literal $title:literal;)*) => {
        $(pub(crate) static $name: Kind = Kind { slug: $slug, title: $title, status: $status };)*
        /// Every class there is.
        #[cfg(test)]
        pub(crate) static KINDS: &[&Kind] = &[$(&$name),*];
    };
}

kinds! {
    NOT_JSON 400 "not-json" "The body is not JSON";
    BAD_REQUEST 400 "bad-request" "The request is not understood";
    UNAUTHORIZED 401 "unauthorized" "No valid API key";
    FORBIDDEN 403 "forbidden" "This belongs to another application";
    NOT_ALLOWED 403 "not-allowed" "The application lacks the right";
    NOT_FOUND 404 "not-found" "There is nothing here";
    METHOD_NOT_ALLOWED 405 "method-not-allowed" "This path has no such method";
    TIMEOUT 408 "timeout" "The body came too slowly";
    CONFLICT 409 "under-way" "The first request is still under way";
    TOO_LARGE 413 "too-large" "More than one request may hold";
    UNSUPPORTED 415 "unsupported-media-type" "The body is of a kind that is not read here";
    INVALID 422 "invalid-message" "A message is not accepted";
    KEY_REUSED 422 "idempotency-key-reused" "The Idempotency-Key belongs to another body";
    TOO_MANY 429 "rate-limited" "More records a second than the application may send";
    UNAVAILABLE 503 "unavailable" "Records can't be taken right now";
}

/// One place in the request and what is wrong there.
#[derive(Debug, Serialize)]
pub(crate) struct Issue {
    /// Which message of the request, from 0.
    pub(crate) index: usize,
    /// Where in that message, as a JSON pointer (RFC 6901); empty for the message itself.
    pub(crate) pointer: String,
    /// A stable word.
    pub(crate) code: &'static str,
    /// The sentence for a person.
    pub(crate) message: String,
}

impl Issue {
    /// What a fault of message `index` looks like from outside. The place of a syntax error is given as line and column
    /// of the whole body, where `line` is the number of the line that `text` begins on.
    pub(crate) fn of(index: usize, fault: &Fault, text: &str, first_line: usize) -> Self {
        let message = if fault.is_syntax() {
            let (line, column) = line_and_column(text, fault.at);
            format!("{} (line {}, column {column})", fault.message, line + first_line - 1)
        } else {
            fault.message.to_string()
        };
        Self { index, pointer: fault.pointer(), code: fault.code, message }
    }
}

/// A refusal.
#[derive(Debug)]
pub(crate) struct Problem {
    kind: &'static Kind,
    detail: String,
    errors: Vec<Issue>,
    retry_after_s: Option<u32>,
    header: Option<(header::HeaderName, &'static str)>,
    close: bool,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Issue],
}

impl Problem {
    /// A problem of this kind, with a sentence about this occurrence and its remedy.
    pub(crate) fn new(kind: &'static Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new(), retry_after_s: None, header: None, close: false }
    }

    /// The places; more than [`MAX_ERRORS`] are left out.
    pub(crate) fn with_errors(mut self, mut errors: Vec<Issue>) -> Self {
        errors.truncate(MAX_ERRORS);
        self.errors = errors;
        self
    }

    /// When to try again.
    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// A header that belongs to this status.
    pub(crate) fn with_header(mut self, name: header::HeaderName, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }

    /// The connection ends with this answer, because the rest of the body is not read.
    pub(crate) fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// The status.
    pub(crate) fn status(&self) -> u16 {
        self.kind.status
    }

    /// The answer.
    pub(crate) fn response(&self) -> HttpResponse {
        let status = StatusCode::from_u16(self.kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponseBuilder::new(status);
        response.insert_header((header::CONTENT_TYPE, "application/problem+json"));
        if let Some(seconds) = self.retry_after_s {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        if let Some((name, value)) = &self.header {
            response.insert_header((name.clone(), *value));
        }
        if self.close {
            response.force_close();
        }
        response.body(self.to_json())
    }

    /// The body of the answer.
    pub(crate) fn to_json(&self) -> String {
        let body = Body {
            r#type: format!("/docs#{}", self.kind.slug),
            title: self.kind.title,
            status: self.kind.status,
            detail: &self.detail,
            errors: &self.errors,
        };
        serde_json::to_string(&body).unwrap_or_default()
    }
}

//! Refusals of terminals' requests: problem details (RFC 9457) with a stable `code`, in the terminal's language.

use std::fmt;

use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use serde_json::json;

use super::guard;
use crate::users::Lang;

/// What is the matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The one-time code is wrong, used or old.
    UnknownCode,
    /// Too many wrong codes.
    TooManyTries,
    /// No token of ours.
    NotEnrolled,
    /// It may see nothing any more.
    Revoked,
    /// A change that does not come from a page of ours.
    NotOurs,
    /// The body or query is not understood.
    BadRequest,
    /// There is nothing here.
    NotFound,
    /// Redis is away: keep it and send it again.
    Unavailable(String),
    /// As many as a node serves are connected.
    Full,
}

impl What {
    fn code(&self) -> &'static str {
        match self {
            Self::UnknownCode => "unknown_code",
            Self::TooManyTries => "too_many_tries",
            Self::NotEnrolled => "not_enrolled",
            Self::Revoked => "revoked",
            Self::NotOurs => "not_ours",
            Self::BadRequest => "bad_request",
            Self::NotFound => "not_found",
            Self::Unavailable(_) => "unavailable",
            Self::Full => "full",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::UnknownCode => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooManyTries => StatusCode::TOO_MANY_REQUESTS,
            Self::NotEnrolled | Self::Revoked => StatusCode::UNAUTHORIZED,
            Self::NotOurs => StatusCode::FORBIDDEN,
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Unavailable(_) | Self::Full => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn texts(&self, lang: Lang) -> (&'static str, &'static str) {
        match (self, lang) {
            (Self::UnknownCode, Lang::En) => {
                ("Unknown code", "This code is wrong, was used already, or is too old. Ask head office for a new one.")
            }
            (Self::UnknownCode, Lang::Id) => (
                "Kode tidak dikenal",
                "Kode ini salah, sudah dipakai, atau sudah kedaluwarsa. Mintalah kode baru ke kantor pusat.",
            ),
            (Self::TooManyTries, Lang::En) => {
                ("Too many tries", "Too many wrong codes came from here. Try again in ten minutes.")
            }
            (Self::TooManyTries, Lang::Id) => {
                ("Terlalu banyak percobaan", "Terlalu banyak kode salah dari sini. Coba lagi dalam sepuluh menit.")
            }
            (Self::NotEnrolled, Lang::En) => {
                ("Not enrolled", "This terminal is not enrolled. Enter the code from head office.")
            }
            (Self::NotEnrolled, Lang::Id) => {
                ("Belum terdaftar", "Terminal ini belum terdaftar. Masukkan kode dari kantor pusat.")
            }
            (Self::Revoked, Lang::En) => {
                ("Revoked", "Head office has taken this terminal's access away. Ask for a new code.")
            }
            (Self::Revoked, Lang::Id) => {
                ("Akses dicabut", "Kantor pusat telah mencabut akses terminal ini. Mintalah kode baru.")
            }
            (Self::NotOurs, Lang::En) => ("Not from here", "This request does not come from the terminal's own page."),
            (Self::NotOurs, Lang::Id) => ("Bukan dari sini", "Permintaan ini tidak berasal dari halaman terminal."),
            (Self::BadRequest, Lang::En) => ("Not understood", "The request is not understood."),
            (Self::BadRequest, Lang::Id) => ("Tidak dipahami", "Permintaan tidak dapat dipahami."),
            (Self::NotFound, Lang::En) => ("Nothing here", "There is nothing here."),
            (Self::NotFound, Lang::Id) => ("Tidak ada", "Tidak ada apa pun di sini."),
            (Self::Unavailable(_), Lang::En) => {
                ("No connection", "Head office can't be reached right now. It is tried again.")
            }
            (Self::Unavailable(_), Lang::Id) => {
                ("Tidak ada koneksi", "Kantor pusat tidak dapat dihubungi saat ini. Akan dicoba lagi.")
            }
            (Self::Full, Lang::En) => {
                ("Too many terminals", "Too many terminals are connected here. It is tried again.")
            }
            (Self::Full, Lang::Id) => {
                ("Terlalu banyak terminal", "Terlalu banyak terminal terhubung di sini. Akan dicoba lagi.")
            }
        }
    }
}

/// A refusal, for whom.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    what: What,
    lang: Lang,
}

impl Refusal {
    pub(super) fn new(what: What, lang: Lang) -> Self {
        if let What::Unavailable(why) = &what {
            tracing::debug!(why, "a terminal was turned away");
        }
        Self { what, lang }
    }

    pub(super) fn of(request: &HttpRequest, what: What) -> Self {
        Self::new(what, guard::lang(request))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what.code())
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        self.what.status()
    }

    fn error_response(&self) -> HttpResponse {
        let (title, detail) = self.what.texts(self.lang);
        let status = self.what.status();
        let mut response = HttpResponse::build(status);
        response.insert_header((header::CONTENT_TYPE, "application/problem+json"));
        response.insert_header((header::CONTENT_LANGUAGE, self.lang.as_str()));
        let more = match &self.what {
            What::TooManyTries => Some((header::RETRY_AFTER, "600")),
            What::Unavailable(_) | What::Full => Some((header::RETRY_AFTER, "2")),
            What::NotEnrolled | What::Revoked => Some((header::WWW_AUTHENTICATE, "Bearer realm=\"tidegate terminal\"")),
            _ => None,
        };
        if let Some(more) = more {
            response.insert_header(more);
        }
        let code = self.what.code();
        let body = json!({
            "type": format!("about:blank#{code}"), "title": title, "status": status.as_u16(), "detail": detail, "code": code,
        });
        response.body(body.to_string())
    }
}

/// What answers on paths that do not exist.
pub(super) async fn nowhere(request: HttpRequest) -> Result<HttpResponse, Refusal> {
    Err(Refusal::of(&request, What::NotFound))
}

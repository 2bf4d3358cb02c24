//! Which language somebody reads: their own choice, else this browser's, else what the browser asks for.

use actix_web::http::header::{ACCEPT_LANGUAGE, HeaderMap};

use super::cookies;
use crate::users::Lang;

/// The language of a request.
pub(crate) fn of(chosen: Option<Lang>, headers: &HeaderMap) -> Lang {
    chosen.or_else(|| cookies::read(headers, cookies::LANG).and_then(Lang::parse)).unwrap_or_else(|| {
        headers.get(ACCEPT_LANGUAGE).and_then(|header| header.to_str().ok()).map(accepted).unwrap_or_default()
    })
}

/// The one of ours that is wanted most (RFC 9110, *Accept-Language*).
fn accepted(header: &str) -> Lang {
    let wanted = header.split(',').filter_map(|part| {
        let (tag, parameters) = part.split_once(';').unwrap_or((part, ""));
        let lang = Lang::parse(&tag.trim().split('-').next().unwrap_or_default().to_ascii_lowercase())?;
        let weight = parameters.trim().strip_prefix("q=").map_or(1.0, |q| q.trim().parse::<f64>().unwrap_or(0.0));
        (weight > 0.0).then_some((lang, weight))
    });
    // The first of equals: `max_by` would take the last.
    wanted.fold((Lang::default(), 0.0), |best, one| if one.1 > best.1 { one } else { best }).0
}

/// The text for this language.
pub(crate) fn pick<T: ?Sized>(lang: Lang, en: &'static T, id: &'static T) -> &'static T {
    match lang {
        Lang::En => en,
        Lang::Id => id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browsers_wish_is_followed_as_far_as_we_can() {
        for (header, lang) in [
            ("id", Lang::Id),
            ("id-ID,id;q=0.9,en;q=0.8", Lang::Id),
            ("en-GB,id;q=0.9", Lang::En),
            ("de,id;q=0.3,en;q=0.2", Lang::Id),
            ("de-DE,fr", Lang::En),
            ("id;q=0", Lang::En),
            ("", Lang::En),
        ] {
            assert_eq!(accepted(header), lang, "{header}");
        }
    }
}

//! The console's cookies: read from a request, written for an answer. Few enough to need no library.

use actix_web::http::header::{COOKIE, HeaderMap};

/// The session's cookie where nobody on the way can read it: browsers take it over TLS only, for this host only.
const SESSION_SECURE: &str = "__Host-tidegate";
/// The same on plain loopback.
const SESSION_PLAIN: &str = "tidegate";
/// A message for the next page.
pub(super) const FLASH: &str = "tidegate-flash";
/// The language that was chosen.
pub(super) const LANG: &str = "lang";
/// Light or dark, where one was chosen.
pub(super) const THEME: &str = "theme";

const YEAR_S: u32 = 365 * 24 * 60 * 60;
/// A redirect takes less.
const FLASH_S: u32 = 60;

/// The name of the session's cookie.
pub(super) fn session_name(secure: bool) -> &'static str {
    if secure { SESSION_SECURE } else { SESSION_PLAIN }
}

/// The value of a cookie, where the request carries it exactly once.
pub(crate) fn read<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(COOKIE).filter_map(|header| header.to_str().ok()).flat_map(|header| header.split(';'));
    let mut found = all.filter_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='));
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// Sets the session's cookie. It ends with the browser; the server ends it sooner.
pub(super) fn session(secure: bool, token: &str) -> String {
    format!("{}={token}; Path=/; HttpOnly; SameSite=Lax{}", session_name(secure), secure_word(secure))
}

/// Takes the session's cookie away.
pub(super) fn no_session(secure: bool) -> String {
    format!("{}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0{}", session_name(secure), secure_word(secure))
}

/// Sets a cookie that scripts of ours may read too: it is no secret.
pub(super) fn preference(secure: bool, name: &str, value: &str) -> String {
    format!("{name}={value}; Path=/; SameSite=Lax; Max-Age={YEAR_S}{}", secure_word(secure))
}

/// Sets or, without a value, takes away the message for the next page.
pub(super) fn flash(secure: bool, value: Option<&str>) -> String {
    let (value, age) = value.map_or(("", 0), |value| (value, FLASH_S));
    format!("{FLASH}={value}; Path=/console; HttpOnly; SameSite=Lax; Max-Age={age}{}", secure_word(secure))
}

fn secure_word(secure: bool) -> &'static str {
    if secure { "; Secure" } else { "" }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name_and_never_guessed_between_two() {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, "xlang=en; lang=id; tidegate=a; tidegate=b".parse().unwrap());
        assert_eq!(read(&headers, LANG), Some("id"));
        assert_eq!(read(&headers, SESSION_PLAIN), None);
        assert_eq!(read(&headers, THEME), None);
    }

    #[test]
    fn the_sessions_cookie_is_out_of_reach() {
        assert_eq!(session(true, "t"), "__Host-tidegate=t; Path=/; HttpOnly; SameSite=Lax; Secure");
        assert_eq!(session(false, "t"), "tidegate=t; Path=/; HttpOnly; SameSite=Lax");
    }
}

//! The web terminal's own files: its page, what that loads, its manifest, and the service worker that shows the page without
//! connection. Nothing here knows who asks; all that a terminal sees it fetches by itself, with its token.
//!
//! Everything the page loads lies in a folder that is named by a digest of all of it, so modules may import each other by
//! name, a browser keeps them for good, and a new version never meets an old one's part.

use std::{fmt::Write as _, sync::OnceLock};

use actix_web::{
    HttpResponse,
    http::header::{CACHE_CONTROL, HeaderName},
    web,
};
use sha2::{Digest as _, Sha256};

use crate::console::assets;

/// What the page uses of the console's own files.
const SHARED: [&str; 2] = ["console.css", "icons.svg"];

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PNG: &str = "image/png";
const SVG: &str = "image/svg+xml";

macro_rules! files {
    ($($name:literal: $kind:expr,)+) => {
        [$(($name, $kind, include_bytes!(concat!("assets/", $name)) as &[u8]),)+]
    };
}

/// Name, kind, and the file itself.
const FILES: [(&str, &str, &[u8]); 19] = files![
    "terminal.css": STYLE,
    "terminal.js": SCRIPT,
    "attention.js": SCRIPT,
    "beat.js": SCRIPT,
    "category.js": SCRIPT,
    "elements.js": SCRIPT,
    "history.js": SCRIPT,
    "keep.js": SCRIPT,
    "messages.js": SCRIPT,
    "popup.js": SCRIPT,
    "receipts.js": SCRIPT,
    "sound.js": SCRIPT,
    "stream.js": SCRIPT,
    "texts.js": SCRIPT,
    "favicon.svg": SVG,
    "favicon-new.svg": SVG,
    "icon-192.png": PNG,
    "icon-512.png": PNG,
    "icon-maskable.png": PNG,
];

struct Made {
    /// The folder's address, with a slash at its end.
    base: String,
    /// The folder's name.
    version: String,
    page: String,
    worker: String,
    manifest: String,
}

fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        let (page, worker) = (include_str!("assets/page.html"), include_str!("assets/sw.js"));
        let mut digest = Sha256::new();
        for (name, _, file) in FILES {
            digest.update(name);
            digest.update(file);
        }
        // The worker keeps the page and what is shared too, so it must change with them.
        digest.update(page);
        digest.update(worker);
        let shared: Vec<String> = SHARED.iter().map(|name| assets::address(name).to_owned()).collect();
        digest.update(shared.concat());
        let version = digest.finalize().iter().take(8).fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        let base = format!("/terminal/assets/{version}/");
        let files: Vec<String> = FILES.iter().map(|(name, ..)| format!("{base}{name}")).chain(shared).collect();
        let files = serde_json::to_string(&files).unwrap_or_default();
        let fill = |text: &str| {
            text.replace("{{base}}", &base)
                .replace("{{version}}", &version)
                .replace("{{files}}", &files)
                .replace("{{style}}", assets::address("console.css"))
                .replace("{{icons}}", assets::address("icons.svg"))
        };
        let (page, worker) = (fill(page), fill(worker));
        let manifest = fill(include_str!("assets/manifest.webmanifest"));
        Made { base, version, page, worker, manifest }
    })
}

/// Where a file of the terminal is, for pages of the console that use it too.
pub(crate) fn address(name: &str) -> String {
    debug_assert!(FILES.iter().any(|(known, ..)| *known == name), "there is no file {name}");
    format!("{}{name}", made().base)
}

/// The routes of the page and of what it loads, which need no terminal.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource(["", "/"]).route(web::get().to(page)))
        .service(web::resource("/manifest.webmanifest").route(web::get().to(manifest)))
        .service(web::resource("/sw.js").route(web::get().to(worker)))
        .service(web::resource("/assets/{version}/{name}").route(web::get().to(file)));
}

async fn page() -> HttpResponse {
    let page = made().page.as_str();
    HttpResponse::Ok().content_type("text/html; charset=utf-8").insert_header((CACHE_CONTROL, "no-cache")).body(page)
}

async fn manifest() -> HttpResponse {
    let manifest = made().manifest.as_str();
    HttpResponse::Ok()
        .content_type("application/manifest+json")
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(manifest)
}

async fn worker() -> HttpResponse {
    HttpResponse::Ok()
        .content_type(SCRIPT)
        // The page's own address lies beside the folder that a worker may otherwise speak for.
        .insert_header((HeaderName::from_static("service-worker-allowed"), "/terminal"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(made().worker.as_str())
}

async fn file(path: web::Path<(String, String)>) -> HttpResponse {
    let (version, name) = path.into_inner();
    let Some((_, kind, file)) = FILES.iter().find(|(known, ..)| *known == name) else {
        return HttpResponse::NotFound().finish();
    };
    // An open page of another version: what it gets must not be kept under that address.
    let keep = if version == made().version { "public, max-age=31536000, immutable" } else { "no-cache" };
    HttpResponse::Ok().content_type(*kind).insert_header((CACHE_CONTROL, keep)).body(*file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn nothing_is_left_to_fill_in_and_every_import_is_there() {
        for text in [&made().page, &made().worker, &made().manifest] {
            assert!(!text.contains("{{"), "{text}");
        }
        for (name, kind, file) in FILES {
            if kind != SCRIPT {
                continue;
            }
            let text = std::str::from_utf8(file).unwrap();
            for import in text.split("from \"./").skip(1).filter_map(|rest| rest.split('"').next()) {
                assert!(FILES.iter().any(|(known, ..)| *known == import), "{name} imports {import}");
            }
        }
    }

    #[test]
    fn the_two_languages_say_the_same_things() {
        let text = std::str::from_utf8(FILES.iter().find(|(name, ..)| *name == "texts.js").unwrap().2).unwrap();
        let (english, rest) = text.split_once("\n  id: {").unwrap();
        let indonesian = rest.split_once("\n  },").unwrap().0;
        let names = |text: &str| -> Vec<String> {
            let lines = text.lines().filter_map(|line| line.strip_prefix("    ")?.split_once(": \""));
            lines.map(|(name, _)| name.to_owned()).collect()
        };
        assert_eq!(names(english), names(indonesian));
        assert!(names(english).len() > 50);
    }

    #[test]
    fn no_script_reads_html_or_runs_text() {
        for (name, kind, file) in FILES {
            let text = std::str::from_utf8(file).unwrap_or_default();
            for unsafe_word in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"]
            {
                assert!(kind != SCRIPT || !text.contains(unsafe_word), "{name}: {unsafe_word}");
            }
        }
    }
}

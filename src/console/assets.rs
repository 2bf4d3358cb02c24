//! What pages load: style, scripts and signs, built in. Each address carries a digest of what it names, so a browser keeps
//! it for good and never shows an old one.

use std::{collections::BTreeMap, fmt::Write as _, io::Write as _, sync::OnceLock};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, VARY, X_CONTENT_TYPE_OPTIONS},
    web,
};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

/// Name, kind, and the file itself.
const FILES: [(&str, &str, &[u8]); 10] = [
    ("console.css", "text/css; charset=utf-8", include_bytes!("assets/console.css")),
    ("console.js", "text/javascript; charset=utf-8", include_bytes!("assets/console.js")),
    ("broadcast.js", "text/javascript; charset=utf-8", include_bytes!("assets/broadcast.js")),
    ("charts.js", "text/javascript; charset=utf-8", include_bytes!("assets/charts.js")),
    ("htmx.min.js", "text/javascript; charset=utf-8", include_bytes!("assets/htmx.min.js")),
    ("htmx-sse.min.js", "text/javascript; charset=utf-8", include_bytes!("assets/htmx-sse.min.js")),
    ("uplot.min.js", "text/javascript; charset=utf-8", include_bytes!("assets/uplot.min.js")),
    ("uplot.min.css", "text/css; charset=utf-8", include_bytes!("assets/uplot.min.css")),
    ("icons.svg", "image/svg+xml", include_bytes!("assets/icons.svg")),
    ("favicon.svg", "image/svg+xml", include_bytes!("assets/favicon.svg")),
];

struct Asset {
    kind: &'static str,
    plain: &'static [u8],
    packed: Bytes,
    address: String,
}

fn all() -> &'static BTreeMap<&'static str, Asset> {
    static ALL: OnceLock<BTreeMap<&'static str, Asset>> = OnceLock::new();
    ALL.get_or_init(|| FILES.iter().map(|&(name, kind, plain)| (name, asset(name, kind, plain))).collect())
}

fn asset(name: &str, kind: &'static str, plain: &'static [u8]) -> Asset {
    let digest = Sha256::digest(plain).iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let packed = packer.write_all(plain).and_then(|()| packer.finish()).unwrap_or_default();
    Asset { kind, plain, packed: packed.into(), address: format!("/console/assets/{name}?v={digest}") }
}

/// Where the asset of this name is.
pub(crate) fn address(name: &str) -> &'static str {
    debug_assert!(all().contains_key(name), "there is no asset {name}");
    all().get(name).map_or("", |asset| asset.address.as_str())
}

/// The routes of the assets, which need nobody to be signed in.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(web::resource("/console/assets/{name}").route(web::get().to(serve)));
}

async fn serve(request: HttpRequest, name: web::Path<String>) -> HttpResponse {
    let Some(asset) = all().get(name.as_str()) else { return HttpResponse::NotFound().finish() };
    let current = asset.address.split_once('?').is_some_and(|(_, query)| query == request.query_string());
    let takes_packed = || {
        let header = request.headers().get(ACCEPT_ENCODING).and_then(|header| header.to_str().ok());
        header.is_some_and(|header| header.split(',').any(|coding| coding.trim().starts_with("gzip")))
    };
    let mut response = HttpResponse::Ok();
    // Another version's address may still be in an open page: what it gets must not be kept under that address.
    let keep = if current { "public, max-age=31536000, immutable" } else { "no-cache" };
    response
        .content_type(asset.kind)
        .insert_header((CACHE_CONTROL, keep))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((VARY, "Accept-Encoding"));
    if !asset.packed.is_empty() && takes_packed() {
        return response.insert_header((CONTENT_ENCODING, "gzip")).body(asset.packed.clone());
    }
    response.body(asset.plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sign_that_is_used_is_there() {
        let icons = std::str::from_utf8(FILES[8].2).unwrap_or_default();
        for name in
            ["overview", "applications", "destinations", "tables", "logs", "dead", "actors", "settings", "broadcast"]
        {
            assert!(icons.contains(&format!("<symbol id=\"{name}\"")), "{name}");
        }
        for (name, ..) in FILES {
            assert!(address(name).contains("?v="), "{name}");
        }
    }

    #[test]
    fn whatever_scrolls_can_be_reached_with_the_keyboard() {
        // A table that is wider than the screen scrolls by itself; without scripts too, so the page says it of each.
        let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/console/templates"))];
        let mut seen = 0;
        while let Some(folder) = folders.pop() {
            for file in std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
                if file.is_dir() {
                    folders.push(file);
                    continue;
                }
                let text = std::fs::read_to_string(&file).unwrap_or_default();
                for tag in text.split('<').filter_map(|rest| rest.split_once('>').map(|(tag, _)| tag)) {
                    let classes = tag.split_once("class=\"").and_then(|(_, rest)| rest.split('"').next());
                    let scrolls = |class: &str| class.split([' ', '{']).any(|class| class == "scroll");
                    if classes.is_some_and(scrolls) {
                        seen += 1;
                        let named = tag.contains("role=\"region\"") && tag.contains("aria-label=\"");
                        assert!(tag.contains("tabindex=\"0\"") && named, "{}: <{tag}>", file.display());
                    }
                }
                assert!(!text.contains("<pre") || !text.contains("<pre class=\"code\">"), "{}", file.display());
            }
        }
        assert!(seen > 15, "{seen}");
    }

    #[test]
    fn every_section_of_the_style_stands_by_itself() {
        // One brace too few would make all that follows count on a phone only.
        let (style, mut open) = (include_str!("assets/console.css"), 0_i32);
        for (line, text) in style.lines().enumerate() {
            assert!(open == 0 || !text.starts_with("/* ----"), "line {}: {text}", line + 1);
            open += text.chars().map(|letter| i32::from(letter == '{') - i32::from(letter == '}')).sum::<i32>();
        }
        assert_eq!(open, 0);
    }
}

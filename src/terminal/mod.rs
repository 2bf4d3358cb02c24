//! What shop terminals speak with: enrolment, the stream of events, receipts, beats and the history, on the console's listener
//! and outside its guard, with one of their own.
//!
//! A terminal is known by its token alone, as a cookie that no script can read or as a bearer; it sees what is for its shop and
//! nothing else. Errors are problem details in the terminal's language, with a stable `code`.

mod assets;
mod events;
mod guard;
mod history;
mod receipts;
mod refusal;
mod session;

pub(crate) use self::assets::address;
use actix_web::{middleware::from_fn, web};

/// Longest body, in bytes.
const MOST_BODY: usize = 256 * 1024;
/// How often a terminal beats, in seconds.
pub const BEAT_S: u32 = 20;

/// Everything under `/terminal`.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config.service(
        web::scope("/terminal")
            .wrap(from_fn(guard::guard))
            .app_data(web::PayloadConfig::new(MOST_BODY))
            .service(web::resource("/enrol").route(web::post().to(session::enrol)))
            .service(web::resource("/me").route(web::get().to(session::me)))
            .service(web::resource("/beat").route(web::post().to(session::beat)))
            .service(web::resource("/events").route(web::get().to(events::events)))
            .service(web::resource("/receipts").route(web::post().to(receipts::take)))
            .service(web::resource("/history").route(web::get().to(history::list)))
            .service(web::resource("/image/{digest}").route(web::get().to(history::image)))
            .configure(assets::configure)
            .default_service(web::to(refusal::nowhere)),
    );
}

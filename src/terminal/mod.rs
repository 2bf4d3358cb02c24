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
use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::ConnectionType,
    middleware::{Next, from_fn},
    web,
};

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
            .service(web::resource("/beat").route(web::post().to(session::beat)).wrap(from_fn(brief)))
            .service(web::resource("/events").route(web::get().to(events::events)))
            .service(web::resource("/receipts").route(web::post().to(receipts::take)).wrap(from_fn(brief)))
            .service(web::resource("/history").route(web::get().to(history::list)))
            .service(web::resource("/image/{digest}").route(web::get().to(history::image)))
            .configure(assets::configure)
            .default_service(web::to(refusal::nowhere)),
    );
}

/// Ends the connection with the answer, where it is in the clear.
///
/// A terminal's stream takes its first connection for good, so beats and receipts go over a second one, whose buffers would stay
/// between two beats: half of what a terminal costs a node. Without TLS of ours there are two who connect: a balancer, which
/// ends TLS itself and keeps its own connection to the terminal whatever we do to ours, and somebody on loopback. Both open
/// another for one round trip within the house. It is said in the answer, and not done by a short keep-alive, since a balancer
/// that sends into a connection just being closed answers 502. Where the node itself ends TLS the connection stays: a handshake
/// a beat would cost the node's processor and a phone's battery more than the memory is worth.
async fn brief<B: MessageBody + 'static>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<B>, Error> {
    let in_the_clear = !request.app_config().secure();
    let mut response = next.call(request).await?;
    if in_the_clear {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}

//! The web console: what an operator sees and does in a browser, on a listener of its own.
//!
//! Pages are made here on the server from the views of [`crate::admin`], and forms call its acts; nothing else is called.
//! `guard` stands before every page: who it is, where they come from, and whether a change is really theirs. Each screen
//! is one file with its templates and its texts; `page` is what they are all made with.

mod actors;
mod applications;
mod ask;
pub(crate) mod assets;
mod broadcast;
mod cookies;
mod dead;
mod destinations;
mod entrance;
mod errors;
mod guard;
mod lang;
mod list;
mod live;
mod logs;
mod look;
mod me;
mod overview;
pub(crate) mod page;
mod preferences;
pub(crate) mod secret;
mod settings;
mod sign_in;
mod tables;
mod texts;
mod tls;

use std::sync::Arc;

use actix_web::{HttpResponse, http::header, middleware::from_fn, web};
use tidegate_actors::status::StatusBoard;
use tokio::sync::watch;

use crate::{
    admin::Admin,
    broadcast::hub::Hub,
    config::Settings,
    http::health::Readiness,
    registry::{alarm::Alarm, watch::WatchState},
    terminal,
    users::Users,
};

pub use self::tls::server_config;
pub(crate) use self::{cookies::read as read_cookie, entrance::Arrival, guard::POLICY, lang::of as lang_of};
use self::{entrance::Entrance, guard::Known, live::Live};

/// The longest form: one with a record of a mebibyte in it, each byte of which may be written as three.
const MOST_FORM_BYTES: usize = 4 << 20;

/// What the console of a node works with; all of its threads share one.
pub struct Console {
    /// What acts and views work with.
    pub(crate) admin: Admin,
    /// Who may sign in.
    pub(crate) users: Users,
    /// Whether Redis answers.
    pub(crate) readiness: Arc<Readiness>,
    /// How the registry relates to what Redis has.
    pub(crate) registry: watch::Receiver<WatchState>,
    /// What an operator must hear of, as this node knows it.
    pub(crate) alarms: watch::Receiver<Vec<Alarm>>,
    /// This node's actors.
    pub(crate) board: StatusBoard,
    /// Becomes true when the node stops, which ends what would never end by itself.
    pub(crate) stopped: watch::Receiver<bool>,
    /// What shop terminals are served from.
    pub(crate) broadcasts: Arc<Hub>,
    live: Live,
    entrance: Entrance,
    known: Known,
}

/// What a node gives its console to begin with.
pub struct Wiring {
    /// What acts and views work with.
    pub admin: Admin,
    /// Who may sign in.
    pub users: Users,
    /// Whether Redis answers.
    pub readiness: Arc<Readiness>,
    /// How the registry relates to what Redis has.
    pub registry: watch::Receiver<WatchState>,
    /// What an operator must hear of.
    pub alarms: watch::Receiver<Vec<Alarm>>,
    /// This node's actors.
    pub board: StatusBoard,
    /// Becomes true when the node stops.
    pub stopped: watch::Receiver<bool>,
    /// What shop terminals are served from.
    pub broadcasts: Arc<Hub>,
}

impl Console {
    /// A console as the settings want it.
    #[must_use]
    pub fn new(wiring: Wiring) -> Arc<Self> {
        let Wiring { admin, users, readiness, registry, alarms, board, stopped, broadcasts } = wiring;
        let settings: &Settings = &admin.settings;
        let entrance = Entrance {
            tls: settings.console_tls.is_some(),
            loopback: settings.console.ip().is_loopback(),
            proxies: settings.console_proxy.clone(),
        };
        Arc::new(Self {
            admin,
            users,
            readiness,
            registry,
            alarms,
            board,
            stopped,
            broadcasts,
            live: Live::default(),
            entrance,
            known: Known::default(),
        })
    }
}

/// Everything on the console's listener, beside the probes.
pub(crate) fn configure(config: &mut web::ServiceConfig, console: Arc<Console>) {
    let to_console = || async { HttpResponse::Found().insert_header((header::LOCATION, "/console/")).finish() };
    config
        .app_data(web::Data::from(console))
        .app_data(web::PayloadConfig::new(MOST_FORM_BYTES))
        .app_data(web::FormConfig::default().limit(MOST_FORM_BYTES))
        .service(web::resource("/").route(web::get().to(to_console)))
        .service(web::resource("/console").route(web::get().to(to_console)))
        .configure(assets::configure)
        .configure(terminal::configure)
        .service(
            web::scope("/console")
                .wrap(from_fn(guard::guard))
                .configure(sign_in::configure)
                .configure(preferences::configure)
                .configure(overview::configure)
                .configure(settings::configure)
                .configure(me::configure)
                .configure(logs::configure)
                .configure(dead::configure)
                .configure(tables::configure)
                .configure(actors::configure)
                .configure(live::configure)
                .configure(applications::configure)
                .configure(destinations::configure)
                .configure(broadcast::configure)
                .default_service(web::to(errors::nowhere)),
        )
        .default_service(web::to(HttpResponse::NotFound));
}

//! Servers over bound listeners: each takes a shutdown future, so that tests use port 0 and a signal of their own.
//!
//! [`producers`] serves the producer API, [`operations`] the operator's listener. States are made on each worker thread
//! by a factory, because handles to actors live on one thread.

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix_web::{App, HttpServer, dev::Server, middleware::from_fn, web};

use crate::console::{self, Console};

use super::{
    ProducerState, broadcasts,
    health::{self, AdminState, Readiness},
    pages, producer, request_id,
};

/// How a listener serves.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Worker threads; `None` is one a core.
    pub workers: Option<usize>,
    /// How long an idle connection stays. Longer than a load balancer's own (Google Cloud's is 600 s), else it meets a
    /// connection that is just being closed and answers 502.
    pub keep_alive: Duration,
    /// Longest time for the head of a request to arrive.
    pub head_time: Duration,
    /// Most connections of a worker; more wait in the backlog.
    pub max_connections: usize,
    /// How long requests under way may take to finish once the server stops.
    pub shutdown_timeout: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            workers: None,
            keep_alive: Duration::from_secs(620),
            head_time: Duration::from_secs(15),
            max_connections: 10_000,
            shutdown_timeout: Duration::from_secs(10),
        }
    }
}

/// Connections that may wait to be accepted; the kernel's own limit (`net.core.somaxconn`) applies too.
const BACKLOG: u32 = 4096;

/// Binds a listener. Needs a running runtime.
///
/// # Errors
/// The address is taken or not ours; the error names it.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("can't listen on {address}: {error}"));
    let bound = || {
        let socket =
            if address.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?.into_std()
    };
    bound().map_err(named)
}

/// Applies what all listeners share and runs. A macro, because the type of a server can't be named.
macro_rules! run {
    ($server:expr, $listener:expr, $settings:expr, $shutdown:expr) => {
        run!($server, $listener, None::<rustls::ServerConfig>, $settings, $shutdown)
    };
    ($server:expr, $listener:expr, $tls:expr, $settings:expr, $shutdown:expr) => {{
        let settings: &ServerSettings = $settings;
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let server = $server
            .workers(settings.workers.unwrap_or_else(cores))
            .keep_alive(settings.keep_alive)
            .client_request_timeout(settings.head_time)
            .max_connections(settings.max_connections)
            .shutdown_timeout(settings.shutdown_timeout.as_secs())
            .shutdown_signal($shutdown);
        let server = match $tls {
            Some(tls) => server.listen_rustls_0_23($listener, tls)?,
            None => server.listen($listener)?,
        };
        Ok(server.run())
    }};
}

/// The producers' listener: the API, its documentation, and the probes.
///
/// # Errors
/// The listener can't be used.
pub fn producers<F, S>(
    listener: TcpListener,
    settings: &ServerSettings,
    readiness: Arc<Readiness>,
    state: F,
    shutdown: S,
) -> io::Result<Server>
where
    F: Fn() -> ProducerState + Send + Clone + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let server = HttpServer::new(move || {
        let stamp = Arc::clone(&readiness);
        App::new()
            .wrap(from_fn(move |request, next| request_id::stamp(Arc::clone(&stamp), request, next)))
            .configure(|config| producer_services(config, state(), &readiness))
    });
    run!(server, listener, settings, shutdown)
}

/// Everything on the producers' listener.
pub(crate) fn producer_services(config: &mut web::ServiceConfig, state: ProducerState, readiness: &Arc<Readiness>) {
    config
        .app_data(web::Data::new(Rc::new(state)))
        .configure(producer::configure)
        .configure(broadcasts::configure)
        .configure(pages::configure)
        .configure(|config| health::configure_probes(config, Arc::clone(readiness)))
        .default_service(web::to(producer::nowhere));
}

/// The operators' listener: actors, metrics, and the probes.
///
/// # Errors
/// The listener can't be used, or it is beyond loopback and there is no token.
pub fn operations<F, S>(listener: TcpListener, settings: &ServerSettings, state: F, shutdown: S) -> io::Result<Server>
where
    F: Fn() -> AdminState + Send + Clone + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let address = listener.local_addr()?;
    let sample = state();
    if !address.ip().is_loopback() && sample.token.is_none() {
        let message =
            format!("`admin` listens on {address}, which others can reach: set `admin_token`, or listen on 127.0.0.1");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    let readiness = sample.readiness;
    let server = HttpServer::new(move || {
        let stamp = Arc::clone(&readiness);
        let probes = Arc::clone(&readiness);
        App::new()
            .wrap(from_fn(move |request, next| request_id::stamp(Arc::clone(&stamp), request, next)))
            .app_data(web::Data::new(Rc::new(state())))
            .configure(health::configure_admin)
            .configure(super::admin::configure)
            .configure(|config| health::configure_probes(config, probes))
            .default_service(web::to(health::nowhere))
    });
    run!(server, listener, settings, shutdown)
}

/// The web console's listener: its pages, and the probes. Nothing of it is on the producers' listener, or the other way round.
///
/// # Errors
/// The listener can't be used.
pub fn console<S>(
    listener: TcpListener,
    settings: &ServerSettings,
    tls: Option<rustls::ServerConfig>,
    readiness: Arc<Readiness>,
    console: Arc<Console>,
    shutdown: S,
) -> io::Result<Server>
where
    S: Future<Output = ()> + Send + 'static,
{
    let server = HttpServer::new(move || {
        let stamp = Arc::clone(&readiness);
        let (probes, console) = (Arc::clone(&readiness), Arc::clone(&console));
        App::new()
            .wrap(from_fn(move |request, next| request_id::stamp(Arc::clone(&stamp), request, next)))
            .configure(|config| health::configure_probes(config, probes))
            .configure(|config| console::configure(config, console))
    });
    run!(server, listener, tls, settings, shutdown)
}

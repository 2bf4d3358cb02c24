//! Health: `/healthz/live` and `/healthz/ready` for load balancers, `/health/actors` and `/metrics` for operators.
//!
//! Live means that the event loop turns. Ready means serving, not draining, and Redis answering with this
//! node's registry; destinations never count, because a node that can take records is of use whatever the databases do.

use std::{
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{AUTHORIZATION, WWW_AUTHENTICATE},
    web,
};
use async_trait::async_trait;
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tidegate_actors::status::ActorHealth;

use super::{
    auth::bearer,
    problem::{NOT_FOUND, Problem, UNAUTHORIZED},
    producer::wrong_method,
};

/// Where load balancers and process managers ask whether the event loop turns.
pub const LIVE: &str = "/healthz/live";
/// Where load balancers ask whether requests should be sent here.
pub const READY: &str = "/healthz/ready";

/// Whether a load balancer should send requests here; set by whoever knows, read by every listener.
#[derive(Debug)]
pub struct Readiness {
    draining: AtomicBool,
    redis_up: AtomicBool,
    reason: Mutex<String>,
    /// What is the matter with the registry.
    registry: Mutex<Option<String>>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self {
            draining: AtomicBool::new(false),
            redis_up: AtomicBool::new(false),
            reason: Mutex::new("starting".to_owned()),
            registry: Mutex::default(),
        }
    }
}

impl Readiness {
    /// Redis answers.
    pub fn redis_is_up(&self) {
        self.redis_up.store(true, Ordering::Release);
    }

    /// Redis does not answer, and why; for people, without addresses' passwords.
    pub fn redis_is_down(&self, reason: &str) {
        reason.clone_into(&mut self.reason.lock().unwrap_or_else(PoisonError::into_inner));
        self.redis_up.store(false, Ordering::Release);
    }

    /// Why no record may be taken although Redis answers, or that it may.
    pub fn registry(&self, obstacle: Option<String>) {
        *self.registry.lock().unwrap_or_else(PoisonError::into_inner) = obstacle;
    }

    /// The node is about to stop: not ready from now on, serving still.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the node is about to stop.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Why Redis does not answer; `None` where it does.
    pub fn redis_obstacle(&self) -> Option<String> {
        let up = self.redis_up.load(Ordering::Acquire);
        (!up).then(|| self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Why the node is not ready; `None` where it is.
    pub fn obstacle(&self) -> Option<String> {
        if self.is_draining() {
            return Some("draining".to_owned());
        }
        self.redis_obstacle().or_else(|| self.registry.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// One node with its actors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeHealth {
    /// The node's name.
    pub node: String,
    /// The version it runs.
    pub version: String,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Its actors.
    pub actors: Vec<ActorHealth>,
}

/// Tells how the actors are.
#[async_trait(?Send)]
pub trait ActorReport {
    /// The actors of this node.
    async fn here(&self) -> Vec<ActorHealth>;
    /// The other nodes of the cluster, as they last reported.
    async fn elsewhere(&self) -> Vec<NodeHealth>;
}

/// What the operations listener of one worker thread works with.
pub struct AdminState {
    /// This node's name.
    pub node: String,
    /// When it started.
    pub started: Instant,
    /// Whether it is ready.
    pub readiness: Arc<Readiness>,
    /// How its actors are.
    pub report: Rc<dyn ActorReport>,
    /// The process's metrics.
    pub metrics: PrometheusHandle,
    /// What the admin API's acts work with; without it there are none.
    pub acts: Option<crate::admin::Admin>,
    /// What operators must send as `Authorization: Bearer …`; wanted beyond loopback.
    pub token: Option<SecretString>,
}

#[derive(Serialize)]
struct ActorsBody {
    #[serde(flatten)]
    here: NodeHealth,
    /// With `scope=cluster`, the other nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<Vec<NodeHealth>>,
}

/// `/healthz/live` and `/healthz/ready`, on every listener.
pub(super) fn configure_probes(config: &mut web::ServiceConfig, readiness: Arc<Readiness>) {
    let live = || async { HttpResponse::Ok().json(serde_json::json!({"status": "live"})) };
    let ready = move || {
        let obstacle = readiness.obstacle();
        async move {
            match obstacle {
                None => HttpResponse::Ok().json(serde_json::json!({"status": "ready"})),
                Some(reason) => HttpResponse::ServiceUnavailable()
                    .insert_header(("Retry-After", "2"))
                    .json(serde_json::json!({"status": "not ready", "reason": reason})),
            }
        }
    };
    config
        .service(
            web::resource(LIVE)
                .route(web::get().to(live))
                .route(web::head().to(live))
                .default_service(web::to(|| wrong_method("GET, HEAD"))),
        )
        .service(
            web::resource(READY)
                .route(web::get().to(ready.clone()))
                .route(web::head().to(ready))
                .default_service(web::to(|| wrong_method("GET, HEAD"))),
        );
}

/// The operator's paths.
pub(super) fn configure_admin(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/health/actors")
                .route(web::get().to(actors))
                .default_service(web::to(|| wrong_method("GET"))),
        )
        .service(
            web::resource("/metrics").route(web::get().to(metrics)).default_service(web::to(|| wrong_method("GET"))),
        );
}

/// What answers on paths of the operations listener that do not exist.
pub(super) async fn nowhere() -> HttpResponse {
    let detail =
        "This listener has /health/actors, /metrics, /healthz/live, /healthz/ready and the admin API of /openapi.json.";
    Problem::new(&NOT_FOUND, detail).response()
}

async fn actors(state: web::Data<Rc<AdminState>>, request: HttpRequest) -> HttpResponse {
    if let Err(problem) = admitted(&state, &request) {
        return problem.response();
    }
    let cluster = url::form_urlencoded::parse(request.query_string().as_bytes())
        .any(|(name, value)| name == "scope" && value == "cluster");
    let here = NodeHealth {
        node: state.node.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_s: state.started.elapsed().as_secs(),
        actors: state.report.here().await,
    };
    let nodes = if cluster { Some(state.report.elsewhere().await) } else { None };
    HttpResponse::Ok().json(ActorsBody { here, nodes })
}

async fn metrics(state: web::Data<Rc<AdminState>>, request: HttpRequest) -> HttpResponse {
    match admitted(&state, &request) {
        Ok(()) => {
            HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(state.metrics.render())
        }
        Err(problem) => problem.response(),
    }
}

/// Whether the request carries this token as its bearer.
pub(super) fn carries_token(request: &HttpRequest, token: &SecretString) -> bool {
    let given = request.headers().get(AUTHORIZATION).and_then(|header| header.to_str().ok()).and_then(bearer);
    let wanted = Sha256::digest(token.expose_secret());
    given.is_some_and(|given| bool::from(Sha256::digest(given).ct_eq(&wanted)))
}

/// Where a token is set, the request must carry it. Digests are compared, so that not even the length shows.
fn admitted(state: &AdminState, request: &HttpRequest) -> Result<(), Problem> {
    let Some(token) = &state.token else { return Ok(()) };
    if carries_token(request, token) {
        return Ok(());
    }
    let detail = "Send the setting `admin_token` as `Authorization: Bearer …`.";
    Err(Problem::new(&UNAUTHORIZED, detail).with_header(WWW_AUTHENTICATE, "Bearer realm=\"tidegate operations\""))
}

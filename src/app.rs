//! A node: what it is wired together from, in which order it starts, and in which order it stops.
//!
//! Starting: the registry is followed, the supervisor starts the destinations' actors, the listeners open. Stopping: not
//! ready at once, service goes on for the drain delay, then the listeners finish their requests while the actors finish
//! their batches.

use std::{
    future::Future,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use actix::Actor as _;
use anyhow::Context as _;
use async_trait::async_trait;
use tidegate_actors::{
    delivery::Limits as DeliveryLimits,
    ingest::{Gate, IngestHandle},
    message::MessageId,
    ports::{AppendError, AppendRequest, Appended, Appender, Rejection},
    status::{ActorHealth, ActorKind, StatusBoard},
    supervisor::{Drain, Supervisor},
};
use tokio::sync::{mpsc, watch};

use crate::{
    admin::Admin,
    alerts,
    broadcast::{self, hub::Hub},
    cluster::Cluster,
    config::Settings,
    console::{self, Console, Wiring},
    http::{
        self, DocumentReceiver, Found, Ingest, Lookup, ProducerState,
        health::{ActorReport, AdminState, NodeHealth, Readiness},
        metrics,
        server::{self, ServerSettings},
    },
    redis::{Redis, RedisAppender, lookup, members, trim::Retention, used::KeyUse},
    registry::{self, restore::Restorer, secrets::MasterKey, snapshot::Snapshot, store::Store, watch::WatchState},
    systemd::{Notifier, Observed, Turning},
    users::Users,
    world::{NodeWorld, topology},
};

/// Most bytes of records that may be under way to Redis at once.
const MOST_BYTES_IN_FLIGHT: usize = 256 * 1024 * 1024;
/// Threads of the console: a page that takes long must not hold up the others.
const CONSOLE_WORKERS: usize = 2;
/// How often Redis is asked whether it is there.
const PING_EVERY: Duration = Duration::from_millis(500);
/// How long a node waits at its start for the registry.
const FIRST_WORD_WITHIN: Duration = Duration::from_secs(2);
/// How long actors and listeners may take to finish, after the drain delay.
pub const FINISH_WITHIN: Duration = Duration::from_secs(12);

/// Where a node listens, once it does.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Producers.
    pub listen: SocketAddr,
    /// Operations.
    pub admin: SocketAddr,
    /// The web console.
    pub console: SocketAddr,
}

/// Runs a node until `shutdown` completes and everything has ended in good order.
///
/// # Errors
/// A setting leads nowhere, a listener can't be opened, or something did not end in time.
pub async fn serve(
    settings: Settings,
    shutdown: impl Future<Output = ()>,
    started: impl FnOnce(Addresses),
) -> anyhow::Result<()> {
    settings.refuse_unsafe_listeners()?;
    let console_tls = settings.console_tls.as_ref().map(|(cert, key)| console::server_config(cert, key)).transpose()?;
    let metrics = metrics::install()?;
    actix_rt::spawn(metrics::upkeep(metrics.clone()));
    let redis = Redis::open(settings.redis_url.expose(), &settings.prefix).context("redis_url can't be used")?;
    let master_key = MasterKey::from_settings(&settings)?.map(Arc::new);

    let store = Store::open(&settings.redis_url, &settings.prefix)?;
    let snapshot = Snapshot::new(&settings.state_dir, &settings.prefix, master_key.clone());
    let restorer = Restorer { node: settings.node.clone(), redis: redis.clone() };
    let registry = registry::watch::watch(store, Some(snapshot), Some(restorer));
    let documents = registry.documents.clone();
    first_word(registry.state.clone()).await;
    refuse_unusable_secrets(&documents, master_key.as_deref())?;

    // Whatever can't be opened ends the start before this node is one of them.
    let listener = server::bind(settings.listen).context("setting `listen`")?;
    let admin = server::bind(settings.admin).context("setting `admin`")?;
    let console = server::bind(settings.console).context("setting `console`")?;
    let addresses =
        Addresses { listen: listener.local_addr()?, admin: admin.local_addr()?, console: console.local_addr()? };

    let full = Arc::new(AtomicBool::new(false));
    let world = Arc::new(NodeWorld {
        node: settings.node.as_str().into(),
        redis: redis.clone(),
        documents: documents.clone(),
        registry: (registry.state.clone(), registry.alarms.clone()),
        master_key: master_key.clone(),
        retention: Retention { time: settings.retention.age, messages: settings.retention.messages },
        memory_marks: (settings.memory_soft, settings.memory_hard),
        full: Arc::clone(&full),
    });
    let board = StatusBoard::new();
    let claim_idle = DeliveryLimits::default().claim_idle.max(settings.lease * 10);
    let limits = DeliveryLimits { lease: settings.lease, claim_idle, ..DeliveryLimits::default() };
    let topology = follow(documents.clone());
    let cluster = Cluster::join(&redis, &settings.node, settings.lease, topology.clone(), board.clone());
    let instance = cluster.instance().to_owned();
    let assignment = cluster.assignment();
    let supervisor = Supervisor::new(world, &settings.node, topology, assignment, limits, board.clone()).start();

    let readiness = Arc::new(Readiness::default());
    let pinger = RedisAppender::new(&redis, Arc::clone(&full));
    actix_rt::spawn(ping(pinger, Arc::clone(&readiness)));
    actix_rt::spawn(mind(registry.state.clone(), Arc::clone(&readiness)));

    let (stop, stopped) = watch::channel(false);
    let turning = Turning::default();
    let observed = Observed {
        listen: addresses.listen,
        board: board.clone(),
        readiness: readiness.clone(),
        turning: turning.clone(),
    };
    let acts = Admin {
        redis: redis.clone(),
        settings: Arc::new(settings.clone()),
        documents: documents.clone(),
        master_key: master_key.clone(),
        node: settings.node.as_str().into(),
    };
    let producers = producers(
        &settings,
        listener,
        &redis,
        full,
        registry.door.clone(),
        &board,
        &readiness,
        turning,
        acts.clone(),
        stopped.clone(),
    )?;
    actix_rt::spawn(alerts::run(alerts::Wiring {
        node: settings.node.as_str().into(),
        redis: redis.clone(),
        documents: documents.clone(),
        master_key: master_key.clone(),
        allowed: alerts::outbound::Allowed(settings.alerts_allow.clone()),
    }));
    let users = Users::new(redis.clone()).with_master_key(master_key.clone());
    let broadcasts = Hub::new(acts.clone());
    broadcast::actor::start(&broadcasts, &board);
    let wiring = Wiring {
        admin: acts.clone(),
        users: users.clone(),
        readiness: Arc::clone(&readiness),
        registry: registry.state.clone(),
        alarms: registry.alarms.clone(),
        board: board.clone(),
        stopped: stopped.clone(),
        broadcasts,
    };
    let web_console = Console::new(wiring);
    let consoles = server::console(
        console,
        &server_settings(Some(CONSOLE_WORKERS)),
        console_tls,
        Arc::clone(&readiness),
        Arc::clone(&web_console),
        until_stopped(stopped.clone()),
    )?;
    actix_rt::spawn(web_console.pulse(instance.clone()));
    let report = Report { board, redis: redis.clone(), instance };
    let operations = operations(&settings, admin, metrics, report, acts, Arc::clone(&readiness), stopped)?;
    let mut servers = actix_rt::spawn(async move { tokio::try_join!(producers, operations, consoles) });
    tracing::info!(
        listen = %addresses.listen, admin = %addresses.admin, console = %addresses.console, node = %settings.node, "serving"
    );
    actix_rt::spawn(invite(users, console_url(&settings, addresses.console)));
    started(addresses);
    let systemd = Notifier::ready(observed);

    let ended = tokio::select! {
        () = shutdown => None,
        ended = &mut servers => Some(ended),
    };
    systemd.stopping();
    if let Some(ended) = ended {
        // A node that nobody can reach is better replaced: its destinations go to the others, and systemd starts it anew.
        supervisor.send(Drain { within: FINISH_WITHIN }).await.unwrap_or(0);
        cluster.leave().await;
        ended.context("a listener's thread ended")?.context("a listener ended")?;
        anyhow::bail!("the listeners ended by themselves");
    }
    tracing::info!(drain_delay_s = settings.drain_delay.as_secs(), "draining");
    readiness.drain();
    cluster.drain();
    tokio::time::sleep(settings.drain_delay).await;
    drop(systemd);
    // Requests first finish against actors that still run; destinations finish their batches at the same time.
    let _ = stop.send(true);
    let left = supervisor.send(Drain { within: FINISH_WITHIN }).await.unwrap_or(0);
    cluster.leave().await;
    let closed = tokio::time::timeout(FINISH_WITHIN, servers).await;
    if left > 0 || closed.is_err() {
        tracing::warn!(destinations = left, "not everything ended in time; what was in hand will be taken up again");
    }
    tracing::info!("stopped");
    Ok(())
}

/// Where a person on this machine opens the console.
fn console_url(settings: &Settings, address: SocketAddr) -> String {
    let scheme = if settings.console_tls.is_some() { "https" } else { "http" };
    match address.ip() {
        ip if ip.is_unspecified() => format!("{scheme}://{}:{}", settings.node, address.port()),
        _ => format!("{scheme}://{address}"),
    }
}

/// Prints the link by which the first admin is made, where there is no user yet.
async fn invite(users: Users, console: String) {
    match users.first_link().await {
        // For the person who started the node, on the terminal or in the journal; it is of use once.
        Ok(Some(token)) => tracing::warn!("no user yet: make the first admin at {console}/console/first?token={token}"),
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "whether there is a user is not known"),
    }
}

/// Waits until Redis has said what the registry is, or has been silent for a while: a node starts without it, too.
async fn first_word(mut state: watch::Receiver<WatchState>) {
    let said = state.wait_for(|state| *state != WatchState::Loading);
    let _ = tokio::time::timeout(FIRST_WORD_WITHIN, said).await;
}

/// A snapshot or document with sealed secrets is of no use without the master key: better said at the start.
fn refuse_unusable_secrets(documents: &DocumentReceiver, key: Option<&MasterKey>) -> anyhow::Result<()> {
    let known = documents.borrow().clone();
    let sealed = known.is_some_and(|document| document.destinations.iter().any(|one| one.password.is_some()));
    anyhow::ensure!(
        !sealed || key.is_some(),
        "destinations have passwords and there is no master key: set `master_key_file` or TIDEGATE_MASTER_KEY to the key \
         they were applied with"
    );
    Ok(())
}

/// The topology, for as long as the registry is followed.
fn follow(mut documents: DocumentReceiver) -> watch::Receiver<Arc<tidegate_actors::route::Topology>> {
    let now = documents.borrow_and_update().as_ref().map(|document| topology(document)).unwrap_or_default();
    let (sender, receiver) = watch::channel(Arc::new(now));
    actix_rt::spawn(async move {
        while documents.changed().await.is_ok() {
            // None: Redis belongs to another installation now, and nothing more is delivered.
            let document = documents.borrow_and_update().clone();
            let now = document.map(|document| topology(&document)).unwrap_or_default();
            sender.send_replace(Arc::new(now));
        }
    });
    receiver
}

/// Keeps producers away from a node whose registry Redis does not have.
async fn mind(mut state: watch::Receiver<WatchState>, readiness: Arc<Readiness>) {
    loop {
        readiness.registry(state.borrow_and_update().obstacle());
        if state.changed().await.is_err() {
            return;
        }
    }
}

async fn ping(appender: RedisAppender, readiness: Arc<Readiness>) {
    loop {
        match appender.ping().await {
            Ok(()) => {
                readiness.redis_is_up();
                metrics::redis_up(true);
            }
            Err(error) => {
                readiness.redis_is_down(&error.to_string());
                metrics::redis_up(false);
            }
        }
        tokio::time::sleep(PING_EVERY).await;
    }
}

async fn until_stopped(mut stopped: watch::Receiver<bool>) {
    // An error means that the node is gone, which is the same.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

fn server_settings(workers: Option<usize>) -> ServerSettings {
    ServerSettings { workers, ..ServerSettings::default() }
}

#[allow(clippy::too_many_arguments, reason = "the wiring of one listener")]
fn producers(
    settings: &Settings,
    listener: std::net::TcpListener,
    redis: &Redis,
    full: Arc<AtomicBool>,
    documents: DocumentReceiver,
    board: &StatusBoard,
    readiness: &Arc<Readiness>,
    turning: Turning,
    acts: Admin,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<impl Future<Output = std::io::Result<()>> + use<>> {
    let gate = Gate::new(settings.max_in_flight, MOST_BYTES_IN_FLIGHT);
    let workers = Arc::new(AtomicUsize::new(0));
    // Nobody restarts an ingest actor but its own worker, so nobody listens for its end.
    let (ends, _) = mpsc::unbounded_channel();
    let (redis, board) = (redis.clone(), board.clone());
    let of_node = RedisAppender::new(&redis, full);
    let (throttle, used) = (http::Throttle::default(), KeyUse::default());
    actix_rt::spawn(used.clone().keep(redis.clone()));
    let state = move || {
        turning.take_part();
        let name = format!("worker-{}", workers.fetch_add(1, Ordering::Relaxed));
        let of_node = of_node.clone();
        let make = Box::new(move || Rc::new(of_node.beside()) as Rc<dyn Appender>);
        let handle = IngestHandle::start(&name, make, Arc::clone(&gate), &board, ends.clone());
        let found = Finder { redis: redis.clone(), documents: documents.clone(), board: board.clone() };
        let limits = http::Limits::default();
        ProducerState::new(documents.clone(), Rc::new(Door(handle)), Rc::new(found), limits)
            .sharing(throttle.clone(), used.clone())
            .casting(Rc::new(acts.clone()))
    };
    let stop = until_stopped(stopped);
    Ok(server::producers(listener, &server_settings(None), Arc::clone(readiness), state, stop)?)
}

fn operations(
    settings: &Settings,
    listener: std::net::TcpListener,
    metrics: metrics_exporter_prometheus::PrometheusHandle,
    report: Report,
    acts: Admin,
    readiness: Arc<Readiness>,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<impl Future<Output = std::io::Result<()>> + use<>> {
    let (node, token, begun) = (settings.node.clone(), settings.admin_token.clone(), Instant::now());
    let state = move || AdminState {
        node: node.clone(),
        started: begun,
        readiness: Arc::clone(&readiness),
        report: Rc::new(report.clone()),
        metrics: metrics.clone(),
        token: token.clone(),
        acts: Some(acts.clone()),
    };
    Ok(server::operations(listener, &server_settings(Some(1)), state, until_stopped(stopped))?)
}

/// A worker's door to its IngestActor.
struct Door(IngestHandle);

#[async_trait(?Send)]
impl Ingest for Door {
    async fn append(&self, request: AppendRequest) -> Result<Appended, AppendError> {
        self.0.append(request).await
    }
}

/// Finds messages and what became of them.
struct Finder {
    redis: Redis,
    documents: DocumentReceiver,
    board: StatusBoard,
}

/// A look-up is answered or refused within this.
pub const LOOKUP_WITHIN: Duration = Duration::from_millis(1_800);

impl Finder {
    async fn find(&self, application: &str, id: &MessageId) -> anyhow::Result<Found> {
        let Some(message) = lookup::message(&self.redis, application, id).await? else { return Ok(Found::Nothing) };
        let document = self.documents.borrow().clone().unwrap_or_default();
        let mut deliveries = lookup::deliveries(&self.redis, &document, application, id, &message).await?;
        self.explain_waiting(&mut deliveries);
        Ok(Found::Message(http::message_body(id, &message, &deliveries)?))
    }
}

impl Finder {
    /// Why what is pending is pending: its destination is held, or does not answer.
    fn explain_waiting(&self, deliveries: &mut [lookup::RouteDelivery]) {
        let waiting = deliveries.iter_mut().filter(|delivery| delivery.status == lookup::Status::Pending);
        for delivery in waiting {
            let Some(detail) = self.board.detail(ActorKind::Destination, &delivery.destination) else { continue };
            let said = |field: &str| detail.get(field).and_then(|text| text.as_str()).map(str::to_owned);
            if let Some(since) =
                detail.get("paused").or(detail.get("breaker_by_hand")).and_then(|by| by["since"].as_str())
            {
                let message = format!("an operator has stopped destination `{}` ({since})", delivery.destination);
                let code = "paused".into();
                delivery.error = Some(Rejection { statement: None, row: None, code, column: None, message });
                continue;
            }
            let (code, message) = match (said("held"), said("down_since")) {
                (Some(held), _) => {
                    delivery.status = lookup::Status::Held;
                    ("held", held)
                }
                (None, Some(_)) => ("destination_down", said("last_error").unwrap_or_default()),
                (None, None) => continue,
            };
            delivery.error = Some(Rejection { statement: None, row: None, code: code.into(), column: None, message });
        }
    }
}

async fn in_time<T, E: std::fmt::Display>(look: impl Future<Output = Result<T, E>>) -> Result<T, AppendError> {
    match tokio::time::timeout(LOOKUP_WITHIN, look).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(AppendError::Unavailable(error.to_string())),
        Err(_) => Err(AppendError::Unavailable("no answer from Redis in time".into())),
    }
}

#[async_trait(?Send)]
impl Lookup for Finder {
    async fn message(&self, application: &str, id: &MessageId) -> Result<Found, AppendError> {
        in_time(self.find(application, id)).await
    }

    async fn by_own_id(&self, application: &str, own_id: &str) -> Result<Option<MessageId>, AppendError> {
        in_time(lookup::by_own_id(&self.redis, application, own_id)).await
    }
}

/// The board of this node and what the others say of theirs, for the operations listener.
#[derive(Clone)]
struct Report {
    board: StatusBoard,
    redis: Redis,
    instance: String,
}

#[async_trait(?Send)]
impl ActorReport for Report {
    async fn here(&self) -> Vec<ActorHealth> {
        self.board.snapshot()
    }

    async fn elsewhere(&self) -> Vec<NodeHealth> {
        let reports = in_time(members::reports(self.redis.link(), self.redis.keys())).await;
        // Redis away: each node can only speak for itself.
        let others = reports.unwrap_or_default().into_iter().filter(|report| *report.member.instance != self.instance);
        others.filter_map(|report| report.health).collect()
    }
}

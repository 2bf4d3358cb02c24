//! The listeners over real sockets: slow clients, draining and shutdown, probes, and the operators' listener.

#![allow(clippy::print_stderr)] // a test says what it could not try

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::dev::ServerHandle;
use async_trait::async_trait;
use sha2::{Digest, Sha256};
use tidegate::{
    http::{
        Found, Ingest, Limits, Lookup, ProducerState,
        health::{ActorReport, AdminState, NodeHealth, Readiness},
        server::{self, ServerSettings},
    },
    resources::{ApiKey, Application, Document},
};
use tidegate_actors::{
    message::MessageId,
    ports::{AppendError, AppendRequest, Appended},
    status::{ActorHealth, ActorKind, ActorState},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Semaphore, oneshot, watch},
    time::timeout,
};

const KEY: &str = "tg_live_aaaaaaaasssssssssssssssssssssssssssssssscccccc";
const LONG: Duration = Duration::from_secs(20);

fn documents() -> watch::Receiver<Option<Arc<Document>>> {
    let digest = Sha256::digest(KEY).iter().map(|byte| format!("{byte:02x}")).collect();
    let key = ApiKey { id: "aaaaaaaa".to_owned(), digest, created_at_ms: 0, expires_at_ms: None, revoked_at_ms: None };
    let application = Application {
        name: "car-app".to_owned(),
        topics: vec!["cars".to_owned()],
        schemas: Default::default(),
        records_per_s: None,
        broadcasts: false,
        created_at_ms: 0,
        keys: vec![key],
    };
    watch::channel(Some(Arc::new(Document { applications: vec![application], ..Document::default() }))).1
}

/// A log that answers once it is let.
struct Gate(Arc<Semaphore>);

#[async_trait(?Send)]
impl Ingest for Gate {
    async fn append(&self, request: AppendRequest) -> Result<Appended, AppendError> {
        self.0.acquire().await.unwrap().forget();
        let id: MessageId = "gen-1-0".parse().unwrap();
        Ok(Appended { ids: vec![id; request.records.len()], replayed: false })
    }
}

#[async_trait(?Send)]
impl Lookup for Gate {
    async fn message(&self, _application: &str, _id: &MessageId) -> Result<Found, AppendError> {
        Ok(Found::Nothing)
    }

    async fn by_own_id(&self, _application: &str, _own_id: &str) -> Result<Option<MessageId>, AppendError> {
        Ok(None)
    }
}

struct Running {
    address: SocketAddr,
    readiness: Arc<Readiness>,
    gate: Arc<Semaphore>,
    stop: Option<oneshot::Sender<()>>,
    done: tokio::task::JoinHandle<std::io::Result<()>>,
    handle: ServerHandle,
}

fn signal() -> (oneshot::Sender<()>, impl Future<Output = ()> + Send + 'static) {
    let (stop, stopped) = oneshot::channel();
    (stop, async move {
        let _ = stopped.await;
    })
}

fn producers(limits: Limits) -> Running {
    let listener = server::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let (readiness, gate) = (Arc::new(Readiness::default()), Arc::new(Semaphore::new(0)));
    let (stop, stopped) = signal();
    let settings = ServerSettings { workers: Some(1), ..ServerSettings::default() };
    let (documents, state_gate) = (documents(), Arc::clone(&gate));
    let state = move || {
        let log = Rc::new(Gate(Arc::clone(&state_gate)));
        ProducerState::new(documents.clone(), Rc::clone(&log) as Rc<dyn Ingest>, log as Rc<dyn Lookup>, limits.clone())
    };
    let server = server::producers(listener, &settings, Arc::clone(&readiness), state, stopped).unwrap();
    let handle = server.handle();
    Running { address, readiness, gate, stop: Some(stop), done: tokio::spawn(server), handle }
}

async fn connect(address: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn answer(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    timeout(LONG, stream.read_to_end(&mut bytes)).await.expect("the server closes the connection").unwrap();
    String::from_utf8(bytes).unwrap()
}

async fn get(address: SocketAddr, path: &str, headers: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n{headers}\r\n");
    answer(connect(address, &request).await).await
}

fn post(body: &str, length: usize) -> String {
    format!(
        "POST /v1/messages HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}",
        KEY
    )
}

const CAR: &str = r#"{"topic":"cars","data":{"name":"Civic"}}"#;

#[actix_web::test]
async fn a_trickling_body_is_cut_off() {
    let running = producers(Limits { body_time: Duration::from_millis(300), ..Limits::default() });
    let begun = Instant::now();
    let answer = answer(connect(running.address, &post("{\"topic\":", 500)).await).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("application/problem+json") && answer.contains("x-request-id"), "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    running.handle.stop(false).await;
}

#[actix_web::test]
async fn a_refused_request_leaves_nothing_of_its_body_behind() {
    let running = producers(Limits::default());
    let refused = post(CAR, CAR.len()).replace("Bearer", "Basic");
    let then = "GET /healthz/live HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
    let answer = answer(connect(running.address, &format!("{refused}{then}")).await).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let rest = answer.split_once("HTTP/1.1 ").and_then(|(_, rest)| rest.split_once("HTTP/1.1 "));
    assert!(rest.is_none_or(|(_, next)| next.starts_with("200")), "{answer}");
    running.handle.stop(false).await;
}

#[actix_web::test]
async fn the_examples_of_the_page_run() {
    let running = producers(Limits::default());
    let page = get(running.address, "/docs", "").await;
    for (tab, program, flag) in
        [("p1", "bash", "-c"), ("p2", "php", "-r"), ("p3", "python3", "-c"), ("p4", "node", "-e")]
    {
        let example = page.split_once(&format!("<pre class=\"{tab}\"")).unwrap().1.split_once("<code>").unwrap().1;
        let example = text(example.split_once("</code>").unwrap().0).replace("<?php", "");
        // Node reads top-level `await` in modules only.
        let example = if tab == "p4" { format!("(async () => {{ {example} }})()") } else { example };
        running.gate.add_permits(1);
        let mut command = tokio::process::Command::new(program);
        command.arg(flag).arg(&example).env("TIDEGATE_API_KEY", KEY);
        command.env("TIDEGATE_URL", format!("http://{}", running.address)).env("NO_PROXY", "127.0.0.1");
        let Ok(output) = timeout(LONG, command.output()).await.unwrap() else {
            eprintln!("{program} is not installed: its example is not tried");
            continue;
        };
        let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && said.contains("gen-1-0"), "{example}\n{said}\n{complained}");
    }
    running.handle.stop(false).await;
}

/// The text of a piece of HTML.
fn text(html: &str) -> String {
    let plain: String = html
        .split('<')
        .enumerate()
        .map(|(place, piece)| if place == 0 { piece } else { piece.split_once('>').map_or("", |(_, text)| text) })
        .collect();
    plain.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

#[actix_web::test]
async fn a_body_that_says_it_is_too_long_is_not_awaited() {
    let running = producers(Limits::default());
    let answer = answer(connect(running.address, &post("{", 11 << 20)).await).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    running.handle.stop(false).await;
}

#[actix_web::test]
async fn a_request_under_way_finishes_when_the_server_stops() {
    let mut running = producers(Limits::default());
    let mut waiting = connect(running.address, &post(CAR, CAR.len())).await;
    assert!(get(running.address, "/healthz/live", "").await.starts_with("HTTP/1.1 200"));
    running.readiness.redis_is_up();
    assert!(get(running.address, "/healthz/ready", "").await.starts_with("HTTP/1.1 200"));
    running.readiness.drain();
    assert!(get(running.address, "/healthz/ready", "").await.starts_with("HTTP/1.1 503"));
    running.stop.take().unwrap().send(()).unwrap();
    // The listener is closed once the signal has arrived; only then is the append answered.
    while TcpStream::connect(running.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    running.gate.add_permits(1);
    let mut bytes = vec![0; 4096];
    let read = timeout(LONG, waiting.read(&mut bytes)).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&bytes[..read]);
    assert!(answer.starts_with("HTTP/1.1 202") && answer.contains("gen-1-0"), "{answer}");
    timeout(LONG, running.done).await.unwrap().unwrap().unwrap();
}

#[actix_web::test]
async fn a_connection_serves_many_requests_until_the_node_drains() {
    let running = producers(Limits::default());
    running.gate.add_permits(2);
    let mut stream = connect(running.address, &post(CAR, CAR.len())).await;
    let mut bytes = vec![0; 4096];
    let read = timeout(LONG, stream.read(&mut bytes)).await.unwrap().unwrap();
    assert!(bytes[..read].starts_with(b"HTTP/1.1 202"));
    running.readiness.drain();
    stream.write_all(post(CAR, CAR.len()).as_bytes()).await.unwrap();
    let last = answer(stream).await;
    assert!(last.starts_with("HTTP/1.1 202") && last.contains("connection: close"), "{last}");
    running.handle.stop(false).await;
}

struct Actors;

#[async_trait(?Send)]
impl ActorReport for Actors {
    async fn here(&self) -> Vec<ActorHealth> {
        vec![ActorHealth {
            kind: ActorKind::Destination,
            name: "rooms".to_owned(),
            state: ActorState::Running,
            restarts: 2,
            last_progress_s: 0.25,
            detail: serde_json::json!({"status": "up"}),
        }]
    }

    async fn elsewhere(&self) -> Vec<NodeHealth> {
        vec![NodeHealth { node: "b".to_owned(), version: "0.1.0".to_owned(), uptime_s: 1, actors: Vec::new() }]
    }
}

fn operations(listener: TcpListener, token: Option<&'static str>) -> std::io::Result<(SocketAddr, ServerHandle)> {
    let address = listener.local_addr().unwrap();
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let readiness = Arc::new(Readiness::default());
    let started = Instant::now();
    let state = move || AdminState {
        acts: None,
        node: "a".to_owned(),
        started,
        readiness: Arc::clone(&readiness),
        report: Rc::new(Actors),
        metrics: metrics.clone(),
        token: token.map(Into::into),
    };
    let settings = ServerSettings { workers: Some(1), ..ServerSettings::default() };
    let server = server::operations(listener, &settings, state, std::future::pending())?;
    let handle = server.handle();
    tokio::spawn(server);
    Ok((address, handle))
}

fn body(answer: &str) -> serde_json::Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[actix_web::test]
async fn operators_see_the_actors() {
    let (address, handle) = operations(TcpListener::bind("127.0.0.1:0").unwrap(), None).unwrap();
    let here = body(&get(address, "/health/actors", "").await);
    assert_eq!((&here["node"], here.get("nodes")), (&"a".into(), None));
    assert!(here["version"].is_string() && here["uptime_s"].is_u64());
    assert_eq!(
        here["actors"][0],
        serde_json::json!({"kind": "destination", "name": "rooms", "state": "running", "restarts": 2,
            "last_progress_s": 0.25, "detail": {"status": "up"}})
    );
    let cluster = body(&get(address, "/health/actors?scope=cluster", "").await);
    assert_eq!((&cluster["node"], &cluster["nodes"][0]["node"]), (&"a".into(), &"b".into()));
    assert!(get(address, "/metrics", "").await.contains("text/plain; version=0.0.4"));
    assert!(get(address, "/healthz/ready", "").await.starts_with("HTTP/1.1 503"));
    assert!(get(address, "/v1/messages", "").await.starts_with("HTTP/1.1 404"));
    handle.stop(false).await;
}

#[actix_web::test]
async fn operations_beyond_loopback_want_a_token() {
    let beyond = || TcpListener::bind("0.0.0.0:0").unwrap();
    let refused = operations(beyond(), None).map(drop).unwrap_err();
    assert!(refused.to_string().contains("`admin_token`"), "{refused}");
    let (address, handle) = operations(beyond(), Some("s3cret")).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()));
    for (headers, status) in [
        ("", "401"),
        ("Authorization: Bearer wrong\r\n", "401"),
        ("Authorization: Basic s3cret\r\n", "401"),
        ("Authorization: Bearer s3cret\r\n", "200"),
    ] {
        for path in ["/health/actors", "/metrics"] {
            let answer = get(address, path, headers).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path} {headers} {answer}");
        }
    }
    assert!(get(address, "/healthz/live", "").await.starts_with("HTTP/1.1 200"));
    handle.stop(false).await;
}

#[actix_web::test]
async fn an_address_in_use_is_named() {
    let taken = server::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = taken.local_addr().unwrap();
    assert!(server::bind(address).unwrap_err().to_string().contains(&address.to_string()));
}

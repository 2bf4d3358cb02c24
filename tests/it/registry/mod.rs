//! The registry against a real Redis: changes that exclude each other, nodes that see them, streams that learn of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod commands;
mod emptied;
mod replay;

use std::{
    cell::RefCell,
    convert::Infallible,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tidegate::{
    registry::{
        Edit, Registry, Store, StreamError, StreamRegistration,
        secrets::MasterKey,
        snapshot::Snapshot,
        streams::NoStreams,
        watch::{Watch, WatchState, watch},
    },
    resources::{Application, Delivery, Destination, Document},
};
use tidegate_actors::route::{RouteSpec, Start};

use crate::servers::redis::RedisServer;

const LIMIT: Duration = Duration::from_secs(20);

fn store(server: &RedisServer) -> Store {
    Store::open(&server.url().parse().unwrap(), "test").unwrap()
}

fn application(name: &str) -> Application {
    Application {
        name: name.into(),
        topics: vec![],
        schemas: Default::default(),
        records_per_s: None,
        broadcasts: false,
        created_at_ms: 1,
        keys: vec![],
    }
}

fn route(id: &str, application: &str, destination: &str) -> RouteSpec {
    RouteSpec {
        id: id.into(),
        version: 1,
        name: id.into(),
        application: application.into(),
        topic: "t".into(),
        destination: destination.into(),
        table: "t".into(),
        start: Start::Earliest,
        ..RouteSpec::default()
    }
}

fn destination(name: &str) -> Destination {
    Destination {
        id: format!("id-{name}"),
        name: name.into(),
        kind: "postgres".into(),
        url: "postgres://w@127.0.0.1:1/d".into(),
        password: None,
        delivery: Delivery::Ordered,
        tls: None,
        node: None,
        revision: 1,
        by_hand: Default::default(),
    }
}

fn edit(current: &Document, change: impl FnOnce(&mut Document)) -> Result<Edit<()>, Infallible> {
    let mut document = current.clone();
    change(&mut document);
    Ok(Edit { document, what: vec!["a change".into()], value: () })
}

/// Streams that remember what they were told.
#[derive(Clone, Default)]
struct Recorded {
    calls: Rc<RefCell<Vec<String>>>,
    fail: Rc<RefCell<Option<&'static str>>>,
}

impl Recorded {
    fn note(&self, call: String) -> Result<(), StreamError> {
        let failing = self.fail.borrow().is_some_and(|word| call.starts_with(word));
        self.calls.borrow_mut().push(call);
        if failing { Err(StreamError("the stream is away".into())) } else { Ok(()) }
    }

    fn take(&self) -> Vec<String> {
        self.calls.take()
    }
}

#[async_trait::async_trait(?Send)]
impl StreamRegistration for Recorded {
    async fn register_route(&mut self, app: &str, route: &str, to: &str, start: &Start) -> Result<(), StreamError> {
        self.note(format!("register {app} {route} {to} {}", String::from(start.clone())))
    }

    async fn unregister_route(&mut self, app: &str, route: &str) -> Result<(), StreamError> {
        self.note(format!("forget route {app} {route}"))
    }

    async fn unregister_destination(&mut self, app: &str, destination: &str) -> Result<(), StreamError> {
        self.note(format!("forget destination {app} {destination}"))
    }

    async fn set_version(&mut self, app: &str, version: u64) -> Result<(), StreamError> {
        self.note(format!("version {app} {version}"))
    }
}

async fn until(
    watch: &mut Watch,
    what: &str,
    wanted: impl Fn(&Option<Arc<Document>>) -> bool,
) -> Option<Arc<Document>> {
    let seen = tokio::time::timeout(LIMIT, watch.documents.wait_for(wanted)).await;
    seen.unwrap_or_else(|_| panic!("waited in vain for: {what}")).unwrap().clone()
}

async fn until_state(watch: &mut Watch, wanted: impl Fn(&WatchState) -> bool) {
    let seen = tokio::time::timeout(LIMIT, watch.state.wait_for(wanted)).await;
    seen.unwrap_or_else(|_| panic!("waited in vain for a state")).unwrap();
}

#[tokio::test]
async fn of_two_who_read_the_same_document_one_writes() {
    let server = RedisServer::start().await;
    let (mut ours, mut theirs) = (store(&server), store(&server));
    assert_eq!(ours.load().await.unwrap(), None);
    let none = Document::default();
    let first = Document { version: 1, installation: "a".into(), ..Document::default() };
    let second = Document { version: 1, installation: "b".into(), ..Document::default() };
    assert!(ours.replace(&none, &first, "us", &["first".into()]).await.unwrap());
    assert!(!theirs.replace(&none, &second, "them", &["second".into()]).await.unwrap());
    assert_eq!(theirs.load().await.unwrap(), Some(first.clone()));
    // The same version of another installation is another document.
    let third = Document { version: 2, installation: "b".into(), ..Document::default() };
    assert!(!theirs.replace(&second, &third, "them", &[]).await.unwrap());
    assert!(theirs.replace(&first, &third, "them", &["third".into()]).await.unwrap());
    let changes = ours.changes(10).await.unwrap();
    let told: Vec<_> = changes.iter().map(|entry| (entry.version, entry.who.as_str(), entry.what.as_str())).collect();
    assert_eq!(told, [(2, "them", "third"), (1, "us", "first")]);
}

#[tokio::test]
async fn changes_at_the_same_time_are_all_kept() {
    let server = RedisServer::start().await;
    let changes = (0..6).map(|number| {
        let store = store(&server);
        async move {
            let mut registry = Registry::new(store, NoStreams, "test");
            registry.change(|now| edit(now, |d| d.applications.push(application(&format!("app-{number}"))))).await
        }
    });
    for outcome in futures_util::future::join_all(changes).await {
        outcome.unwrap();
    }
    let document = store(&server).load().await.unwrap().unwrap();
    assert_eq!((document.version, document.applications.len(), document.installation.len()), (6, 6, 12));
}

#[tokio::test]
async fn a_full_redis_still_takes_a_change() {
    let server = RedisServer::start().await;
    server.ask::<()>("CONFIG SET maxmemory 1").await;
    let mut registry = Registry::new(store(&server), NoStreams, "test");
    registry.change(|now| edit(now, |d| d.applications.push(application("a")))).await.unwrap();
    assert_eq!(registry.document().await.unwrap().version, 1);
}

#[tokio::test]
async fn streams_learn_of_routes_before_they_are_published_and_of_the_version_after() {
    let server = RedisServer::start().await;
    let streams = Recorded::default();
    let mut registry = Registry::new(store(&server), streams.clone(), "test");
    let begin = |d: &mut Document| {
        d.applications = vec![application("a"), application("b")];
        d.destinations = vec![destination("x"), destination("y")];
        d.routes = vec![route("r1", "a", "x"), route("r2", "a", "x"), route("r3", "a", "y")];
    };
    registry.change(|now| edit(now, begin)).await.unwrap();
    let told = [
        "register a r1 id-x earliest",
        "register a r2 id-x earliest",
        "register a r3 id-y earliest",
        "version a 1",
        "version b 1",
    ];
    assert_eq!(streams.take(), told);

    let remove = |d: &mut Document| d.routes.retain(|route| route.id == "r1");
    registry.change(|now| edit(now, remove)).await.unwrap();
    let told = ["version a 2", "version b 2", "forget route a r2", "forget route a r3", "forget destination a id-y"];
    assert_eq!(streams.take(), told);

    // Half done: the next run, although it changes nothing, tells the streams.
    *streams.fail.borrow_mut() = Some("version b");
    let error = registry.change(|now| edit(now, |d| d.applications[0].topics.push("t".into()))).await.unwrap_err();
    assert!(error.to_string().contains("run the same command again"), "{error}");
    *streams.fail.borrow_mut() = None;
    streams.take();
    registry.change(|now| Ok::<_, Infallible>(Edit { document: now.clone(), what: vec![], value: () })).await.unwrap();
    assert_eq!(streams.take(), ["version a 3", "version b 3"]);

    // An application that is gone: a node that has not heard of it must not put its lanes back.
    let begin = |d: &mut Document| d.routes.push(route("r5", "b", "x"));
    registry.change(|now| edit(now, begin)).await.unwrap();
    streams.take();
    let remove = |d: &mut Document| {
        d.routes.pop();
        d.applications.pop();
    };
    registry.change(|now| edit(now, remove)).await.unwrap();
    assert_eq!(streams.take(), ["version a 5", "version b 5", "forget route b r5", "forget destination b id-x"]);

    // A stream that cannot take a route keeps it from being published at all.
    *streams.fail.borrow_mut() = Some("register");
    let error = registry.change(|now| edit(now, |d| d.routes.push(route("r4", "b", "x")))).await.unwrap_err();
    assert!(error.to_string().contains("nothing was changed"), "{error}");
    assert_eq!(streams.take(), ["register b r4 id-x earliest", "forget route b r4", "forget destination b id-x"]);
    assert_eq!(registry.document().await.unwrap().version, 5);
}

#[tokio::test]
async fn a_change_is_seen_within_a_second() {
    let server = RedisServer::start().await;
    let mut watch = watch(store(&server), None, None);
    until_state(&mut watch, |state| *state == WatchState::Current).await;
    assert_eq!(*watch.documents.borrow(), None);
    let mut registry = Registry::new(store(&server), NoStreams, "test");
    for version in 1..=5 {
        registry.change(|now| edit(now, |d| d.applications.push(application(&format!("a{version}"))))).await.unwrap();
        let written = Instant::now();
        let seen = until(&mut watch, "the new version", |d| d.as_ref().is_some_and(|d| d.version == version)).await;
        assert!(written.elapsed() < Duration::from_secs(1), "{:?}", written.elapsed());
        assert_eq!(seen.unwrap().applications.len() as u64, version);
    }
    // Even if somebody loses the list of changes.
    server.ask::<()>("DEL test:{registry}:changes").await;
    registry.change(|now| edit(now, |d| d.applications.clear())).await.unwrap();
    until(&mut watch, "a change behind its back", |d| d.as_ref().is_some_and(|d| d.applications.is_empty())).await;
}

#[tokio::test]
async fn the_last_document_outlives_redis_going_away_and_coming_back_empty() {
    let mut server = RedisServer::start().await;
    let mut watch = watch(store(&server), None, None);
    let mut registry = Registry::new(store(&server), NoStreams, "test");
    registry.change(|now| edit(now, |d| d.applications.push(application("a")))).await.unwrap();
    let document = until(&mut watch, "the document", Option::is_some).await.unwrap();

    server.kill();
    until_state(&mut watch, |state| matches!(state, WatchState::Away { .. })).await;
    server.restart().await;
    until_state(&mut watch, |state| *state == WatchState::Current).await;
    server.kill_and_empty();
    server.restart().await;
    until_state(&mut watch, |state| *state == WatchState::Emptied).await;
    assert_eq!(watch.documents.borrow().as_ref(), Some(&document));

    // Somebody else's beginning is not this node's: it does nothing until somebody decides.
    let mut registry = Registry::new(store(&server), NoStreams, "test");
    registry.change(|now| edit(now, |d| d.applications.push(application("b")))).await.unwrap();
    until_state(&mut watch, |state| matches!(state, WatchState::Foreign { .. })).await;
    assert_eq!((watch.documents.borrow().clone(), watch.door.borrow().clone()), (None, None));
    let obstacle = watch.state.borrow().obstacle().unwrap();
    assert!(obstacle.contains(&document.installation) && obstacle.contains("registry.snapshot"), "{obstacle}");
}

#[tokio::test]
async fn a_node_starts_from_its_snapshot_while_redis_is_away() {
    let mut server = RedisServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let snapshot = Snapshot::new(folder.path(), "test", Some(Arc::new(MasterKey::generate())));
    let mut first = watch(store(&server), Some(snapshot.clone()), None);
    Registry::new(store(&server), NoStreams, "test")
        .change(|now| edit(now, |d| d.applications.push(application("a"))))
        .await
        .unwrap();
    let document = until(&mut first, "the document", Option::is_some).await;
    crate::servers::wait_for("the snapshot", LIMIT, async || snapshot.read().unwrap()).await;
    drop(first);

    server.kill_and_empty();
    let mut second = watch(store(&server), Some(snapshot), None);
    assert_eq!(*second.documents.borrow(), document, "at once, without Redis");
    until_state(&mut second, |state| matches!(state, WatchState::Away { .. })).await;
    server.restart().await;
    until_state(&mut second, |state| *state == WatchState::Emptied).await;
    assert_eq!(*second.documents.borrow(), document);
}

#[tokio::test]
async fn a_document_of_the_future_leaves_the_last_one_standing() {
    let server = RedisServer::start().await;
    let mut watch = watch(store(&server), None, None);
    Registry::new(store(&server), NoStreams, "test")
        .change(|now| edit(now, |d| d.applications.push(application("a"))))
        .await
        .unwrap();
    let document = until(&mut watch, "the document", Option::is_some).await;
    server.ask::<()>("HSET test:{registry}:document version 9 body {\"version\":\"nine\"}").await;
    until_state(&mut watch, |state| matches!(state, WatchState::Unreadable { .. })).await;
    assert_eq!(*watch.documents.borrow(), document);
}

//! A registry that Redis lost, or went back behind: the newest version that a node knows is put back, once, and nothing else
//! is ever overwritten.

use std::{sync::Arc, time::Duration};

use tidegate::{
    redis::Redis,
    registry::{
        Registry,
        restore::Restorer,
        snapshot::Snapshot,
        streams::NoStreams,
        watch::{Watch, WatchState, watch},
    },
    resources::{Delivery, Destination, Document},
};

use super::{application, destination, edit, route, store, until_state};
use crate::servers::{redis::RedisServer, wait_for};

const LIMIT: Duration = Duration::from_secs(20);

/// The prefix of [`store`].
const PREFIX: &str = "test";

fn node(server: &RedisServer, name: &str, folder: &std::path::Path) -> Watch {
    let redis = Redis::open(&server.url(), PREFIX).unwrap();
    let snapshot = Snapshot::new(&folder.join(name), PREFIX, None);
    watch(store(server), Some(snapshot), Some(Restorer { node: name.into(), redis }))
}

/// A registry with a route; its document.
async fn begin(server: &RedisServer) -> Document {
    let mut registry = Registry::new(store(server), Redis::open(&server.url(), PREFIX).unwrap(), "test");
    let first = |d: &mut Document| {
        d.applications = vec![application("a")];
        d.destinations = vec![destination("x")];
        d.routes = vec![route("r1", "a", "x")];
    };
    registry.change(|now| edit(now, first)).await.unwrap();
    registry.document().await.unwrap()
}

async fn grow(server: &RedisServer, name: &str) -> Document {
    let mut registry = Registry::new(store(server), NoStreams, "test");
    registry.change(|now| edit(now, |d| d.applications.push(application(name)))).await.unwrap();
    registry.document().await.unwrap()
}

async fn knows(watch: &mut Watch, document: &Document) {
    let known = |d: &Option<Arc<Document>>| d.as_deref() == Some(document);
    let seen = tokio::time::timeout(LIMIT, watch.door.wait_for(known)).await;
    assert!(seen.is_ok_and(|seen| seen.is_ok()), "waited in vain for version {}", document.version);
}

async fn snapshot_has(folder: &std::path::Path, name: &str, version: u64) {
    let snapshot = Snapshot::new(&folder.join(name), PREFIX, None);
    wait_for("the snapshot", LIMIT, async || snapshot.read().unwrap().filter(|d| d.version == version).map(|_| ()))
        .await;
}

#[tokio::test]
async fn an_emptied_redis_gets_its_registry_and_its_routes_back() {
    let mut server = RedisServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let document = begin(&server).await;
    let mut watch = node(&server, "a", folder.path());
    knows(&mut watch, &document).await;
    assert!(watch.alarms.borrow().is_empty());

    server.kill_and_empty();
    server.restart().await;
    until_state(&mut watch, |state| *state == WatchState::Emptied).await;
    assert_eq!(*watch.door.borrow(), None, "nobody is let in, and so nobody is refused for good");
    assert!(watch.documents.borrow().is_some(), "delivery goes on");
    until_state(&mut watch, |state| *state == WatchState::Current).await;
    knows(&mut watch, &document).await;
    assert_eq!(store(&server).load().await.unwrap(), Some(document.clone()));
    // The routes are registered again before the node works by them, from the earliest entry.
    let start: String = server.ask("HGET test:{a}:starts r1").await;
    assert!(start.ends_with(" 0-0 id-x"), "{start}");
    let lane: String = server.ask("HGET test:{a}:lanes id-x").await;
    assert!(lane.contains(" 0-0 "), "{lane}");
    assert_eq!(server.ask::<u64>("HGET test:{a}:meta version").await, document.version);
    // It is on record, and shown until somebody has taken note.
    let changes = store(&server).changes(10).await.unwrap();
    let told: Vec<_> = changes.iter().map(|entry| (entry.version, entry.what.clone())).collect();
    let what = format!("Redis had lost the registry: restored by node a from version {}", document.version);
    assert_eq!(told, [(document.version, what.clone())]);
    let alarms = watch.alarms.borrow().clone();
    assert_eq!(alarms.iter().map(|alarm| alarm.what.clone()).collect::<Vec<_>>(), [what]);
    Registry::new(store(&server), NoStreams, "test").acknowledge().await.unwrap();
    tokio::time::timeout(LIMIT, watch.alarms.wait_for(Vec::is_empty)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_parallel_destination_gets_its_group_back() {
    let mut server = RedisServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut registry = Registry::new(store(&server), Redis::open(&server.url(), PREFIX).unwrap(), "test");
    let first = |d: &mut Document| {
        d.applications = vec![application("a")];
        d.destinations = vec![Destination { delivery: Delivery::Parallel, ..destination("x") }, destination("y")];
        d.routes = vec![route("r1", "a", "x"), route("r2", "a", "y")];
    };
    registry.change(|now| edit(now, first)).await.unwrap();
    let document = registry.document().await.unwrap();
    let mut watch = node(&server, "a", folder.path());
    knows(&mut watch, &document).await;
    let add = "XADD test:{a}:stream * n 1";
    server.ask::<String>(add).await;

    server.kill_and_empty();
    server.restart().await;
    until_state(&mut watch, |state| *state == WatchState::Emptied).await;
    // It stands at the beginning: what came in while the registry was on its way back is for it, too.
    server.ask::<String>(add).await;
    until_state(&mut watch, |state| *state == WatchState::Current).await;
    let lane: String = server.ask("HGET test:{a}:lanes id-x").await;
    assert!(lane.contains(" 0-0 ") && lane.ends_with(" id-x parallel"), "{lane}");
    let lane: String = server.ask("HGET test:{a}:lanes id-y").await;
    assert!(!lane.ends_with("parallel"), "{lane}");
    let groups: Vec<redis::Value> = server.ask("XINFO GROUPS test:{a}:stream").await;
    assert_eq!(groups.len(), 1, "{groups:?}");
    let read = "XREADGROUP GROUP id-x me STREAMS test:{a}:stream >";
    let read: Vec<(String, Vec<redis::Value>)> = server.ask(read).await;
    assert_eq!(read[0].1.len(), 1);
}

#[tokio::test]
async fn of_two_nodes_the_one_that_knows_more_wins_whoever_is_first() {
    for late in [false, true] {
        let mut server = RedisServer::start().await;
        let folder = tempfile::tempdir().unwrap();
        let old = begin(&server).await;
        let mut stale = node(&server, "stale", folder.path());
        knows(&mut stale, &old).await;
        snapshot_has(folder.path(), "stale", old.version).await;
        drop(stale);
        let new = grow(&server, "b").await;
        let mut fresh = node(&server, "fresh", folder.path());
        knows(&mut fresh, &new).await;
        snapshot_has(folder.path(), "fresh", new.version).await;
        drop(fresh);

        server.kill_and_empty();
        server.restart().await;
        let mut stale = node(&server, "stale", folder.path());
        if late {
            // It is alone for longer than offers are collected.
            until_state(&mut stale, |state| *state == WatchState::Current).await;
            assert_eq!(store(&server).load().await.unwrap(), Some(old.clone()));
        }
        let mut fresh = node(&server, "fresh", folder.path());
        knows(&mut fresh, &new).await;
        knows(&mut stale, &new).await;
        assert_eq!(store(&server).load().await.unwrap(), Some(new));
    }
}

#[tokio::test]
async fn a_document_that_went_back_is_put_forward_again() {
    let server = RedisServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    begin(&server).await;
    let before: Vec<u8> =
        redis::cmd("DUMP").arg("test:{registry}:document").query_async(&mut server.connection().await).await.unwrap();
    let newest = grow(&server, "b").await;
    let mut watch = node(&server, "a", folder.path());
    knows(&mut watch, &newest).await;
    // What a failover to a replica that lagged behind comes to.
    let mut command = redis::cmd("RESTORE");
    command.arg("test:{registry}:document").arg(0).arg(before).arg("REPLACE");
    command.query_async::<()>(&mut server.connection().await).await.unwrap();
    until_state(&mut watch, |state| matches!(state, WatchState::Behind { there: 1, known: 2 })).await;
    knows(&mut watch, &newest).await;
    assert_eq!(store(&server).load().await.unwrap(), Some(newest));
    assert!(watch.alarms.borrow()[0].what.contains("gone back to version 1"));
}

#[tokio::test]
async fn two_documents_of_one_version_are_told_apart() {
    let server = RedisServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    begin(&server).await;
    let before: Vec<u8> =
        redis::cmd("DUMP").arg("test:{registry}:document").query_async(&mut server.connection().await).await.unwrap();
    let lost = grow(&server, "lost").await;
    let mut watch = node(&server, "a", folder.path());
    knows(&mut watch, &lost).await;
    // The failover lost that version, and somebody made another of the same number before anybody looked.
    let mut pipe = redis::pipe();
    pipe.atomic().cmd("RESTORE").arg("test:{registry}:document").arg(0).arg(&before).arg("REPLACE");
    let body = serde_json::to_string(&Document { version: 2, applications: vec![application("made")], ..lost.clone() });
    pipe.cmd("HSET").arg("test:{registry}:document").arg("version").arg(2).arg("body").arg(body.unwrap());
    pipe.cmd("HSET").arg("test:{registry}:document").arg("digest").arg("another");
    pipe.query_async::<()>(&mut server.connection().await).await.unwrap();
    let made = Document { version: 2, applications: vec![application("made")], ..lost };
    knows(&mut watch, &made).await;
}

#[tokio::test]
async fn another_installation_is_never_overwritten() {
    let server = RedisServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let ours = begin(&server).await;
    let mut watch = node(&server, "a", folder.path());
    knows(&mut watch, &ours).await;
    // In one step, so that the node never sees it empty.
    let theirs = Document { version: 1, installation: "another".into(), ..Document::default() };
    let mut pipe = redis::pipe();
    pipe.atomic().cmd("FLUSHALL").cmd("HSET").arg("test:{registry}:document").arg("version").arg(1);
    pipe.arg("installation").arg("another").arg("body").arg(serde_json::to_string(&theirs).unwrap());
    pipe.query_async::<()>(&mut server.connection().await).await.unwrap();
    until_state(&mut watch, |state| matches!(state, WatchState::Foreign { .. })).await;
    assert_eq!(*watch.documents.borrow(), None);
    assert_eq!(store(&server).load().await.unwrap(), Some(theirs));
}

#[tokio::test]
async fn a_full_redis_takes_a_restore() {
    let mut server = RedisServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let document = begin(&server).await;
    let mut watch = node(&server, "a", folder.path());
    knows(&mut watch, &document).await;
    server.kill_and_empty();
    server.restart_with(&[("maxmemory", "1")]).await;
    until_state(&mut watch, |state| *state == WatchState::Emptied).await;
    knows(&mut watch, &document).await;
}

#[tokio::test]
async fn a_replica_without_its_data_is_not_taken_for_emptied() {
    let mut server = RedisServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let document = begin(&server).await;
    let mut watch = node(&server, "a", folder.path());
    knows(&mut watch, &document).await;
    server.kill_and_empty();
    // Its master never answers, so that it stays empty.
    server.restart_with(&[("replicaof", "127.0.0.1 1")]).await;
    let refused = |state: &WatchState| matches!(state, WatchState::Away { why } if why.contains("replica"));
    until_state(&mut watch, refused).await;
    assert!(watch.alarms.borrow().is_empty());
    // Nor is one that is stopped.
    server.pause();
    until_state(&mut watch, |state| matches!(state, WatchState::Away { .. })).await;
    assert!(watch.alarms.borrow().is_empty());
    server.resume();
}

//! The console's users against a real Redis: signing in and out, locks, sessions that end, second factors, the first admin.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod acts;
mod commands;
mod second;

use std::{net::IpAddr, sync::Arc, time::Duration};

use secrecy::ExposeSecret;
use tidegate::{
    admin::{Role, Who, users as acts_on},
    redis::Redis,
    registry::{Store, secrets::MasterKey},
    users::{FirstError, Rules, Session, SignInError, SignedIn, Users},
};

use crate::servers::{redis::RedisServer, wait_for};

const LIMIT: Duration = Duration::from_secs(20);
/// Nothing that is listed, logged or kept may hold these.
const PASSWORD: &str = "canary lighthouse at low tide";
const OTHER: &str = "canary harbour in the morning";

fn home() -> IpAddr {
    "10.1.2.3".parse().unwrap()
}

fn elsewhere() -> IpAddr {
    "10.9.9.9".parse().unwrap()
}

/// An installation with an admin `ana`.
struct Scene {
    server: RedisServer,
    key: Arc<MasterKey>,
    users: Users,
}

impl Scene {
    async fn new() -> Self {
        Self::with(Rules::default()).await
    }

    async fn with(rules: Rules) -> Self {
        let scene = Self::empty(rules).await;
        acts_on::add(&scene.users, &root(), "ana", Role::Admin, PASSWORD.into()).await.unwrap();
        scene
    }

    async fn empty(rules: Rules) -> Self {
        let server = RedisServer::start().await;
        let key = Arc::new(MasterKey::generate());
        let users = users(&server, &key).with_rules(rules);
        Self { server, key, users }
    }

    async fn add(&self, name: &str, role: Role) {
        acts_on::add(&self.users, &root(), name, role, PASSWORD.into()).await.unwrap();
    }

    async fn sign_in(&self, name: &str, password: &str) -> Result<SignedIn, SignInError> {
        self.users.sign_in(name, password.into(), None, home()).await
    }

    async fn session(&self, signed_in: &SignedIn) -> Option<Session> {
        self.users.session(signed_in.token.expose_secret()).await.unwrap()
    }

    async fn changes(&self) -> Vec<tidegate::registry::store::AuditEntry> {
        store(&self.server).changes(100).await.unwrap()
    }
}

/// As another node knows them.
fn users(server: &RedisServer, key: &Arc<MasterKey>) -> Users {
    Users::new(Redis::open(&server.url(), "test").unwrap()).with_master_key(Some(Arc::clone(key)))
}

fn store(server: &RedisServer) -> Store {
    Store::open(&server.url().parse().unwrap(), "test").unwrap()
}

fn root() -> Who {
    Who { name: "operator@a".into(), role: Role::Admin, from: "tidegate user".into() }
}

#[tokio::test]
async fn a_user_signs_in_and_every_node_knows_the_session() {
    let scene = Scene::new().await;
    let first = scene.sign_in(" Ana ", PASSWORD).await.unwrap();
    let second = scene.sign_in("ana", PASSWORD).await.unwrap();
    assert_ne!(first.token.expose_secret(), second.token.expose_secret(), "each sign-in has an id of its own");
    assert_ne!(first.session.csrf, second.session.csrf);
    assert!(first.token.expose_secret().len() >= 43, "256 bits");
    let another_node = users(&scene.server, &scene.key);
    let seen = another_node.session(first.token.expose_secret()).await.unwrap().unwrap();
    assert_eq!((&*seen.user, seen.role, seen.csrf), ("ana", Role::Admin, first.session.csrf.clone()));

    scene.users.sign_out(first.token.expose_secret()).await.unwrap();
    assert_eq!(another_node.session(first.token.expose_secret()).await.unwrap(), None);
    assert!(scene.session(&second).await.is_some());
    for nothing in ["", "x", &"A".repeat(43), &"é".repeat(10_000)] {
        assert_eq!(scene.users.session(nothing).await.unwrap(), None);
    }
}

#[tokio::test]
async fn wrong_and_unknown_are_told_alike_and_take_alike() {
    let scene = Scene::new().await;
    let wrong = scene.sign_in("ana", "not her password at all").await.unwrap_err();
    let unknown = scene.sign_in("nobody", PASSWORD).await.unwrap_err();
    assert_eq!((&wrong, &unknown), (&SignInError::Wrong, &SignInError::Wrong));
    assert_eq!(wrong.to_string(), "user name and password do not match");
    assert_eq!(scene.sign_in("ana", &"x".repeat(1_000_000)).await.unwrap_err(), SignInError::Wrong);
    scene.sign_in("ana", PASSWORD).await.unwrap();
}

#[tokio::test]
async fn five_wrong_passwords_lock_a_user_out_for_growing_times_and_the_lock_ends() {
    // Longer than some attempts take on a machine that has much else to do.
    let short = Duration::from_secs(3);
    let rules = Rules { shortest_lock: short, longest_lock: short * 4, ..Rules::default() };
    let scene = Scene::with(rules).await;
    for _ in 0..5 {
        assert_eq!(scene.sign_in("ana", "wrong and wrong again").await.unwrap_err(), SignInError::Wrong);
    }
    let locked = async |from| match scene.users.sign_in("ana", PASSWORD.into(), None, from).await {
        Err(SignInError::LockedUntil(until)) => until,
        other => panic!("{other:?}"),
    };
    // The right password does not help, and neither does another address.
    let until = locked(home()).await;
    assert_eq!(locked(elsewhere()).await, until);
    let signed_in = wait_for("the lock to end", LIMIT, async || scene.sign_in("ana", PASSWORD).await.ok()).await;
    assert!(signed_in.session.since_ms >= until, "not before its time");

    // A wrong one after the lock has a longer one.
    for _ in 0..5 {
        let _ = scene.sign_in("ana", "wrong and wrong again").await;
    }
    let first = locked(home()).await;
    let wrong_again = async || match scene.sign_in("ana", "wrong and wrong again").await {
        Err(SignInError::Wrong) => Some(()),
        _ => None,
    };
    wait_for("another try", LIMIT, wrong_again).await;
    let begun = redis_ms(&scene.server).await;
    let second = locked(home()).await;
    assert!(second > first && second.saturating_sub(begun) > 3_000, "{first} {second} {begun}");
}

async fn redis_ms(server: &RedisServer) -> u64 {
    let (seconds, micros): (u64, u64) = server.ask("TIME").await;
    seconds * 1000 + micros / 1000
}

#[tokio::test]
async fn an_address_that_tries_many_names_is_locked_out_and_others_are_not() {
    let scene = Scene::with(Rules { address_tries: 6, ..Rules::default() }).await;
    for number in 0..6 {
        assert_eq!(scene.sign_in(&format!("user-{number}"), PASSWORD).await.unwrap_err(), SignInError::Wrong);
    }
    assert!(matches!(scene.sign_in("ana", PASSWORD).await, Err(SignInError::LockedUntil(_))));
    scene.users.sign_in("ana", PASSWORD.into(), None, elsewhere()).await.unwrap();
}

#[tokio::test]
async fn many_attempts_at_once_are_no_more_than_one_after_the_other() {
    let scene = Scene::new().await;
    let all = (0..30).map(|_| scene.sign_in("ana", "wrong and wrong again"));
    let outcomes = futures_util::future::join_all(all).await;
    let tried = outcomes.iter().filter(|outcome| matches!(outcome, Err(SignInError::Wrong))).count();
    assert_eq!(tried, 5, "{outcomes:?}");
}

#[tokio::test]
async fn a_session_ends_when_it_is_left_alone_or_too_old() {
    let rules = |idle, absolute| Rules {
        idle: Duration::from_millis(idle),
        absolute: Duration::from_millis(absolute),
        ..Rules::default()
    };
    let idle = Scene::with(rules(300, 60_000)).await;
    let left = idle.sign_in("ana", PASSWORD).await.unwrap();
    assert!(idle.session(&left).await.is_some());
    wait_for("the session's key to go", LIMIT, async || {
        let keys: Vec<String> = idle.server.ask("KEYS test:{registry}:session:*").await;
        keys.is_empty().then_some(())
    })
    .await;
    assert_eq!(idle.session(&left).await, None);

    // One that is used all the time ends all the same.
    let absolute = Scene::with(rules(60_000, 700)).await;
    let used = absolute.sign_in("ana", PASSWORD).await.unwrap();
    assert!(absolute.session(&used).await.is_some());
    let over = async || absolute.session(&used).await.is_none().then_some(());
    wait_for("the session to be too old", LIMIT, over).await;
    assert!(redis_ms(&absolute.server).await >= used.session.since_ms + 700);
}

#[tokio::test]
async fn the_first_link_makes_one_admin_and_no_other() {
    let scene = Scene::empty(Rules::default()).await;
    let token = scene.users.first_link().await.unwrap().unwrap();
    let second = users(&scene.server, &scene.key).first_link().await.unwrap().unwrap();
    assert!(scene.users.is_first(&token).await.unwrap());
    assert!(!scene.users.is_first("guessed").await.unwrap());
    let guessed = scene.users.first_admin("guessed", "eve", PASSWORD.into()).await.unwrap_err();
    assert!(matches!(guessed, FirstError::Gone), "{guessed}");
    let wrong = scene.users.first_admin(&token, "An a", "short".into()).await.unwrap_err();
    let FirstError::Invalid(fields) = wrong else { panic!("{wrong}") };
    let codes: Vec<_> = fields.iter().map(|field| field.code).collect();
    assert_eq!(codes, ["user_name", "password_short"]);

    let signed_in = scene.users.first_admin(&token, "Ana", PASSWORD.into()).await.unwrap();
    assert_eq!((&*signed_in.session.user, signed_in.session.role), ("ana", Role::Admin));
    assert!(scene.session(&signed_in).await.is_some());
    for used in [&token, &second] {
        assert!(!scene.users.is_first(used).await.unwrap());
        let gone = scene.users.first_admin(used, "eve", PASSWORD.into()).await.unwrap_err();
        assert!(matches!(gone, FirstError::Gone), "{gone}");
    }
    assert_eq!(scene.users.first_link().await.unwrap(), None);
    let all: Vec<_> = scene.users.all().await.unwrap().iter().map(|user| user.name.clone()).collect();
    assert_eq!(all, ["ana"]);
}

#[tokio::test]
async fn of_two_who_use_first_links_at_once_one_becomes_admin() {
    let scene = Scene::empty(Rules::default()).await;
    let links = [scene.users.first_link().await.unwrap().unwrap(), scene.users.first_link().await.unwrap().unwrap()];
    let both = links.iter().enumerate().map(|(number, link)| {
        let users = users(&scene.server, &scene.key);
        async move { users.first_admin(link, &format!("admin-{number}"), PASSWORD.into()).await.is_ok() }
    });
    let made = futures_util::future::join_all(both).await.into_iter().filter(|made| *made).count();
    assert_eq!((made, scene.users.all().await.unwrap().len()), (1, 1));
}

#[tokio::test]
async fn a_first_link_is_good_for_its_time_only() {
    let scene = Scene::empty(Rules { first_link: Duration::from_millis(100), ..Rules::default() }).await;
    let token = scene.users.first_link().await.unwrap().unwrap();
    wait_for("the link to end", LIMIT, async || (!scene.users.is_first(&token).await.unwrap()).then_some(())).await;
    let late = scene.users.first_admin(&token, "ana", PASSWORD.into()).await.unwrap_err();
    assert!(matches!(late, FirstError::Gone), "{late}");
}

#[tokio::test]
async fn a_full_redis_lets_people_in_and_out_and_counts_the_wrong() {
    let scene = Scene::new().await;
    let before = scene.sign_in("ana", PASSWORD).await.unwrap();
    scene.server.ask::<()>("CONFIG SET maxmemory 1").await;
    let signed_in = scene.sign_in("ana", PASSWORD).await.unwrap();
    assert!(scene.session(&before).await.is_some() && scene.session(&signed_in).await.is_some());
    for _ in 0..5 {
        assert_eq!(scene.sign_in("ana", "wrong and wrong again").await.unwrap_err(), SignInError::Wrong);
    }
    assert!(matches!(scene.sign_in("ana", PASSWORD).await, Err(SignInError::LockedUntil(_))));
    acts_on::set_password(&scene.users, &root(), "ana", OTHER.into()).await.unwrap();
    assert_eq!(scene.session(&before).await, None);
    let again = scene.sign_in("ana", OTHER).await.unwrap();
    scene.users.sign_out(again.token.expose_secret()).await.unwrap();
    assert_eq!(scene.session(&again).await, None);
}

#[tokio::test]
async fn while_redis_is_away_nobody_signs_in_and_no_session_is_good_or_over() {
    let mut scene = Scene::new().await;
    let signed_in = scene.sign_in("ana", PASSWORD).await.unwrap();
    scene.server.kill();
    let token = signed_in.token.expose_secret();
    assert!(scene.users.session(token).await.is_err());
    assert!(matches!(scene.sign_in("ana", PASSWORD).await, Err(SignInError::Unavailable(_))));
    scene.server.restart().await;
    assert!(scene.session(&signed_in).await.is_some(), "Redis's file has it");
    // One that stands still is given up in time for a page.
    scene.server.pause();
    let asked = std::time::Instant::now();
    assert!(scene.users.session(token).await.is_err());
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    scene.server.resume();
}

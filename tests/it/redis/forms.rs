//! One scene over every form of Redis: all that Tidegate does with the log and the registry works the same.

use std::path::Path;

use secrecy::ExposeSecret;
use tidegate::{
    redis::{
        AddressError, Server, memory,
        server::{self, Limits},
        trim::{self, Retention},
    },
    registry::{
        Store,
        watch::{WatchState, watch},
    },
    resources::{Application, Document},
    users::{SignInError, Users},
};
use tidegate_actors::ports::{EntryReader, ReadOutcome};

use super::*;
use crate::servers::{redis_cluster::Cluster, redis_sentinel::Sentinels, redis_tls::TlsServer, wait_for};

/// Sixteen applications lie in many slots of a cluster.
const APPS: usize = 16;

pub(super) fn trust_one_provider() {
    // The program does this first thing; every test that speaks TLS may be the first one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Takes in, reads, leases, advances, trims, and follows the registry, on several applications.
pub(super) async fn everything_works(url: &str) {
    let redis = Redis::open(url, "tidegate").unwrap();
    let appender = RedisAppender::new(&redis, Arc::default());
    let mut log = RedisLog::new(&redis, "rooms");
    let mut reader = RedisReader::new(&redis);
    let mut waiting = Vec::new();
    for number in 0..APPS {
        let app = format!("app-{number}");
        let append = async |request: AppendRequest| {
            appender.append(AppendRequest { application: app.as_str().into(), ..request }).await.unwrap()
        };
        let lane = LaneId { stream: app.as_str().into(), ..lane(DESTINATION) };
        registration::register_route(&redis, &app, "route1", DESTINATION, &Start::Earliest).await.unwrap();
        registration::set_version(&redis, &app, 0).await.unwrap();
        let mut ids = append(request(vec![record("{}")])).await.ids;
        ids.extend(append(request(vec![record("{}"); 300])).await.ids);
        let first = append(keyed("k", 1, vec![own("a", "1"), record("2")])).await;
        let again = append(keyed("k", 1, vec![own("a", "1"), record("2")])).await;
        assert_eq!((&again.ids, again.replayed), (&first.ids, true));
        ids.extend(first.ids);

        let generation = log.view(&lane).await.unwrap().generations.pop().unwrap().generation;
        assert!(ids.iter().all(|id| id.0.generation == generation));
        let mut from =
            ReadFrom { lane: lane.clone(), after: StreamId::ZERO, newest: generation, version: 0, until: None };
        let mut read = Vec::new();
        while read.len() < ids.len() {
            let outcome = reader.read(std::slice::from_ref(&from), 1000, Duration::from_secs(2)).await.unwrap();
            let ReadOutcome::Batch(batch) = outcome else { panic!("{outcome:?}") };
            from.after = batch.last();
            read.extend(batch.entries.iter().map(|entry| entry.id()));
        }
        assert_eq!(read, ids.iter().map(|id| id.0.id).collect::<Vec<_>>());

        assert!(log.lease(std::slice::from_ref(&lane), "me", TTL).await.unwrap());
        assert!(!log.lease(std::slice::from_ref(&lane), "you", TTL).await.unwrap());
        let to = ids.last().unwrap().0.clone();
        let advance = Advance {
            lane: lane.clone(),
            owner: "me".into(),
            version: 0,
            newest: to.generation.clone(),
            to,
            sides: vec![],
            part: "main".into(),
            known: vec![],
            history: Some(batch(&ids[0], ids.last().unwrap(), 303)),
            void: vec![],
        };
        log.advance(&advance).await.unwrap();
        let trimmed = trim::stream(&redis, &app, &[DESTINATION], 0, Retention::NONE).await.unwrap();
        assert!(trimmed.removed > 0, "{trimmed:?}");
        let status = tidegate::redis::status::lanes(&redis, &app).await.unwrap();
        assert_eq!((status.len(), status[0].backlog.messages), (1, 0));
        assert_eq!(tidegate::redis::lookup::by_own_id(&redis, &app, "a").await.unwrap(), Some(ids[301].clone()));
        waiting.push(from);
    }
    // A wait is for all of them, wherever they lie.
    let late = AppendRequest { application: "app-11".into(), ..request(vec![record("{}")]) };
    let read = reader.read(&waiting, 10, Duration::from_secs(5));
    let (outcome, appended) = tokio::join!(read, async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        appender.append(late).await.unwrap()
    });
    let ReadOutcome::Batch(batch) = outcome.unwrap() else { panic!("not woken") };
    assert_eq!((&*batch.lane.stream, batch.last()), ("app-11", appended.ids[0].0.id));
    groups::several_streams_are_one_destination(&redis).await;
    assert!(memory::sample(&redis).await.unwrap().used_bytes > 0);
    the_registry_is_followed(url).await;
}

async fn the_registry_is_followed(url: &str) {
    let open = || Store::open(&url.parse().unwrap(), "tidegate").unwrap();
    let mut store = open();
    let followed = watch(open(), None, None);
    followed.state.clone().wait_for(|state| *state == WatchState::Current).await.unwrap();
    let application = Application {
        name: "car-app".into(),
        topics: vec![],
        schemas: Default::default(),
        records_per_s: None,
        broadcasts: false,
        created_at_ms: 1,
        keys: vec![],
    };
    let new = Document { version: 1, installation: "i".into(), applications: vec![application], ..Document::default() };
    assert!(store.replace(&Document::default(), &new, "me", &["a change".into()]).await.unwrap());
    assert!(!store.replace(&Document::default(), &new, "me", &["a change".into()]).await.unwrap());
    let mut documents = followed.documents.clone();
    let seen = documents.wait_for(|document| document.as_ref().is_some_and(|document| document.version == 1));
    tokio::time::timeout(Duration::from_secs(5), seen).await.expect("within a second or so").unwrap();
    assert_eq!(store.changes(5).await.unwrap().len(), 1);
    users_sign_in(url).await;
    let steps = server::check(&Server::parse(url).unwrap(), "tidegate").await;
    assert!(steps.iter().all(|step| step.outcome.is_ok()), "{steps:?}");
}

async fn users_sign_in(url: &str) {
    let users = Users::new(Redis::open(url, "tidegate").unwrap());
    let link = users.first_link().await.unwrap().expect("there is no user yet");
    let first = users.first_admin(&link, "ana", "a long enough phrase".into()).await.unwrap();
    assert!(users.session(first.token.expose_secret()).await.unwrap().is_some());
    let from = "10.0.0.7".parse().unwrap();
    let wrong = users.sign_in("ana", "another long phrase".into(), None, from).await;
    assert_eq!(wrong.unwrap_err(), SignInError::Wrong);
    let second = users.sign_in("ana", "a long enough phrase".into(), None, from).await.unwrap();
    users.sign_out(second.token.expose_secret()).await.unwrap();
    assert_eq!(users.session(second.token.expose_secret()).await, Ok(None));
}

#[tokio::test]
async fn over_a_user_with_the_documented_rights() {
    let server = RedisServer::start().await;
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap();
    let rule = text.lines().find(|line| line.starts_with("ACL SETUSER tidegate ")).expect("the rule is documented");
    server.ask::<()>(&rule.replace("YOUR-PASSWORD", "secret")).await;
    server.ask::<()>("ACL SETUSER default off").await;
    everything_works(&format!("redis://tidegate:secret@127.0.0.1:{}", server.port())).await;
}

#[tokio::test]
async fn over_another_database_number() {
    let server = RedisServer::start().await;
    everything_works(&format!("{}/5", server.url())).await;
    assert_eq!(server.ask::<usize>("DBSIZE").await, 0);
}

#[tokio::test]
async fn over_a_socket_file() {
    let dir = crate::servers::temp_dir();
    let path = dir.path().join("redis.sock").display().to_string();
    let _server = RedisServer::start_with(&[("unixsocket", &path)]).await;
    everything_works(&format!("unix://{path}")).await;
}

#[tokio::test]
async fn over_tls_with_an_authority_and_a_certificate_of_our_own() {
    trust_one_provider();
    let server = TlsServer::start(true).await;
    let (cert, key) = (server.file("right.crt"), server.file("right.key"));
    everything_works(&format!("{}&cert={}&key={}", server.url(), cert.display(), key.display())).await;
}

#[tokio::test]
async fn over_sentinels() {
    let sentinels = Sentinels::start().await;
    everything_works(&sentinels.url()).await;
}

#[tokio::test]
async fn over_a_cluster() {
    let cluster = Cluster::start().await;
    everything_works(&cluster.url()).await;
    for node in &cluster.nodes {
        assert!(node.ask::<usize>("DBSIZE").await > 0, "the streams are spread");
    }
}

async fn refusal(url: &str) -> String {
    let server = Server::parse(url).unwrap();
    let steps = server::check(&server, "tidegate").await;
    let wrong = steps.iter().find_map(|step| step.outcome.as_ref().err().map(|why| format!("{}: {why}", step.step)));
    let limits = Limits { connect: Duration::from_secs(2), response: Some(Duration::from_secs(2)) };
    // What a node says is the same as what `check` says.
    let mut store = Store::open(&url.parse().unwrap(), "tidegate").unwrap();
    let told = store.load().await.unwrap_err().to_string();
    let _ = server.connect(limits).await;
    let wrong = wrong.unwrap_or_else(|| panic!("nothing is wrong: {steps:?}"));
    let sentence = wrong.split_once(": ").unwrap().1;
    assert!(told.contains(sentence), "{told} / {sentence}");
    assert!(!told.contains("hunter2") && !wrong.contains("hunter2"), "{told}");
    wrong
}

#[tokio::test]
async fn what_is_wrong_is_told_in_a_sentence() {
    trust_one_provider();
    let server = TlsServer::start(false).await;
    let plain = server.server.port();
    server.server.ask::<()>("ACL SETUSER reader on >right ~* +@read +info +ping +select").await;
    server.server.ask::<()>("CONFIG SET requirepass right").await;
    let tls = server.port;
    let wrong_ca = server.file("wrong-ca.crt");
    let cases = [
        (format!("redis://:hunter2@127.0.0.1:{plain}"), "login: it refuses this user and password"),
        (format!("redis://nobody:hunter2@127.0.0.1:{plain}"), "login: it refuses this user and password"),
        (format!("redis://127.0.0.1:{plain}"), "login: it wants a user and password; put the right ones"),
        (format!("rediss://:right@localhost:{tls}"), "tls: its certificate is signed by nobody who is trusted here"),
        (
            format!("rediss://:right@localhost:{tls}?ca={}", wrong_ca.display()),
            "tls: its certificate is signed by nobody who is trusted here; give `redis_ca`",
        ),
        (format!("rediss://:right@localhost:{tls}?ca=/nowhere.pem"), "tls: /nowhere.pem: No such file"),
        (format!("rediss://:right@localhost:{plain}?ca={}", wrong_ca.display()), "tls: it does not"),
        (format!("redis://:right@localhost:{tls}"), "login: it closed the connection at once: is this its TLS port?"),
    ];
    for (url, expected) in cases {
        let said = refusal(&url).await;
        assert!(said.starts_with(expected), "{url}: {said}");
    }
    let right = server::check(&Server::parse(&server.url().replace("://", "://:right@")).unwrap(), "tidegate").await;
    assert!(right.iter().all(|step| step.outcome.is_ok()), "{right:?}");
    let reader = Server::parse(&format!("redis://reader:right@127.0.0.1:{plain}")).unwrap();
    let steps = server::check(&reader, "tidegate").await;
    let last = steps.last().unwrap().outcome.clone().unwrap_err();
    assert!(last.contains("this user may not") && last.contains("*Rights in Redis*"), "{last}");
}

#[tokio::test]
async fn a_replica_a_lone_node_and_an_unknown_master_are_told() {
    let mut sentinels = Sentinels::start().await;
    let replica = refusal_of_check(&sentinels.replica.url()).await;
    assert!(replica.starts_with("role: it is a replica"), "{replica}");
    let unknown = refusal_of_check(&sentinels.url().replace("mymaster", "nobody")).await;
    assert!(
        unknown.starts_with("sentinel: sentinel 127.0.0.1:") && unknown.contains("knows no master `nobody`"),
        "{unknown}"
    );
    // Two of three sentinels are enough.
    sentinels.watchers.kill_one();
    let redis = Redis::open(&sentinels.url(), "tidegate").unwrap();
    wait_for("an append with two sentinels", Duration::from_secs(5), async || {
        RedisAppender::new(&redis, Arc::default()).append(request(vec![record("{}")])).await.ok()
    })
    .await;
    let cluster = Cluster::start().await;
    let lone = refusal_of_check(&format!("redis://127.0.0.1:{}", cluster.nodes[0].port())).await;
    assert!(lone.starts_with("role: it is a node of a cluster"), "{lone}");
}

async fn refusal_of_check(url: &str) -> String {
    let steps = server::check(&Server::parse(url).unwrap(), "tidegate").await;
    let wrong = steps.iter().find_map(|step| step.outcome.as_ref().err().map(|why| format!("{}: {why}", step.step)));
    wrong.unwrap_or_else(|| panic!("nothing is wrong: {steps:?}"))
}

#[test]
fn addresses_are_understood_or_refused_with_the_remedy() {
    for (url, shown) in [
        ("redis://h", "redis://h"),
        ("rediss://u:hunter2@h:1/2?ca=/ca.pem", "rediss://u:***@h:1/2"),
        (
            "redis+sentinel://:hunter2@a,b:1,[::1]:2/m/3?sentinel_password=hunter2",
            "redis+sentinel://:***@a,b:1,[::1]:2/m/3",
        ),
        ("rediss+cluster://a,b:7000", "rediss+cluster://a,b:7000"),
        ("valkey://:hunter2%40@h", "valkey://:***@h"),
        ("unix:///run/redis.sock?pass=hunter2", "unix:///run/redis.sock"),
    ] {
        let server = Server::parse(url).unwrap();
        assert_eq!(server.to_string(), shown);
        assert!(!format!("{server:?}").contains("hunter2"));
    }
    for (url, remedy) in [
        ("h:6379", "give one such as redis://"),
        ("http://h", "give one such as redis://"),
        ("redis://a,b", "redis+sentinel:// where they are sentinels"),
        ("redis+sentinel://a,b", "give its name as in redis+sentinel://h1:26379"),
        ("redis+cluster://a/3", "take the number off"),
        ("redis+ring://a", "redis+sentinel:// or redis+cluster://"),
        ("rediss://h#insecure", "give `redis_ca`"),
        ("redis://u:a#b@h", "write it as %23"),
        ("redis://u:a%zz@h", "write a plain one as %25"),
        ("redis://u@h", "give both as user:password@"),
        ("redis://h?ca=/ca.pem", "begin it with `rediss`"),
        ("rediss://h?cert=/c.pem", "give both, or none"),
        ("redis://h?timeout=3", "take it off"),
        ("redis://h/x", "end it in one such as /0"),
        ("redis://h:seven", "give one such as redis://"),
    ] {
        let refused: AddressError = Server::parse(url).unwrap_err();
        assert!(refused.to_string().contains(remedy), "{url}: {refused}");
    }
}

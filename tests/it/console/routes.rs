//! Routes as the console makes, shows, changes and removes them, over real Redis, PostgreSQL and SQLite.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tidegate::{
    admin::{
        ActError, Admin, Role, Who,
        routes::{self, Draft, Filters, Place, Sort, StateWord},
    },
    config::{Flags, Settings},
    redis::{Redis, RedisAppender},
    registry::Store,
    resources::Document,
    tables::dry_run::Outcome,
};
use tidegate_actors::{
    message::Action,
    ports::{AppendRequest, Appender as _, NewRecord},
    route::{RouteSpec, Start},
};
use tokio::sync::watch;

use crate::{
    e2e::{installation::Installation, ledger::Target},
    servers::{postgres::PostgresServer, wait_for},
};

/// An installation with an application and two databases that have a table of cars, without routes.
struct Ground {
    installation: Installation,
    admin: Admin,
    targets: Vec<Target>,
    // What the node knows: kept, so that a test can say that it knows something.
    known: watch::Sender<Option<Arc<Document>>>,
}

impl Ground {
    async fn new() -> Self {
        let installation = Installation::new().await;
        let postgres = PostgresServer::shared().await;
        let file = installation.dir.path().join("shelf.db");
        std::fs::File::create(&file).unwrap();
        let targets = vec![
            Target { name: "sales".into(), kind: "postgres", url: postgres.url(&postgres.database().await) },
            Target { name: "shelf".into(), kind: "sqlite", url: format!("sqlite://{}", file.display()) },
        ];
        let mut ground = "[[application]]\nname = \"shop\"\ntopics = [\"cars\"]\n".to_owned();
        for Target { name, kind, url } in &targets {
            ground += &format!("[[destination]]\nname = \"{name}\"\nkind = \"{kind}\"\nurl = \"{url}\"\n");
        }
        for target in &targets {
            target
                .execute(
                    "create table cars (id bigint not null primary key, car_name varchar(40) not null, stock int default 7, \
                     price decimal(14,2), sold date)",
                )
                .await;
        }
        installation.apply(&ground);
        let url = installation.redis.url();
        let environment = [("TIDEGATE_REDIS_URL", url.as_str()), ("TIDEGATE_NODE", "a")];
        let environment = environment.map(|(name, value)| (name.into(), value.into()));
        let settings = Settings::load_from(&Flags::default(), environment).unwrap();
        let (known, documents) = watch::channel(None);
        let admin = Admin {
            redis: Redis::open(&url, "tidegate").unwrap(),
            settings: Arc::new(settings),
            documents,
            master_key: None,
            node: "a".into(),
        };
        Self { installation, admin, targets, known }
    }

    async fn append(&self, topic: &str, records: &[Value]) {
        let appender = RedisAppender::new(&self.admin.redis, Arc::default());
        let record = |data: &Value| NewRecord {
            topic: topic.into(),
            action: Action::Upsert,
            key: Some(data["id"].to_string().into()),
            own_id: None,
            traceparent: None,
            data: data.to_string().into(),
        };
        let request = AppendRequest {
            application: "shop".into(),
            records: records.iter().map(record).collect(),
            idempotency: None,
        };
        appender.append(request).await.unwrap();
    }

    async fn save(&self, spec: RouteSpec, base: Option<u64>) -> Result<routes::Saved, ActError> {
        routes::save(&self.admin, &ana(), &Draft { spec, base }).await
    }

    async fn changes(&self) -> Vec<String> {
        let settings = &self.admin.settings;
        let mut store = Store::open(&settings.redis_url, &settings.prefix).unwrap();
        let changes = store.changes(20).await.unwrap().into_iter();
        changes.map(|change| format!("{} ({}): {}", change.who, change.from.unwrap_or_default(), change.what)).collect()
    }
}

fn who(name: &str, role: Role) -> Who {
    Who { name: name.into(), role, from: "127.0.0.1".into() }
}

fn ana() -> Who {
    who("ana", Role::Operator)
}

fn spec(name: &str, destination: &str, more: Value) -> RouteSpec {
    let mut spec = json!({ "name": name, "application": "shop", "topic": "cars", "destination": destination, "table": "cars",
        "key": ["id"], "columns": { "id": "id", "car_name": "name" } });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(spec).unwrap()
}

fn fields(error: ActError) -> Vec<(String, &'static str)> {
    match error {
        ActError::Invalid(fields) => fields.into_iter().map(|error| (error.field, error.code)).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_route_is_made_from_what_the_table_and_recent_records_suggest() {
    let ground = Ground::new().await;
    let record = |id: u64| json!({ "id": id, "carName": format!("car {id}"), "stock": 3, "price": "Rp 1.500.000,50", "note": "x" });
    ground.append("cars", &(1..=5).map(record).collect::<Vec<_>>()).await;
    for target in &ground.targets {
        let place = Place {
            application: "shop".into(),
            topic: "cars".into(),
            destination: target.name.clone(),
            table: "cars".into(),
        };
        let offer = routes::offer(&ground.admin, &ana(), &place).await.unwrap();
        assert_eq!((offer.records, offer.name.as_str()), (5, &*format!("{}-cars", target.name)));
        let paths: Vec<_> = offer.fields.iter().map(|field| (field.path.as_str(), field.example.as_deref())).collect();
        assert_eq!(paths.len(), 5);
        assert_eq!(paths.iter().find(|(path, _)| *path == "carName").unwrap().1, Some("\"car 5\""));
        let suggestion = offer.suggestion.unwrap();
        assert_eq!(suggestion.key, ["id"]);
        let columns: serde_json::Map<String, Value> = suggestion
            .columns
            .iter()
            .map(|guess| (guess.column.clone(), serde_json::to_value(&guess.source).unwrap()))
            .collect();
        let suggested = spec(&offer.name, &target.name, json!({ "columns": columns, "start": "earliest" }));

        // What each column would receive is seen before anything is saved.
        let (message, generation) = offer.newest.unwrap();
        let shown = routes::previews(&suggested, &offer.table, &message, &generation);
        let shown: Vec<_> =
            shown.iter().map(|one| (one.column.as_str(), one.value.as_ref().map(|v| v.get()))).collect();
        // SQLite keeps decimals as numbers, without the zero at the end.
        let price = if target.kind == "sqlite" { "1500000.5" } else { "1500000.50" };
        assert_eq!(
            shown,
            [("id", Some("5")), ("car_name", Some("\"car 5\"")), ("stock", Some("3")), ("price", Some(price))]
        );
        let trial = routes::try_out(&ground.admin, &ana(), &suggested, 3, None).await.unwrap();
        assert_eq!((trial.rows, trial.refused, trial.records.len()), (3, 0, 3));
        let Outcome::Row(row) = &trial.records[0].outcome else { panic!("{trial:?}") };
        assert_eq!((trial.records[0].key.as_deref(), row.operation), (Some("5"), "upsert"));

        let saved = ground.save(suggested.clone(), None).await.unwrap();
        assert_eq!((saved.version, saved.outlook.is_new), (1, true));
        // What was saved is what `apply` would take: applying it changes nothing.
        let view = routes::one(&ground.admin, &who("vic", Role::Viewer), &offer.name).await.unwrap();
        std::fs::write(ground.installation.dir.path().join("route.toml"), &view.toml).unwrap();
        let applied = ground.installation.run(&["apply", "route.toml"]);
        assert!(applied.contains("No changes."), "{applied}\n{}", view.toml);
        assert_eq!(view.kind.as_deref(), Some(target.kind));
    }
    let changes = ground.changes().await;
    assert!(
        changes[0].starts_with("ana (127.0.0.1): create route `shelf-cars`: topic `cars` of `shop` into table `cars`"),
        "{changes:?}"
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_route_is_told_at_its_field_and_nothing_is_saved() {
    let ground = Ground::new().await;
    for target in &ground.targets {
        let wrong = async |more: Value| fields(ground.save(spec("cars", &target.name, more), None).await.unwrap_err());
        let unfit = |field: &str| (field.to_owned(), "unfit");
        let misspelt = wrong(json!({ "columns": { "id": "id", "car_name": "name", "pric": "price" } })).await;
        assert_eq!(misspelt, [unfit("columns.pric")]);
        let never = wrong(json!({ "columns": { "id": "id", "car_name": "name", "sold": { "as": "bool" } } })).await;
        assert!(never[0].0.starts_with("columns.sold") && never[0].1 == "unfit", "{never:?}");
        assert_eq!(wrong(json!({ "key": ["car_name"] })).await, [unfit("key")]);
        assert_eq!(wrong(json!({ "name": "" })).await, [("name".to_owned(), "missing")]);
        assert_eq!(wrong(json!({ "application": "shopp" })).await, [("application".to_owned(), "unknown")]);
        let misspelt = spec("cars", &target.name, json!({ "columns": { "id": "id", "pric": "price" } }));
        let error = routes::try_out(&ground.admin, &ana(), &misspelt, 1, Some("{\"id\":1}")).await.unwrap_err();
        assert!(fields(error).contains(&unfit("columns.pric")));
    }
    // A table that is not there yet is no mistake: the route is held until it is.
    let later = ground.save(spec("later", "sales", json!({ "table": "vans" })), None).await.unwrap();
    assert_eq!(
        later.outlook.notes.iter().map(|note| (note.field.as_str(), note.code)).collect::<Vec<_>>(),
        [("table", "doubtful")]
    );
    let ddl = routes::ddl(&ground.admin, &ana(), &spec("later", "sales", json!({ "table": "vans" }))).await.unwrap();
    assert!(ddl.statements[0].starts_with("CREATE TABLE \"vans\""), "{ddl:?}");
    assert_eq!(routes::list(&ground.admin, &ana(), &Filters::default()).await.unwrap().all, 1);
    // Whoever may only look does nothing.
    let viewer = who("vic", Role::Viewer);
    let draft = Draft { spec: spec("cars", "sales", json!({})), base: None };
    assert!(matches!(
        routes::save(&ground.admin, &viewer, &draft).await,
        Err(ActError::Forbidden { needs: Role::Operator })
    ));
    assert!(matches!(routes::remove(&ground.admin, &viewer, "later", 1).await, Err(ActError::Forbidden { .. })));
    assert!(matches!(routes::tables(&ground.admin, &viewer, "sales", "", 1).await, Err(ActError::Forbidden { .. })));
    let outside = who("bob", Role::Broadcaster);
    assert!(matches!(
        routes::list(&ground.admin, &outside, &Filters::default()).await,
        Err(ActError::Forbidden { .. })
    ));
}

#[tokio::test]
async fn every_version_is_kept_with_who_made_it_and_an_earlier_one_comes_back() {
    let ground = Ground::new().await;
    ground.save(spec("cars", "shelf", json!({})), None).await.unwrap();
    let edited =
        spec("cars", "shelf", json!({ "columns": { "id": "id", "car_name": { "from": "name", "clean": ["trim"] } } }));
    assert_eq!(ground.save(edited.clone(), Some(1)).await.unwrap().version, 2);
    // Who began with a version that is not the present one is told, and overwrites nothing.
    let error = ground.save(spec("cars", "shelf", json!({ "on_dead": "block" })), Some(1)).await.unwrap_err();
    assert!(matches!(&error, ActError::Conflict(why) if why.contains("version 2")), "{error:?}");
    let unchanged = ground.save(edited, Some(2)).await.unwrap();
    assert_eq!((unchanged.version, unchanged.outlook.changes.len()), (2, 0));
    // Apply keeps versions too, by whoever ran it.
    let mut view = routes::one(&ground.admin, &ana(), "cars").await.unwrap();
    let toml = view.toml.replace("[route.columns]", "on_dead = \"block\"\n[route.columns]");
    std::fs::write(ground.installation.dir.path().join("route.toml"), toml).unwrap();
    ground.installation.run(&["apply", "route.toml"]);
    view = routes::one(&ground.admin, &ana(), "cars").await.unwrap();
    let told: Vec<_> = view.versions.iter().map(|one| (one.number, one.who.clone().unwrap_or_default())).collect();
    assert_eq!((told.len(), &told[1], &told[2]), (3, &(2, "ana (127.0.0.1)".into()), &(1, "ana (127.0.0.1)".into())));
    assert!(told[0].1.ends_with("(tidegate apply)"), "{told:?}");
    let differences =
        |place: usize| view.versions[place].differences.iter().map(|one| one.what.as_str()).collect::<Vec<_>>();
    assert_eq!((differences(0), differences(1)), (vec!["on_dead"], vec!["columns.car_name"]));
    // The first one again.
    let first = view.versions[2].spec.clone().unwrap();
    assert_eq!(ground.save(first, Some(3)).await.unwrap().version, 4);
    // Removed and made anew, it has one past.
    routes::remove(&ground.admin, &ana(), "cars", 4).await.unwrap();
    assert!(matches!(routes::one(&ground.admin, &ana(), "cars").await, Err(ActError::Unknown(_))));
    ground.save(spec("cars", "shelf", json!({})), None).await.unwrap();
    let versions = routes::versions(&ground.admin, &ana(), "cars").await.unwrap();
    let numbers: Vec<_> = versions.iter().map(|one| (one.number, one.spec.is_some())).collect();
    assert_eq!(numbers, [(1, true), (4, false), (4, true), (3, true), (2, true), (1, true)]);
    // Not more than fifty.
    for base in 1..55 {
        let stock = json!({ "columns": { "id": "id", "car_name": "name", "stock": { "value": base } } });
        ground.save(spec("cars", "shelf", stock), Some(base)).await.unwrap();
    }
    assert_eq!(routes::versions(&ground.admin, &ana(), "cars").await.unwrap().len(), 50);
}

#[tokio::test]
async fn a_destinations_tables_are_searched_and_paged_and_one_is_described() {
    let ground = Ground::new().await;
    for target in &ground.targets {
        let many: String = (0..90).map(|number| format!("create table bin_{number:02} (id int);")).collect();
        target.execute(&many).await;
    }
    ground.save(spec("cars", "shelf", json!({})), None).await.unwrap();
    for target in &ground.targets {
        let page =
            async |search: &str, page| routes::tables(&ground.admin, &ana(), &target.name, search, page).await.unwrap();
        let first = page("", 1).await;
        assert_eq!((first.total, first.all, first.pages, first.tables.len()), (91, 91, 3, 40));
        let last = page("BIN_8", 9).await;
        assert_eq!((last.total, last.page, last.pages, last.tables.len()), (10, 1, 1, 10));
        let cars = &page("cars", 1).await.tables[0];
        assert_eq!(cars.routes, if target.name == "shelf" { vec!["cars".to_owned()] } else { vec![] });
        let table = routes::table(&ground.admin, &ana(), &target.name, "cars").await.unwrap();
        let columns: Vec<_> =
            table.columns.iter().map(|one| (one.name.as_str(), one.nullable, one.has_default)).collect();
        assert_eq!(columns[1..3], [("car_name", false, false), ("stock", true, true)]);
        assert_eq!(table.unique_keys, [["id"]]);
        let missing = routes::table(&ground.admin, &ana(), &target.name, "carz").await.unwrap_err();
        assert!(matches!(&missing, ActError::Unknown(why) if why.contains("cars")), "{missing:?}");
    }
    let nowhere = routes::tables(&ground.admin, &ana(), "sale", "", 1).await.unwrap_err();
    assert_eq!(nowhere.to_string(), "there is no destination `sale`; did you mean `sales`?");
}

#[tokio::test]
async fn a_trial_says_where_a_record_is_refused_and_why() {
    let ground = Ground::new().await;
    for target in &ground.targets {
        let route = spec(
            "cars",
            &target.name,
            json!({ "filter": "data.id > 1", "columns": { "id": "id", "car_name": "name", "sold": "sold" } }),
        );
        let given = r#"{"id":1,"name":"skipped"} {"id":2,"name":"fits","sold":"2026-01-31"} {"id":3,"name":"not","sold":"soon"}"#;
        let trial = routes::try_out(&ground.admin, &ana(), &route, 10, Some(given)).await.unwrap();
        assert_eq!((trial.rows, trial.skipped, trial.refused), (1, 1, 1));
        let Outcome::Refused(refusal) = &trial.records[2].outcome else { panic!("{trial:?}") };
        assert_eq!(refusal.column.as_deref(), Some("sold"));
        assert!(refusal.message.contains("sold") && !refusal.message.contains("soon"), "{}", refusal.message);
        let none = routes::try_out(&ground.admin, &ana(), &route, 10, None).await.unwrap();
        assert!(none.records.is_empty(), "the stream has no record yet");
        let error = routes::try_out(&ground.admin, &ana(), &route, 10, Some("{\"id\":")).await.unwrap_err();
        assert_eq!(fields(error), [("records".to_owned(), "invalid")]);
    }
}

#[actix_rt::test]
async fn the_list_tells_how_routes_go_and_what_removing_one_would_do() {
    let ground = Ground::new().await;
    let mut node = ground.installation.node("a");
    node.ready().await;
    for (name, destination) in [("sales-cars", "sales"), ("shelf-cars", "shelf")] {
        ground.save(spec(name, destination, json!({ "start": "earliest" })), None).await.unwrap();
    }
    ground.save(spec("bikes", "sales", json!({ "topic": "bikes" })), None).await.unwrap();
    let viewer = who("vic", Role::Viewer);
    let list = async |filters: Filters| routes::list(&ground.admin, &viewer, &filters).await.unwrap();
    let count = |list: &routes::RouteList, word| list.counts.iter().find(|(one, _)| *one == word).unwrap().1;
    wait_for("all routes to flow", Duration::from_secs(30), async || {
        (count(&list(Filters::default()).await, StateWord::Flowing) == 3).then_some(())
    })
    .await;
    let names = |list: routes::RouteList| list.routes.into_iter().map(|route| route.name).collect::<Vec<_>>();
    assert_eq!(names(list(Filters { topic: "cars".into(), ..Filters::default() }).await), ["sales-cars", "shelf-cars"]);
    assert_eq!(names(list(Filters { search: "BIK".into(), ..Filters::default() }).await), ["bikes"]);
    let by_destination = Filters { sort: Sort::Destination, descending: true, ..Filters::default() };
    assert_eq!(names(list(by_destination).await)[0], "shelf-cars");
    // A table that its routes do not fit any more holds them, and no other.
    ground.targets[1].execute("alter table cars drop column car_name").await;
    ground.append("cars", &[json!({ "id": 1, "name": "x" })]).await;
    let held = Filters { state: Some(StateWord::Held), ..Filters::default() };
    wait_for("the shelf's route to be held", Duration::from_secs(30), async || {
        (names(list(held.clone()).await) == ["shelf-cars"]).then_some(())
    })
    .await;
    let view = routes::one(&ground.admin, &viewer, "shelf-cars").await.unwrap();
    assert!(view.state.why.is_some_and(|why| why.contains("car_name")));
    let removal = routes::removal(&ground.admin, &ana(), "shelf-cars").await.unwrap();
    assert_eq!((removal.is_last, removal.table.as_str(), removal.version), (true, "cars", 1));
    assert!(!routes::removal(&ground.admin, &ana(), "bikes").await.unwrap().is_last);
    let stale = routes::remove(&ground.admin, &ana(), "shelf-cars", 2).await;
    assert!(matches!(stale, Err(ActError::Conflict(_))), "{stale:?}");
    routes::remove(&ground.admin, &ana(), "shelf-cars", 1).await.unwrap();
    assert_eq!(list(Filters::default()).await.all, 2);
    // A route that begins below where its destination stands says from where it catches up.
    wait_for("the first record to arrive", Duration::from_secs(30), async || {
        ground.targets[0].pairs("select id, count(*) from cars group by id").await.filter(|rows| !rows.is_empty())
    })
    .await;
    ground.targets[0].execute("create table old_cars (id bigint primary key, car_name varchar(40))").await;
    let again = spec("again", "sales", json!({ "table": "old_cars", "start": "earliest" }));
    assert_eq!(again.start, Start::Earliest);
    assert!(ground.save(again, None).await.unwrap().catches_up_from_ms.is_some());
    node.terminate().await;
}

#[tokio::test]
async fn with_redis_away_the_list_is_what_the_node_knows() {
    let mut ground = Ground::new().await;
    ground.save(spec("cars", "shelf", json!({})), None).await.unwrap();
    let settings = ground.admin.settings.clone();
    let document = Store::open(&settings.redis_url, &settings.prefix).unwrap().load().await.unwrap().unwrap();
    ground.known.send_replace(Some(Arc::new(document)));
    ground.installation.redis.kill();
    let begun = std::time::Instant::now();
    let list = routes::list(&ground.admin, &ana(), &Filters::default()).await.unwrap();
    assert_eq!((list.all, list.routes[0].state.word), (1, StateWord::Unknown));
    assert!(list.away.is_some());
    let view = routes::one(&ground.admin, &ana(), "cars").await.unwrap();
    assert_eq!((view.versions.len(), view.away.is_some()), (1, true));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    let error = ground.save(spec("cars", "shelf", json!({ "on_dead": "block" })), Some(1)).await.unwrap_err();
    assert!(matches!(error, ActError::Unavailable(_)), "{error:?}");
}

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeMap, path::Path};

use proptest::{collection, option, prelude::*, sample::select};
use serde_json::json;
use tidegate_actors::route::{Cast, ChildSpec, CleanStep, Meta, OnDead, OnExisting, OnMissing, Start, UnknownFields};

use super::*;
use crate::{
    registry::{
        manifest::Manifest,
        plan::{Means, plan},
        secrets::MasterKey,
    },
    resources::{ByHand, Stopped, Tls, TlsMode},
};

fn default_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no such number", |f| f.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            collection::btree_map(any::<String>(), inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn step() -> impl Strategy<Value = CleanStep> {
    let words = [
        CleanStep::Trim,
        CleanStep::Collapse,
        CleanStep::Lower,
        CleanStep::Upper,
        CleanStep::NullIfEmpty,
        CleanStep::Title,
        CleanStep::Digits,
        CleanStep::StripHtml,
    ];
    prop_oneof![
        select(words.to_vec()),
        collection::vec(any::<String>(), 0..3).prop_map(CleanStep::NullIf),
        any::<[String; 2]>().prop_map(CleanStep::Replace),
        any::<u32>().prop_map(CleanStep::Truncate),
        any::<u32>().prop_map(CleanStep::Round),
        collection::btree_map(any::<String>(), default_value(), 0..3).prop_map(CleanStep::Map),
        any::<String>().prop_map(CleanStep::Number),
    ]
}

fn cast() -> impl Strategy<Value = Cast> {
    select(vec![
        Cast::Int,
        Cast::Decimal,
        Cast::Float,
        Cast::Bool,
        Cast::Text,
        Cast::Date,
        Cast::Time,
        Cast::Timestamp,
        Cast::Uuid,
        Cast::Json,
        Cast::Bytes,
    ])
}

/// Where a column's value comes from: one of the four sources, or the field of its own name.
fn from() -> impl Strategy<Value = ColumnRule> {
    let meta = [Meta::Id, Meta::Application, Meta::Topic, Meta::Action, Meta::Key, Meta::Received, Meta::Index];
    prop_oneof![
        option::of(any::<String>()).prop_map(|from| ColumnRule { from, ..ColumnRule::default() }),
        default_value().prop_map(|value| ColumnRule { value: Some(value), ..ColumnRule::default() }),
        select(meta.to_vec()).prop_map(|meta| ColumnRule { meta: Some(meta), ..ColumnRule::default() }),
        any::<String>().prop_map(|expr| ColumnRule { expr: Some(expr), ..ColumnRule::default() }),
    ]
}

fn rule() -> impl Strategy<Value = ColumnRule> {
    let bound = || option::of(prop_oneof![any::<i64>().prop_map(Value::from), any::<String>().prop_map(Value::from)]);
    let length = option::of(
        (option::of(0_u64..50), option::of(50_u64..99))
            .prop_filter_map("a bound", |(min, max)| (min.is_some() || max.is_some()).then_some(Length { min, max })),
    );
    let texts = (option::of(any::<String>()), option::of(any::<String>()), option::of(any::<String>()));
    let default = prop_oneof![
        any::<bool>().prop_map(|required| (required, None)),
        default_value().prop_map(|default| (false, Some(default))),
    ];
    let checks = (bound(), bound(), length, collection::vec(default_value(), 0..3));
    (from(), collection::vec(step(), 0..3), option::of(cast()), texts, default, checks).prop_map(
        |(source, clean, cast, (format, zone, pattern), (required, default), (min, max, length, one_of))| ColumnRule {
            clean,
            cast,
            format,
            zone,
            required,
            default,
            min,
            max,
            length,
            pattern,
            one_of,
            ..source
        },
    )
}

fn source() -> impl Strategy<Value = ColumnSource> {
    prop_oneof![any::<String>().prop_map(ColumnSource::Field), rule().prop_map(ColumnSource::Detailed)]
}

fn columns() -> BoxedStrategy<Columns> {
    let named = collection::btree_map(any::<String>(), source(), 1..4).prop_map(Columns::Named);
    prop_oneof![Just(Columns::default()), named].boxed()
}

fn delete() -> impl Strategy<Value = DeletePolicy> {
    let soft = (any::<String>(), option::of(default_value()), option::of(default_value()))
        .prop_map(|(column, value, restore)| DeletePolicy::Soft(SoftDelete { column, value, restore }));
    prop_oneof![Just(DeletePolicy::Row), Just(DeletePolicy::Ignore), soft]
}

/// What a route does beside choosing columns.
fn manners() -> impl Strategy<Value = RouteSpec> {
    (
        select(vec![Start::Now, Start::Earliest, Start::At("2026-01-31T08:00:00+07:00".into())]),
        select(vec![OnMissing::Reject, OnMissing::Ignore, OnMissing::Insert]),
        select(vec![OnExisting::ByAction, OnExisting::Reject, OnExisting::Ignore, OnExisting::Update]),
        select(vec![UnknownFields::Ignore, UnknownFields::Reject]),
        select(vec![OnDead::Skip, OnDead::Block]),
        (any::<bool>(), option::of(any::<String>()), option::of(any::<String>())),
        delete(),
    )
        .prop_map(
            |(
                start,
                on_missing,
                on_existing,
                unknown_fields,
                on_dead,
                (every_change, filter, version_column),
                delete,
            )| {
                RouteSpec {
                    start,
                    on_missing,
                    on_existing,
                    unknown_fields,
                    on_dead,
                    every_change,
                    filter,
                    version_column,
                    delete,
                    ..RouteSpec::default()
                }
            },
        )
}

fn route_of(name: String) -> impl Strategy<Value = RouteSpec> {
    let children = collection::vec((any::<String>(), "[a-z]{1,8}", any::<String>(), columns()), 0..3);
    (columns(), manners(), "[a-z]{1,8}(\\.[a-zA-Z \"]{1,8})?", any::<bool>(), 1_u64..9, children).prop_map(
        move |(columns, manners, table, keyed, version, children)| {
            let key: Vec<String> = match &columns {
                Columns::Named(named) if keyed => named.keys().take(2).cloned().collect(),
                Columns::Matching(_) if keyed => vec!["id\n\\".into()],
                _ => Vec::new(),
            };
            // A child of a route without a key has nothing to find its parent by.
            let children = if key.is_empty() { Vec::new() } else { children };
            let child = |(from, table, column, columns): (String, String, String, Columns)| ChildSpec {
                from,
                table,
                parent: key.iter().enumerate().map(|(at, of)| (format!("{column}{at}"), of.clone())).collect(),
                columns,
            };
            RouteSpec {
                id: "abc".into(),
                version,
                name: name.clone(),
                application: "app".into(),
                topic: "t".into(),
                destination: "db".into(),
                table,
                children: children.into_iter().map(child).collect(),
                key,
                columns,
                ..manners
            }
        },
    )
}

fn destination_of(key: &MasterKey) -> impl Strategy<Value = Destination> + use<> {
    let sealed = key.seal("d00000000001", &"hunter2".into());
    let tls = (select(vec![TlsMode::Verify, TlsMode::Require, TlsMode::Off]), option::of(any::<String>()));
    (any::<bool>(), option::of(tls), option::of("[a-z0-9_-][a-z0-9._-]{0,8}")).prop_map(
        move |(with_password, tls, node)| Destination {
            id: "d00000000001".into(),
            name: "db".into(),
            kind: "postgres".into(),
            url: "postgres://writer@db.example:5433/cars?search_path=a%20b".into(),
            password: with_password.then(|| sealed.clone()),
            delivery: Delivery::Ordered,
            tls: tls.map(|(mode, ca)| Tls { mode, ca }),
            node,
            revision: 3,
            by_hand: Default::default(),
        },
    )
}

fn text_name() -> String {
    "with.schema".into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn an_exported_document_applies_to_no_changes(
        routes in (route_of("r-1".into()), route_of("r.2".into())),
        topics in collection::btree_map("[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,11}", Just(()), 0..4),
        schema in option::of("[a-z \"\n]{0,9}"),
        destination in destination_of(&MasterKey::generate()),
        limit in option::of(1_u32..=1_000_000),
        stopped in (any::<bool>(), any::<bool>(), 0_u64..3),
    ) {
        let by = |set: bool| set.then(|| Stopped { by: "olga".into(), at_ms: 7 });
        let by_hand = ByHand { paused: by(stopped.0), breaker_open: by(stopped.1), breaker_closings: stopped.2 };
        let destination = Destination { by_hand, ..destination };
        let topics: BTreeMap<String, ()> = topics;
        let document = Document {
            version: 12,
            installation: "inst".into(),
            applications: vec![Application {
                name: "app".into(),
                schemas: schema.iter().map(|text| (text_name(), json!({"title":text,"type":"object"}).to_string())).collect(),
                topics: topics.into_keys().collect(),
                records_per_s: limit,
                broadcasts: false,
                created_at_ms: 1,
                keys: vec![],
            }],
            destinations: vec![destination],
            routes: vec![routes.0, routes.1],
            ..Document::default()
        };
        // As it is read back from Redis: nothing may be lost on that way either.
        let stored: Document = serde_json::from_str(&serde_json::to_string(&document).unwrap()).unwrap();
        prop_assert_eq!(&stored, &document);
        let text = export(&document);
        let manifest = Manifest::parse(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        // Whether an arbitrary route can work is another matter: what it says is said.
        let said: Vec<RouteSpec> = manifest.routes.iter().map(|entry| entry.spec.clone()).collect();
        let wanted: Vec<RouteSpec> =
            document.routes.iter().map(|route| RouteSpec { id: String::new(), version: 0, ..route.clone() }).collect();
        prop_assert_eq!(said, wanted, "{}", text);
        let document = Document { routes: Vec::new(), ..document };
        let manifest = Manifest::parse(&export(&document)).unwrap();
        let means = Means { master_key: None, environment: &|_| None, folder: Path::new("/"), now_ms: 5, prune: true };
        let plan = plan(&manifest, &document, &means).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(plan.changes, vec![]);
        prop_assert_eq!(plan.document, document);
    }
}

#[test]
fn the_text_reads_as_an_operator_would_write_it() {
    let manifest = Manifest::parse(include_str!("../manifest/example.toml")).unwrap();
    let key = MasterKey::generate();
    let means = Means {
        master_key: Some(&key),
        environment: &|_| Some("hunter2".into()),
        folder: Path::new("/"),
        now_ms: 5,
        prune: false,
    };
    let document = plan(&manifest, &Document::default(), &means).unwrap().document;
    insta::assert_snapshot!(export(&document), @r###"
[[application]]
name = "car-app"
topics = ["cars"]

[[destination]]
name = "rooms"
kind = "mysql"
url = "mysql://writer@10.0.0.5/cars_room"
password = { kept = true }
tls = { mode = "verify", ca = "/etc/tidegate/rooms-ca.pem" }

[[route]]
name = "rooms-cars"
application = "car-app"
topic = "cars"
destination = "rooms"
table = "cars"
key = ["id"]
start = "now"
[route.columns]
car_name = { from = "car_name", clean = ["trim"] }
id = "id"
stock = { from = "stock", as = "int", default = 0 }
"###);
}

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeMap, path::Path};

use proptest::{collection, option, prelude::*, sample::select};
use tidegate_actors::route::{Cast, CleanStep, OnMissing, Start};

use super::*;
use crate::{
    registry::{
        manifest::Manifest,
        plan::{Means, plan},
        secrets::MasterKey,
    },
    resources::{Tls, TlsMode},
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

fn source() -> impl Strategy<Value = ColumnSource> {
    let clean =
        select(vec![CleanStep::Trim, CleanStep::Collapse, CleanStep::Lower, CleanStep::Upper, CleanStep::NullIfEmpty]);
    let cast = select(vec![
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
    ]);
    prop_oneof![
        any::<String>().prop_map(ColumnSource::Field),
        (option::of(any::<String>()), collection::vec(clean, 0..3), option::of(cast), option::of(default_value()))
            .prop_map(|(from, clean, cast, default)| {
                ColumnSource::Detailed(ColumnRule { from, clean, cast, default, ..ColumnRule::default() })
            }),
    ]
}

fn route_of(name: String) -> impl Strategy<Value = RouteSpec> {
    let columns: BoxedStrategy<Columns> = prop_oneof![
        Just(Columns::default()),
        collection::btree_map(any::<String>(), source(), 1..4).prop_map(Columns::Named),
    ]
    .boxed();
    let start = select(vec![Start::Now, Start::Earliest, Start::At("2026-01-31T08:00:00+07:00".into())]);
    let on_missing = select(vec![OnMissing::Reject, OnMissing::Ignore, OnMissing::Insert]);
    (columns, start, on_missing, any::<bool>(), "[a-z]{1,8}(\\.[a-zA-Z \"]{1,8})?", any::<bool>(), 1_u64..9).prop_map(
        move |(columns, start, on_missing, every_change, table, keyed, version)| {
            let key = match &columns {
                Columns::Named(named) if keyed => named.keys().take(2).cloned().collect(),
                Columns::Matching(_) if keyed => vec!["id\n\\".into()],
                _ => Vec::new(),
            };
            RouteSpec {
                id: "abc".into(),
                version,
                name: name.clone(),
                application: "app".into(),
                topic: "t".into(),
                destination: "db".into(),
                table,
                key,
                start,
                on_missing,
                every_change,
                columns,
                ..RouteSpec::default()
            }
        },
    )
}

fn destination_of(key: &MasterKey) -> impl Strategy<Value = Destination> + use<> {
    let sealed = key.seal("d00000000001", &"hunter2".into());
    let tls = (select(vec![TlsMode::Verify, TlsMode::Require, TlsMode::Off]), option::of(any::<String>()));
    (any::<bool>(), option::of(tls), option::of("[a-z0-9._-]{1,9}")).prop_map(move |(with_password, tls, node)| {
        Destination {
            id: "d00000000001".into(),
            name: "db".into(),
            kind: "postgres".into(),
            url: "postgres://writer@db.example:5433/cars?search_path=a%20b".into(),
            password: with_password.then(|| sealed.clone()),
            delivery: Delivery::Ordered,
            tls: tls.map(|(mode, ca)| Tls { mode, ca }),
            node,
            revision: 3,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn an_exported_document_applies_to_no_changes(
        routes in (route_of("r-1".into()), route_of("r.2".into())),
        topics in collection::btree_map("[a-zA-Z0-9._-]{1,12}", Just(()), 0..4),
        destination in destination_of(&MasterKey::generate()),
    ) {
        let topics: BTreeMap<String, ()> = topics;
        let document = Document {
            version: 12,
            installation: "inst".into(),
            applications: vec![Application { name: "app".into(), topics: topics.into_keys().collect(), created_at_ms: 1, keys: vec![] }],
            destinations: vec![destination],
            routes: vec![routes.0, routes.1],
        };
        // As it is read back from Redis: nothing may be lost on that way either.
        let stored: Document = serde_json::from_str(&serde_json::to_string(&document).unwrap()).unwrap();
        prop_assert_eq!(&stored, &document);
        let text = export(&document);
        let manifest = Manifest::parse(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
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

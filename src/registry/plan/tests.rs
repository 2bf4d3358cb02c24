#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::resources::{ByHand, Stopped};

const EXAMPLE: &str = include_str!("../manifest/example.toml");

fn means<'a>(key: Option<&'a MasterKey>, environment: &'a dyn Fn(&str) -> Option<String>, prune: bool) -> Means<'a> {
    Means { master_key: key, environment, folder: Path::new("/nonexistent"), now_ms: 7, prune }
}

fn hunter2(name: &str) -> Option<String> {
    (name == "ROOMS_PASSWORD").then(|| "hunter2".into())
}

fn apply(text: &str, current: &Document, key: &MasterKey) -> Plan {
    plan(&Manifest::parse(text).unwrap(), current, &means(Some(key), &hunter2, false)).unwrap()
}

fn words(plan: &Plan) -> String {
    plan.changes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_is_created_once_and_then_changes_nothing() {
    let key = MasterKey::generate();
    let first = apply(EXAMPLE, &Document::default(), &key);
    insta::assert_snapshot!(words(&first), @r###"
create application `car-app`: topics cars
create destination `rooms`: mysql at mysql://writer@10.0.0.5/cars_room
create route `rooms-cars`: topic `cars` of `car-app` into table `cars` of `rooms`, from now
"###);
    assert_eq!(first.document.routes[0].version, 1);
    assert_eq!(first.document.destinations[0].revision, 1);
    assert_eq!(first.document.destinations[0].id.len(), 12);
    let again = apply(EXAMPLE, &first.document, &key);
    assert_eq!(again.changes, []);
    assert_eq!(again.document, first.document);
    assert!(!format!("{first:?}").contains("hunter2"));
}

#[test]
fn changes_are_told_in_words_and_counted() {
    let key = MasterKey::generate();
    let first = apply(EXAMPLE, &Document::default(), &key).document;
    let text = EXAMPLE
        .replace("10.0.0.5", "10.0.0.6")
        .replace("{ env = \"ROOMS_PASSWORD\" }", "\"hunter3\"")
        .replace("topics = [\"cars\"]", "topics = [\"cars\", \"sales\"]")
        .replace("as = \"int\", default = 0", "as = \"int\"")
        .replace("[\"id\"]", "[\"id\", \"car_name\"]");
    let second = apply(&text, &first, &key);
    insta::assert_snapshot!(words(&second), @r###"
update application `car-app`: topics added: sales
update destination `rooms`: url mysql://writer@10.0.0.5/cars_room → mysql://writer@10.0.0.6/cars_room; password changed
update route `rooms-cars`: key ["id"] → ["id","car_name"]; column stock {"as":"int","default":0,"from":"stock"} → {"as":"int","from":"stock"}
"###);
    assert_eq!((second.document.routes[0].version, second.document.destinations[0].revision), (2, 2));
    assert_eq!(second.document.routes[0].id, first.routes[0].id);
    assert_eq!(second.document.destinations[0].id, first.destinations[0].id);
    assert!(!words(&second).contains("hunter"));
}

#[test]
fn what_the_file_lacks_is_left_or_pruned() {
    let key = MasterKey::generate();
    let mut first = apply(EXAMPLE, &Document::default(), &key).document;
    super::super::keys::create(&mut first, "car-app", None, 0).unwrap();
    let manifest = Manifest::parse("[[application]]\nname = \"other\"").unwrap();
    let left = plan(&manifest, &first, &means(None, &hunter2, false)).unwrap();
    assert_eq!(left.left, ["route `rooms-cars`", "destination `rooms`", "application `car-app`"]);
    assert_eq!(left.document.routes, first.routes);
    let pruned = plan(&manifest, &first, &means(None, &hunter2, true)).unwrap();
    insta::assert_snapshot!(words(&pruned), @r###"
remove route `rooms-cars`
remove destination `rooms`
remove application `car-app`: with its API key
create application `other`
"###);
    assert_eq!(pruned.document.routes.len() + pruned.document.destinations.len(), 0);
    assert_eq!(pruned.document.applications.len(), 1);
}

#[test]
fn references_that_lead_nowhere_are_told_with_their_lines() {
    let text = EXAMPLE
        .replace("application = \"car-app\"", "application = \"car-ap\"")
        .replace("destination = \"rooms\"", "destination = \"roms\"");
    let manifest = Manifest::parse(&text).unwrap();
    let key = MasterKey::generate();
    let error = plan(&manifest, &Document::default(), &means(Some(&key), &hunter2, false)).unwrap_err();
    insta::assert_snapshot!(error, @r###"
line 15, column 15: there is no application `car-ap`; did you mean `car-app`?
line 17, column 15: there is no destination `roms`; did you mean `rooms`?
"###);
}

#[test]
fn passwords_that_cannot_be_read_or_kept_are_told_with_the_remedy() {
    let key = MasterKey::generate();
    let refused = |text: &str, key: Option<&MasterKey>, environment: &dyn Fn(&str) -> Option<String>| {
        plan(&Manifest::parse(text).unwrap(), &Document::default(), &means(key, environment, false))
            .unwrap_err()
            .to_string()
    };
    insta::assert_snapshot!(refused(EXAMPLE, Some(&key), &|_| None), @"line 9, column 12: the password of destination `rooms`: the environment variable ROOMS_PASSWORD is not set here; set it and apply again");
    insta::assert_snapshot!(refused(EXAMPLE, None, &hunter2), @"line 9, column 12: the password of destination `rooms`: there is no master key; make one with `tidegate key generate-master`, keep it in a file that only Tidegate may read, and name that file in `master_key_file` (or set TIDEGATE_MASTER_KEY)");
    let kept = EXAMPLE.replace("env = \"ROOMS_PASSWORD\"", "kept = true");
    insta::assert_snapshot!(refused(&kept, Some(&key), &hunter2), @r#"line 9, column 12: the password of destination `rooms`: the registry keeps none; give it as { env = "NAME" } or { file = "path" }"#);
    let file = EXAMPLE.replace("env = \"ROOMS_PASSWORD\"", "file = \"pw\"");
    insta::assert_snapshot!(refused(&file, Some(&key), &hunter2), @"line 9, column 12: the password of destination `rooms`: cannot read /nonexistent/pw: No such file or directory (os error 2); check the path and its rights");
}

#[test]
fn a_route_that_moves_begins_anew() {
    let key = MasterKey::generate();
    let first = apply(EXAMPLE, &Document::default(), &key).document;
    let text = format!(
        "{}\n[[destination]]\nname = \"lofts\"\nkind = \"mysql\"\nurl = \"mysql://w@h/d\"\n",
        EXAMPLE.replace("destination = \"rooms\"", "destination = \"lofts\"")
    );
    let moved = apply(&text, &first, &key);
    insta::assert_snapshot!(words(&moved), @r###"
create destination `lofts`: mysql at mysql://w@h/d
replace route `rooms-cars`: destination rooms → lofts; it begins anew at now
"###);
    assert_ne!(moved.document.routes[0].id, first.routes[0].id);
    assert_eq!(moved.document.routes[0].version, 1);
}

#[test]
fn a_topic_that_is_nearly_a_listed_one_is_noted() {
    let key = MasterKey::generate();
    let noted = apply(&EXAMPLE.replace("topic = \"cars\"", "topic = \"car\""), &Document::default(), &key);
    insta::assert_snapshot!(noted.notes.join("\n"), @"route `rooms-cars` makes topic `car` of `car-app` exist, which is not listed; was `cars` meant?");
}

#[test]
fn a_parallel_destination_wants_keyed_routes() {
    let text = EXAMPLE.replace("\"ordered\"", "\"parallel\"").replace("key = [\"id\"]", "");
    let key = MasterKey::generate();
    let error =
        plan(&Manifest::parse(&text).unwrap(), &Document::default(), &means(Some(&key), &hunter2, false)).unwrap_err();
    insta::assert_snapshot!(error, @"line 17, column 15: destination `rooms` is parallel, so a record may come twice; give route `rooms-cars` a key");
}

#[test]
fn what_makes_no_sense_for_a_message_on_a_terminal_is_refused_with_the_reason() {
    const SHOPS: &str = r#"
[[application]]
name = "office"

[[destination]]
name = "shops"
kind = "broadcast"
url = "broadcast://shops"
delivery = "ordered"

[[route]]
name = "news"
application = "office"
topic = "items"
destination = "shops"
table = "broadcasts"
key = ["key"]
version_column = "valid_until"
[route.columns]
key = "sku"
audience = { value = "all" }
title = "name"
text = "text"
valid_until = "until"
"#;
    const CHILD: &str = r#"
[[route.children]]
from = "lines"
table = "broadcasts"
parent = { key = "key" }
columns = "matching"
"#;
    let refused =
        |text: &str| match plan(&Manifest::parse(text).unwrap(), &Document::default(), &means(None, &hunter2, false)) {
            Ok(_) => String::new(),
            Err(mistaken) => mistaken.to_string(),
        };
    assert_eq!(refused(SHOPS), "", "as it is meant");
    let parallel = refused(&SHOPS.replace("\"ordered\"", "\"parallel\""));
    assert!(parallel.starts_with("line 9, column 12: destination `shops`: people read what comes there"), "{parallel}");
    let version = refused(&SHOPS.replace("version_column = \"valid_until\"", "version_column = \"title\""));
    assert!(version.starts_with("line 18, column 1: route `news`: `title` does not tell which"), "{version}");
    let children = refused(&format!("{SHOPS}{CHILD}"));
    assert!(children.contains("route `news`: a message has no rows below it"), "{children}");
}

#[test]
fn a_destination_with_routes_keeps_its_way_of_delivery() {
    let key = MasterKey::generate();
    let first = apply(EXAMPLE, &Document::default(), &key).document;
    let text = EXAMPLE.replace("\"ordered\"", "\"parallel\"");
    let refused =
        |current: &Document| plan(&Manifest::parse(&text).unwrap(), current, &means(Some(&key), &hunter2, true));
    insta::assert_snapshot!(refused(&first).unwrap_err(), @"line 10, column 12: destination `rooms` is ordered and has routes: it can't become parallel while it has; give it another name, or remove its routes in an apply of its own first");
    let bare = Document { routes: Vec::new(), ..first };
    let switched = refused(&bare).unwrap().document;
    assert_eq!((switched.destinations[0].delivery, switched.destinations[0].revision), (Delivery::Parallel, 2));
}

#[test]
fn another_master_key_is_told() {
    let (old, new) = (MasterKey::generate(), MasterKey::generate());
    let first = apply(EXAMPLE, &Document::default(), &old).document;
    let told = |plan: Plan| {
        format!("{}{}", words(&plan), plan.notes.join("\n")).replace(old.id(), "OLD").replace(new.id(), "NEW")
    };
    let kept = EXAMPLE.replace("env = \"ROOMS_PASSWORD\"", "kept = true");
    insta::assert_snapshot!(told(apply(&kept, &first, &new)), @"the password of destination `rooms` is sealed with master key OLD, and the one given here is NEW: a node that has this one cannot use it until it is applied again");
    insta::assert_snapshot!(told(apply(EXAMPLE, &first, &new)), @"update destination `rooms`: password sealed with master key NEW instead of OLD");
}

#[test]
fn what_operators_set_by_hand_is_theirs_whatever_else_changes() {
    let key = MasterKey::generate();
    let mut first = apply(EXAMPLE, &Document::default(), &key).document;
    let stopped = |by: &str| Some(Stopped { by: by.into(), at_ms: 3 });
    first.destinations[0].by_hand =
        ByHand { paused: stopped("olga"), breaker_open: stopped("ana"), breaker_closings: 2 };
    let by_hand = first.destinations[0].by_hand.clone();
    let changed = [
        EXAMPLE.to_owned(),
        EXAMPLE.replace("10.0.0.5", "10.0.0.6"),
        EXAMPLE.replace("{ env = \"ROOMS_PASSWORD\" }", "\"hunter3\""),
        EXAMPLE.replace(", ca = \"/etc/tidegate/rooms-ca.pem\"", ""),
        "[[application]]\nname = \"other\"".to_owned(),
    ];
    for text in changed {
        let plan = apply(&text, &first, &key);
        assert_eq!(plan.document.destinations[0].by_hand, by_hand, "{text}");
    }
    // Where it goes with its destination, that is said.
    let manifest = Manifest::parse("[[application]]\nname = \"other\"").unwrap();
    let pruned = plan(&manifest, &first, &means(None, &hunter2, true)).unwrap();
    let said = "remove destination `rooms`: which olga has paused; whose breaker ana has opened by hand";
    assert!(words(&pruned).contains(said), "{}", words(&pruned));
}

#[test]
fn a_limit_is_as_the_file_says() {
    let key = MasterKey::generate();
    let with =
        |limit: &str| EXAMPLE.replace("topics = [\"cars\"]", &format!("topics = [\"cars\"]\nrecords_per_s = {limit}"));
    let first = apply(&with("5_000"), &Document::default(), &key);
    assert_eq!(first.document.applications[0].records_per_s, Some(5_000));
    assert!(words(&first).contains("topics cars; at most 5000 records a second and node"), "{}", words(&first));
    let less = apply(&with("70"), &first.document, &key);
    assert_eq!(words(&less), "update application `car-app`: at most 70 records a second and node, not 5000");
    assert_eq!(apply(&with("70"), &less.document, &key).changes, []);
    let none = apply(EXAMPLE, &less.document, &key);
    assert_eq!(words(&none), "update application `car-app`: no limit any more, which was 70 records a second and node");
    assert_eq!(none.document.applications[0].records_per_s, None);
    for wrong in ["0", "-1", "1_000_001", "99999999999999999999", "\"5\"", "1.5"] {
        let mistaken = Manifest::parse(&with(wrong)).unwrap_err().to_string();
        assert!(mistaken.starts_with("line 4, column 17: `records_per_s` is a"), "{wrong}: {mistaken}");
    }
}

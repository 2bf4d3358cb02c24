//! What head office does: correcting, recalling, reminding, scheduling, searching, and being told what will not do.

use std::time::Duration;

use tidegate::{
    admin::{
        ActError, Role, Who,
        broadcasts::{categories, changes, compose, history, receipts, shops},
    },
    broadcast::{
        message::{Audience, State},
        parts::{Colour, Icon, Sound},
        store::Broadcasts,
    },
    resources::{Category, Shop},
};

use super::{Scene, codes, draft, head_office, operator, to_shops};
use crate::servers::wait_for;

#[actix_web::test]
async fn corrections_and_recalls_come_in_order_and_a_late_terminal_sees_what_is_left() {
    let scene = Scene::start(&["a", "b"]).await;
    let (early, late) = (scene.terminal("a", "s1").await, scene.terminal("b", "s1").await);
    let listening = early.listen(None).await;
    listening.is_open().await;
    let admin = scene.admin().await;
    let (first, second) = (scene.send("Rice 12.000").await, scene.send("Sugar").await);
    let mut better = draft("Rice 12.500");
    better.must_confirm = true;
    let corrected = changes::correct(&admin, &head_office(), &first, &better).await.unwrap();
    assert_eq!((corrected.versions.len(), corrected.content.title.as_str()), (1, "Rice 12.500"));
    assert_eq!(corrected.audience, Audience::all(), "it is for whom it was");
    changes::recall(&admin, &head_office(), &second).await.unwrap();
    let again = changes::recall(&admin, &operator(), &second).await.unwrap();
    assert_eq!((again.state, again.recalled_by.as_deref()), (State::Recalled, Some("sari")), "the first one did it");
    let recall = format!("recall {second}");
    listening.until_told(&["message Rice 12.000", "message Sugar", "correct Rice 12.500", &recall]).await;

    let late = late.listen(None).await;
    late.until_told(&["message Rice 12.500"]).await;
    let refused = changes::correct(&admin, &head_office(), &second, &better).await.unwrap_err();
    assert!(matches!(refused, ActError::Conflict(_)), "{refused}");

    // Whoever has not confirmed is asked again, and nobody else.
    assert_eq!(early.receive(&[&first], true).await, 204);
    scene.has_receipts(&first, 1, 1).await;
    assert_eq!(changes::remind(&admin, &head_office(), &first).await.unwrap(), 1);
    late.until_told(&["message Rice 12.500", &format!("remind {first}")]).await;
    let after = scene.send("After").await;
    listening.until("what comes after", |told| told.last().is_some_and(|last| last == "message After")).await;
    assert!(!listening.told().iter().any(|told| told.starts_with("remind")), "{:?}", listening.told());
    let csv = receipts::csv(&admin, &head_office(), &first).await.unwrap();
    assert_eq!(csv.lines().count(), 3, "{csv}");
    assert!(csv.contains(",confirmed,") && csv.contains("Shop One"), "{csv}");
    assert!(history::show(&admin, &head_office(), &after).await.is_ok());
}

#[actix_web::test]
async fn what_is_scheduled_is_sent_once_though_two_nodes_look() {
    let scene = Scene::start(&["a", "b"]).await;
    let (one, two) = (scene.terminal("a", "s1").await, scene.terminal("b", "s2").await);
    let (first, second) = (one.listen(None).await, two.listen(None).await);
    first.is_open().await;
    second.is_open().await;
    let admin = scene.admin().await;
    let now = Broadcasts::new(&admin.redis).now().await.unwrap();
    let mut ids = Vec::new();
    for number in 0..20_u64 {
        let later = compose::Draft { send_at_ms: Some(now + 1_500 + number), ..draft(&format!("n{number}")) };
        ids.push(scene.send_draft(&later).await);
    }
    let never = compose::Draft { send_at_ms: Some(now + 2_000), ..draft("never") };
    let never = scene.send_draft(&never).await;
    assert_eq!(history::show(&admin, &head_office(), &never).await.unwrap().message.state, State::Scheduled);
    changes::recall(&admin, &head_office(), &never).await.unwrap();
    assert!(first.told().is_empty());
    for listening in [&first, &second] {
        listening.until("all of them", |told| told.len() >= 20).await;
    }
    let marker = scene.send("marker").await;
    for listening in [&first, &second] {
        listening.until("the marker", |told| told.iter().any(|told| told == "message marker")).await;
        let mut told = listening.told();
        assert_eq!(told.len(), 21, "{told:?}");
        told.sort();
        told.dedup();
        assert_eq!(told.len(), 21, "{told:?}");
        assert!(!told.contains(&"message never".to_owned()));
    }
    for id in ids.iter().chain([&marker]) {
        let row = history::show(&admin, &head_office(), id).await.unwrap();
        assert_eq!(row.message.state, State::Sent);
        assert!(row.message.sent_ms >= row.message.due_ms);
    }
}

#[actix_web::test]
async fn what_will_not_do_is_told_by_field_and_redis_away_is_told_as_that() {
    let mut scene = Scene::start(&[]).await;
    let admin = scene.admin().await;
    let nothing = compose::Draft::default();
    let refused = compose::send(&admin, &head_office(), &nothing).await.unwrap_err();
    let missing = |field: &str| (field.to_owned(), "missing");
    assert_eq!(codes(refused), ["audience", "category", "title", "text"].map(missing));
    let mut wrong = to_shops(&"x".repeat(121), &["s1", "nowhere"]);
    wrong.audience.regions = vec!["west".into(), "nowhere".into()];
    wrong.image = Some(b"<svg>".to_vec());
    wrong.valid_until_ms = Some(1);
    wrong.category = "sale".into();
    let refused = codes(compose::send(&admin, &head_office(), &wrong).await.unwrap_err());
    let found: Vec<&str> = refused.iter().map(|(_, code)| *code).collect();
    assert_eq!(found, ["unknown_region", "unknown_shop", "unknown", "too_long", "not_an_image", "in_the_past"]);
    let viewer = Who { name: "vera".into(), role: Role::Viewer, from: "10.0.0.1".into() };
    let refused = compose::send(&admin, &viewer, &draft("x")).await.unwrap_err();
    assert!(matches!(refused, ActError::Forbidden { needs: Role::Broadcaster }));
    assert!(history::list(&admin, &viewer, &history::Query::default()).await.unwrap().rows.is_empty());
    // Shops and categories are an operator's.
    let shop = Shop { name: "s9".into(), title: "Shop Nine".into(), region: "north".into() };
    assert!(matches!(shops::save(&admin, &head_office(), &shop, true).await, Err(ActError::Forbidden { .. })));
    shops::save(&admin, &operator(), &shop, true).await.unwrap();
    let taken = codes(shops::save(&admin, &operator(), &shop, true).await.unwrap_err());
    assert_eq!(taken, [("name".to_owned(), "taken")]);
    let own = Category {
        name: "sale".into(),
        title: "Sale".into(),
        title_id: Some("Obral".into()),
        colour: Colour::Red,
        icon: Icon::Star,
        sound: Sound::Alert,
    };
    categories::save(&admin, &operator(), &own, true).await.unwrap();
    let north = Audience { regions: vec!["north".into()], ..Audience::default() };
    let sale = compose::Draft { category: "sale".into(), audience: north, ..draft("Everything must go") };
    compose::send(&admin, &head_office(), &sale).await.unwrap();
    shops::remove(&admin, &operator(), "s9").await.unwrap();
    categories::remove(&admin, &operator(), "sale").await.unwrap();
    assert!(matches!(categories::remove(&admin, &operator(), "price").await, Err(ActError::Unknown(_))));

    scene.installation.redis.kill();
    let begun = std::time::Instant::now();
    let away = compose::send(&admin, &head_office(), &draft("x")).await.unwrap_err();
    assert!(matches!(away, ActError::Unavailable(_)), "{away}");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    let view = compose::view(&admin, &head_office()).await.unwrap();
    assert!(view.away.is_some() && view.tree.len() == 3, "{view:?}");
}

#[actix_web::test]
async fn the_history_is_searched_a_page_at_a_time() {
    let scene = Scene::start(&["a"]).await;
    let admin = scene.admin().await;
    for number in 0..120 {
        let shop = if number % 2 == 0 { "s1" } else { "s2" };
        scene.send_draft(&to_shops(&format!("number {number}"), &[shop])).await;
    }
    let (mut found, mut before, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let query = history::Query { before: before.clone(), ..history::Query::default() };
        let page = history::list(&admin, &head_office(), &query).await.unwrap();
        found.extend(page.rows.into_iter().map(|row| row.message.content.title));
        pages += 1;
        match page.next {
            Some(next) => before = next,
            None => break,
        }
    }
    let expected: Vec<String> = (0..120).rev().map(|number| format!("number {number}")).collect();
    assert_eq!((found, pages), (expected, 3));
    let query = history::Query { shop: "s1".into(), q: "NUMBER 11".into(), ..history::Query::default() };
    let page = history::list(&admin, &head_office(), &query).await.unwrap();
    let titles: Vec<_> = page.rows.iter().map(|row| row.message.content.title.as_str()).collect();
    assert_eq!(titles, ["number 118", "number 116", "number 114", "number 112", "number 110"]);
    assert_eq!(page.next, None);

    // A terminal sees its own shop's, older than itself too.
    let terminal = scene.terminal("a", "s2").await;
    let (mut found, mut before) = (Vec::new(), String::new());
    loop {
        let (status, page) = terminal.get(&format!("/terminal/history?limit=25&before={before}")).await;
        assert_eq!(status, 200, "{page}");
        found.extend(page["messages"].as_array().unwrap().iter().map(|one| one["title"].as_str().unwrap().to_owned()));
        match page["before"].as_str() {
            Some(next) => before = next.to_owned(),
            None => break,
        }
    }
    let expected: Vec<String> = (0..120).rev().filter(|n| n % 2 == 1).map(|n| format!("number {n}")).collect();
    assert_eq!(found, expected);
}

#[actix_web::test]
async fn what_is_older_than_it_is_kept_goes_with_its_receipts() {
    let scene = Scene::start(&["a"]).await;
    let terminal = scene.terminal("a", "s1").await;
    let id = scene.send("old").await;
    assert_eq!(terminal.receive(&[&id], true).await, 204);
    scene.has_receipts(&id, 1, 1).await;
    let admin = scene.admin().await;
    let who = operator();
    admin
        .registry(&who)
        .unwrap()
        .change(|current| {
            let mut document = current.clone();
            document.settings.broadcasts_kept_days = Some(0);
            Ok::<_, ActError>(tidegate::registry::Edit { document, what: vec!["keep nothing".into()], value: () })
        })
        .await
        .unwrap();
    // A node looks when it starts, and once a minute.
    let mut scene = scene;
    wait_for("the node knows", Duration::from_secs(10), async || {
        (scene.admin().await.document().settings.broadcasts_kept_days == Some(0)).then_some(())
    })
    .await;
    scene.node("a").kill();
    let installation = &scene.installation;
    scene.nodes.get_mut("a").unwrap().0.start(installation);
    wait_for("it is gone", Duration::from_secs(30), async || {
        history::show(&admin, &head_office(), &id).await.is_err().then_some(())
    })
    .await;
    let mut connection = scene.installation.redis.connection().await;
    let left: Vec<String> = redis::cmd("KEYS").arg("*receipts:*").query_async(&mut connection).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}

#[actix_web::test]
async fn what_is_for_later_counts_whom_it_reaches_when_it_is_sent_and_is_not_over_by_then() {
    let scene = Scene::start(&["a"]).await;
    let admin = scene.admin().await;
    let now = Broadcasts::new(&admin.redis).now().await.unwrap();
    let soon = compose::Draft { send_at_ms: Some(now + 5_000), ..draft("soon") };
    let soon = scene.send_draft(&soon).await;
    let terminal = scene.terminal("a", "s1").await;
    let listening = terminal.listen(None).await;
    listening.until_told(&["message soon"]).await;
    assert_eq!(history::show(&admin, &head_office(), &soon).await.unwrap().message.reach.terminals, 1);

    // A correction must not end it before its time.
    let later = compose::Draft { send_at_ms: Some(now + 86_400_000), ..draft("later") };
    let id = scene.send_draft(&later).await;
    let over = compose::Draft { valid_until_ms: Some(now + 3_600_000), ..later.clone() };
    let refused = changes::correct(&admin, &head_office(), &id, &over).await.unwrap_err();
    assert_eq!(codes(refused), [("valid_until".to_owned(), "before_sending")]);
    let good = compose::Draft { valid_until_ms: Some(now + 90_000_000), ..later };
    changes::correct(&admin, &head_office(), &id, &good).await.unwrap();
}

#[actix_web::test]
async fn whoever_was_enrolled_after_a_message_is_not_reminded_of_it() {
    let scene = Scene::start(&["a"]).await;
    let admin = scene.admin().await;
    let early = scene.terminal("a", "s1").await;
    let id = scene.send("Rice").await;
    let late = scene.terminal("a", "s1").await;
    let (early, late) = (early.listen(None).await, late.listen(None).await);
    early.until_told(&["message Rice"]).await;
    late.is_open().await;
    assert_eq!(scene.counts(&id).await.terminals, 1);
    assert_eq!(changes::remind(&admin, &head_office(), &id).await.unwrap(), 1, "as many as are missing on the page");
    early.until_told(&["message Rice", &format!("remind {id}")]).await;
    scene.send("After").await;
    late.until_told(&["message After"]).await;
}

#[actix_web::test]
async fn an_image_is_kept_as_long_as_the_last_message_that_has_it() {
    let scene = Scene::start(&[]).await;
    let admin = scene.admin().await;
    let picture = include_bytes!("../../../src/terminal/assets/icon-192.png");
    let now = Broadcasts::new(&admin.redis).now().await.unwrap();
    let with = |send_at_ms| compose::Draft { image: Some(picture.to_vec()), send_at_ms, ..draft("Picture") };
    let mut connection = scene.installation.redis.connection().await;
    let mut days_left = async || {
        let found: Vec<String> =
            redis::cmd("KEYS").arg("tidegate:{broadcasts}:image:*").query_async(&mut connection).await.unwrap();
        let left: u64 = redis::cmd("PTTL").arg(&found[0]).query_async(&mut connection).await.unwrap();
        left.div_ceil(86_400_000)
    };
    scene.send_draft(&with(None)).await;
    assert_eq!(days_left().await, 91);
    // From when it is sent, and no less because it is sent again before that.
    for send_at_ms in [Some(now + 60 * 86_400_000), None] {
        scene.send_draft(&with(send_at_ms)).await;
        assert_eq!(days_left().await, 151);
    }
}

//! One-time codes that are open, and the figures of the compose page that follow what happens.

use super::{Chromium, EN, HeadOffice, ID, LONG, PASSWORD, signs_in};

#[actix_rt::test]
async fn open_codes_are_listed_without_the_code_and_can_be_taken_back() {
    let mut head = HeadOffice::open().await;
    let (wanted, used) = (head.code("surabaya", "Back office").await, head.code("bandung-1", "Counter 1").await);
    let office = head.desk().await;
    office.visit("/console/terminals").await;
    office.sees("Open codes").await;
    office.sees("Good until").await;
    let text = office.text().await;
    for said in ["Back office", "Toko Surabaya", "Counter 1", "Toko Bandung Satu", "op"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let page = office.run("return document.documentElement.outerHTML").await;
    for code in [&wanted, &used] {
        assert!(!page.as_str().unwrap().contains(code.as_str()), "a code is told once");
    }
    assert_eq!(office.troubles().await, [""; 0]);
    // One that is used goes from the list.
    let shop = Chromium::open(&head.scene.base).await;
    shop.visit(&format!("/terminal#code={used}")).await;
    shop.press(EN.enrol).await;
    shop.sees_within(EN.connected, LONG).await;
    office.until("the used code to go", LONG, async || !office.offers("Take back: Counter 1").await).await;
    assert!(office.offers("Take back: Back office").await);
    // The question may stand there while the list is drawn anew.
    office.press("Take back: Back office").await;
    office.sees("Nobody becomes a terminal of Toko Surabaya").await;
    office.is_accessible().await;
    office.run("document.getElementById('terminals').dataset.old = 'yes'").await;
    let anew = "return document.getElementById('terminals').dataset.old !== 'yes'";
    office.until("the list to be drawn anew", LONG, async || office.run(anew).await == true).await;
    office.press_at("dialog button[value=yes]").await;
    office.sees("The code for Toko Surabaya is taken back").await;
    office.sees_no_more("Open codes").await;
    let late = Chromium::open(&head.scene.base).await;
    late.visit(&format!("/terminal#code={wanted}")).await;
    late.press(EN.enrol).await;
    late.sees("This code is wrong, was used already, or is too old").await;
    // Twice, by somebody whose page is old.
    let gone = head.operator.post("/console/terminals/~codes/abcdefghijkl/take-back", &head.csrf, &[]).await;
    assert_eq!((gone.status, gone.to().as_str()), (303, "/console/terminals"));
    let page = head.operator.get("/console/terminals").await.body;
    assert!(page.contains("this code was used, taken back, or is over"), "{page}");
    // The same in Indonesian, with a code for a terminal without a name.
    let admin = Chromium::open_in(&head.scene.base, "id-ID").await;
    head.code("surabaya", "").await;
    signs_in(&admin, &ID, "op", PASSWORD).await;
    admin.sees("Ringkasan").await;
    admin.visit("/console/terminals").await;
    admin.sees("Kode yang masih terbuka").await;
    admin.sees("Berlaku sampai").await;
    // A viewer is not told of codes.
    let mut viewer = head.scene.browser_of("vi").await;
    let page = viewer.get("/console/terminals").await.body;
    assert!(page.contains("Counter 1") && !page.contains("Open codes"), "{page}");
    for browser in [office, shop, late, admin] {
        browser.close().await;
    }
}

#[actix_rt::test]
async fn how_many_a_message_reaches_follows_while_one_writes() {
    let mut head = HeadOffice::open().await;
    let office = head.desk().await;
    office.visit("/console/broadcast").await;
    office.sees("Terminals reached: 0").await;
    office.fill("Title", "Half written").await;
    // Nothing is pressed here: a shop comes on, then its terminal is revoked.
    let shop = head.terminal("surabaya", "Counter 1", &EN).await;
    office.sees_within("Terminals reached: 1, on now: 1", LONG).await;
    office.fill("Chosen regions and shops", "yes").await;
    office.fill("Jawa Barat", "yes").await;
    office.sees("Terminals reached: 0, on now: 0").await;
    office.fill("Jawa Timur", "yes").await;
    office.sees("Terminals reached: 1, on now: 1").await;
    let id = head.operator.get("/console/terminals").await.after("<a id=\"terminal-");
    head.post(&format!("/console/terminals/{id}/revoke"), &[]).await;
    office.sees_within("Terminals reached: 0, on now: 0", LONG).await;
    assert_eq!(office.value("Title").await, "Half written", "what was typed stays");
    for browser in [office, shop] {
        browser.close().await;
    }
}

/// What stands beside a shop or a region of the tree.
async fn beside(office: &Chromium, name: &str) -> String {
    let script = format!(
        "const label = [...document.querySelectorAll('#tree label')].find(one => one.textContent.includes('{name}'));
         return label.parentElement.querySelector(':scope > small').textContent"
    );
    office.run(&script).await.as_str().unwrap_or_default().to_owned()
}

#[actix_rt::test]
async fn the_counts_of_the_tree_follow_and_nothing_that_was_chosen_is_lost() {
    let mut head = HeadOffice::open().await;
    let office = head.desk().await;
    office.visit("/console/broadcast").await;
    office.fill("Chosen regions and shops", "yes").await;
    office.fill("Jawa Timur", "yes").await;
    office.fill("Toko Bandung Dua", "yes").await;
    office.fill("Title", "Half written").await;
    let is = async |name: &str, wanted: &str| {
        let what = format!("`{wanted}` beside {name}");
        office.until(&what, LONG, async || beside(&office, name).await == wanted).await;
    };
    let stands = async || {
        let chosen = "return [...document.querySelectorAll('#tree input:checked')].map(one => one.value)";
        assert_eq!(office.run(chosen).await, serde_json::json!(["bandung-2", "Jawa Timur", "surabaya"]));
        assert_eq!(office.value("Title").await, "Half written");
    };
    is("Toko Surabaya", "no terminal").await;
    let shop = head.terminal("surabaya", "Counter 1", &EN).await;
    let other = head.terminal("bandung-2", "Counter 1", &EN).await;
    for name in ["Toko Surabaya", "Jawa Timur", "Toko Bandung Dua", "Jawa Barat"] {
        is(name, "1 of 1 on").await;
    }
    is("Toko Bandung Satu", "no terminal").await;
    stands().await;
    office.is_accessible().await;
    assert_eq!(office.complaints().await, [""; 0]);
    // Without Redis the reach is not known, and what was known of the tree stays as it is.
    head.scene.installation.redis.kill();
    office.sees_within("How many it reaches can't be told while Redis is away.", LONG).await;
    is("Toko Surabaya", "1 of 1 on").await;
    stands().await;
    head.scene.installation.redis.restart().await;
    office.sees_within("Terminals reached: 2", LONG).await;
    // It goes on by itself: a terminal is revoked.
    let id = head.operator.get("/console/terminals?shop=surabaya").await.after("<a id=\"terminal-");
    head.post(&format!("/console/terminals/{id}/revoke"), &[]).await;
    is("Toko Surabaya", "no terminal").await;
    is("Jawa Timur", "no terminal").await;
    stands().await;
    other.close().await;
    for browser in [office, shop] {
        browser.close().await;
    }
}

#[actix_rt::test]
async fn terminals_shops_categories_and_codes_are_found_sorted_and_paged() {
    let mut head = HeadOffice::open().await;
    for number in 0..52 {
        head.code("surabaya", &format!("Counter {number:02}")).await;
    }
    head.code("bandung-1", "Kasir").await;
    for (id, name, shop, created) in [
        ("aaaaaaaaaaaa", "Zebra", "bandung-1", "1700000000000"),
        ("bbbbbbbbbbbb", "Apple", "surabaya", "1600000000000"),
    ] {
        let record = format!(r#"{{"id":"{id}","name":"{name}","shop":"{shop}","created_ms":{created}}}"#);
        let mut connection = head.scene.installation.redis.connection().await;
        redis::pipe()
            .hset("tidegate:{broadcasts}:terminals", id, record)
            .incr("tidegate:{broadcasts}:terminals-version", 1)
            .query_async::<()>(&mut connection)
            .await
            .unwrap();
    }
    let operator = &mut head.operator;
    let before = |page: &str, first: &str, second: &str| {
        let (first, second) = (page.find(&format!(">{first}</a>")), page.find(&format!(">{second}</a>")));
        assert!(first.is_some() && second.is_some(), "{page}");
        first < second
    };
    let by_shop = operator.get("/console/terminals").await.body;
    assert!(before(&by_shop, "Zebra", "Apple"), "{by_shop}");
    assert!(before(&operator.get("/console/terminals?sort=terminal").await.body, "Apple", "Zebra"));
    assert!(before(&operator.get("/console/terminals?sort=created").await.body, "Apple", "Zebra"));
    assert!(before(&operator.get("/console/terminals?sort=-created").await.body, "Zebra", "Apple"));
    // The codes have pages of their own, which keep what is looked for.
    assert!(by_shop.contains("Page 1 of 2 · 53") && !by_shop.contains("Counter 51"), "{by_shop}");
    let second = operator.get("/console/terminals?sort=terminal&codes=2").await.body;
    assert!(second.contains("Counter 51") && !second.contains("Counter 03"), "{second}");
    assert!(second.contains("/console/terminals?sort=terminal\""), "back to the first: {second}");
    let named = operator.get("/console/terminals?codes-sort=-terminal").await.body;
    assert!(named.find("Kasir") < named.find("Counter 51") && named.contains("Counter 51"), "{named}");
    let bandung = operator.get("/console/terminals?shop=bandung-1").await.body;
    assert!(bandung.contains("Kasir") && !bandung.contains("Counter 01"), "{bandung}");
    let searched = operator.get("/console/terminals?q=counter+07").await.body;
    assert!(searched.contains("Counter 07") && !searched.contains("Counter 08"), "{searched}");
    // Shops by whatever stands in the heading.
    let shops = operator.get("/console/shops?sort=-region").await.body;
    assert!(before(&shops, "Toko Surabaya", "Toko Bandung Satu"), "{shops}");
    let shops = operator.get("/console/shops?sort=-terminals").await.body;
    assert!(before(&shops, "Toko Bandung Satu", "Toko Bandung Dua"), "{shops}");
    // What was sent, by time too.
    let id = head.announce(("all", ""), "Just sent", false).await;
    let operator = &mut head.operator;
    let sent = async |operator: &mut crate::console::browser::Browser, query: &str| {
        operator.get(&format!("/console/broadcast/sent?{query}")).await.body.contains(&id)
    };
    assert!(sent(operator, "from=2020-01-01").await && sent(operator, "to=2999-01-01T00:00:00Z").await);
    assert!(!sent(operator, "to=2020-01-01").await && !sent(operator, "from=2999-01-01").await);
    let odd = operator.get("/console/broadcast/sent?from=yesterday").await.body;
    assert!(odd.contains("Give a moment such as") && !odd.contains(&id), "{odd}");
    // Categories by their words.
    let found = operator.get("/console/broadcast/categories?q=PRICE").await.body;
    assert!(found.contains("Price information") && !found.contains("Announcement"), "{found}");
    let none = operator.get("/console/broadcast/categories?q=nothing").await.body;
    assert!(none.contains("Nothing found"), "{none}");
}

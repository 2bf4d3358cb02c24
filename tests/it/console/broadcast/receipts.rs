//! The receipts of a message: thousands of them, searched, filtered, a page at a time, and as a file.

use serde_json::json;

use super::{Chromium, EN, HeadOffice, ID, LONG, PASSWORD, is_quiet, pops_up, signs_in};

/// Rows of the table of receipts.
async fn rows(office: &Chromium) -> usize {
    office.run("return document.querySelectorAll('#receipts tbody tr').length").await.as_u64().unwrap() as usize
}

async fn reads(office: &Chromium, wanted: &str) {
    let script = "return document.getElementById('receipts')?.innerText ?? ''";
    office
        .until(&format!("`{wanted}` among the receipts"), LONG, async || {
            office.run(script).await.as_str().unwrap_or_default().contains(wanted)
        })
        .await;
}

/// Enrols terminals, as their records stand in Redis: `many` in `shop`, named by `name` and a number.
async fn enrol(head: &HeadOffice, shop: &str, name: &str, many: usize) {
    let mut connection = head.scene.installation.redis.connection().await;
    let mut pipe = redis::pipe();
    for number in 0..many {
        let id = format!("{}{number:08}", &shop[..4]);
        let record = json!({ "id": id, "name": format!("{name} {number}"), "shop": shop, "created_ms": 1 });
        pipe.hset("tidegate:{broadcasts}:terminals", id, record.to_string()).ignore();
    }
    pipe.incr("tidegate:{broadcasts}:terminals-version", 1).ignore();
    pipe.query_async::<()>(&mut connection).await.unwrap();
}

/// Receipts of the first ones of a shop: `received` of them, of which `confirmed` confirmed.
async fn receive(head: &HeadOffice, id: &str, shop: &str, received: usize, confirmed: usize) {
    let mut connection = head.scene.installation.redis.connection().await;
    let mut pipe = redis::pipe();
    for number in 0..received {
        let value = if number < confirmed { "1700000000000 1700000060000" } else { "1700000000000" };
        let key = format!("tidegate:{{broadcasts}}:receipts:{id}");
        pipe.hset(key, format!("{}{number:08}", &shop[..4]), value).ignore();
    }
    pipe.query_async::<()>(&mut connection).await.unwrap();
}

#[actix_rt::test]
async fn the_receipts_of_five_thousand_terminals_are_found_filtered_and_paged() {
    let mut head = HeadOffice::open().await;
    enrol(&head, "bandung-1", "Kasir", 3_000).await;
    enrol(&head, "surabaya", "Counter", 2_000).await;
    let id = head.announce(("all", ""), "To five thousand", true).await;
    receive(&head, &id, "bandung-1", 1_200, 700).await;
    let office = head.desk().await;
    let path = format!("/console/broadcast/sent/{id}");
    office.visit(&path).await;
    office.sees("1,200 of 5,000").await;
    office.sees("700 of 5,000").await;
    assert_eq!(rows(&office).await, 50, "never all of them");
    office.sees("Page 1 of 100").await;
    // Pages have addresses, and stay where they are while the figures follow.
    office.press("Next").await;
    office.is_at(&format!("{path}?page=2")).await;
    office.sees("Page 2 of 100").await;
    receive(&head, &id, "bandung-1", 1_250, 700).await;
    office.sees_within("1,250 of 5,000", LONG).await;
    office.sees("Page 2 of 100").await;
    // By whatever stands in the heading; the figures go on following.
    office.press_at("#receipt-list th a[href*='sort=terminal']").await;
    office.is_at(&format!("{path}?sort=terminal")).await;
    let first = async || office.run("return document.querySelector('#receipts tbody th').innerText.trim()").await;
    assert_eq!(first().await, "Counter 0");
    receive(&head, &id, "bandung-1", 1_251, 700).await;
    office.sees_within("1,251 of 5,000", LONG).await;
    assert_eq!(first().await, "Counter 0");
    office.visit(&format!("{path}?sort=-terminal")).await;
    assert_eq!(first().await, "Kasir 999");
    office.visit(&path).await;
    // By how they stand.
    office.press_at("#only-confirmed").await;
    office.is_at(&format!("{path}?only=confirmed")).await;
    office.sees("Page 1 of 14").await;
    office.press("To be confirmed").await;
    office.sees("Page 1 of 12").await;
    office.press("Off").await;
    office.sees("Page 1 of 75").await;
    office.press("Missing").await;
    office.is_at(&format!("{path}?only=missing")).await;
    office.sees("Page 1 of 75").await;
    office.is_accessible().await;
    // By words: a shop, a region, a terminal; what is being typed is not lost when the list is drawn anew.
    office.fill("Search terminals, shops and regions", "SURAB").await;
    receive(&head, &id, "bandung-1", 1_300, 700).await;
    office.sees_within("1,300 of 5,000", LONG).await;
    assert_eq!(office.value("Search terminals, shops and regions").await, "SURAB");
    office.press("Search").await;
    office.is_at(&format!("{path}?only=missing&q=SURAB")).await;
    reads(&office, "Terminals found: 2,000").await;
    office.press("All").await;
    office.fill("Search terminals, shops and regions", "Kasir 1299").await;
    office.press("Search").await;
    reads(&office, "Terminals found: 1").await;
    assert_eq!(rows(&office).await, 1);
    reads(&office, "To be confirmed").await;
    assert_eq!(office.troubles().await, [""; 0]);
    office.fill("Search terminals, shops and regions", "nothing like it").await;
    office.press("Search").await;
    reads(&office, "Nothing found").await;
    office.press("Clear").await;
    office.is_at(&path).await;
    // Somebody else opens the same address; one that is beyond the end is the last page.
    let other = Chromium::open_in(&head.scene.base, "id-ID").await;
    signs_in(&other, &ID, "vi", PASSWORD).await;
    other.sees("Ringkasan").await;
    other.visit(&format!("{path}?only=missing&q=jawa+timur&page=99")).await;
    reads(&other, "Terminal ditemukan: 2.000").await;
    other.sees("Halaman 40 dari 40").await;
    assert_eq!(rows(&other).await, 50);
    assert_eq!(office.complaints().await, [""; 0]);
    for browser in [office, other] {
        browser.close().await;
    }
}

#[actix_rt::test]
async fn receipts_are_loaded_down_as_a_file_that_a_spreadsheet_opens() {
    let mut head = HeadOffice::open().await;
    let shop = head.terminal("bandung-1", "=HYPERLINK(\"x\"), \"1\"", &EN).await;
    let off = head.terminal("surabaya", "Counter 1", &EN).await;
    off.visit("/console/sign-in").await;
    let id = head.announce(("all", ""), "Counted", true).await;
    pops_up(&shop, "Counted").await;
    shop.press("Confirm").await;
    is_quiet(&shop).await;
    let office = head.desk().await;
    office.visit(&format!("/console/broadcast/sent/{id}")).await;
    office.until("the confirmation", LONG, async || office.text().await.contains("Confirmed\n1 of 2")).await;
    office.press("CSV").await;
    let csv = office.downloaded(&format!("receipts-{id}.csv")).await;
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "terminal,name,shop,shop_title,region,state,on,received_at,confirmed_at");
    assert_eq!(lines.len(), 3, "{csv}");
    let line =
        |words: &str| *lines.iter().find(|line| line.contains(words)).unwrap_or_else(|| panic!("{words}: {csv}"));
    let theirs = line("bandung-1");
    assert!(
        theirs.contains(r#","'=HYPERLINK(""x""), ""1""",bandung-1,Toko Bandung Satu,Jawa Barat,confirmed,"#),
        "{csv}"
    );
    let times: Vec<&str> = theirs.rsplit(',').take(2).collect();
    assert!(times.iter().all(|time| time.contains('T') && time.ends_with('Z')), "{csv}");
    let theirs = line("surabaya");
    assert!(theirs.contains(",Counter 1,surabaya,Toko Surabaya,Jawa Timur,") && theirs.ends_with(",,"), "{csv}");
    assert_eq!(office.complaints().await, [""; 0]);
    for browser in [office, shop, off] {
        browser.close().await;
    }
}

#[actix_rt::test]
async fn receipts_that_nobody_can_tell_are_not_shown_as_live() {
    let mut head = HeadOffice::open().await;
    enrol(&head, "bandung-1", "Kasir", 3).await;
    let id = head.announce(("all", ""), "Who has it", true).await;
    receive(&head, &id, "bandung-1", 2, 1).await;
    let office = Chromium::open(&head.scene.base).await;
    office.sign_in("bo", PASSWORD).await;
    office.visit(&format!("/console/broadcast/sent/{id}")).await;
    office.sees("2 of 3").await;
    let said = async || office.run("return document.querySelector('.live').innerText").await;
    assert_eq!(said().await, "Live");
    head.scene.installation.redis.pause();
    office.sees_within("Not known at the moment", LONG).await;
    assert_eq!(said().await, "Reconnecting");
    office.is_accessible().await;
    head.scene.installation.redis.resume();
    office.until("the receipts to be live again", LONG, async || said().await == "Live").await;
    office.sees_no_more("Not known at the moment").await;
    receive(&head, &id, "bandung-1", 3, 1).await;
    office.sees_within("3 of 3", LONG).await;
    office.close().await;
}

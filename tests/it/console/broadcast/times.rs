//! Messages with an image, for later, and with an end.

use std::io::Write as _;

use serde_json::json;

use super::{Chromium, EN, HeadOffice, LONG, is_quiet, pops_up, popup};

/// Puts a moment so many seconds from now into a field for date and time, as somebody there would pick it.
async fn pick(office: &Chromium, field: &str, seconds: i64) {
    let script = format!(
        "const at = new Date(Date.now() + {seconds}000), field = document.getElementById('{field}');
         field.value = new Date(at - at.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
         field.dispatchEvent(new Event('input', {{ bubbles: true }}));
         // Browsers offer minutes; the test does not wait that long.
         document.getElementById('compose').noValidate = true;
         return field.value"
    );
    let picked = office.run(&script).await;
    assert_ne!(picked, json!(""), "{field}");
}

async fn writes(office: &Chromium, title: &str) {
    office.visit("/console/broadcast").await;
    office.fill("Title", title).await;
    office.fill("Text", "One line.").await;
}

/// The row of a message in the list of what was sent.
async fn listed(office: &Chromium, title: &str) -> String {
    let script = format!(
        "const row = [...document.querySelectorAll('tbody tr')].find(row => row.innerText.includes('{title}'));
         return row ? row.innerText : '';"
    );
    office.run(&script).await.as_str().unwrap_or_default().to_owned()
}

/// A picture's width and height as it is shown, once it is.
async fn shown(browser: &Chromium, selector: &str) -> serde_json::Value {
    let script = format!(
        "const image = document.querySelector('{selector}');
         return image && image.complete && image.naturalWidth ? [image.naturalWidth, image.naturalHeight, image.alt] : null"
    );
    browser.until(&format!("the picture {selector}"), LONG, async || !browser.run(&script).await.is_null()).await;
    browser.run(&script).await
}

#[actix_rt::test]
async fn an_image_is_picked_previewed_and_shown_in_the_pop_up() {
    let (head, shop, office) = HeadOffice::with_a_shop().await;
    writes(&office, "With a picture").await;
    // What is no picture is refused where it is picked.
    let odd = head.scene.installation.dir.path().join("notes.png");
    std::fs::write(&odd, "not a picture").unwrap();
    office.fill("Image", odd.to_str().unwrap()).await;
    office.sees("This file is not an image that a browser can show.").await;
    let picture = concat!(env!("CARGO_MANIFEST_DIR"), "/src/terminal/assets/icon-512.png");
    office.fill("Image", picture).await;
    office.sees_no_more("This file is not an image").await;
    office.sees("Remove the image").await;
    let canvas = "const c = document.getElementById('preview-image'); return [c.hidden, c.width > 0]";
    assert_eq!(office.run(canvas).await, json!([false, true]), "the preview has it");
    office.is_accessible().await;
    office.press("Send").await;
    office.sees("Message sent").await;
    pops_up(&shop, "With a picture").await;
    assert_eq!(shown(&shop, "#popup img").await, json!([512, 512, "Picture of the message"]));
    shop.fits().await;
    shop.is_accessible().await;
    assert_eq!(shown(&office, ".preview-popup img").await[0], 512, "head office sees it beside the receipts");
    office.is_accessible().await;
    shop.press("OK").await;
    is_quiet(&shop).await;
    // A correction keeps it, or takes it away.
    office.press("Correct").await;
    office.fill("Title", "With the same picture").await;
    office.press("Send the correction").await;
    pops_up(&shop, "With the same picture").await;
    assert_eq!(shown(&shop, "#popup img").await[0], 512);
    shop.press("OK").await;
    is_quiet(&shop).await;
    office.sees("Correction sent").await;
    office.press("Correct").await;
    office.press("Remove the image").await;
    office.fill("Title", "Without it").await;
    office.press("Send the correction").await;
    pops_up(&shop, "Without it").await;
    assert_eq!(shop.run("return document.querySelector('#popup img')").await, json!(null));
    shop.press("OK").await;
    is_quiet(&shop).await;
    // A photo that is too large is made smaller here.
    writes(&office, "A photo").await;
    let photo = head.scene.installation.dir.path().join("photo.bmp");
    std::fs::write(&photo, noise(900, 700)).unwrap();
    office.fill("Image", photo.to_str().unwrap()).await;
    office.sees("Remove the image").await;
    office.press("Send").await;
    office.sees("Message sent").await;
    pops_up(&shop, "A photo").await;
    let (width, height) = (900.0, 700.0);
    let small = shown(&shop, "#popup img").await;
    let ratio = small[0].as_f64().unwrap() / small[1].as_f64().unwrap();
    assert!((ratio - width / height).abs() < 0.01, "{small}");
    // Nobody else sees it, wherever they have its address from.
    let address = shop.run("return document.querySelector('#popup img').getAttribute('src')").await;
    let mut stranger = head.scene.browser();
    assert_eq!(stranger.get(address.as_str().unwrap()).await.status, 401);
    assert_eq!(shop.complaints().await, [""; 0]);
    assert_eq!(office.complaints().await, [""; 0]);
    for browser in [office, shop] {
        browser.close().await;
    }
}

/// A picture that can't be packed: nearly two megabytes as it is.
fn noise(width: u32, height: u32) -> Vec<u8> {
    let size = width * height * 3;
    let mut out = b"BM".to_vec();
    for number in [54 + size, 0, 54, 40, width, height] {
        out.extend(number.to_le_bytes());
    }
    out.extend([1, 0, 24, 0]);
    for number in [0, size, 2_835, 2_835, 0, 0_u32] {
        out.extend(number.to_le_bytes());
    }
    let mut state = 88_172_645_463_325_252_u64;
    for _ in 0..size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.write_all(&[state as u8]).unwrap();
    }
    out
}

#[actix_rt::test]
async fn what_is_for_later_comes_when_it_is_due_and_can_be_taken_back_before() {
    let (_head, shop, office) = HeadOffice::with_a_shop().await;
    // One for tomorrow, which is taken back.
    writes(&office, "For tomorrow").await;
    pick(&office, "send-at", 86_400).await;
    office.press("Schedule").await;
    office.sees("Message scheduled").await;
    office.sees("It will be sent:").await;
    assert!(!office.offers("Remind the rest").await);
    office.is_accessible().await;
    office.visit("/console/broadcast/sent?state=scheduled").await;
    let row = listed(&office, "For tomorrow").await;
    assert!(row.contains("Scheduled") && !row.contains("Sent"), "{row}");
    office.press("For tomorrow").await;
    office.press("Recall").await;
    office.sees("The message is not sent.").await;
    office.press_at("dialog button[value=yes]").await;
    office.sees("Message recalled").await;
    office.visit("/console/broadcast/sent?state=scheduled").await;
    office.sees("Nothing found").await;
    // One for a few seconds from now: nothing until then, then it is there, and the page that shows it says so.
    writes(&office, "In a moment").await;
    pick(&office, "send-at", 20).await;
    office.press("Schedule").await;
    office.sees("It will be sent:").await;
    assert_eq!(popup(&shop).await, "");
    pops_up(&shop, "In a moment").await;
    office.until("the receipt", LONG, async || office.text().await.contains("1 of 1")).await;
    office.sees_no_more("It will be sent:").await;
    office.is_accessible().await;
    shop.press("OK").await;
    is_quiet(&shop).await;
    office.visit("/console/broadcast/sent").await;
    assert!(listed(&office, "In a moment").await.contains("Sent"));
    assert!(listed(&office, "For tomorrow").await.contains("Recalled"));
    // The one that was taken back never came.
    assert!(!shop.text().await.contains("For tomorrow"), "{}", shop.text().await);
    assert_eq!(office.complaints().await, [""; 0]);
    for browser in [office, shop] {
        browser.close().await;
    }
}

#[actix_rt::test]
async fn what_is_over_pops_up_no_more_and_is_shown_as_over() {
    let (mut head, shop, office) = HeadOffice::with_a_shop().await;
    let off = head.terminal("surabaya", "Counter 1", &EN).await;
    off.visit("/console/sign-in").await;
    // An end before the beginning is told beside the field.
    writes(&office, "Never").await;
    pick(&office, "valid-until", 600).await;
    pick(&office, "send-at", 1_200).await;
    office.press("Schedule").await;
    office.sees("It would be over before it is sent").await;
    writes(&office, "Until soon").await;
    office.fill("Must be confirmed", "yes").await;
    pick(&office, "valid-until", 30).await;
    office.press("Send").await;
    office.sees("Message sent").await;
    pops_up(&shop, "Until soon").await;
    assert!(popup(&shop).await.contains("Valid until"), "{}", popup(&shop).await);
    // Its time ends while it is up, although nobody confirmed it.
    is_quiet(&shop).await;
    shop.sees("No longer valid").await;
    shop.is_accessible().await;
    shop.press_at(".message").await;
    pops_up(&shop, "Until soon").await;
    assert!(!shop.offers("Confirm").await, "there is nothing left to confirm");
    shop.press("Close").await;
    // A terminal that was off is not bothered with it, but finds it in its history.
    off.visit("/terminal").await;
    off.sees_within("Connected", LONG).await;
    head.announce(("all", ""), "After it", false).await;
    pops_up(&off, "After it").await;
    assert!(!popup(&off).await.contains("1 of 2"));
    off.press("OK").await;
    is_quiet(&off).await;
    off.sees("Until soon").await;
    off.sees("No longer valid").await;
    // Head office sees who had it in time, that it is over, and reminds nobody.
    office.visit("/console/broadcast/sent").await;
    let row = listed(&office, "Until soon").await;
    assert!(row.contains("No longer valid") && row.contains("1 / 2"), "{row}");
    office.press("Until soon").await;
    office.sees("1 of 2").await;
    assert!(!office.offers("Remind the rest").await);
    assert_eq!(office.complaints().await.iter().filter(|line| !line.contains("422")).count(), 0);
    for browser in [office, shop, off] {
        browser.close().await;
    }
}

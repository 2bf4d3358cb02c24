//! Broadcasts in real browsers: head office at its console, shops at their terminals, in both languages, as they would live it.

mod codes;
mod receipts;
mod times;

use std::{path::PathBuf, time::Duration};

use super::{
    PASSWORD, Scene,
    browser::Browser,
    chromium::{Chromium, Look},
};

/// How long a story waits for what takes a while: a stream that comes back, a beat that fails.
const LONG: Duration = Duration::from_secs(40);
/// A folder for pictures.
const PICTURES: &str = "TIDEGATE_SCREENS";

/// The words of a language, as people read them.
struct Words {
    browser: &'static str,
    name: &'static str,
    password: &'static str,
    sign_in: &'static str,
    wrong: &'static str,
    compose: &'static str,
    price: &'static str,
    announcement: &'static str,
    title: &'static str,
    text: &'static str,
    must_confirm: &'static str,
    send: &'static str,
    sent: &'static str,
    failed: &'static str,
    received: &'static str,
    of: &'static str,
    enrol: &'static str,
    connected: &'static str,
    away: &'static str,
    confirm: &'static str,
}

const EN: Words = Words {
    browser: "en-US",
    name: "User name",
    password: "Password",
    sign_in: "Sign in",
    wrong: "User name and password do not match",
    compose: "New message",
    price: "Price information",
    announcement: "Announcement",
    title: "Title",
    text: "Text",
    must_confirm: "Must be confirmed",
    send: "Send",
    sent: "Message sent",
    failed: "Message failed, check the connection",
    received: "Received",
    of: "of",
    enrol: "Connect and turn on sound",
    connected: "Connected",
    away: "Head office away",
    confirm: "Confirm",
};

const ID: Words = Words {
    browser: "id-ID",
    name: "Nama pengguna",
    password: "Kata sandi",
    sign_in: "Masuk",
    wrong: "Username dan Password anda tidak sesuai",
    compose: "Pesan baru",
    price: "Informasi harga",
    announcement: "Pengumuman",
    title: "Judul",
    text: "Teks",
    must_confirm: "Harus dikonfirmasi",
    send: "Kirim",
    sent: "Pesan berhasil terkirim",
    failed: "Pesan gagal terkirim, silahkan periksa koneksi",
    received: "Diterima",
    of: "dari",
    enrol: "Hubungkan dan aktifkan suara",
    connected: "Terhubung",
    away: "Pusat terputus",
    confirm: "Konfirmasi",
};

/// Head office with two shops in one region and one in another.
struct HeadOffice {
    scene: Scene,
    operator: Browser,
    csrf: String,
}

impl HeadOffice {
    async fn open() -> Self {
        let scene = Scene::start(&["op:operator", "bo:broadcaster", "vi:viewer"]).await;
        let mut operator = scene.browser();
        let csrf = operator.sign_in("op", PASSWORD).await.csrf();
        let mut office = Self { scene, operator, csrf };
        for (name, title, region) in [
            ("bandung-1", "Toko Bandung Satu", "Jawa Barat"),
            ("bandung-2", "Toko Bandung Dua", "Jawa Barat"),
            ("surabaya", "Toko Surabaya", "Jawa Timur"),
        ] {
            office.post("/console/shops/~new", &[("name", name), ("title", title), ("region", region)]).await;
        }
        office
    }

    /// The same with a terminal of `bandung-1` that is on, and the broadcaster's browser.
    async fn with_a_shop() -> (Self, Chromium, Chromium) {
        let mut office = Self::open().await;
        let shop = office.terminal("bandung-1", "Counter 1", &EN).await;
        let desk = office.desk().await;
        (office, shop, desk)
    }

    /// A browser in which the broadcaster is signed in.
    async fn desk(&self) -> Chromium {
        let desk = Chromium::open(&self.scene.base).await;
        desk.sign_in("bo", PASSWORD).await;
        desk
    }

    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) {
        let answer = self.operator.post(path, &self.csrf, fields).await;
        assert_eq!(answer.status, 303, "{path}: {}", answer.body);
    }

    /// A one-time code for a terminal of this shop.
    async fn code(&mut self, shop: &str, name: &str) -> String {
        let given = [("shop", shop), ("name", name)];
        let made = self.operator.post("/console/terminals/~new", &self.csrf, &given).await;
        assert_eq!(made.status, 200, "{}", made.body);
        let (_, rest) = made.body.split_once("/terminal#code=").unwrap();
        rest.split('<').next().unwrap().to_owned()
    }

    /// Writes a message by a plain form, as the operator; its id.
    async fn send(&mut self, fields: &[(&str, &str)]) -> String {
        let answer = self.operator.post("/console/broadcast", &self.csrf, fields).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        answer.to().strip_prefix("/console/broadcast/sent/").unwrap().to_owned()
    }

    async fn announce(&mut self, audience: (&str, &str), title: &str, must_confirm: bool) -> String {
        let scope = if audience.0 == "all" { "all" } else { "some" };
        let mut fields =
            vec![("audience", scope), ("category", "announcement"), ("title", title), ("text", "One line.\nAnother.")];
        if scope == "some" {
            fields.push(audience);
        }
        if must_confirm {
            fields.push(("must_confirm", "1"));
        }
        self.send(&fields).await
    }

    /// A browser that becomes a terminal of this shop.
    async fn terminal(&mut self, shop: &str, name: &str, words: &Words) -> Chromium {
        let code = self.code(shop, name).await;
        let terminal = Chromium::open_in(&self.scene.base, words.browser).await;
        terminal.visit(&format!("/terminal#code={code}")).await;
        terminal.press(words.enrol).await;
        terminal.sees_within(words.connected, LONG).await;
        terminal
    }
}

/// What the pop-up of a terminal says; nothing where there is none.
async fn popup(terminal: &Chromium) -> String {
    let shown =
        terminal.run("const p = document.getElementById('popup'); return p && p.open ? p.innerText : '';").await;
    shown.as_str().unwrap_or_default().to_owned()
}

async fn pops_up(terminal: &Chromium, wanted: &str) {
    terminal.until(&format!("the pop-up `{wanted}`"), LONG, async || popup(terminal).await.contains(wanted)).await;
}

async fn is_quiet(terminal: &Chromium) {
    terminal.until("no pop-up", LONG, async || popup(terminal).await.is_empty()).await;
}

async fn signs_in(office: &Chromium, words: &Words, name: &str, password: &str) {
    office.visit("/console/sign-in").await;
    office.fill(words.name, name).await;
    office.fill(words.password, password).await;
    office.press(words.sign_in).await;
}

/// The black-box test of the paper, X1 to X4, in one language.
async fn x1_to_x4(words: &Words) {
    let mut head = HeadOffice::open().await;
    let office = Chromium::open_in(&head.scene.base, words.browser).await;
    // X4: a wrong password.
    signs_in(&office, words, "bo", "not the password").await;
    office.sees(words.wrong).await;
    // X3: the right one opens the page on which messages are written.
    signs_in(&office, words, "bo", PASSWORD).await;
    office.is_at("/console/broadcast").await;
    office.sees(words.compose).await;
    office.is_accessible().await;
    let first = head.terminal("bandung-1", "Kasir 1", words).await;
    let second = head.terminal("surabaya", "Kasir 1", words).await;
    // X1: a category, a message, Send: the sender is told, and both shops see it.
    office.fill(words.price, "yes").await;
    office.fill(words.title, "Harga Avanza").await;
    office.fill(words.text, "Rp 228.000.000\nMulai hari ini.").await;
    office.press(words.send).await;
    office.sees(words.sent).await;
    for shop in [&first, &second] {
        pops_up(shop, "Harga Avanza").await;
        let shown = popup(shop).await;
        assert!(shown.contains(words.price) && shown.contains("Rp 228.000.000\nMulai hari ini."), "{shown}");
        shop.is_accessible().await;
    }
    // Who has it is told without a reload.
    let has = format!("2 {} 2", words.of);
    office.until("both receipts", LONG, async || office.text().await.contains(&has)).await;
    office.sees(words.received).await;
    office.is_accessible().await;
    for shop in [&first, &second] {
        shop.press("OK").await;
        is_quiet(shop).await;
    }
    assert_eq!(office.complaints().await.iter().filter(|line| !line.contains("422")).count(), 0);
    assert_eq!(first.complaints().await, [""; 0]);
    // X2: without Redis the sender is told, and what was written is still there.
    office.visit("/console/broadcast").await;
    office.fill(words.announcement, "yes").await;
    office.fill(words.title, "Rapat pagi").await;
    office.fill(words.text, "Besok pukul 08.00.").await;
    office.fill(words.must_confirm, "yes").await;
    head.scene.installation.redis.kill();
    office.press(words.send).await;
    office.sees_within(words.failed, LONG).await;
    assert_eq!(office.value(words.title).await, "Rapat pagi");
    assert_eq!(office.value(words.text).await, "Besok pukul 08.00.");
    let kept = "return [document.getElementById('must-confirm').checked, document.querySelector('[name=category]:checked').value]";
    assert_eq!(office.run(kept).await, serde_json::json!([true, "announcement"]));
    office.is_accessible().await;
    // A shop is told as well, and gets the message once all is back and it is sent again.
    first.sees_within(words.away, LONG).await;
    head.scene.installation.redis.restart().await;
    first.sees_within(words.connected, LONG).await;
    office
        .until("the message to be sent", LONG, async || {
            // Whoever is told presses again; the page may be another one by then.
            office.run("const b = document.getElementById('send'); if (b && !b.disabled) b.click();").await;
            office.text().await.contains(words.sent)
        })
        .await;
    for shop in [&first, &second] {
        pops_up(shop, "Rapat pagi").await;
        shop.press(words.confirm).await;
        is_quiet(shop).await;
    }
    for browser in [office, first, second] {
        browser.close().await;
    }
}

#[actix_rt::test]
async fn the_papers_table_in_indonesian() {
    x1_to_x4(&ID).await;
}

#[actix_rt::test]
async fn the_papers_table_in_english() {
    x1_to_x4(&EN).await;
}

#[actix_rt::test]
async fn a_shop_sees_what_is_for_it_once_and_in_order_although_it_was_off() {
    let mut head = HeadOffice::open().await;
    let bandung = head.terminal("bandung-1", "Counter 1", &EN).await;
    let surabaya = head.terminal("surabaya", "Counter 1", &EN).await;
    // For one region: the other one sees nothing of it, neither at once nor in its history.
    head.announce(("region", "Jawa Barat"), "For the west", false).await;
    pops_up(&bandung, "For the west").await;
    bandung.press("OK").await;
    is_quiet(&bandung).await;
    head.announce(("all", ""), "For all", true).await;
    pops_up(&surabaya, "For all").await;
    assert!(!surabaya.text().await.contains("For the west"));
    surabaya.press("Confirm").await;
    pops_up(&bandung, "For all").await;
    bandung.press("Confirm").await;
    is_quiet(&bandung).await;
    // Off while three are sent, one of which is recalled and one of which is over before it is on again.
    bandung.visit("/console/sign-in").await;
    head.announce(("shop", "bandung-1"), "First", true).await;
    let gone = head.announce(("all", ""), "Recalled", true).await;
    pops_up(&surabaya, "Recalled").await;
    head.announce(("all", ""), "Third", true).await;
    head.post(&format!("/console/broadcast/sent/{gone}/recall"), &[]).await;
    // A recall closes the pop-up; what is behind it comes up.
    pops_up(&surabaya, "Third").await;
    assert!(!surabaya.text().await.contains("First"));
    bandung.visit("/terminal").await;
    pops_up(&bandung, "First").await;
    bandung.sees("1 of 2").await;
    bandung.press("Confirm").await;
    pops_up(&bandung, "Third").await;
    bandung.press("Confirm").await;
    is_quiet(&bandung).await;
    // Nothing comes again.
    bandung.reload().await;
    bandung.sees_within("Connected", LONG).await;
    bandung.sees("Confirmed").await;
    assert_eq!(popup(&bandung).await, "");
    let times = "return [...document.querySelectorAll('.message b')].map(b => b.textContent)";
    assert_eq!(bandung.run(times).await, serde_json::json!(["Third", "Recalled", "First", "For all", "For the west"]));
    // History is searched.
    bandung.fill("Search messages", "west").await;
    bandung.sees_no_more("Third").await;
    bandung.sees("For the west").await;
    bandung.fill("Search messages", "nothing like it").await;
    bandung.sees("Nothing found").await;
    assert_eq!(bandung.complaints().await, [""; 0]);
    // Without any node the page still opens, with what it kept, and goes on when one is back.
    head.scene.node.kill();
    bandung.sees_within("No connection", LONG).await;
    bandung.reload().await;
    bandung.sees_within("No connection", LONG).await;
    bandung.sees("Without connection you see the newest messages only.").await;
    bandung.sees("For all").await;
    bandung.is_accessible().await;
    head.scene.node.start(&head.scene.installation);
    head.scene.node.ready().await;
    bandung.sees_within("Connected", LONG).await;
    head.announce(("all", ""), "After the night", false).await;
    pops_up(&bandung, "After the night").await;
    for browser in [bandung, surabaya] {
        browser.close().await;
    }
}

#[actix_rt::test]
async fn what_must_be_confirmed_stays_and_a_correction_says_so() {
    let mut head = HeadOffice::open().await;
    let shop = head.terminal("bandung-1", "Counter 1", &EN).await;
    shop.look(Look::PHONE).await;
    shop.is_accessible().await;
    shop.fits().await;
    let other = head.terminal("surabaya", "Counter 2", &EN).await;
    let script = "<script>document.title = 'ran'</script><img src=x onerror=\"document.title='ran'\">";
    let fields = [
        ("audience", "all"),
        ("category", "discount"),
        ("title", "<b>Discount</b>"),
        ("text", script),
        ("must_confirm", "1"),
    ];
    let id = head.send(&fields).await;
    pops_up(&shop, "<b>Discount</b>").await;
    assert!(popup(&shop).await.contains(script), "a script in a text stays text");
    shop.fits().await;
    shop.is_accessible().await;
    // Neither a key nor a reload makes it go away.
    for _ in 0..3 {
        shop.key(fantoccini::key::Key::Escape).await;
    }
    pops_up(&shop, "<b>Discount</b>").await;
    shop.reload().await;
    pops_up(&shop, "<b>Discount</b>").await;
    let title = shop.run("return document.title").await;
    assert_ne!(title, "ran");
    // The console shows it as text too, and corrects it.
    let office = head.desk().await;
    office.visit(&format!("/console/broadcast/sent/{id}")).await;
    office.sees(script).await;
    office.sees("To be confirmed").await;
    office.press("Correct").await;
    office.fill("Title", "Discount of 10 %").await;
    office.fill("Text", "Until Sunday.").await;
    office.is_accessible().await;
    office.press("Send the correction").await;
    office.sees("Correction sent").await;
    office.sees("Discount of 10 %").await;
    pops_up(&shop, "Head office has corrected this message").await;
    pops_up(&shop, "Discount of 10 %").await;
    // The rest is reminded.
    pops_up(&other, "Discount of 10 %").await;
    other.press("Confirm").await;
    is_quiet(&other).await;
    office.press("Remind the rest").await;
    office.sees("Every terminal that has not answered").await;
    office.press_at("dialog button[value=yes]").await;
    office.sees("Reminder sent. Terminals: 1").await;
    pops_up(&shop, "Head office reminds you").await;
    assert_eq!(popup(&other).await, "");
    shop.press("Confirm").await;
    is_quiet(&shop).await;
    office.until("both to have confirmed", LONG, async || office.text().await.contains("Confirmed\n2 of 2")).await;
    // It can be read again, and is recalled.
    shop.press_at(".message").await;
    pops_up(&shop, "Discount of 10 %").await;
    shop.press("Close").await;
    office.press("Recall").await;
    office.sees("This can't be undone.").await;
    office.is_accessible().await;
    office.press_at("dialog button[value=yes]").await;
    office.sees("Message recalled").await;
    shop.sees_within("Recalled", LONG).await;
    assert_eq!(office.complaints().await, [""; 0]);
    for browser in [office, shop, other] {
        browser.close().await;
    }
}

#[actix_rt::test]
async fn a_terminal_is_enrolled_once_and_a_revoked_one_sees_nothing() {
    let mut head = HeadOffice::open().await;
    let office = head.desk().await;
    office.is_at("/console/broadcast").await;
    office.press("Terminals").await;
    office.sees("No terminal yet").await;
    office.is_accessible().await;
    office.press("Enrol a terminal").await;
    office.is_accessible().await;
    office.fill("Shop", "Toko Surabaya").await;
    office.fill("Name of the terminal", "Back office").await;
    office.press("Make the code").await;
    office.sees("The code is ready.").await;
    office.is_accessible().await;
    let code = office.run("return document.getElementById('one-time-code').textContent").await;
    let code = code.as_str().unwrap().to_owned();
    // A wrong code first, then the right one, typed.
    let shop = Chromium::open(&head.scene.base).await;
    shop.visit("/terminal").await;
    shop.sees("Connect this terminal").await;
    shop.is_accessible().await;
    shop.fill("Code", "AAAA-AAAA-AAAA").await;
    shop.press("Connect and turn on sound").await;
    shop.sees("This code is wrong, was used already, or is too old").await;
    shop.fill("Code", &code.to_lowercase()).await;
    shop.press("Connect and turn on sound").await;
    shop.sees_within("Connected", LONG).await;
    shop.sees("Toko Surabaya").await;
    shop.is_accessible().await;
    // The same code a second time.
    let other = Chromium::open(&head.scene.base).await;
    other.visit(&format!("/terminal#code={code}")).await;
    other.press("Connect and turn on sound").await;
    other.sees("This code is wrong, was used already, or is too old").await;
    other.close().await;
    // It is on, by its beat.
    office.visit("/console/terminals").await;
    office.until("the terminal to be on", LONG, async || office.text().await.contains("Terminals: 1, on now: 1")).await;
    office.is_accessible().await;
    // Two windows of one browser are one terminal.
    head.announce(("all", ""), "Before", true).await;
    pops_up(&shop, "Before").await;
    // Moved: it sees the other shop's messages and no more its old one's.
    office.press("Back office").await;
    office.is_accessible().await;
    office.fill("Shop", "Toko Bandung Satu").await;
    office.press("Move to this shop").await;
    office.sees("Back office is moved").await;
    shop.press("Confirm").await;
    is_quiet(&shop).await;
    shop.sees_within("Toko Bandung Satu", LONG).await;
    head.announce(("shop", "surabaya"), "For Surabaya", false).await;
    head.announce(("shop", "bandung-1"), "For Bandung", false).await;
    pops_up(&shop, "For Bandung").await;
    assert!(!shop.text().await.contains("For Surabaya"));
    // Revoked: nothing stays on its screen, and nothing comes.
    office.visit("/console/terminals").await;
    office.press("Back office").await;
    office.press("Revoke").await;
    office.sees("shows no message from now on").await;
    office.is_accessible().await;
    office.press_at("dialog button[value=yes]").await;
    office.sees("Back office is revoked").await;
    shop.sees_within("This terminal is no longer connected", LONG).await;
    assert!(!shop.text().await.contains("For Bandung"));
    assert_eq!(popup(&shop).await, "");
    shop.is_accessible().await;
    head.announce(("all", ""), "After", true).await;
    shop.visit("/terminal").await;
    shop.sees("This terminal is no longer connected").await;
    assert!(!shop.text().await.contains("After"));
    for browser in [office, shop] {
        browser.close().await;
    }
}

#[actix_rt::test]
async fn writing_tells_whom_it_reaches_and_works_on_a_phone_and_without_scripts() {
    let mut head = HeadOffice::open().await;
    let shop = head.terminal("bandung-2", "Counter 1", &EN).await;
    let office = Chromium::open(&head.scene.base).await;
    office.sign_in("op", PASSWORD).await;
    office.visit("/console/broadcast").await;
    office
        .until("the terminal to be counted", LONG, async || {
            office.text().await.contains("Terminals reached: 1, on now: 1")
        })
        .await;
    office.fill("Chosen regions and shops", "yes").await;
    office.fill("Jawa Timur", "yes").await;
    office.sees("Terminals reached: 0").await;
    office.fill("Search regions and shops", "dua").await;
    office.sees_no_more("Toko Surabaya").await;
    office.fill("Toko Bandung Dua", "yes").await;
    office.sees("Terminals reached: 1, on now: 1").await;
    // What is wrong is told beside it, and nothing is lost.
    office.fill("Title", "  ").await;
    office.fill("Text", "A text").await;
    office.run("document.getElementById('compose').noValidate = true").await;
    office.press("Send").await;
    office.sees("Nothing was sent yet").await;
    office.sees("Give a title.").await;
    assert_eq!(office.value("Text").await, "A text");
    office.sees("Terminals reached: 1, on now: 1").await;
    for look in Look::ALL {
        office.look(look).await;
        office.is_accessible().await;
        office.fits().await;
    }
    office.fill("Title", "To you").await;
    assert_eq!(office.run("return document.getElementById('preview-heading').textContent").await, "To you");
    office.press("Send").await;
    office.sees("Message sent").await;
    pops_up(&shop, "To you").await;
    // The other screens, on a phone too.
    let categories = "/console/broadcast/categories";
    for path in
        ["/console/broadcast/sent", "/console/terminals", "/console/shops", "/console/shops/surabaya", categories]
    {
        office.visit(path).await;
        office.until("a page", LONG, async || !office.text().await.is_empty()).await;
        for look in [Look::LIGHT, Look::PHONE, Look::DARK] {
            office.look(look).await;
            office.is_accessible().await;
            office.fits().await;
        }
    }
    // A category of one's own.
    office.visit(categories).await;
    office.press("Add a category").await;
    office.is_accessible().await;
    office.fill("Short name", "delivery").await;
    office.fill("Name", "Delivery").await;
    office.press("Save").await;
    office.sees("Category Delivery is saved").await;
    // A viewer reads and does nothing.
    let viewer = Chromium::open(&head.scene.base).await;
    viewer.sign_in("vi", PASSWORD).await;
    viewer.visit("/console/broadcast").await;
    viewer.is_at("/console/broadcast/sent").await;
    viewer.sees("To you").await;
    assert!(!viewer.offers("New message").await);
    viewer.press("To you").await;
    viewer.sees("Counter 1").await;
    assert!(
        !viewer.offers("Recall").await && !viewer.offers("Correct").await && !viewer.offers("Remind the rest").await
    );
    viewer.visit("/console/terminals").await;
    viewer.sees("Counter 1").await;
    assert!(!viewer.offers("Enrol a terminal").await);
    viewer.close().await;
    // Without scripts the form is sent all the same.
    assert_eq!(office.complaints().await.iter().filter(|line| !line.contains("422")).count(), 0);
    office.look(Look::LIGHT).await;
    office.scripts(false).await;
    office.visit("/console/broadcast").await;
    office.fill("Delivery", "yes").await;
    office.fill("Title", "Without scripts").await;
    office.fill("Text", "It works.").await;
    office.press("Send").await;
    office.sees("Message sent").await;
    shop.press("OK").await;
    pops_up(&shop, "Without scripts").await;
    for browser in [office, shop] {
        browser.close().await;
    }
}

/// Writes pictures of the screens and of the terminal into the folder that `TIDEGATE_SCREENS` names: a head office that writes in
/// English, with all that it needs there.
#[actix_rt::test]
async fn screens() {
    let Some(folder) = std::env::var_os(PICTURES).map(PathBuf::from) else { return };
    std::fs::create_dir_all(&folder).unwrap();
    let mut head = HeadOffice::open().await;
    let shop = head.terminal("bandung-1", "Counter 1", &EN).await;
    let other = head.terminal("surabaya", "Counter 1", &EN).await;
    head.code("bandung-2", "Counter 2").await;
    let shoot = async |browser: &Chromium, name: &str| {
        for look in Look::ALL {
            browser.screenshot(&folder.join(format!("{name}-{}.png", look.name)), look).await;
        }
        browser.look(Look::LIGHT).await;
    };
    // Nobody is there to say yes to the browser's question, which else stands on the page as a warning.
    for terminal in [&shop, &other] {
        terminal.allow_notifications().await;
        terminal.reload().await;
        terminal.sees_within(EN.connected, LONG).await;
        terminal.sees_no_more("Notifications are blocked").await;
        // Nor does a browser let a page that was loaded anew sound before somebody presses something.
        terminal.press("Turn on sound").await;
        terminal.sees_no_more("keeps this page silent").await;
    }
    let office = Chromium::open(&head.scene.base).await;
    office.sign_in("op", PASSWORD).await;
    office.visit("/console/broadcast").await;
    shoot(&office, "broadcast-empty").await;
    office.fill(EN.price, "yes").await;
    office.fill("Chosen regions and shops", "yes").await;
    office.fill("Jawa Barat", "yes").await;
    office.fill(EN.title, "Rice 5 kg is 72,000 from today").await;
    let text =
        "The new price holds in all shops of the west, until Sunday.\n\nPlease change the labels before you open.";
    office.fill(EN.text, text).await;
    office.fill(EN.must_confirm, "yes").await;
    office.sees_within("Terminals reached: 1, on now: 1", LONG).await;
    shoot(&office, "broadcast-compose").await;
    office.press(EN.send).await;
    office.sees(EN.sent).await;
    pops_up(&shop, "Rice 5 kg").await;
    shop.sees(EN.connected).await;
    shoot(&shop, "terminal-popup").await;
    let meeting = [
        ("audience", "all"),
        ("category", "announcement"),
        ("title", "Store managers meet tomorrow at 08:00"),
        (
            "text",
            "By video, for half an hour: the month's figures, and the new returns desk.\nPlease have last week's sales at hand.",
        ),
        ("must_confirm", "1"),
    ];
    let id = head.send(&meeting).await;
    pops_up(&other, "Store managers").await;
    other.press(EN.confirm).await;
    office.visit(&format!("/console/broadcast/sent/{id}")).await;
    office
        .until("both receipts", LONG, async || {
            let text = office.text().await;
            text.contains("Received\n2 of 2") && text.contains("Confirmed\n1 of 2")
        })
        .await;
    shoot(&office, "broadcast-receipts").await;
    shop.press(EN.confirm).await;
    pops_up(&shop, "Store managers").await;
    shop.press(EN.confirm).await;
    is_quiet(&shop).await;
    shoot(&shop, "terminal-home").await;
    for (name, path) in [
        ("broadcast-sent", "/console/broadcast/sent"),
        ("broadcast-terminals", "/console/terminals"),
        ("broadcast-terminal-new", "/console/terminals/~new"),
        ("broadcast-shops", "/console/shops"),
        ("broadcast-shop", "/console/shops/surabaya"),
        ("broadcast-categories", "/console/broadcast/categories"),
        ("broadcast-category", "/console/broadcast/categories/price"),
    ] {
        office.visit(path).await;
        shoot(&office, name).await;
    }
    office.visit("/console/terminals/~new").await;
    office.fill("Shop", "Toko Surabaya").await;
    office.fill("Name of the terminal", "Counter 2").await;
    office.press("Make the code").await;
    office.sees("The code is ready.").await;
    shoot(&office, "broadcast-code").await;
    for browser in [office, shop, other] {
        browser.close().await;
    }
}

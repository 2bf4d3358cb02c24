//! Whole stories in a real browser, as an operator would live them: two nodes behind HAProxy, a database that is stopped and
//! started, bad records that are mended. And every screen as a picture, when somebody asks for pictures.

use std::{path::PathBuf, time::Duration};

use serde_json::{Value, json};
use totp_rs::{Algorithm, Secret, TOTP};

use super::{
    PASSWORD,
    browser::Browser,
    chromium::{Chromium, Look},
};
use crate::{
    e2e::{
        installation::{Installation, Node},
        ledger::Target,
    },
    servers::{free_port, haproxy::HaproxyServer, postgres::PostgresServer, wait_for},
};

/// How long a story waits for what takes a while: a take-over, a breaker, a backlog.
const LONG: Duration = Duration::from_secs(40);
/// A folder for pictures of every screen.
const PICTURES: &str = "TIDEGATE_SCREENS";

/// Two nodes behind HAProxy, and a database that the story may stop.
struct Stage {
    installation: Installation,
    nodes: Vec<Node>,
    balancer: HaproxyServer,
    postgres: PostgresServer,
    target: Target,
}

impl Stage {
    async fn new() -> Self {
        let installation = Installation::new().await;
        let mut nodes = Vec::new();
        let mut consoles = Vec::new();
        for name in ["a", "b"] {
            let mut node = installation.new_node(name);
            let port = free_port();
            node.environment.insert("TIDEGATE_CONSOLE", format!("127.0.0.1:{port}"));
            node.start(&installation);
            node.ready().await;
            consoles.push(port);
            nodes.push(node);
        }
        let producers: Vec<u16> = nodes.iter().map(|node| node.listen).collect();
        let balancer = HaproxyServer::start_with_consoles(&producers, &consoles).await;
        let postgres = PostgresServer::private();
        let url = postgres.url(&postgres.database().await);
        let target = Target { name: "sales".into(), kind: "postgres", url };
        target
            .execute(
                "create table cars (id bigint primary key, car_name varchar(40) not null, stock int default 7, \
                 price decimal(14,2) check (price >= 0), sold date); create table parts (no varchar(20) primary key, name text)",
            )
            .await;
        Self { installation, nodes, balancer, postgres, target }
    }

    async fn browser(&self) -> Chromium {
        Chromium::open(&self.balancer.console_url()).await
    }

    /// The path of the link that one of the nodes printed.
    async fn first_link(&self) -> String {
        wait_for("the link for the first admin", LONG, async || {
            self.nodes.iter().find_map(|node| {
                let logged = node.logged();
                let (_, rest) = logged.split_once("/console/first?token=")?;
                Some(format!("/console/first?token={}", rest.split_whitespace().next()?))
            })
        })
        .await
    }

    /// The first admin makes itself, as somebody who has just installed it.
    async fn first_admin(&self, browser: &Chromium) {
        browser.visit(&self.first_link().await).await;
        browser.is_accessible().await;
        browser.fill("User name", "ana").await;
        browser.fill("Password", PASSWORD).await;
        browser.fill("Password again", PASSWORD).await;
        browser.press("Make the admin and sign in").await;
        browser.is_at("/console/").await;
        browser.sees("Sign out").await;
    }

    /// An application and a destination, by a file.
    fn ground(&self) {
        self.installation.apply(&format!(
            "[[application]]\nname = \"car-app\"\ntopics = [\"cars\"]\n\
             [[destination]]\nname = \"sales\"\nkind = \"postgres\"\nurl = \"{}\"\n",
            self.target.url
        ));
    }

    /// Sends a record as a producer does.
    async fn send(&self, key: &str, record: Value) {
        let client = awc::Client::builder().timeout(Duration::from_secs(5)).finish();
        let body = json!({ "topic": "cars", "action": "upsert", "key": record["id"], "data": record });
        // Every node knows a new key within a second; until then it is refused.
        wait_for("the record to be taken", LONG, async || {
            let request = client
                .post(format!("{}/v1/messages", self.balancer.url()))
                .insert_header(("Authorization", format!("Bearer {key}")));
            let mut answer = request.send_json(&body).await.unwrap();
            let body = answer.body().await.unwrap();
            let text = String::from_utf8_lossy(&body).into_owned();
            let status = answer.status().as_u16();
            assert!(status == 202 || status == 401, "{status}: {text}");
            (status == 202).then_some(())
        })
        .await;
    }

    fn key(&self) -> String {
        self.installation.run(&["key", "create", "car-app"]).trim().to_owned()
    }

    async fn has(&self, rows: &[(i64, i64)]) {
        wait_for("the rows to be in the table", LONG, async || {
            let found = self.target.pairs("select id, coalesce(stock, 0)::bigint from cars order by id").await?;
            (found == rows).then_some(())
        })
        .await;
    }
}

/// Makes the application `car-app` with a key, which is shown once; the key.
async fn make_application(browser: &Chromium) -> String {
    browser.visit("/console/applications").await;
    browser.is_accessible().await;
    browser.press("New application").await;
    browser.fill("Name", "car-app").await;
    browser.fill("Topics", "cars").await;
    browser.is_accessible().await;
    browser.press("Create application").await;
    browser.is_at("/console/applications/car-app").await;
    browser.press("New key").await;
    browser.sees("This is the new key.").await;
    browser.is_accessible().await;
    let key = browser.run("return document.querySelector('#fresh-key').textContent.trim()").await;
    let key = key.as_str().unwrap().to_owned();
    browser.press("I have copied it").await;
    browser.sees_no_more(&key).await;
    key
}

/// Makes the destination `sales`: by a check that fails and says where, then one that is right.
async fn make_destination(browser: &Chromium, target: &Target) {
    let url = url::Url::parse(&target.url).unwrap();
    browser.visit("/console/destinations").await;
    browser.is_accessible().await;
    browser.press("New destination").await;
    browser.press("PostgreSQL").await;
    for (label, value) in [
        ("Name", "sales"),
        ("Host", "127.0.0.1"),
        ("Port", &free_port().to_string()),
        ("Database", url.path().trim_start_matches('/')),
        ("User", url.username()),
        ("Password", "any, for it trusts everybody"),
    ] {
        browser.fill(label, value).await;
    }
    browser.press("Check connection").await;
    browser.sees_within("It can't be saved like this.", LONG).await;
    browser.is_accessible().await;
    browser.fill("Port", &url.port().unwrap().to_string()).await;
    browser.press("Check connection").await;
    browser.sees_within("Everything is right: it can be saved.", LONG).await;
    browser.press("Save").await;
    browser.is_at("/console/destinations/sales").await;
    browser.is_accessible().await;
}

/// Makes a route through the editor, from the list to its page.
async fn make_route(browser: &Chromium) {
    browser.visit("/console/tables").await;
    browser.press("New route").await;
    browser.sees("Whose records?").await;
    browser.is_accessible().await;
    browser.fill("cars", "yes").await;
    browser.press("Continue").await;
    browser.sees("Into which database?").await;
    browser.is_accessible().await;
    browser.fill("sales", "yes").await;
    browser.press("Continue").await;
    browser.sees("Which table of sales?").await;
    browser.sees("parts").await;
    // The list is searched as one types.
    browser.fill("Search tables", "car").await;
    browser.sees_no_more("parts").await;
    browser.is_accessible().await;
    browser.press("cars").await;
    browser.sees("Which column takes what?").await;
    browser.sees("suggested from names and values").await;
    browser.is_accessible().await;
    // What a column would receive follows what is picked for it.
    let wrong = async |wanted: bool| browser.run("return !!document.querySelector('#columns .error')").await == wanted;
    browser.fill("What stock takes", "when it was accepted").await;
    browser.until("what can't be to be told", LONG, async || wrong(true).await).await;
    browser.fill("What stock takes", "stock").await;
    browser.until("the mistake to go", LONG, async || wrong(false).await).await;
    browser.press("Rule of car_name").await;
    browser.sees("Cleaning").await;
    browser.is_accessible().await;
    browser.fill("Step 1", "trim white space").await;
    browser.press("Take it over").await;
    browser.sees("Which column takes what?").await;
    browser.sees("trim").await;
    browser.press("Continue").await;
    browser.sees("What would recent records come to?").await;
    browser.sees("upsert").await;
    browser.is_accessible().await;
    browser.press("Continue").await;
    browser.sees("Where it starts").await;
    browser.is_accessible().await;
    browser.fill("Name", "sales-cars").await;
    browser.fill("Earliest", "yes").await;
    browser.press("Save the route").await;
    browser.is_at("/console/tables/sales-cars").await;
    browser.sees("Route sales-cars is made.").await;
    browser.is_accessible().await;
}

#[actix_rt::test]
async fn a_record_is_followed_from_the_first_sign_in_to_its_table_and_back_from_the_dead() {
    let stage = Stage::new().await;
    let browser = stage.browser().await;
    stage.first_admin(&browser).await;
    let key = make_application(&browser).await;
    make_destination(&browser, &stage.target).await;
    // A first record, and the table it goes into.
    stage
        .send(&key, json!({ "id": 1, "carName": "Avanza", "stock": 3, "price": 1500000.5, "sold": "2026-01-31" }))
        .await;
    make_route(&browser).await;
    stage.has(&[(1, 3)]).await;
    // What came and what was sent stand side by side.
    browser.visit("/console/logs").await;
    browser.sees_within("Delivered", LONG).await;
    browser.press("Received and sent").await;
    browser.sees("Data received").await;
    browser.sees("carName").await;
    browser.sees("car_name").await;
    browser.is_accessible().await;
    // The database stops: its tile turns and its backlog counts up, without a reload.
    let state = async |wanted: &str| {
        let shown = browser.run("return document.querySelector('.tile .state')?.innerText ?? ''").await;
        shown.as_str().is_some_and(|shown| shown.contains(wanted))
    };
    browser.visit("/console/").await;
    browser.until("the tile to be up", LONG, async || state("Up").await).await;
    browser.is_accessible().await;
    browser.run("window.sameAsBefore = true").await;
    stage.postgres.stop();
    let waiting = async |wanted: &str| {
        browser.run("return document.querySelector('.tile dl dd')?.textContent.trim()").await == wanted
    };
    for id in 2..=6 {
        stage.send(&key, json!({ "id": id, "carName": format!("car {id}"), "stock": id, "price": 10 })).await;
    }
    browser.until("the tile to turn", LONG, async || state("Down").await).await;
    browser.until("five messages to wait", LONG, async || waiting("5").await).await;
    for id in 7..=8 {
        stage.send(&key, json!({ "id": id, "carName": format!("car {id}"), "stock": id, "price": 10 })).await;
    }
    browser.until("seven messages to wait", LONG, async || waiting("7").await).await;
    stage.postgres.start();
    browser.until("the backlog to drain", LONG, async || waiting("0").await).await;
    browser.until("the tile to turn back", LONG, async || state("Up").await).await;
    assert_eq!(browser.run("return window.sameAsBefore === true").await, true, "the page was not loaded anew");
    stage.has(&[(1, 3), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7), (8, 8)]).await;
    // A bad record becomes a dead letter, is mended, and arrives.
    stage.send(&key, json!({ "id": 9, "carName": "Brio", "stock": 9, "price": -5 })).await;
    browser
        .until("the dead letter to be told", LONG, async || {
            browser.visit("/console/dead").await;
            browser.text().await.contains("sales-cars")
        })
        .await;
    browser.is_accessible().await;
    browser.press_at("main a[href^='/console/dead/letters']").await;
    browser.sees("Dead letters of one cause").await;
    browser.is_accessible().await;
    browser.press_at("main tbody th a").await;
    browser.sees("Edit and redrive").await;
    browser.is_accessible().await;
    browser.fill("The record as it came", r#"{"id":9,"carName":"Brio","stock":9,"price":5}"#).await;
    browser.press("Redrive as edited").await;
    stage.has(&[(1, 3), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7), (8, 8), (9, 9)]).await;
    browser.visit("/console/dead").await;
    browser.sees_within("No dead letters", LONG).await;
    browser.visit("/console/logs?q=9").await;
    browser.sees_within("Delivered", LONG).await;
    assert_eq!(browser.complaints().await, [""; 0]);
    browser.close().await;
}

#[actix_rt::test]
async fn an_operator_makes_a_route_behind_the_balancer_and_goes_on_when_a_node_ends() {
    let mut stage = Stage::new().await;
    let browser = stage.browser().await;
    stage.first_admin(&browser).await;
    stage.ground();
    let key = stage.key();
    stage
        .send(&key, json!({ "id": 1, "carName": " Avanza ", "stock": 3, "price": 1500000.5, "sold": "2026-01-31" }))
        .await;
    make_route(&browser).await;
    stage.has(&[(1, 3)]).await;
    browser.visit("/console/tables").await;
    browser.sees("Flowing").await;
    browser.is_accessible().await;
    // Its table changes: the route is held, and the list says so with what to do.
    stage.target.execute("alter table cars rename column car_name to name").await;
    stage.send(&key, json!({ "id": 2, "carName": "Xenia", "stock": 4 })).await;
    browser
        .until("the route to be shown as held", LONG, async || {
            browser.visit("/console/tables?state=held").await;
            browser.text().await.contains("sales-cars")
        })
        .await;
    browser.sees("car_name").await;
    assert_eq!(browser.complaints().await, [""; 0]);
    stage.target.execute("alter table cars rename column name to car_name").await;
    stage.has(&[(1, 3), (2, 4)]).await;
    // The node that served so far ends; whoever is signed in goes on at the other.
    let served = if browser.text().await.contains("Node a") { 0 } else { 1 };
    stage.nodes[served].kill();
    browser
        .until("the other node to serve", LONG, async || {
            browser.visit("/console/tables/sales-cars").await;
            let other = if served == 0 { "Node b" } else { "Node a" };
            browser.text().await.contains(other)
        })
        .await;
    browser.sees("Version 1").await;
    // Removing asks, and says what it does.
    browser.press("Remove").await;
    browser.sees("Remove route sales-cars?").await;
    browser.is_accessible().await;
    browser.press("Remove the route").await;
    browser.sees("Route sales-cars is removed.").await;
    browser.close().await;
}

#[actix_rt::test]
async fn the_console_works_on_a_phone_in_indonesian_for_a_viewer_and_without_scripts() {
    let stage = Stage::new().await;
    for user in ["operator:operator", "viewer:viewer"] {
        super::add_user(&stage.installation, user);
    }
    stage.ground();
    let key = stage.key();
    stage.send(&key, json!({ "id": 1, "carName": "Avanza", "stock": 3 })).await;
    stage.installation.apply(
        "[[application]]\nname = \"car-app\"\ntopics = [\"cars\"]\n[[route]]\nname = \"sales-cars\"\napplication = \"car-app\"\n\
         topic = \"cars\"\ndestination = \"sales\"\ntable = \"cars\"\nkey = [\"id\"]\n[route.columns]\nid = \"id\"\ncar_name = \"carName\"\n",
    );
    // A viewer, who reads Indonesian, on a phone.
    let viewer = Chromium::open_in(&stage.balancer.console_url(), "id-ID").await;
    viewer.look(Look::PHONE).await;
    viewer.visit("/console/sign-in").await;
    viewer.is_accessible().await;
    viewer.fits().await;
    viewer.fill("Nama pengguna", "viewer").await;
    viewer.fill("Kata sandi", PASSWORD).await;
    viewer.press("Masuk").await;
    viewer.sees("Ringkasan").await;
    for path in SCREENS {
        viewer.visit(path).await;
        viewer.until("a page of the console", LONG, async || !viewer.text().await.is_empty()).await;
        viewer.is_accessible().await;
        viewer.fits().await;
    }
    viewer.visit("/console/tables").await;
    viewer.sees("sales-cars").await;
    assert!(!viewer.offers("Rute baru").await, "a viewer makes nothing");
    viewer.visit("/console/tables/~new/source").await;
    viewer.sees("tidak berhak").await;
    viewer.close().await;
    // An operator whose browser runs no scripts makes a route all the same.
    let operator = stage.browser().await;
    operator.scripts(false).await;
    operator.sign_in("operator", PASSWORD).await;
    operator.visit("/console/tables/~new/source").await;
    operator.sees("Whose records?").await;
    operator.fill("cars", "yes").await;
    operator.press("Continue").await;
    operator.fill("sales", "yes").await;
    operator.press("Continue").await;
    operator.fill("Search tables", "part").await;
    operator.press("Search").await;
    operator.press("parts").await;
    operator.sees("Which column takes what?").await;
    operator.close().await;
}

/// Every screen that needs nothing but what a story's ground has.
const SCREENS: [&str; 9] = [
    "/console/",
    "/console/applications",
    "/console/destinations",
    "/console/tables",
    "/console/tables/sales-cars",
    "/console/logs",
    "/console/dead",
    "/console/actors",
    "/console/me",
];

/// A stage with something on every screen: two destinations, one of which is down; a route that flows, bad records, an alert
/// target, users of each role; and a browser in which an admin is signed in.
struct Show {
    stage: Stage,
    browser: Chromium,
    key: String,
    /// A message, a group of dead letters, and one of them.
    inner: Vec<(&'static str, String)>,
    /// The file that made it, and the database of `archive` in it.
    manifest: String,
    archive: Target,
}

impl Show {
    async fn new() -> Self {
        let stage = Stage::new().await;
        for user in ["ana:admin", "budi:operator", "citra:viewer", "dewi:broadcaster"] {
            super::add_user(&stage.installation, user);
        }
        let archive = stage.installation.sqlite("archive").await;
        archive
            .execute("create table vehicles (id integer primary key, title text not null, price numeric, stock integer check (stock >= 0))")
            .await;
        let manifest = format!(
            "[[application]]\nname = \"car-app\"\ntopics = [\"cars\"]\n\
             [[destination]]\nname = \"sales\"\nkind = \"postgres\"\nurl = \"{}\"\n\
             [[destination]]\nname = \"archive\"\nkind = \"sqlite\"\nurl = \"{}\"\nnode = \"a\"\n\
             [[destination]]\nname = \"branch-bali\"\nkind = \"mysql\"\nurl = \"mysql://writer@127.0.0.1:{}/bali\"\n\
             [[route]]\nname = \"archive-vehicles\"\napplication = \"car-app\"\ntopic = \"cars\"\ndestination = \"archive\"\n\
             table = \"vehicles\"\nkey = [\"id\"]\ncolumns = {{ id = \"id\", title = {{ from = \"carName\", clean = [\"trim\"] }}, \
             stock = \"stock\" }}\n\
             [[route]]\nname = \"bali-cars\"\napplication = \"car-app\"\ntopic = \"cars\"\ndestination = \"branch-bali\"\n\
             table = \"cars\"\nkey = [\"id\"]\ncolumns = {{ id = \"id\", car_name = \"carName\" }}\n",
            stage.target.url,
            archive.url,
            free_port(),
        );
        stage.installation.apply(&manifest);
        let key = stage.key();
        let cars = [
            "Avanza", "Xenia", "Brio", "Jazz", "Innova", "Fortuner", "Pajero", "Agya", "Ertiga", "Rush", "Terios",
            "BR-V",
        ];
        for (place, name) in (1_i64..).zip(cars.iter().cycle().take(36)) {
            let stock = if place % 9 == 0 { -1 } else { place % 7 };
            let record = json!({ "id": place, "carName": format!(" {name} "), "stock": stock, "color": "silver",
                "price": format!("Rp {}.500.000,00", 100 + place), "sold": "2026-01-31" });
            stage.send(&key, record).await;
        }
        let browser = stage.browser().await;
        browser.sign_in("ana", PASSWORD).await;
        let mut show = Self { stage, browser, key, manifest, archive, inner: Vec::new() };
        show.find_what_is_inside().await;
        show
    }

    /// Goes on sending for so long, now more and now less, so that a picture of the last minutes shows something.
    async fn trade(&self, seconds: i64) {
        for second in 0..seconds {
            for place in 0..2 + second * 7 % 5 {
                let id = 100 + second * 10 + place;
                let record = json!({ "id": id, "carName": "Avanza", "stock": id % 7, "color": "silver",
                    "price": "Rp 235.500.000,00", "sold": "2026-01-31" });
                self.stage.send(&self.key, record).await;
            }
            tokio::time::sleep(Duration::from_millis(800)).await;
        }
    }

    async fn find_what_is_inside(&mut self) {
        let browser = &self.browser;
        browser
            .until("four dead letters", LONG, async || {
                browser.visit("/console/dead").await;
                browser.text().await.contains("archive-vehicles")
            })
            .await;
        let link = async |begin: &str| {
            let find = format!("return document.querySelector(\"main a[href^='{begin}']\").getAttribute('href')");
            browser.run(&find).await.as_str().unwrap().to_owned()
        };
        let group = link("/console/dead/letters").await;
        browser.visit(&group).await;
        let letter = link("/console/dead/letter/").await;
        browser.visit("/console/logs").await;
        let message = link("/console/messages/").await;
        self.inner = vec![("dead-letters", group), ("dead-letter", letter), ("message", message)];
    }

    /// Every screen that has an address: the name of its picture, and where it is.
    fn screens(&self) -> Vec<(&'static str, String)> {
        let fields = "source=car-app+cars&destination=sales&table=cars";
        let mut all: Vec<(&'static str, String)> = [
            ("overview", "/console/"),
            ("applications", "/console/applications"),
            ("application", "/console/applications/car-app"),
            ("application-new", "/console/applications/~new"),
            ("destinations", "/console/destinations"),
            ("destination", "/console/destinations/sales"),
            ("destination-new", "/console/destinations/~new?kind=postgres"),
            ("destination-edit", "/console/destinations/sales/edit"),
            ("destination-abandon", "/console/destinations/branch-bali/abandon"),
            ("destination-decide", "/console/destinations/archive/decide"),
            ("destination-remove", "/console/destinations/branch-bali/remove"),
            ("tables", "/console/tables"),
            ("route", "/console/tables/archive-vehicles"),
            ("route-replay", "/console/tables/archive-vehicles/replay?from=1970-01-01T00:00:00Z"),
            ("route-remove", "/console/tables/archive-vehicles/remove"),
            ("route-source", "/console/tables/~new/source"),
            ("route-destination", "/console/tables/~new/destination?source=car-app+cars"),
            ("route-table", "/console/tables/~new/table?source=car-app+cars&destination=sales"),
            ("logs", "/console/logs"),
            ("logs-nothing", "/console/logs?q=nothing-like-that"),
            ("dead", "/console/dead"),
            ("dead-many", "/console/dead/many?task=redrive&application=car-app"),
            ("dead-jobs", "/console/dead/jobs"),
            ("actors", "/console/actors"),
            ("settings-users", "/console/settings/users"),
            ("settings-user", "/console/settings/users/budi"),
            ("settings-retention", "/console/settings/retention"),
            ("settings-alerts", "/console/settings/alerts"),
            ("settings-transfer", "/console/settings/transfer"),
            ("settings-audit", "/console/settings/audit"),
            ("me", "/console/me"),
            ("error", "/console/tables/archive-vehicle"),
        ]
        .map(|(name, path)| (name, path.to_owned()))
        .into();
        all.push(("route-fields", format!("/console/tables/~new/fields?{fields}")));
        all.extend(self.inner.iter().cloned());
        all
    }

    /// The screens that come of what somebody did before: a key, a job, an alert target, a question, broadcasts, a decision.
    async fn further(&self) -> Vec<String> {
        let browser = &self.browser;
        let mut ana = Browser::at(self.stage.balancer.console_url());
        let csrf = ana.sign_in("ana", PASSWORD).await.csrf();
        let made = async |ana: &mut Browser, path: &str, fields: &[(&str, &str)]| {
            let answer = ana.post(path, &csrf, fields).await;
            assert!(matches!(answer.status, 200 | 303), "{path}: {} {}", answer.status, answer.body);
            answer
        };
        let begin =
            "return [...document.querySelectorAll('main a')].map(a => a.getAttribute('href')).find(href => href.";
        let link = async |page: &str, which: &str| {
            browser.visit(page).await;
            let find = format!("{begin}{which})");
            browser.until(which, LONG, async || browser.run(&find).await.is_string()).await;
            browser.run(&find).await.as_str().unwrap().to_owned()
        };
        let asked = ana.get("/console/dead/many?task=redrive&application=car-app").await;
        let (counted, until) = (asked.after("name=\"counted\" value=\""), asked.after("name=\"until\" value=\""));
        let fields =
            [("task", "redrive"), ("application", "car-app"), ("counted", counted.as_str()), ("until", &until)];
        let job = made(&mut ana, "/console/dead/many", &fields).await.to();
        let mail = [
            ("way", "email"),
            ("name", "Office"),
            ("host", "mail.example"),
            ("port", "465"),
            ("tls", "tls"),
            ("user", ""),
            ("from", "t@example.com"),
            ("to", "ops@example.com"),
            ("kind", "dead_letters"),
        ];
        made(&mut ana, "/console/settings/alerts/~new", &mail).await;
        let shop = [("name", "bandung-1"), ("title", "Toko Bandung Satu"), ("region", "Jawa Barat")];
        made(&mut ana, "/console/shops/~new", &shop).await;
        let category = [
            ("name", "stock"),
            ("title", "Stock"),
            ("title_id", "Stok"),
            ("colour", "blue"),
            ("icon", "megaphone"),
            ("sound", "none"),
        ];
        made(&mut ana, "/console/broadcast/categories/~new", &category).await;
        made(&mut ana, "/console/terminals/~new", &[("shop", "bandung-1"), ("name", "Back office")]).await;
        let record = json!({ "id": "band00000001", "name": "Kasir 1", "shop": "bandung-1", "created_ms": 1 });
        let mut connection = self.stage.installation.redis.connection().await;
        redis::pipe()
            .hset("tidegate:{broadcasts}:terminals", "band00000001", record.to_string())
            .incr("tidegate:{broadcasts}:terminals-version", 1)
            .query_async::<()>(&mut connection)
            .await
            .unwrap();
        let message = [
            ("audience", "all"),
            ("category", "announcement"),
            ("title", "Open on Sunday"),
            ("text", "From nine to five."),
            ("must_confirm", "1"),
        ];
        let message = made(&mut ana, "/console/broadcast", &message).await.to();
        let alert = link("/console/settings/alerts", "match('/alerts/[^~]')").await;
        let key = link("/console/applications/car-app", "includes('/keys/')").await;
        // Another file in the place of the one it was bound to: where it goes on is for somebody to say.
        let other = self.stage.installation.sqlite("archive-2").await;
        self.stage.installation.apply(&self.manifest.replace(&self.archive.url, &other.url));
        let decide = link("/console/destinations/archive", "endsWith('/decide')").await;
        let mut all: Vec<String> = [
            "/console/settings/users/~new",
            "/console/settings/alerts/~new?way=email",
            "/console/settings/alerts?q=nothing+like+it",
            "/console/broadcast",
            "/console/broadcast/sent",
            "/console/broadcast/categories",
            "/console/broadcast/categories/~new",
            "/console/broadcast/categories/stock",
            "/console/terminals",
            "/console/terminals/~new",
            "/console/terminals/band00000001",
            "/console/shops",
            "/console/shops/~new",
            "/console/shops/bandung-1",
        ]
        .map(str::to_owned)
        .into();
        all.push(format!("{message}/correct"));
        all.extend([job, message, alert, key, decide]);
        all
    }

    /// Goes through the screens that come from a form, and stops at each.
    async fn forms(&self, stop: impl AsyncFn(&'static str)) {
        let browser = &self.browser;
        browser.visit("/console/tables/~new/fields?source=car-app+cars&destination=sales&table=cars").await;
        browser.press("Rule of price").await;
        browser.sees("Cleaning").await;
        stop("route-column").await;
        browser.press("Take it over").await;
        browser.press("Continue").await;
        browser.sees("What would recent records come to?").await;
        stop("route-try").await;
        browser.press("Continue").await;
        browser.sees("Where it starts").await;
        browser.fill("Earliest", "yes").await;
        stop("route-save").await;
        browser.press("Save the route").await;
        browser.is_at("/console/tables/sales-cars").await;
        // What came and what was sent of it, below its row.
        browser.visit("/console/logs?destination=archive&status=delivered").await;
        browser.press("Received and sent").await;
        browser.sees("Data received").await;
        stop("logs-open").await;
        browser.visit("/console/applications/car-app").await;
        browser.press("New key").await;
        browser.sees("This is the new key.").await;
        stop("application-key").await;
        // What an import would do.
        browser.visit("/console/settings/transfer").await;
        browser.fill("The file", "[[application]]\nname = \"hotel-app\"\ntopics = [\"rooms\", \"bookings\"]\n").await;
        browser.press("Show what would change").await;
        browser.sees("hotel-app").await;
        stop("settings-import").await;
        // A webhook, whose secret is shown once, and what a test of it comes to.
        browser.visit("/console/settings/alerts/~new?way=webhook").await;
        stop("settings-alert-new").await;
        browser.fill("Name", "on-call").await;
        browser.fill("Address", "https://127.0.0.1:1/hooks/tidegate").await;
        browser.press("Save").await;
        browser.sees("It is shown this once.").await;
        stop("settings-secret").await;
        browser.visit("/console/settings/alerts").await;
        browser.press("Test on-call").await;
        browser.until("the test's result", LONG, async || browser.place().await.ends_with("/test")).await;
        stop("settings-test").await;
        // A second factor: the code to scan.
        browser.visit("/console/me").await;
        browser.run(&format!("document.querySelector('#second-password').value = '{PASSWORD}'")).await;
        browser.press("Turn it on").await;
        browser.is_at("/console/me/second").await;
        browser.sees("Code of the app").await;
        stop("me-scan").await;
        let secret = browser.run("return document.querySelector('#totp-secret').textContent").await;
        let secret = Secret::Encoded(secret.as_str().unwrap().replace('-', "")).to_bytes().unwrap();
        let device = TOTP::new(Algorithm::SHA1, 6, 1, 30, secret).unwrap();
        browser.fill("Code of the app", &device.generate_current().unwrap()).await;
        browser.press("Turn it on").await;
        browser.sees("Your recovery codes").await;
        stop("me-codes").await;
    }
}

/// What is no screen of its own: parts of pages, streams and files, addresses that lead on, and what one sees before signing in,
/// which other stories look at.
const NO_SCREENS: [&str; 16] = [
    "",
    "/console",
    "/destinations/{name}/state",
    "/destinations/~checks/{id}",
    "/tables/{name}/edit",
    "/tables/{name}/again/{place}",
    "/tables/{name}/replays",
    "/broadcast/counts",
    "/broadcast/sent/{id}/receipts.csv",
    "/settings",
    "/settings/transfer/tidegate.toml",
    "/events",
    "/series",
    "/first",
    "/sign-in",
    "/console/assets/{name}",
];

/// The addresses of all pages of the console, as its sources have them.
fn patterns() -> Vec<String> {
    fn sources(folder: &std::path::Path, all: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, all);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                all.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let (mut all, mut found) = (Vec::new(), Vec::new());
    sources(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/console"), &mut all);
    for source in all {
        for part in source.split("web::resource(\"").skip(1) {
            let (pattern, rest) = part.split_once('"').unwrap();
            let handlers = rest.split("\n}\n").next().unwrap();
            if handlers.contains("web::get()") && !NO_SCREENS.contains(&pattern) {
                found.push(pattern.to_owned());
            }
        }
    }
    assert!(found.len() > 40, "{found:?}");
    found
}

/// Whether this is an address of such pages. Names begin with no `~`.
fn is_of(pattern: &str, path: &str) -> bool {
    let path = path.split(['?', '#']).next().unwrap().strip_prefix("/console").unwrap();
    let (wanted, given): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
    let fits = |(wanted, given): (&&str, &&str)| {
        if wanted.starts_with('{') {
            !given.is_empty() && (!given.starts_with('~') || *wanted == "{step}")
        } else {
            wanted == given
        }
    };
    wanted.len() == given.len() && wanted.iter().zip(&given).all(fits)
}

#[actix_rt::test]
async fn every_screen_is_accessible_at_every_width() {
    let show = Show::new().await;
    let (browser, troubles) = (&show.browser, std::cell::RefCell::new(Vec::new()));
    for (_, path) in show.screens() {
        browser.visit(&path).await;
        browser.until("a page of the console", LONG, async || !browser.text().await.is_empty()).await;
        let more = browser.troubles().await;
        troubles.borrow_mut().extend(more);
    }
    show.forms(async |_| {
        let more = browser.troubles().await;
        troubles.borrow_mut().extend(more);
    })
    .await;
    let troubles = troubles.into_inner();
    assert!(troubles.is_empty(), "{troubles:#?}");
    show.browser.close().await;
}

#[actix_rt::test]
async fn what_comes_of_acts_is_accessible_too_and_no_address_is_left_out() {
    let show = Show::new().await;
    let (browser, mut troubles) = (&show.browser, Vec::new());
    let further = show.further().await;
    for path in &further {
        browser.visit(path).await;
        browser.until("a page of the console", LONG, async || !browser.text().await.is_empty()).await;
        troubles.extend(browser.troubles().await);
    }
    // The page that asks where no script does.
    browser.visit("/console/destinations/sales").await;
    browser.run("document.querySelector('form[action$=\"/by-hand\"]').submit()").await;
    browser.is_at("/console/destinations/sales/by-hand").await;
    browser.sees("Pause: sales").await;
    troubles.extend(browser.troubles().await);
    assert!(troubles.is_empty(), "{troubles:#?}");
    // Those that the story above looks at, and these, are all that there are.
    let seen: Vec<String> = show.screens().into_iter().map(|(_, path)| path).chain(further).collect();
    let missed: Vec<String> =
        patterns().into_iter().filter(|pattern| !seen.iter().any(|path| is_of(pattern, path))).collect();
    assert!(missed.is_empty(), "nobody has looked at {missed:?}");
    show.browser.close().await;
}

/// Writes a picture of every screen into the folder that `TIDEGATE_SCREENS` names, light, dark and on a phone. Without it there
/// is nothing to do.
#[actix_rt::test]
async fn screens() {
    let Some(folder) = std::env::var_os(PICTURES).map(PathBuf::from) else { return };
    std::fs::create_dir_all(&folder).unwrap();
    let shoot = async |browser: &Chromium, name: &str| {
        for look in Look::ALL {
            browser.screenshot(&folder.join(format!("{name}-{}.png", look.name)), look).await;
        }
        browser.look(Look::LIGHT).await;
    };
    // As it is at first.
    let empty = Stage::new().await;
    let browser = empty.browser().await;
    browser.visit(&empty.first_link().await).await;
    shoot(&browser, "first").await;
    empty.first_admin(&browser).await;
    for (name, path) in [
        ("empty-overview", "/console/"),
        ("empty-applications", "/console/applications"),
        ("empty-destinations", "/console/destinations"),
        ("empty-tables", "/console/tables"),
        ("empty-logs", "/console/logs"),
        ("empty-dead", "/console/dead"),
    ] {
        browser.visit(path).await;
        shoot(&browser, name).await;
    }
    browser.close().await;
    drop(empty);
    let show = Show::new().await;
    show.trade(120).await;
    let browser = &show.browser;
    for (name, path) in show.screens() {
        browser.visit(&path).await;
        tokio::time::sleep(Duration::from_secs(2)).await; // live parts fill
        shoot(browser, name).await;
    }
    show.forms(async |name| shoot(browser, name).await).await;
    let stranger = show.stage.browser().await;
    stranger.visit("/console/sign-in").await;
    shoot(&stranger, "sign-in").await;
    stranger.close().await;
    show.browser.close().await;
}

//! A real browser for the tests: headless Chromium over WebDriver, used as a person would: by the labels of fields and the
//! names of buttons and links.
//!
//! Every wait is bounded. Each browser has a chromedriver and a profile folder of its own; both end with it, however the test
//! ends. What the page's own Content-Security-Policy forbids to scripts does not concern the harness, and what the page did
//! against it is told by [`Chromium::complaints`].
#![allow(dead_code, reason = "each story uses some of it")]

use std::{
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base64::Engine as _;
use fantoccini::{Client, ClientBuilder, Locator, elements::Element};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use crate::servers::{Guard, free_port, temp_dir, wait_for};

/// Longest wait for something on a page.
const PATIENCE: Duration = Duration::from_secs(15);
/// Where files go that it loads down.
const DOWNLOADS: &str = "downloads";
/// The highest picture.
const HIGHEST: u32 = 2_000;
const AXE: &str = include_str!("axe.min.js");
/// The member under which WebDriver hands out an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// How often a step is tried again whose element went away under it, as a page that is alive may do.
const TRIES: usize = 20;

/// A size and a theme to see a page in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) name: &'static str,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) dark: bool,
    pub(crate) phone: bool,
}

impl Look {
    pub(crate) const LIGHT: Self = Self { name: "light", width: 1280, height: 800, dark: false, phone: false };
    pub(crate) const DARK: Self = Self { name: "dark", dark: true, ..Self::LIGHT };
    pub(crate) const PHONE: Self = Self { name: "phone", width: 390, height: 844, dark: false, phone: true };
    /// Between the two: a small window, or a tablet held upright.
    pub(crate) const NARROW: Self = Self { name: "narrow", width: 780, height: 1024, dark: false, phone: false };
    /// The widths at which pages are laid out in other ways.
    pub(crate) const WIDTHS: [Self; 3] = [Self::LIGHT, Self::NARROW, Self::PHONE];
    pub(crate) const ALL: [Self; 3] = [Self::LIGHT, Self::DARK, Self::PHONE];
}

/// A browser with one window.
pub(crate) struct Chromium {
    client: Client,
    /// Where chromedriver listens, with the session.
    session: String,
    base: String,
    driver: Child,
    // Ends the browser before the driver's folder goes.
    guard: Option<Guard>,
    profile: tempfile::TempDir,
}

/// One thing that axe-core finds wrong.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) rule: String,
    pub(crate) impact: String,
    pub(crate) help: String,
    pub(crate) targets: Vec<String>,
}

impl Chromium {
    /// A fresh one, as somebody who has never been here; addresses begin at `base` (`http://127.0.0.1:1234`).
    pub(crate) async fn open(base: &str) -> Self {
        Self::open_in(base, "en-US").await
    }

    /// The same, of somebody who prefers this language.
    pub(crate) async fn open_in(base: &str, language: &str) -> Self {
        let profile = temp_dir();
        let port = free_port();
        let log = std::fs::File::create(profile.path().join("driver.log")).unwrap();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("chromedriver is installed (Debian: chromium-driver)");
        let folder = profile.path().join("profile");
        // The browser's own process is named in a link of its profile.
        let lock = folder.join("SingletonLock");
        let guard = Guard::new(&format!(
            "kill -9 {}; p=$(readlink '{}'); [ -n \"$p\" ] && kill -9 \"${{p##*-}}\"",
            driver.id(),
            lock.display()
        ));
        let driver_url = format!("http://127.0.0.1:{port}");
        wait_for("chromedriver to answer", PATIENCE, async || {
            let client = awc::Client::builder().timeout(Duration::from_secs(2)).finish();
            let answer = client.get(format!("{driver_url}/status")).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-extensions".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-default-apps".to_owned(),
            "--no-first-run".to_owned(),
            "--no-default-browser-check".to_owned(),
            "--force-color-profile=srgb".to_owned(),
            "--hide-scrollbars".to_owned(),
            "--window-size=1280,800".to_owned(),
            format!("--accept-lang={language}"),
            format!("--user-data-dir={}", folder.display()),
        ];
        let capabilities = json!({
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments, "prefs": {
                "intl.accept_languages": language,
                "download.default_directory": profile.path().join(DOWNLOADS),
                "download.prompt_for_download": false,
            } },
            "goog:loggingPrefs": { "browser": "ALL" },
            // A page that streams is never done loading.
            "pageLoadStrategy": "eager",
        });
        let Value::Object(capabilities) = capabilities else { unreachable!() };
        let client =
            ClientBuilder::new(HttpConnector::new()).capabilities(capabilities).connect(&driver_url).await.unwrap();
        let id = client.session_id().await.unwrap().unwrap();
        let session = format!("{driver_url}/session/{id}");
        let browser = Self { client, session, base: base.to_owned(), driver, guard: Some(guard), profile };
        browser.look(Look::LIGHT).await;
        browser
    }

    /// From now on addresses begin here.
    pub(crate) fn rebase(&mut self, base: &str) {
        base.clone_into(&mut self.base);
    }

    /// Closes it in good order.
    pub(crate) async fn close(mut self) {
        let _ = self.client.clone().close().await;
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        self.guard.take();
    }

    /// Opens an address: a path, or a whole one.
    pub(crate) async fn visit(&self, path: &str) {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        self.client.goto(&url).await.unwrap_or_else(|error| panic!("visit {url}: {error}"));
    }

    /// Path and query of where it is.
    pub(crate) async fn place(&self) -> String {
        let url = self.client.current_url().await.unwrap();
        url.query().map_or(url.path().to_owned(), |query| format!("{}?{query}", url.path()))
    }

    /// Back, as with the browser's own button.
    pub(crate) async fn back(&self) {
        self.client.back().await.unwrap();
    }

    /// The same page again.
    pub(crate) async fn reload(&self) {
        self.client.refresh().await.unwrap();
    }

    /// What one can read on the page.
    pub(crate) async fn text(&self) -> String {
        let text = self.client.execute("return document.body ? document.body.innerText : '';", vec![]).await;
        text.ok().and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Waits until this can be read somewhere.
    pub(crate) async fn sees(&self, wanted: &str) {
        self.sees_within(wanted, PATIENCE).await;
    }

    /// The same with another patience.
    pub(crate) async fn sees_within(&self, wanted: &str, patience: Duration) {
        self.until(&format!("`{wanted}` on the page"), patience, async || self.text().await.contains(wanted)).await;
    }

    /// Waits until this can't be read anywhere.
    pub(crate) async fn sees_no_more(&self, unwanted: &str) {
        self.until(&format!("`{unwanted}` to go from the page"), PATIENCE, async || {
            !self.text().await.contains(unwanted)
        })
        .await;
    }

    /// Waits until it is there: the path begins so.
    pub(crate) async fn is_at(&self, path: &str) {
        self.until(&format!("to be at {path}"), PATIENCE, async || self.place().await.starts_with(path)).await;
    }

    /// Waits until a question is answered with yes.
    pub(crate) async fn until(&self, what: &str, patience: Duration, question: impl AsyncFn() -> bool) {
        let begun = Instant::now();
        while !question().await {
            if begun.elapsed() > patience {
                let text = self.text().await;
                panic!("waited {patience:?} in vain for {what}; at {} one reads:\n{text}", self.place().await);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Types into the field of this label, in place of what it has; picks the option of a list by its text; ticks a box
    /// (`yes`) or unticks it (`no`).
    pub(crate) async fn fill(&self, label: &str, value: &str) {
        self.with(FIELD, label, "a field labelled", async |field| {
            let kind = field.tag_name().await?;
            let form = field.attr("type").await?.unwrap_or_default();
            if kind == "select" {
                for option in field.find_all(Locator::Css("option")).await? {
                    let text = option.prop("textContent").await?.unwrap_or_default();
                    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
                    if text == value || text.starts_with(&format!("{value} ")) {
                        return option.click().await;
                    }
                }
                panic!("the list `{label}` has no `{value}`");
            }
            if form == "checkbox" || form == "radio" {
                let is_set = field.is_selected().await?;
                return if is_set == (value != "no") { Ok(()) } else { field.click().await };
            }
            // A file is given by its path.
            if form != "file" {
                field.clear().await?;
            }
            field.send_keys(value).await
        })
        .await;
    }

    /// What there is to pick in the list of this label.
    pub(crate) async fn options(&self, label: &str) -> Vec<String> {
        let list = self.find(FIELD, label, "a list labelled").await;
        let options = list.find_all(Locator::Css("option")).await.unwrap();
        let mut texts = Vec::new();
        for option in options {
            let text = option.prop("textContent").await.unwrap().unwrap_or_default();
            texts.push(text.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        texts
    }

    /// What the field of this label holds.
    pub(crate) async fn value(&self, label: &str) -> String {
        let field = self.find(FIELD, label, "a field labelled").await;
        field.prop("value").await.unwrap().unwrap_or_default()
    }

    /// Presses the button, or follows the link, of this name.
    pub(crate) async fn press(&self, name: &str) {
        self.with(BUTTON, name, "a button or link named", async |button| button.click().await).await;
    }

    /// Presses the first of these (a CSS selector), where a name is not enough to tell it.
    pub(crate) async fn press_at(&self, selector: &str) {
        self.with(FIRST, selector, "anything that is", async |element| element.click().await).await;
    }

    /// Whether there is a button or a link of this name that one could press.
    pub(crate) async fn offers(&self, name: &str) -> bool {
        self.look_for(BUTTON, name).await.is_some()
    }

    /// Presses a key of the keyboard, wherever the focus is.
    pub(crate) async fn key(&self, key: fantoccini::key::Key) {
        let focused = self.client.active_element().await.unwrap();
        focused.send_keys(&String::from(char::from(key))).await.unwrap();
    }

    /// A script of the test's own.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.client.execute(script, vec![]).await.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    async fn with(
        &self,
        script: &str,
        name: &str,
        what: &str,
        step: impl AsyncFn(Element) -> Result<(), fantoccini::error::CmdError>,
    ) {
        for attempt in 1.. {
            let element = self.find(script, name, what).await;
            match step(element).await {
                Ok(()) => return,
                // It went away, or moved under something, between being found and being used.
                Err(error) if attempt < TRIES => {
                    drop(error);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => panic!("{what} `{name}` can't be used at {}: {error}", self.place().await),
            }
        }
    }

    async fn find(&self, script: &str, name: &str, what: &str) -> Element {
        let begun = Instant::now();
        loop {
            if let Some(element) = self.look_for(script, name).await {
                return element;
            }
            if begun.elapsed() > PATIENCE {
                let text = self.text().await;
                panic!("there is no {what} `{name}` at {}; one reads:\n{text}", self.place().await);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn look_for(&self, script: &str, name: &str) -> Option<Element> {
        let found = self.client.execute(&format!("{NAMES}{script}"), vec![json!(name)]).await.ok()?;
        let id = found.get(ELEMENT)?.as_str()?.to_owned();
        Some(Element::from_element_id(self.client.clone(), id.into()))
    }

    /// Sees pages in this size and theme from now on.
    pub(crate) async fn look(&self, look: Look) {
        let metrics =
            json!({ "width": look.width, "height": look.height, "deviceScaleFactor": 1, "mobile": look.phone });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        let scheme = if look.dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" }] });
        self.devtools("Emulation.setEmulatedMedia", media).await;
    }

    /// Whether pages may run scripts of their own from now on.
    pub(crate) async fn scripts(&self, allowed: bool) {
        self.devtools("Emulation.setScriptExecutionDisabled", json!({ "value": !allowed })).await;
    }

    /// A picture of the page, as high as it is but for endless lists, in this size and theme; what stands at the screen's edge stands at the
    /// page's.
    pub(crate) async fn screenshot(&self, file: &Path, look: Look) {
        self.look(look).await;
        let height = self.run("return document.documentElement.scrollHeight").await.as_u64().unwrap_or_default();
        let height = u32::try_from(height).unwrap_or(u32::MAX).clamp(look.height, HIGHEST);
        self.look(Look { height, ..look }).await;
        // A picture of a page that is still being drawn is of no use.
        self.run("return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))").await;
        let picture = self.devtools("Page.captureScreenshot", json!({ "format": "png" })).await;
        let picture = base64::engine::general_purpose::STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        std::fs::write(file, super::picture::smaller(&picture)).unwrap();
    }

    /// What axe-core finds on this page, whatever its impact.
    pub(crate) async fn findings(&self) -> Vec<Finding> {
        self.client.execute(&format!("if (!window.axe) {{ {AXE} }}"), vec![]).await.unwrap();
        let script = "return axe.run(document, { resultTypes: ['violations'] }).then(found => found.violations);";
        let found = self.client.execute(script, vec![]).await.unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let finding = |found: &Value| Finding {
            rule: text(&found["id"]),
            impact: text(&found["impact"]),
            help: text(&found["help"]),
            targets: found["nodes"].as_array().unwrap().iter().map(|node| node["target"].to_string()).collect(),
        };
        found.as_array().unwrap().iter().map(finding).collect()
    }

    /// Fails if axe-core finds something serious or critical on this page.
    pub(crate) async fn is_accessible(&self) {
        let found = self.findings().await;
        let serious: Vec<_> = found.iter().filter(|found| matches!(&*found.impact, "serious" | "critical")).collect();
        assert!(serious.is_empty(), "{}: axe-core finds {serious:#?}", self.place().await);
    }

    /// What is serious on this page in any width or in the dark, and where it is wider than the screen.
    pub(crate) async fn troubles(&self) -> Vec<String> {
        let mut all = Vec::new();
        let place = self.place().await;
        for look in Look::WIDTHS.into_iter().chain([Look::DARK]) {
            self.look(look).await;
            let name = look.name;
            let found = self.findings().await;
            let serious = found.iter().filter(|found| matches!(&*found.impact, "serious" | "critical"));
            all.extend(serious.map(|found| format!("{place}, {name}: {} at {:?}", found.rule, found.targets)));
            let width = self.width().await;
            if width[0].as_f64() > width[1].as_f64() {
                all.push(format!("{place}, {name}: wider than the screen, {width}"));
            }
        }
        self.look(Look::LIGHT).await;
        all
    }

    /// Fails if the page is wider than the screen.
    pub(crate) async fn fits(&self) {
        let width = self.width().await;
        assert!(width[0].as_f64() <= width[1].as_f64(), "{} is wider than the screen: {width}", self.place().await);
    }

    /// The page's width, and the screen's.
    async fn width(&self) -> Value {
        self.run("const e = document.documentElement; return [e.scrollWidth, e.clientWidth];").await
    }

    /// A file that was loaded down under this name, once it is whole.
    pub(crate) async fn downloaded(&self, name: &str) -> String {
        let file = self.profile.path().join(DOWNLOADS).join(name);
        wait_for(&format!("{name} to be loaded down"), PATIENCE, async || std::fs::read_to_string(&file).ok()).await
    }

    /// What the browser complained of since the last time: scripts that failed, what the Content-Security-Policy stopped,
    /// what could not be loaded. Refused forms (4xx answers) are told too; a story that expects some says which.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.ask("se/log", json!({ "type": "browser" })).await;
        let severe = log.as_array().into_iter().flatten().filter(|line| line["level"] == "SEVERE");
        severe.map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.ask("goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    /// A command of chromedriver's own.
    async fn ask(&self, command: &str, body: Value) -> Value {
        let client = awc::Client::builder().timeout(Duration::from_secs(20)).finish();
        let mut answer = client.post(format!("{}/{command}", self.session)).send_json(&body).await.unwrap();
        let body = answer.body().limit(64 * 1024 * 1024).await.unwrap();
        assert!(answer.status().is_success(), "{command}: {}", String::from_utf8_lossy(&body));
        let mut body: Value = serde_json::from_slice(&body).unwrap();
        body["value"].take()
    }

    /// Says yes where pages ask whether they may show notifications.
    pub(crate) async fn allow_notifications(&self) {
        self.devtools("Browser.grantPermissions", json!({ "permissions": ["notifications"] })).await;
    }

    /// Signs in.
    pub(crate) async fn sign_in(&self, user: &str, password: &str) {
        self.visit("/console/sign-in").await;
        self.fill("User name", user).await;
        self.fill("Password", password).await;
        self.press("Sign in").await;
        self.until("to be signed in", PATIENCE, async || !self.place().await.starts_with("/console/sign-in")).await;
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        drop(self.guard.take());
        let _ = self.driver.wait();
    }
}

/// What things are called, as one sees or hears it.
const NAMES: &str = "
const seen = element => {
  const box = element.getBoundingClientRect(), style = getComputedStyle(element);
  return box.width > 0 && box.height > 0 && style.visibility !== 'hidden' && style.display !== 'none';
};
const told = text => (text || '').replace(/\\s+/g, ' ').trim();
const named = element => [
  told(element.getAttribute('aria-label')),
  told((element.getAttribute('aria-labelledby') || '').split(/\\s+/).map(id => id && document.getElementById(id))
    .filter(Boolean).map(other => other.innerText).join(' ')),
  told(element.innerText), told(element.value), told(element.title),
].filter(Boolean);
const wanted = arguments[0];
const best = (elements, names) => {
  const all = elements.filter(seen);
  return all.find(one => names(one).includes(wanted)) || all.find(one => names(one).some(name => name.startsWith(wanted)))
    || null;
};
";
/// The field of a label. Boxes that are drawn by their label have no size of their own.
const FIELD: &str = "
const fields = [...document.querySelectorAll('input:not([type=hidden]), select, textarea')]
  .filter(field => !field.disabled && (seen(field) || [...(field.labels || [])].some(seen)));
const labels = field => [...(field.labels || [])].map(label => {
  const copy = label.cloneNode(true);
  copy.querySelectorAll('input, select, textarea, .help, .error').forEach(inner => inner.remove());
  return told(copy.textContent);
}).concat(told(field.getAttribute('aria-label')), told(field.placeholder)).filter(Boolean);
return fields.find(field => labels(field).includes(wanted))
  || fields.find(field => labels(field).some(label => label.startsWith(wanted))) || null;
";
/// The first of a selector.
const FIRST: &str = "return [...document.querySelectorAll(wanted)].find(seen) || null;";
/// Whatever one presses.
const BUTTON: &str = "
return best([...document.querySelectorAll('button, a[href], input[type=submit], summary, [role=button], [role=tab]')]
  .filter(one => !one.disabled), named);
";

#[cfg(test)]
mod tests {
    use actix_web::{App, HttpResponse, HttpServer, http::header::CONTENT_SECURITY_POLICY, web};

    use super::*;

    const POLICY: &str =
        "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'";

    async fn page(body: &'static str) -> HttpResponse {
        let page = format!(
            "<!doctype html><html lang=en><head><title>A page</title><meta name=viewport content='width=device-width'>\
</head><body><main><h1>A page</h1>{body}</main></body></html>"
        );
        HttpResponse::Ok().insert_header((CONTENT_SECURITY_POLICY, POLICY)).content_type("text/html").body(page)
    }

    async fn form() -> HttpResponse {
        page(
            "<form action=/done><label for=n>Name <span class=help>of the car</span></label><input id=n name=name value=old>\
             <label>Kind <select name=kind><option value=a>First<option value=b>Second</select></label>\
             <label><input type=checkbox name=tick> Also this</label><button>Send it</button></form>\
             <button hidden>Not this</button>",
        )
        .await
    }

    async fn done(query: web::Query<Vec<(String, String)>>) -> HttpResponse {
        let said: Vec<_> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        page(Box::leak(format!("<p>Came: {}</p>", said.join(" ")).into_boxed_str())).await
    }

    async fn poor() -> HttpResponse {
        page("<input name=nothing><img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='><script>document.title = 'ran'</script>").await
    }

    fn serve() -> (String, actix_web::dev::ServerHandle) {
        let server = HttpServer::new(|| {
            App::new()
                .route("/", web::get().to(form))
                .route("/done", web::get().to(done))
                .route("/poor", web::get().to(poor))
                .route("/favicon.ico", web::get().to(HttpResponse::NoContent))
        });
        let server = server.workers(1).bind(("127.0.0.1", 0)).unwrap();
        let base = format!("http://{}", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        (base, handle)
    }

    #[actix_web::test]
    async fn the_browser_uses_a_page_as_a_person_does_and_ends_with_the_test() {
        let (base, server) = serve();
        let browser = Chromium::open(&base).await;
        browser.visit("/").await;
        browser.fill("Name", "a car").await;
        browser.fill("Kind", "Second").await;
        browser.fill("Also this", "yes").await;
        assert_eq!(browser.value("Name").await, "a car");
        assert!(!browser.offers("Not this").await);
        browser.is_accessible().await;
        browser.press("Send it").await;
        browser.is_at("/done").await;
        browser.sees("Came: name=a car kind=b tick=on").await;
        browser.back().await;
        browser.sees("A page").await;
        browser.look(Look::PHONE).await;
        browser.fits().await;
        assert_eq!(browser.run("return innerWidth").await, 390);
        browser.look(Look::DARK).await;
        assert_eq!(browser.run("return matchMedia('(prefers-color-scheme: dark)').matches").await, true);
        let folder = tempfile::tempdir().unwrap();
        browser.screenshot(&folder.path().join("page.png"), Look::DARK).await;
        assert!(std::fs::read(folder.path().join("page.png")).unwrap().starts_with(b"\x89PNG"));
        assert_eq!(browser.complaints().await, [""; 0]);
        // The harness's own scripts ran above; the page's inline one is stopped, and told.
        browser.visit("/poor").await;
        assert_eq!(browser.run("return document.title").await, "A page");
        let told = browser.complaints().await;
        assert!(told.iter().any(|line| line.contains("Content Security Policy")), "{told:?}");
        let found = browser.findings().await;
        let serious = |rule: &str| found.iter().any(|found| found.rule == rule && found.impact == "critical");
        assert!(serious("label") && serious("image-alt"), "{found:?}");
        let process = browser.driver.id();
        let lock = std::fs::read_link(browser.profile.path().join("profile/SingletonLock")).unwrap();
        let chromium: u32 = lock.to_str().unwrap().rsplit('-').next().unwrap().parse().unwrap();
        drop(browser);
        for process in [process, chromium] {
            wait_for("the browser's processes to end", PATIENCE, async || {
                let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
                // One that nobody has waited for yet has ended too.
                stat.map_or(true, |stat| stat.contains(") Z ")).then_some(())
            })
            .await;
        }
        server.stop(false).await;
    }
}

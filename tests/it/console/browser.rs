//! A browser as far as the pages' own promises go: it keeps cookies, sends an Origin with every form, and follows nothing by
//! itself.

use std::{collections::BTreeMap, pin::Pin, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};

/// What was answered.
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    /// The page.
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header; all of them, with line breaks, where there are several.
    pub(crate) fn header(&self, name: &str) -> String {
        let all = self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        all.collect::<Vec<_>>().join("\n")
    }

    /// Where it sends the browser.
    pub(crate) fn to(&self) -> String {
        self.header("location")
    }

    /// The token in the page's forms.
    pub(crate) fn csrf(&self) -> String {
        self.after("name=\"csrf\" value=\"")
    }

    /// What stands behind this, up to the next quotation mark.
    pub(crate) fn after(&self, begin: &str) -> String {
        let (_, rest) = self.body.split_once(begin).unwrap_or_else(|| panic!("no {begin} in:\n{}", self.body));
        rest.split('"').next().unwrap().to_owned()
    }
}

/// A browser at one console.
pub(crate) struct Browser {
    base: String,
    /// Cookies by name.
    pub(crate) cookies: BTreeMap<String, String>,
    /// Sent with every request, after what the browser sends by itself.
    pub(crate) headers: Vec<(String, String)>,
}

impl Browser {
    /// A browser that has been nowhere yet. `base` is such as `http://127.0.0.1:8081`.
    pub(crate) fn at(base: impl Into<String>) -> Self {
        Self { base: base.into(), cookies: BTreeMap::new(), headers: Vec::new() }
    }

    /// Opens a page.
    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, None).await
    }

    /// Sends a form of a page that was opened, with the session's token if there is one.
    pub(crate) async fn post(&mut self, path: &str, csrf: &str, fields: &[(&str, &str)]) -> Answer {
        let fields = fields.iter().copied().chain([("csrf", csrf)]);
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.send("POST", path, Some(body)).await
    }

    async fn send(&mut self, method: &str, path: &str, form: Option<String>) -> Answer {
        let client = awc::Client::builder().timeout(Duration::from_secs(10)).disable_redirects().finish();
        let method = method.parse().unwrap();
        let mut request = client.request(method, format!("{}{path}", self.base)).no_decompress();
        if !self.cookies.is_empty() {
            let all: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.insert_header(("Cookie", all.join("; ")));
        }
        if form.is_some() {
            request = request
                .insert_header(("Origin", self.base.clone()))
                .insert_header(("Content-Type", "application/x-www-form-urlencoded"));
        }
        for (name, value) in &self.headers {
            request = request.insert_header((name.as_str(), value.as_str()));
        }
        let mut answer = request.send_body(form.unwrap_or_default()).await.unwrap();
        let body = answer.body().limit(16 << 20).await.unwrap();
        let headers: Vec<(String, String)> = answer
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap().to_owned()))
            .collect();
        for (_, cookie) in headers.iter().filter(|(name, _)| name == "set-cookie") {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if cookie.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        Answer { status: answer.status().as_u16(), headers, body: String::from_utf8_lossy(&body).into_owned() }
    }

    /// Opens what has no end: a stream of events.
    pub(crate) async fn stream(&self, path: &str) -> Pin<Box<dyn Stream<Item = Bytes>>> {
        let client = awc::Client::builder().timeout(Duration::from_secs(10)).disable_redirects().finish();
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = client.get(format!("{}{path}", self.base)).no_decompress();
        let answer = request.insert_header(("Cookie", cookies.join("; "))).send().await.unwrap();
        assert_eq!(answer.headers().get("content-type").unwrap(), "text/event-stream");
        Box::pin(answer.filter_map(|bytes| std::future::ready(bytes.ok())))
    }

    /// Signs in, and answers with the overview.
    pub(crate) async fn sign_in(&mut self, name: &str, password: &str) -> Answer {
        let answer = self.post("/console/sign-in", "", &[("name", name), ("password", password)]).await;
        assert_eq!((answer.status, answer.to().as_str()), (303, "/console/"), "{}", answer.body);
        self.get("/console/").await
    }
}

//! What every screen is made with: [`PageContext`] in a handler, [`Frame`] around a template, [`PageError`] where it fails.
//!
//! A handler takes a `PageContext`, so it only ever runs for somebody who is signed in; it answers with
//! [`PageContext::render`], or with [`PageContext::done`] after a change. Whatever it fails with is shown as a page too.

use std::{
    cell::Cell,
    fmt,
    future::{Ready, ready},
    net::IpAddr,
    ops::Deref,
    rc::Rc,
    sync::Arc,
};

use actix_web::{
    FromRequest, HttpMessage as _, HttpRequest, HttpResponse, ResponseError,
    dev::Payload,
    http::{StatusCode, header},
    web,
};
use askama::Template;
use secrecy::ExposeSecret as _;

use super::{
    Console, cookies,
    look::Look,
    texts::shell::{self, Shell},
};
use crate::{
    admin::{ActError, Admin, Role, Who},
    registry::watch::WatchState,
    users::{Lang, Session, SignedIn},
};

/// Longest wait for what a page reads from Redis beside the views that have limits of their own.
pub(crate) const REDIS_WITHIN: std::time::Duration = std::time::Duration::from_millis(1_800);

/// Whoever asks, signed in or not; found out by [`super::guard`], once a request.
pub(crate) struct Visitor {
    pub(super) console: web::Data<Console>,
    pub(super) session: Option<Session>,
    pub(super) lang: Lang,
    /// `light` or `dark`, where one was chosen.
    pub(super) theme: Option<&'static str>,
    pub(super) flash: Option<Flash>,
    pub(super) flash_shown: Cell<bool>,
    pub(super) from: IpAddr,
    pub(super) secure: bool,
    /// The host that was asked for, with its port where there is one.
    pub(super) host: String,
    /// Why Redis can't be asked.
    pub(super) away: Option<String>,
    /// Path and query.
    pub(super) here: String,
    /// htmx asks, so a part of a page may be wanted.
    pub(super) htmx: bool,
    /// A part of a page that asks for itself again and again.
    pub(super) polls: bool,
}

/// A page's request by somebody who is signed in.
#[derive(Clone)]
pub(crate) struct PageContext {
    visitor: Rc<Visitor>,
    session: Session,
}

/// A page's request by anybody.
#[derive(Clone)]
pub(crate) struct Guest(pub(crate) Rc<Visitor>);

/// Why a page is not shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PageError {
    /// Nobody is signed in.
    SignIn,
    /// They may not; what is needed.
    Forbidden(Role),
    /// There is nothing here (any more); what, in a sentence, where that can be told.
    NotFound(String),
    /// It did not come from a page of ours.
    NotOurs,
    /// It can't be understood.
    Bad(String),
    /// It can't be done as things stand.
    Conflict(String),
    /// Redis or a database is away.
    Unavailable(String),
    /// Our own fault; for the log, not for the page.
    Broken(String),
}

impl PageError {
    /// A template that could not be written, or the like.
    pub(crate) fn broken(error: impl fmt::Display) -> Self {
        Self::Broken(error.to_string())
    }
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignIn => f.write_str("nobody is signed in"),
            Self::Forbidden(role) => write!(f, "this needs the role `{}`", role.as_str()),
            Self::NotOurs => f.write_str("this was not sent by a page of this console"),
            Self::NotFound(why) | Self::Bad(why) | Self::Conflict(why) | Self::Unavailable(why) | Self::Broken(why) => {
                f.write_str(why)
            }
        }
    }
}

impl ResponseError for PageError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::SignIn => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) | Self::NotOurs => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        // The guard puts a page in its place.
        HttpResponse::new(self.status_code())
    }
}

impl From<ActError> for PageError {
    fn from(error: ActError) -> Self {
        match error {
            ActError::Forbidden { needs } => Self::Forbidden(needs),
            ActError::Unknown(what) => Self::NotFound(what),
            ActError::Conflict(why) => Self::Conflict(why),
            ActError::Unavailable(why) => Self::Unavailable(why),
            error @ ActError::Invalid(_) => Self::Bad(error.to_string()),
        }
    }
}

/// What a message is about, which decides its colour and its sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// It went well.
    Good,
    /// Something to know.
    Note,
    /// Something to look after.
    Warning,
    /// Something is wrong.
    Bad,
}

impl Tone {
    /// The class of its element.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }

    /// The name of its sign.
    pub(crate) fn icon(self) -> &'static str {
        match self {
            Self::Good => "check",
            Self::Note => "info",
            Self::Warning => "warning",
            Self::Bad => "alert",
        }
    }

    fn letter(self) -> char {
        match self {
            Self::Good => 'g',
            Self::Note => 'n',
            Self::Warning => 'w',
            Self::Bad => 'b',
        }
    }
}

/// A message that the next page shows once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flash {
    /// What it is about.
    pub(crate) tone: Tone,
    /// The message, in the reader's language.
    pub(crate) text: String,
}

/// Longest message that is handed on; a cookie holds about four thousand bytes.
const MOST_FLASH_CHARS: usize = 400;

impl Flash {
    /// From what the cookie holds.
    pub(super) fn read(value: &str) -> Option<Self> {
        let (letter, rest) = value.split_at_checked(1)?;
        let tones = [Tone::Good, Tone::Note, Tone::Warning, Tone::Bad];
        let tone = tones.into_iter().find(|tone| letter.starts_with(tone.letter()))?;
        let (text, _) = url::form_urlencoded::parse(rest.as_bytes()).next()?;
        Some(Self { tone, text: text.chars().take(MOST_FLASH_CHARS).collect() })
    }

    fn write(&self) -> String {
        let text: String = self.text.chars().take(MOST_FLASH_CHARS).collect();
        let text: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        format!("{}{text}", self.tone.letter())
    }
}

/// Something that stands on top of every page while it is so.
#[derive(Clone, Debug)]
pub(crate) struct Banner {
    /// What it is about.
    pub(crate) tone: Tone,
    /// In a few words.
    pub(crate) title: String,
    /// The sentence.
    pub(crate) text: String,
    /// A live screen shows it by itself.
    live: bool,
}

impl Banner {
    fn of_redis(look: Look, why: &str) -> Self {
        let shell = look.pick(&shell::EN, &shell::ID);
        let text = format!("{} ({})", shell.away_text, look.why(why));
        Self { tone: Tone::Bad, title: shell.away.into(), text, live: true }
    }
}

/// Where in the console a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, dead_code, reason = "each is the screen of its name")]
pub(crate) enum Nav {
    Overview,
    Applications,
    Destinations,
    Tables,
    Logs,
    Dead,
    Actors,
    Settings,
    Broadcast,
    /// One's own account.
    Me,
    /// A page that is none of these.
    Elsewhere,
}

/// One entry of the navigation.
#[derive(Debug)]
pub(crate) struct NavItem {
    /// Its address.
    pub(crate) href: &'static str,
    /// Its name.
    pub(crate) label: &'static str,
    /// Its sign.
    pub(crate) icon: &'static str,
    /// The page belongs to it.
    pub(crate) current: bool,
    /// It has a place in the bar of a phone.
    pub(crate) in_bar: bool,
}

/// What stands around a page.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) look: Look,
    /// The texts of the frame.
    pub(crate) shell: &'static Shell,
    /// The page's title, and its heading where it does not write one of its own.
    pub(crate) title: String,
    /// Where one may go.
    pub(crate) nav: Vec<NavItem>,
    /// Who is signed in, and as what.
    pub(crate) user: Option<(Arc<str>, &'static str)>,
    /// What forms carry in the hidden field `csrf`.
    pub(crate) csrf: Arc<str>,
    /// The node that made the page.
    pub(crate) node: Arc<str>,
    /// The message of what was just done.
    pub(crate) flash: Option<Flash>,
    /// What is the matter.
    pub(crate) banners: Vec<Banner>,
    /// `light` or `dark`, where one was chosen.
    pub(crate) theme: Option<&'static str>,
    /// The page's own path and query, to come back to.
    pub(crate) here: String,
    /// The page of what this one is about: its address and name.
    above: Option<(String, String)>,
}

impl Frame {
    /// For a page about something that has a page of its own, which the way back leads to.
    pub(crate) fn below(mut self, href: impl Into<String>, name: impl Into<String>) -> Self {
        self.above = Some((href.into(), name.into()));
        self
    }

    /// What this page belongs to, where it is not that itself: its address and name. A list, unless the page says otherwise.
    pub(crate) fn parent(&self) -> Option<(&str, &str)> {
        if let Some((href, name)) = &self.above {
            return Some((href, name));
        }
        let item = self.nav.iter().find(|item| item.current)?;
        let path = self.here.split('?').next().unwrap_or_default();
        // Settings and broadcasts have tabs.
        let is_below = item.href.len() > "/console/".len()
            && path != item.href
            && item.icon != "settings"
            && item.icon != "broadcast";
        is_below.then_some((item.href, item.label))
    }

    /// For a screen that shows by itself whether Redis is there.
    pub(crate) fn of_live_screen(mut self) -> Self {
        self.banners.retain(|banner| !banner.live);
        self
    }
}

impl Look {
    /// What a live screen says while Redis is away.
    pub(super) fn away(self, why: &str) -> Banner {
        Banner::of_redis(self, why)
    }
}

impl Deref for Frame {
    type Target = Look;

    fn deref(&self) -> &Look {
        &self.look
    }
}

impl Visitor {
    pub(super) fn look(&self) -> Look {
        Look { lang: self.lang }
    }

    /// Who does what this request asks for, where somebody is signed in.
    pub(super) fn who(&self) -> Option<Who> {
        let session = self.session.as_ref()?;
        Some(Who { name: Arc::clone(&session.user), role: session.role, from: self.from.to_string().into() })
    }

    /// What stands around a page with this title.
    pub(crate) fn frame(&self, nav: Nav, title: impl Into<String>) -> Frame {
        let look = self.look();
        let shell = look.pick(&shell::EN, &shell::ID);
        let role = self.session.as_ref().map(|session| session.role);
        if self.flash.is_some() {
            self.flash_shown.set(true);
        }
        Frame {
            look,
            shell,
            title: title.into(),
            nav: role.map(|role| items(shell, role, nav)).unwrap_or_default(),
            user: self.session.as_ref().map(|session| (Arc::clone(&session.user), shell.role(session.role))),
            csrf: self.session.as_ref().map_or_else(|| "".into(), |session| Arc::clone(&session.csrf)),
            node: Arc::clone(&self.console.admin.node),
            flash: self.flash.clone(),
            banners: self.banners(shell),
            theme: self.theme,
            here: self.here.clone(),
            above: None,
        }
    }

    fn banners(&self, shell: &'static Shell) -> Vec<Banner> {
        let mut all = Vec::new();
        if let Some(why) = &self.away {
            all.push(Banner::of_redis(self.look(), why));
        }
        let state = self.console.registry.borrow().clone();
        if let Some(why) = state.obstacle() {
            let tone = if matches!(state, WatchState::Foreign { .. }) { Tone::Bad } else { Tone::Warning };
            all.push(Banner { tone, title: shell.registry.into(), text: self.look().why(why), live: false });
        }
        if self.console.readiness.is_draining() {
            let text = shell.draining_text.into();
            all.push(Banner { tone: Tone::Warning, title: shell.draining.into(), text, live: false });
        }
        all
    }

    /// A page that goes around every template.
    pub(crate) fn render(&self, status: StatusCode, template: &impl Template) -> Result<HttpResponse, PageError> {
        let body = template.render().map_err(PageError::broken)?;
        Ok(HttpResponse::build(status).content_type("text/html; charset=utf-8").body(body))
    }

    /// Sends the browser to another page of ours.
    pub(crate) fn see(&self, path: &str) -> HttpResponse {
        // htmx follows a redirect by itself and would put a whole page into a part of this one.
        if self.htmx {
            return HttpResponse::Ok().insert_header(("HX-Redirect", path)).finish();
        }
        HttpResponse::SeeOther().insert_header((header::LOCATION, path)).finish()
    }

    /// The same with a message that the other page shows.
    pub(crate) fn see_with(&self, path: &str, tone: Tone, text: impl Into<String>) -> HttpResponse {
        let mut response = self.see(path);
        let cookie = cookies::flash(self.secure, Some(&Flash { tone, text: text.into() }.write()));
        if let Ok(cookie) = cookie.parse() {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        response
    }
}

/// What the role of somebody lets them see.
fn items(shell: &'static Shell, role: Role, nav: Nav) -> Vec<NavItem> {
    let all = [
        (Nav::Overview, "/console/", shell.overview, "overview", true),
        (Nav::Applications, "/console/applications", shell.applications, "applications", false),
        (Nav::Destinations, "/console/destinations", shell.destinations, "destinations", true),
        (Nav::Tables, "/console/tables", shell.tables, "tables", false),
        (Nav::Logs, "/console/logs", shell.logs, "logs", true),
        (Nav::Dead, "/console/dead", shell.dead, "dead", true),
        (Nav::Actors, "/console/actors", shell.actors, "actors", false),
        (Nav::Broadcast, "/console/broadcast", shell.broadcast, "broadcast", false),
        (Nav::Settings, "/console/settings", shell.settings, "settings", false),
    ];
    // Nothing else is a broadcaster's, so it has its place on a phone too.
    let broadcast = [(Nav::Broadcast, "/console/broadcast", shell.broadcast, "broadcast", true)];
    let shown = match role {
        Role::Broadcaster => &broadcast[..],
        // Settings come last, and all of them are an admin's.
        role if role.may(Role::Admin) => &all[..],
        _ => &all[..all.len() - 1],
    };
    let item = |&(screen, href, label, icon, in_bar): &(Nav, _, _, _, bool)| NavItem {
        href,
        label,
        icon,
        current: screen == nav,
        in_bar,
    };
    shown.iter().map(item).collect()
}

#[allow(dead_code, reason = "screens use what they need")]
impl PageContext {
    /// The node's console.
    pub(crate) fn console(&self) -> &Console {
        &self.visitor.console
    }

    /// What acts and views work with.
    pub(crate) fn admin(&self) -> &Admin {
        &self.visitor.console.admin
    }

    /// Who is signed in.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Who does what this request asks for.
    pub(crate) fn who(&self) -> Who {
        Who {
            name: Arc::clone(&self.session.user),
            role: self.session.role,
            from: self.visitor.from.to_string().into(),
        }
    }

    /// Whether they may do what this role is needed for: what they may not is not shown.
    pub(crate) fn may(&self, needed: Role) -> bool {
        self.session.role.may(needed)
    }

    /// Refuses whoever may not.
    pub(crate) fn needs(&self, needed: Role) -> Result<(), PageError> {
        if self.may(needed) { Ok(()) } else { Err(PageError::Forbidden(needed)) }
    }

    /// Their language.
    pub(crate) fn lang(&self) -> Lang {
        self.visitor.lang
    }

    /// The texts in their language.
    pub(crate) fn pick<T: ?Sized>(&self, en: &'static T, id: &'static T) -> &'static T {
        self.look().pick(en, id)
    }

    /// How figures look to them, for parts of pages, which have no frame.
    pub(crate) fn look(&self) -> Look {
        self.visitor.look()
    }

    /// What their forms carry.
    pub(crate) fn csrf(&self) -> Arc<str> {
        Arc::clone(&self.session.csrf)
    }

    /// Where they are.
    pub(crate) fn from(&self) -> IpAddr {
        self.visitor.from
    }

    /// Where the console is, as this browser knows it: `https://console.example`.
    pub(crate) fn origin(&self) -> String {
        let scheme = if self.visitor.secure { "https" } else { "http" };
        format!("{scheme}://{}", self.visitor.host)
    }

    /// Why Redis can't be asked just now; what would ask it is better left out then.
    pub(crate) fn redis_away(&self) -> Option<&str> {
        self.visitor.away.as_deref()
    }

    /// Whether htmx asks, so that the part which changes is enough.
    pub(crate) fn is_htmx(&self) -> bool {
        self.visitor.htmx
    }

    /// What stands around a page with this title.
    pub(crate) fn frame(&self, nav: Nav, title: impl Into<String>) -> Frame {
        self.visitor.frame(nav, title)
    }

    /// The page, or a part of one.
    pub(crate) fn render(&self, template: &impl Template) -> Result<HttpResponse, PageError> {
        self.visitor.render(StatusCode::OK, template)
    }

    /// The page with another status: 422 for a form with mistakes, 503 for one that could not be saved.
    pub(crate) fn render_with(&self, status: StatusCode, template: &impl Template) -> Result<HttpResponse, PageError> {
        self.visitor.render(status, template)
    }

    /// Sends the browser to another page of ours.
    pub(crate) fn see(&self, path: &str) -> HttpResponse {
        self.visitor.see(path)
    }

    /// Sends the browser to another page, which says that this was done.
    pub(crate) fn done(&self, path: &str, text: impl Into<String>) -> HttpResponse {
        self.visitor.see_with(path, Tone::Good, text)
    }

    /// The same with a session that has just begun.
    pub(crate) fn entered(&self, path: &str, signed_in: &SignedIn, text: impl Into<String>) -> HttpResponse {
        let mut response = self.done(path, text);
        if let Ok(cookie) = cookies::session(self.visitor.secure, signed_in.token.expose_secret()).parse() {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        response
    }

    /// Sends the browser to another page, which says why this was not done.
    pub(crate) fn failed(&self, path: &str, text: impl AsRef<str>) -> HttpResponse {
        self.visitor.see_with(path, Tone::Bad, self.look().why(text))
    }
}

fn visitor(request: &HttpRequest) -> Result<Rc<Visitor>, PageError> {
    request.extensions().get::<Rc<Visitor>>().cloned().ok_or_else(|| PageError::broken("the guard was passed by"))
}

impl FromRequest for PageContext {
    type Error = PageError;
    type Future = Ready<Result<Self, PageError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(visitor(request).and_then(|visitor| {
            let session = visitor.session.clone().ok_or(PageError::SignIn)?;
            Ok(Self { visitor, session })
        }))
    }
}

impl FromRequest for Guest {
    type Error = PageError;
    type Future = Ready<Result<Self, PageError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(visitor(request).map(Self))
    }
}

/// A list's address with these filters, some of them changed; those that are empty stand in none.
pub(super) fn list_address<'a>(path: &str, mut all: Vec<(&'a str, &'a str)>, changes: &[(&'a str, &'a str)]) -> String {
    for (name, value) in changes {
        if let Some(known) = all.iter_mut().find(|(known, _)| known == name) {
            known.1 = value;
        }
    }
    all.retain(|(_, value)| !value.is_empty());
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(all).finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reaches_the_next_page_whatever_is_in_it() {
        let flash = Flash { tone: Tone::Bad, text: "Nama & sandi; \"tidak\" \u{2019}sesuai\u{2019} = 100 %".into() };
        let written = flash.write();
        assert!(written.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';' && byte != b'"'), "{written}");
        assert_eq!(Flash::read(&written), Some(flash));
        assert_eq!(Flash::read(""), None);
        assert_eq!(Flash::read("xhello"), None);
    }

    #[test]
    fn a_broadcaster_sees_the_broadcast_screen_and_nothing_else() {
        let seen = |role| items(&shell::EN, role, Nav::Overview).iter().map(|item| item.href).collect::<Vec<_>>();
        assert_eq!(seen(Role::Broadcaster), ["/console/broadcast"]);
        assert!(seen(Role::Viewer).contains(&"/console/logs") && seen(Role::Viewer).contains(&"/console/broadcast"));
    }
}

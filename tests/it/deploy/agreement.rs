//! Every port, path and time in `deploy/` held against the program's own defaults and against each other. Each
//! disagreement is a sentence that names the file and the attribute.

use std::{ffi::OsString, time::Duration};

use tidegate::{
    app::{FINISH_WITHIN, LOOKUP_WITHIN},
    config::{Flags, Settings},
    http::{
        Limits,
        health::{LIVE, READY},
        server::ServerSettings,
    },
    systemd::LOOK_EVERY,
};

use super::files::{Files, HAPROXY, SHARED, UNIT, haproxy_time};

/// How long Google Cloud's load balancer keeps an idle connection to a node; it can't be set.
const GOOGLE_KEEP_ALIVE: Duration = Duration::from_secs(600);
/// How long Google Compute Engine gives a machine to shut down.
const GOOGLE_SHUTDOWN: Duration = Duration::from_secs(90);
/// Where Google Cloud's load balancers and health checks come from, as Google publishes it.
const GOOGLE_PROBES: [&str; 2] = ["130.211.0.0/22", "35.191.0.0/16"];
/// What is added where one thing must be over before another.
const MARGIN: Duration = Duration::from_secs(5);

const CHECK: (&str, &str) = ("google_compute_health_check", "ready");
const BACKEND: (&str, &str) = ("google_compute_backend_service", "nodes");

/// The sentences, as they come up.
struct Complaints(Vec<String>);

impl Complaints {
    fn unless(&mut self, right: bool, sentence: impl FnOnce() -> String) {
        if !right {
            self.0.push(sentence());
        }
    }

    fn same(&mut self, place: &str, found: &str, wanted: &str) {
        self.unless(found == wanted, || format!("deploy/{place} is `{found}` and must be `{wanted}`"));
    }

    /// `found` must be there and at least `least`.
    fn at_least(&mut self, place: &str, found: Option<Duration>, least: Duration, why: &str) {
        self.unless(found.is_some_and(|found| found >= least), || {
            format!("deploy/{place} is {found:?} and must be at least {least:?}: {why}")
        });
    }
}

fn defaults() -> Settings {
    Settings::load_from(&Flags::default(), []).unwrap()
}

/// The longest a request may take from its first byte to its answer.
fn longest_request() -> Duration {
    Limits::default().body_time + LOOKUP_WITHIN
}

fn seconds(number: Option<u64>) -> Option<Duration> {
    number.map(Duration::from_secs)
}

/// How long nodes drain as they are deployed.
fn drain(files: &Files) -> Option<Duration> {
    files.unit_environment().get("TIDEGATE_DRAIN_DELAY_S")?.parse().ok().map(Duration::from_secs)
}

fn complaints(files: &Files) -> Vec<String> {
    let mut all = Complaints(Vec::new());
    haproxy(files, &mut all);
    unit(files, &mut all);
    google(files, &mut all);
    google_nodes(files, &mut all);
    all.0
}

fn haproxy(files: &Files, all: &mut Complaints) {
    let place = |attribute: &str| format!("{HAPROXY}: {attribute}");
    let uri = |section: &str| files.haproxy_word(section, "http-check send", "uri");
    all.same(&place("backend nodes, http-check send uri"), &uri("backend nodes"), READY);
    all.same(&place("listen consoles, http-check send uri"), &uri("listen consoles"), LIVE);
    let check = |word: &str| files.haproxy_word("defaults", "default-server", word);
    let google = |attribute: &str| files.attribute(SHARED, CHECK, attribute);
    all.same(&place("default-server inter"), &check("inter"), &format!("{}s", google("check_interval_sec")));
    all.same(&place("default-server fall"), &check("fall"), &google("unhealthy_threshold"));
    all.same(&place("default-server rise"), &check("rise"), &google("healthy_threshold"));

    let time = |directive: &str| haproxy_time(&files.haproxy("defaults", directive));
    let longest = longest_request();
    all.at_least(
        &place("timeout server"),
        time("timeout server"),
        longest + MARGIN,
        "a node may take as long to answer",
    );
    all.at_least(&place("timeout client"), time("timeout client"), longest, "a body may take as long to arrive");
    let head = ServerSettings::default().head_time;
    all.at_least(&place("timeout http-request"), time("timeout http-request"), head, "a node waits as long for a head");
    let hard_stop = haproxy_time(&files.haproxy("global", "hard-stop-after"));
    all.at_least(&place("hard-stop-after"), hard_stop, longest, "a reload would cut requests off");
    let idle = haproxy_time(&check("pool-purge-delay"));
    all.unless(idle.is_some_and(|idle| idle + MARGIN <= ServerSettings::default().keep_alive), || {
        format!("deploy/{HAPROXY}: default-server pool-purge-delay is {idle:?}: the node would close an idle connection first")
    });
    let (inter, again) = (haproxy_time(&check("inter")), haproxy_time(&check("fastinter")));
    let fall: u32 = check("fall").parse().unwrap_or(0);
    let noticed = [inter, again.map(|again| again * fall.saturating_sub(1)), time("timeout check")];
    let noticed = noticed.into_iter().map(|part| part.unwrap_or(GOOGLE_KEEP_ALIVE)).sum();
    all.at_least(&format!("{UNIT}: TIDEGATE_DRAIN_DELAY_S"), drain(files), noticed, "HAProxy takes as long to notice");

    all.same(&place("retry-on"), &files.haproxy("defaults", "retry-on"), "conn-failure");
    all.same(&place("option redispatch"), &files.haproxy("defaults", "option redispatch"), "1");
    let refusal = files.haproxy("backend nodes", "http-error status 503");
    for wanted in ["application/problem+json", "hdr Retry-After", r#""status":503"#] {
        all.unless(refusal.contains(wanted), || format!("deploy/{HAPROXY}: http-error status 503 has no `{wanted}`"));
    }
    let stats = files.haproxy("listen stats", "bind");
    all.unless(stats.starts_with("127.0.0.1:"), || {
        format!("deploy/{HAPROXY}: listen stats, bind is `{stats}` and must be on loopback: it asks for no password")
    });
    let console = files.haproxy("listen consoles", "server a");
    all.same(&place("listen consoles, server a"), &console, &defaults().console.to_string());
}

fn unit(files: &Files, all: &mut Complaints) {
    let place = |setting: &str| format!("{UNIT}: {setting}");
    let last = |setting: &str| files.unit("Service", setting).last().copied().unwrap_or_default().to_owned();
    for (setting, wanted) in [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        ("Restart", "always"),
        ("KillSignal", "SIGTERM"),
        ("DynamicUser", "yes"),
        ("User", "tidegate"),
        ("StateDirectory", "tidegate"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("CapabilityBoundingSet", ""),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
        ("LoadCredential", "master.key:/etc/tidegate/master.key"),
        ("ExecStart", "/usr/local/bin/tidegate serve"),
    ] {
        all.unless(!files.unit("Service", setting).is_empty(), || format!("deploy/{UNIT} has no {setting}="));
        all.same(&place(setting), &last(setting), wanted);
    }
    let filter = files.unit("Service", "SystemCallFilter").first().copied().unwrap_or_default().to_owned();
    all.same(&place("SystemCallFilter"), &filter, "@system-service");
    let burst = files.unit("Unit", "StartLimitBurst");
    all.unless(burst.last().is_some_and(|burst| *burst != "0"), || format!("deploy/{UNIT} has no StartLimitBurst="));

    // Pings come at half of it, at most one look late.
    let watchdog = files.unit_seconds("WatchdogSec");
    let slack = LOOK_EVERY * 2 + MARGIN;
    all.at_least(&place("WatchdogSec"), watchdog, slack * 2, "a busy machine would miss a ping");
    // The drain delay, then the actors, then the listeners.
    let stop = drain(files).unwrap_or(GOOGLE_SHUTDOWN) + FINISH_WITHIN * 2 + MARGIN;
    let why = "the drain delay and twice FINISH_WITHIN come before the end";
    all.at_least(&place("TimeoutStopSec"), files.unit_seconds("TimeoutStopSec"), stop, why);
    let stop = files.unit_seconds("TimeoutStopSec");
    all.unless(stop.is_some_and(|stop| stop <= GOOGLE_SHUTDOWN), || {
        format!("deploy/{UNIT}: TimeoutStopSec is {stop:?}: a machine that shuts down has {GOOGLE_SHUTDOWN:?}")
    });
    let why = "the balancers take 10 s, and the default is made for them";
    all.at_least(&place("TIDEGATE_DRAIN_DELAY_S"), drain(files), defaults().drain_delay, why);
    let key = files.unit_environment().remove("TIDEGATE_MASTER_KEY_FILE").unwrap_or_default();
    all.same(&place("TIDEGATE_MASTER_KEY_FILE"), &key, "%d/master.key");
}

fn google(files: &Files, all: &mut Complaints) {
    let place = |file: &str, resource: (&str, &str), path: &str| {
        format!("{SHARED}/{file}: {}.{} {path}", resource.0, resource.1)
    };
    let ours = defaults();
    let in_balancer = |resource: (&str, &str), path: &str| {
        (place("balancer.tf", resource, path), files.attribute(SHARED, resource, path))
    };
    for (resource, path, wanted) in [
        (CHECK, "http_health_check.port", ours.listen.port().to_string()),
        (CHECK, "http_health_check.request_path", READY.to_owned()),
        (CHECK, "check_interval_sec", "5".into()),
        (CHECK, "healthy_threshold", "2".into()),
        (CHECK, "unhealthy_threshold", "2".into()),
        (BACKEND, "protocol", "HTTP".into()),
        (BACKEND, "load_balancing_scheme", "EXTERNAL_MANAGED".into()),
        (("google_compute_url_map", "redirect"), "default_url_redirect.https_redirect", "true".into()),
    ] {
        let (place, found) = in_balancer(resource, path);
        all.same(&place, &found, &wanted);
    }
    let number = |resource, path| seconds(files.number(SHARED, resource, path));
    let (interval, limit) = (number(CHECK, "check_interval_sec"), number(CHECK, "timeout_sec"));
    all.unless(limit <= interval, || {
        format!("deploy/{} is above the interval", place("balancer.tf", CHECK, "timeout_sec"))
    });
    let times = u32::try_from(files.number(SHARED, CHECK, "unhealthy_threshold").unwrap_or(99)).unwrap();
    let noticed = interval.unwrap_or_default() * times + limit.unwrap_or_default() + MARGIN;
    let why = "Google's checks take as long to notice";
    all.at_least(&format!("{UNIT}: TIDEGATE_DRAIN_DELAY_S"), drain(files), noticed, why);
    let longest = longest_request() + MARGIN;
    let (timeout, draining) = (number(BACKEND, "timeout_sec"), number(BACKEND, "connection_draining_timeout_sec"));
    all.at_least(&place("balancer.tf", BACKEND, "timeout_sec"), timeout, longest, "a node may take as long to answer");
    let stop = drain(files).unwrap_or(GOOGLE_SHUTDOWN) + FINISH_WITHIN * 2;
    let draining_place = place("balancer.tf", BACKEND, "connection_draining_timeout_sec");
    all.at_least(&draining_place, draining, stop.max(longest), "requests under way would be cut off");
    let keep_alive = ServerSettings::default().keep_alive;
    all.unless(keep_alive > GOOGLE_KEEP_ALIVE, || {
        format!(
            "src/http/server.rs: keep_alive is {keep_alive:?}: the balancer keeps connections for {GOOGLE_KEEP_ALIVE:?}"
        )
    });

    let firewall = |name| ("google_compute_firewall", name);
    let ports = |name| files.attribute(SHARED, firewall(name), "allow.ports");
    let of = |name: &str, path: &str| place("network.tf", ("google_compute_firewall", name), path);
    for (name, variable, port) in [
        ("balancer", "port", ours.listen.port()),
        ("admin", "admin_port", ours.admin.port()),
        ("redis", "redis_port", 6379),
    ] {
        let opened: String = ports(name).split_whitespace().collect();
        all.same(
            &of(name, "ports"),
            opened.trim_end_matches(",]").trim_end_matches(']'),
            &format!("[tostring(var.{variable})"),
        );
        let default = files.block(SHARED, &["variable", variable]).map(|block| {
            block.body().attributes().find(|one| one.key() == "default").map(|one| one.expr().to_string())
        });
        let default = default.flatten().unwrap_or_default();
        all.same(&format!("{SHARED}/variables.tf: variable {variable}"), &default, &port.to_string());
    }
    let ranges = files.attribute(SHARED, firewall("balancer"), "source_ranges");
    let mut ranges: Vec<_> = ranges.split('"').skip(1).step_by(2).collect();
    ranges.sort_unstable();
    all.same(&of("balancer", "source_ranges"), &ranges.join(" "), &GOOGLE_PROBES.join(" "));
    let tags: String = files.attribute(SHARED, firewall("redis"), "source_tags").split_whitespace().collect();
    all.unless(tags.starts_with("[local.node_tag") && !tags[1..].contains("\""), || {
        format!("deploy/{} is `{tags}`: only nodes may reach Redis", of("redis", "source_tags"))
    });
    let open = files.attribute(SHARED, firewall("redis"), "source_ranges");
    all.same(&of("redis", "source_ranges"), &open, "");
}

fn google_nodes(files: &Files, all: &mut Complaints) {
    for folder in ["gcp", "gcp/autoscaling", SHARED] {
        for (path, body) in files.terraform(folder) {
            let text = hcl::format::to_string(&body).unwrap();
            for (never, why) in [
                ("access_config", "no machine has a public address"),
                ("0.0.0.0/0", "the firewall is open to the probe ranges alone"),
                ("roles/owner", "least rights"),
                ("roles/editor", "least rights"),
            ] {
                all.unless(!text.contains(never), || format!("deploy/{path} has `{never}`: {why}"));
            }
        }
    }
    let group = ("google_compute_instance_group", "nodes");
    let managed = ("google_compute_region_instance_group_manager", "nodes");
    let backend_port = files.attribute(SHARED, BACKEND, "port_name");
    for (folder, resource) in [("gcp", group), ("gcp/autoscaling", managed)] {
        let named = |path: &str| files.attribute(folder, resource, path);
        let place = |path: &str| format!("{folder}/nodes.tf: {}.{} {path}", resource.0, resource.1);
        all.same(&place("named_port.port"), &named("named_port.port"), &defaults().listen.port().to_string());
        all.same(&place("named_port.name"), &named("named_port.name"), &backend_port);
    }
    let auto = |resource: (&str, &str), path: &str| {
        (
            format!("gcp/autoscaling/nodes.tf: {}.{} {path}", resource.0, resource.1),
            files.attribute("gcp/autoscaling", resource, path),
        )
    };
    let live = ("google_compute_health_check", "live");
    for (resource, path, wanted) in [
        (live, "http_health_check.request_path", LIVE),
        (managed, "auto_healing_policies.health_check", "google_compute_health_check.live.id"),
        (managed, "update_policy.max_unavailable_fixed", "0"),
        (managed, "update_policy.max_surge_fixed", "length(var.zones)"),
        (managed, "update_policy.type", "PROACTIVE"),
    ] {
        let (place, found) = auto(resource, path);
        all.same(&place, &found, wanted);
    }
    let number = |resource, path: &str| seconds(files.number("gcp/autoscaling", resource, path));
    let first = number(managed, "auto_healing_policies.initial_delay_sec");
    let (place, _) = auto(managed, "auto_healing_policies.initial_delay_sec");
    let start = files.unit_seconds("TimeoutStartSec").unwrap_or_default();
    all.at_least(&place, first, start + Duration::from_secs(120), "a machine boots and fetches the program first");
    let healed = number(live, "check_interval_sec").unwrap_or_default()
        * u32::try_from(files.number("gcp/autoscaling", live, "unhealthy_threshold").unwrap_or(0)).unwrap();
    let watchdog =
        files.unit_seconds("WatchdogSec").unwrap_or_default() + files.unit_seconds("RestartSec").unwrap_or_default();
    let place = "gcp/autoscaling/nodes.tf: google_compute_health_check.live unhealthy_threshold";
    all.at_least(place, Some(healed), watchdog + MARGIN, "systemd's watchdog comes first");
}

#[test]
fn ports_paths_and_times_agree_with_the_program_and_with_each_other() {
    let found = complaints(&Files::read());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn each_disagreement_is_named_with_its_file_and_attribute() {
    let files = Files::read();
    for (path, right, wrong, sentence) in [
        (HAPROXY, "uri /healthz/ready", "uri /ready", "haproxy.cfg: backend nodes, http-check send uri"),
        (HAPROXY, "uri /healthz/live", "uri /healthz/ready", "haproxy.cfg: listen consoles, http-check send uri"),
        (HAPROXY, "TIDEGATE_CHECK_EVERY-5s", "TIDEGATE_CHECK_EVERY-20s", "haproxy.cfg: default-server inter"),
        (HAPROXY, "fall 2", "fall 5", "haproxy.cfg: default-server fall"),
        (HAPROXY, "timeout server 60s", "timeout server 30s", "haproxy.cfg: timeout server"),
        (HAPROXY, "retry-on conn-failure", "retry-on all-retryable-errors", "haproxy.cfg: retry-on"),
        (HAPROXY, "hdr Retry-After 5", "", "haproxy.cfg: http-error status 503"),
        (HAPROXY, "pool-purge-delay 30s", "pool-purge-delay 700s", "pool-purge-delay"),
        (HAPROXY, "STATS-127.0.0.1:8404", "STATS-0.0.0.0:8404", "listen stats"),
        (UNIT, "Type=notify", "Type=simple", "tidegate.service: Type"),
        (UNIT, "WatchdogSec=30", "WatchdogSec=5", "tidegate.service: WatchdogSec"),
        (UNIT, "TimeoutStopSec=60", "TimeoutStopSec=30", "tidegate.service: TimeoutStopSec"),
        (UNIT, "TimeoutStopSec=60", "TimeoutStopSec=300", "tidegate.service: TimeoutStopSec"),
        (UNIT, "DRAIN_DELAY_S=20", "DRAIN_DELAY_S=10", "tidegate.service: TIDEGATE_DRAIN_DELAY_S"),
        (UNIT, "NoNewPrivileges=yes\n", "", "tidegate.service has no NoNewPrivileges"),
        ("gcp/shared/balancer.tf", "= \"/healthz/ready\"", "= \"/\"", "http_health_check.request_path"),
        (
            "gcp/shared/balancer.tf",
            "timeout_sec = 60",
            "timeout_sec = 30",
            "google_compute_backend_service.nodes timeout_sec",
        ),
        (
            "gcp/shared/balancer.tf",
            "draining_timeout_sec = 60",
            "draining_timeout_sec = 0",
            "connection_draining_timeout_sec",
        ),
        ("gcp/shared/variables.tf", "default     = 8080", "default     = 80", "http_health_check.port"),
        ("gcp/shared/variables.tf", "default     = 9090", "default     = 9091", "variable admin_port"),
        ("gcp/shared/network.tf", "130.211.0.0/22", "130.211.0.0/16", "google_compute_firewall.balancer source_ranges"),
        (
            "gcp/shared/network.tf",
            "source_tags = [local.node_tag]",
            "source_ranges = [\"10.0.0.0/8\"]",
            "google_compute_firewall.redis",
        ),
        ("gcp/nodes.tf", "named_port {", "access_config {}\nnamed_port {", "gcp/nodes.tf has `access_config`"),
        (
            "gcp/nodes.tf",
            "port = module.shared.port\n",
            "port = 80\n",
            "google_compute_instance_group.nodes named_port.port",
        ),
        (
            "gcp/autoscaling/nodes.tf",
            "max_unavailable_fixed        = 0",
            "max_unavailable_fixed = 1",
            "max_unavailable_fixed",
        ),
        ("gcp/autoscaling/nodes.tf", "\"/healthz/live\"", "\"/healthz/ready\"", "google_compute_health_check.live"),
        (
            "gcp/autoscaling/nodes.tf",
            "unhealthy_threshold = 6",
            "unhealthy_threshold = 2",
            "systemd's watchdog comes first",
        ),
    ] {
        let found = complaints(&files.with(path, right, wrong)).join("\n");
        assert!(found.contains(sentence), "deploy/{path} with `{wrong}`: expected `{sentence}` in: {found}");
    }
}

#[test]
fn what_the_unit_and_the_start_up_script_set_are_settings_of_the_program() {
    let files = Files::read();
    let script = super::machines::node(&files);
    let (_, written) = script.split_once("<<ENV\n").unwrap();
    let (written, _) = written.split_once("\nENV\n").unwrap();
    let mut environment = files.unit_environment();
    environment.extend(written.lines().map(|line| {
        let (name, value) = line.split_once('=').unwrap();
        (name.to_owned(), value.replace("$redis_password", "5ecret").replace("$admin_token", &"f".repeat(32)))
    }));
    let environment = environment.into_iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let settings = Settings::load_from(&Flags::default(), environment).unwrap();
    settings.refuse_unsafe_listeners().unwrap();
    assert_eq!(settings.listen, defaults().listen);
    assert_eq!(settings.admin.port(), defaults().admin.port());
    assert_eq!(settings.redis_url.to_string(), "redis://tidegate:***@10.80.0.2:6379/0");
    assert!(settings.console.ip().is_loopback(), "nothing lets anybody reach the console");
}

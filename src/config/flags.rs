//! The settings as flags: their names, defaults and the sentence that `--help` shows for each.
//!
//! This is the list of settings: the environment and the file know the same names, and the error for an unknown one is
//! made from it.

use std::collections::BTreeMap;

use clap::{Args, CommandFactory, Parser};

/// One flag for each setting; texts, because the same checks serve the environment and the file.
#[derive(Args, Clone, Default)]
#[command(next_help_heading = "Settings (flags, then TIDEGATE_… in the environment, then tidegate.toml)")]
pub struct Flags {
    /// The file of settings; `tidegate.toml` in the working directory is read when it is there
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<String>,
    /// Where Redis is: redis://USER:PASSWORD@HOST:PORT/DATABASE, of which the host is enough [default: redis://127.0.0.1:6379]
    #[arg(long, global = true, value_name = "URL")]
    pub redis_url: Option<String>,
    /// File with the certificate of who signed Redis's, in PEM; for rediss:// [default: those that this machine trusts]
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub redis_ca: Option<String>,
    /// File with our own certificate for Redis, in PEM [default: none]
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub redis_cert: Option<String>,
    /// File with the key of our own certificate, in PEM [default: none]
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub redis_key: Option<String>,
    /// What every key in Redis begins with; installations that share a Redis need one each [default: tidegate]
    #[arg(long, global = true, value_name = "WORD")]
    pub prefix: Option<String>,
    /// File with the master key, which seals the destinations' passwords; `key generate-master` prints one [default: none]
    #[arg(long, global = true, value_name = "FILE")]
    pub master_key_file: Option<String>,
    /// The master key itself; better in TIDEGATE_MASTER_KEY, since others can see flags [default: none]
    #[arg(long, global = true, value_name = "KEY", hide_short_help = true)]
    pub master_key: Option<String>,
    /// This node's name, unique in the installation [default: the host's name]
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub node: Option<String>,
    /// Address and port for producers [default: 0.0.0.0:8080]
    #[arg(long, global = true, value_name = "ADDRESS", hide_short_help = true)]
    pub listen: Option<String>,
    /// Address and port for operations: health, metrics, admin API [default: 127.0.0.1:9090]
    #[arg(long, global = true, value_name = "ADDRESS", hide_short_help = true)]
    pub admin: Option<String>,
    /// What the operations listener asks for wherever this is set, and must have set beyond loopback; the admin API always
    /// asks for it; better in TIDEGATE_ADMIN_TOKEN [default: none]
    #[arg(long, global = true, value_name = "TOKEN", hide_short_help = true)]
    pub admin_token: Option<String>,
    /// Address and port of the web console [default: 127.0.0.1:8081]
    #[arg(long, global = true, value_name = "ADDRESS", hide_short_help = true)]
    pub console: Option<String>,
    /// Where destinations given in the console may lead on or beside this machine: deny, loopback, or all (link-local and
    /// metadata addresses too) [default: loopback where `admin` and `console` listen on loopback without a proxy, else deny]
    #[arg(long, global = true, value_name = "WORD", hide_short_help = true)]
    pub local_destinations: Option<String>,
    /// File with the certificate of the web console and those who signed it, in PEM; wanted where `console` is beyond loopback
    /// [default: none]
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub console_cert: Option<String>,
    /// File with the key of that certificate, in PEM [default: none]
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub console_key: Option<String>,
    /// Addresses of the proxies in front of the console, such as 10.0.0.5 or 10.0.0.0/24, with commas; their X-Forwarded-For and
    /// X-Forwarded-Proto are believed [default: none]
    #[arg(long, global = true, value_name = "ADDRESSES", hide_short_help = true)]
    pub console_proxy: Option<String>,
    /// Addresses of this machine or its link, such as 127.0.0.1, that alerts may go to all the same, with commas [default: none]
    #[arg(long, global = true, value_name = "ADDRESSES", hide_short_help = true)]
    pub alerts_allow: Option<String>,
    /// Folder for the snapshot of the registry [default: $STATE_DIRECTORY, else ~/.local/state/tidegate]
    #[arg(long, global = true, value_name = "FOLDER", hide_short_help = true)]
    pub state_dir: Option<String>,
    /// Seconds after which a destination of a node that is gone is taken over [default: 3]
    #[arg(long, global = true, value_name = "SECONDS", hide_short_help = true)]
    pub lease_s: Option<String>,
    /// Seconds of further service after SIGTERM, until load balancers have noticed [default: 10]
    #[arg(long, global = true, value_name = "SECONDS", hide_short_help = true)]
    pub drain_delay_s: Option<String>,
    /// What is kept once every destination has it: a time (`24h`), a number of messages (`1000000`), or both with a comma,
    /// whichever is less [default: 24h]
    #[arg(long, global = true, value_name = "TIME|MESSAGES", hide_short_help = true)]
    pub retention: Option<String>,
    /// Share of Redis's maxmemory above which retained messages are trimmed [default: 0.70]
    #[arg(long, global = true, value_name = "SHARE", hide_short_help = true)]
    pub memory_soft: Option<String>,
    /// Share of Redis's maxmemory above which new records are answered with 503 [default: 0.85]
    #[arg(long, global = true, value_name = "SHARE", hide_short_help = true)]
    pub memory_hard: Option<String>,
    /// How many requests may be on their way into Redis at once; beyond it 503 with Retry-After [default: 1024]
    #[arg(long, global = true, value_name = "NUMBER", hide_short_help = true)]
    pub max_in_flight: Option<String>,
    /// How log lines look: text or json [default: text]
    #[arg(long, global = true, value_name = "FORM", hide_short_help = true)]
    pub log: Option<String>,
}

/// Settings that have a default which is a plain text. A test holds them against the help.
pub(super) const DEFAULTS: [(&str, &str); 12] = [
    ("redis_url", "redis://127.0.0.1:6379"),
    ("prefix", "tidegate"),
    ("listen", "0.0.0.0:8080"),
    ("admin", "127.0.0.1:9090"),
    ("console", "127.0.0.1:8081"),
    ("lease_s", "3"),
    ("drain_delay_s", "10"),
    ("retention", "24h"),
    ("memory_soft", "0.70"),
    ("memory_hard", "0.85"),
    ("max_in_flight", "1024"),
    ("log", "text"),
];

/// Settings whose values are never shown.
pub(super) const SECRET: [&str; 3] = ["redis_url", "master_key", "admin_token"];

#[derive(Parser)]
struct Alone {
    #[command(flatten)]
    _flags: Flags,
}

/// The names of all settings with their help.
pub(super) fn names() -> Vec<(String, String)> {
    Alone::command()
        .get_arguments()
        .filter(|argument| argument.get_id() != "config" && argument.get_id() != "help")
        .map(|argument| {
            (argument.get_id().to_string(), argument.get_help().map(ToString::to_string).unwrap_or_default())
        })
        .collect()
}

impl Flags {
    /// What was given, by the settings' names.
    pub(super) fn given(&self) -> BTreeMap<String, String> {
        let all = [
            ("redis_url", &self.redis_url),
            ("redis_ca", &self.redis_ca),
            ("redis_cert", &self.redis_cert),
            ("redis_key", &self.redis_key),
            ("prefix", &self.prefix),
            ("master_key_file", &self.master_key_file),
            ("master_key", &self.master_key),
            ("node", &self.node),
            ("listen", &self.listen),
            ("admin", &self.admin),
            ("admin_token", &self.admin_token),
            ("console", &self.console),
            ("local_destinations", &self.local_destinations),
            ("console_cert", &self.console_cert),
            ("console_key", &self.console_key),
            ("console_proxy", &self.console_proxy),
            ("alerts_allow", &self.alerts_allow),
            ("state_dir", &self.state_dir),
            ("lease_s", &self.lease_s),
            ("drain_delay_s", &self.drain_delay_s),
            ("retention", &self.retention),
            ("memory_soft", &self.memory_soft),
            ("memory_hard", &self.memory_hard),
            ("max_in_flight", &self.max_in_flight),
            ("log", &self.log),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))).collect()
    }
}

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

fn load(file: &str, environment: &[(&str, &str)], flags: Flags) -> Result<Settings, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tidegate.toml");
    std::fs::write(&path, file).unwrap();
    let flags = Flags { config: Some(path.to_str().unwrap().into()), ..flags };
    let environment = environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Settings::load_from(&flags, environment)
        .map_err(|error| error.to_string().replace(folder.path().to_str().unwrap(), "/etc"))
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = "lease_s = 5\ndrain_delay_s = 6\nretention = \"1h\"\nmemory_soft = 0.5";
    let flags = Flags { lease_s: Some("9".into()), ..Flags::default() };
    let environment = [("TIDEGATE_LEASE_S", "8"), ("TIDEGATE_DRAIN_DELAY_S", "7"), ("HOME", "/home/op")];
    let settings = load(file, &environment, flags).unwrap();
    assert_eq!(settings.lease, Duration::from_secs(9));
    assert_eq!(settings.drain_delay, Duration::from_secs(7));
    assert_eq!(settings.retention, Retention { age: Some(Duration::from_secs(3600)), messages: None });
    assert!((settings.memory_soft - 0.5).abs() < f64::EPSILON);
    assert_eq!(settings.redis_url.expose(), "redis://127.0.0.1:6379");
    assert_eq!(settings.state_dir, PathBuf::from("/home/op/.local/state/tidegate"));
}

#[test]
fn a_wrong_value_is_answered_with_its_source_and_the_remedy() {
    let none = Flags::default;
    insta::assert_snapshot!(load("lease_s = \"soon\"", &[], none()).unwrap_err(),
        @"setting `lease_s` is `soon` (from the file /etc/tidegate.toml): it is not a whole number of seconds from 1 to 60; give one of those");
    insta::assert_snapshot!(load("", &[("TIDEGATE_LISTEN", "8080")], none()).unwrap_err(),
        @"setting `listen` is `8080` (from the environment variable TIDEGATE_LISTEN): it is not an address with a port; give one such as 127.0.0.1:8080 or 0.0.0.0:8080");
    insta::assert_snapshot!(load("", &[], Flags { retention: Some("24x".into()), ..none() }).unwrap_err(),
        @"setting `retention` is `24x` (from the flag --retention): it is neither a time nor a number of messages; give a time such as `24h`, a number of messages such as `1000000`, or both: `24h,1000000`");
    insta::assert_snapshot!(load("redis_url = \"http://u:hunter2@h\"", &[], none()).unwrap_err(),
        @"setting `redis_url` (from the file /etc/tidegate.toml) is not an address of a Redis server; give one such as redis://127.0.0.1:6379 or redis://user:password@host:6379/0");
    insta::assert_snapshot!(load("memory_soft = 0.9", &[], none()).unwrap_err(),
        @"setting `memory_soft` is `0.9` (from the file /etc/tidegate.toml): it is not below `memory_hard`; give a smaller share, such as 0.70");
    insta::assert_snapshot!(load("redis-url = \"redis://h\"", &[], none()).unwrap_err(),
        @"/etc/tidegate.toml: there is no setting `redis-url`; did you mean `redis_url`?");
    insta::assert_snapshot!(load("", &[("TIDEGATE_NODES", "a")], none()).unwrap_err(),
        @"there is no setting for the environment variable TIDEGATE_NODES; did you mean TIDEGATE_NODE?");
    insta::assert_snapshot!(load("lease_s = \n", &[], none()).unwrap_err(),
        @"/etc/tidegate.toml, line 1: string values must be quoted, expected literal string");
}

#[test]
fn the_help_shows_every_default() {
    for (name, help) in flags::names() {
        match flags::DEFAULTS.iter().find(|(known, _)| *known == name) {
            Some((_, default)) => assert!(help.ends_with(&format!("[default: {default}]")), "{name}: {help}"),
            None => assert!(help.contains("[default: "), "{name}: {help}"),
        }
    }
    assert_eq!(flags::names().len(), 25);
}

#[test]
fn files_for_tls_belong_to_an_address_with_tls() {
    let file = "redis_ca = \"/etc/a b.pem\"\nredis_url = ";
    let settings = load(&format!("{file}\"rediss://h\""), &[], Flags::default()).unwrap();
    assert_eq!(settings.redis_url.expose(), "rediss://h?ca=/etc/a%20b.pem");
    assert_eq!(settings.redis_url.to_string(), "rediss://h");
    insta::assert_snapshot!(load(&format!("{file}\"redis://h\""), &[], Flags::default()).unwrap_err(),
        @"setting `redis_ca` is `/etc/a b.pem` (from the file /etc/tidegate.toml): it is for TLS, which `redis_url` does not ask for; begin that with rediss://");
    let alone = [("TIDEGATE_REDIS_KEY", "/k"), ("TIDEGATE_REDIS_URL", "rediss://h")];
    insta::assert_snapshot!(load("", &alone, Flags::default()).unwrap_err(),
        @"setting `redis_key` is `/k` (from the environment variable TIDEGATE_REDIS_KEY): it stands alone; give both `redis_cert` and `redis_key`");
}

#[test]
fn secrets_do_not_print_themselves() {
    let flags = Flags { admin_token: Some("hunter2-hunter2-hunter2".into()), ..Flags::default() };
    let settings = load("redis_url = \"redis://u:hunter2@h/0\"", &[], flags).unwrap();
    let shown = format!("{settings:?} {}", settings.redis_url);
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("redis://u:***@h/0"), "{shown}");
}

#[test]
fn retention_takes_a_time_a_number_or_both() {
    let age = Some(Duration::from_secs(86400));
    assert_eq!("24h".parse(), Ok(Retention { age, messages: None }));
    assert_eq!("1000000".parse(), Ok(Retention { age: None, messages: Some(1_000_000) }));
    assert_eq!("24h, 1000000".parse(), Ok(Retention { age, messages: Some(1_000_000) }));
    assert!("1,2".parse::<Retention>().is_err());
}

#[test]
fn a_public_admin_listener_wants_a_token() {
    let open = Flags { admin: Some(":9090".into()), ..Flags::default() };
    assert!(load("", &[], open.clone()).unwrap().refuse_unsafe_listeners().is_err());
    let guarded = [("TIDEGATE_ADMIN_TOKEN", "0123456789abcdef")];
    assert!(load("", &guarded, open).unwrap().refuse_unsafe_listeners().is_ok());
}

#[test]
fn a_public_console_wants_tls_or_a_named_proxy() {
    let open = || Flags { console: Some("0.0.0.0:8081".into()), ..Flags::default() };
    let refused = |environment: &[(&str, &str)]| {
        load("", environment, open()).unwrap().refuse_unsafe_listeners().err().map(|error| error.to_string())
    };
    insta::assert_snapshot!(refused(&[]).unwrap(),
        @"setting `console` is `0.0.0.0:8081`, which other machines reach, and passwords would cross the network in the clear; give `console_cert` and `console_key`, or name the proxy that speaks TLS for it in `console_proxy`, or listen on 127.0.0.1");
    assert_eq!(refused(&[("TIDEGATE_CONSOLE_CERT", "/c"), ("TIDEGATE_CONSOLE_KEY", "/k")]), None);
    assert_eq!(refused(&[("TIDEGATE_CONSOLE_PROXY", "10.0.0.0/24")]), None);
    insta::assert_snapshot!(load("", &[("TIDEGATE_CONSOLE_CERT", "/c")], open()).unwrap_err(),
        @"setting `console_cert` is `/c` (from the environment variable TIDEGATE_CONSOLE_CERT): it stands alone; give both `console_cert` and `console_key`");
    insta::assert_snapshot!(load("", &[("TIDEGATE_CONSOLE_PROXY", "my-proxy")], open()).unwrap_err(),
        @"setting `console_proxy` is `my-proxy` (from the environment variable TIDEGATE_CONSOLE_PROXY): it is no list of addresses; give addresses or networks with commas, such as 10.0.0.5 or 10.0.0.0/24,fd00::/8");
}

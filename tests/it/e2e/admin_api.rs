//! The admin API over HTTP on a real Redis: users, settings, alerts, the list of changes, routes, jobs, export and import. Each act
//! is the console's, and leaves its entry.

use serde_json::{Value, json};

use super::{
    api::{TOKEN, ask, done, node, shown},
    installation::{Installation, Node, manifest},
};

async fn get(node: &Node, path: &str) -> Value {
    done(node, "GET", path, Value::Null).await
}

/// The stable codes of a refusal, by field.
fn codes(problem: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let errors = problem["errors"].as_array().cloned().unwrap_or_default();
    errors.iter().map(|error| (text(&error["field"]), text(&error["code"]))).collect()
}

#[actix_web::test]
async fn users_settings_and_alerts_are_set_and_each_change_is_listed_without_secrets() {
    const CANARY: &str = "canary phrase of a user";
    let installation = Installation::new().await;
    installation.apply("[[application]]\nname = \"car-app\"\n");
    let node = node(&installation, "a", &[]).await;
    // Nobody without the token.
    let bare = awc::Client::default().get(format!("http://127.0.0.1:{}/v1/users", node.admin)).send().await.unwrap();
    assert_eq!(bare.status().as_u16(), 401);

    let added = ask(&node, "POST", "/v1/users", json!({"name": "Ana", "role": "operator", "password": CANARY})).await;
    assert_eq!(
        (added.0, added.1["name"].as_str(), added.1["role"].as_str()),
        (201, Some("ana"), Some("operator")),
        "{added:?}"
    );
    let twice = ask(&node, "POST", "/v1/users", json!({"name": "ana", "role": "viewer", "password": CANARY})).await;
    assert_eq!((twice.0, codes(&twice.1)), (422, vec![("name".into(), "user_taken".into())]), "{twice:?}");
    let short = ask(&node, "PUT", "/v1/users/ana/password", json!({"password": "short"})).await;
    assert!(short.0 == 422 && codes(&short.1)[0].0 == "password", "{short:?}");
    let odd = ask(&node, "POST", "/v1/users", json!({"name": "bo", "role": "king", "password": CANARY})).await;
    assert!(odd.0 == 400 && !odd.1.to_string().contains("canary"), "{odd:?}");
    assert_eq!(done(&node, "PUT", "/v1/users/ana/role", json!({"role": "admin"})).await["role"], "admin");
    assert_eq!(
        done(&node, "PUT", "/v1/users/ana/password", json!({"password": format!("{CANARY} anew")})).await["name"],
        "ana"
    );
    done(&node, "DELETE", "/v1/users/ana/sessions", Value::Null).await;
    done(&node, "DELETE", "/v1/users/ana/second-factor", Value::Null).await;
    let last = ask(&node, "DELETE", "/v1/users/ana", Value::Null).await;
    assert!(last.0 == 409 && last.1["detail"].as_str().unwrap().contains("last admin"), "{last:?}");
    done(&node, "POST", "/v1/users", json!({"name": "new", "role": "viewer", "password": CANARY})).await;
    assert_eq!(get(&node, "/v1/users/new").await["role"], "viewer");
    assert_eq!(done(&node, "DELETE", "/v1/users/new", Value::Null).await["removed"], "new");
    assert_eq!(ask(&node, "GET", "/v1/users/new", Value::Null).await.0, 404);
    assert_eq!(get(&node, "/v1/users").await["users"].as_array().unwrap().len(), 1);

    let unset = json!({"retention": null, "memory_soft": null, "memory_hard": null, "broadcasts_days": null});
    assert_eq!(get(&node, "/v1/settings").await, unset);
    let set = json!({"retention": "2days,1000", "memory_soft": 60, "memory_hard": 70, "broadcasts_days": 30});
    assert_eq!(done(&node, "PUT", "/v1/settings", set.clone()).await, set);
    let wrong = ask(&node, "PUT", "/v1/settings", json!({"memory_soft": 90, "memory_hard": 70})).await;
    assert_eq!((wrong.0, codes(&wrong.1)), (422, vec![("memory_soft".into(), "soft_above_hard".into())]));
    let wrong = ask(&node, "PUT", "/v1/settings", json!({"broadcasts_days": 0})).await;
    assert_eq!((wrong.0, codes(&wrong.1)), (422, vec![("broadcasts_days".into(), "days".into())]));
    assert_eq!(get(&node, "/v1/settings").await, set, "a refusal changes nothing");
    assert_eq!(done(&node, "PUT", "/v1/settings", json!({})).await["retention"], Value::Null);

    let marks = json!({"down_after_s": 30, "dead_above": 5, "memory_percent": 77});
    assert_eq!(done(&node, "PUT", "/v1/alerts/marks", marks).await["down_after_s"], 30);
    let hook =
        json!({"name": "on call", "kinds": ["dead_letters"], "webhook": {"url": "https://hooks.example/canary-path"}});
    let added = done(&node, "POST", "/v1/alerts/targets", hook.clone()).await;
    let (id, secret) = (added["id"].as_str().unwrap().to_owned(), added["secret"].as_str().unwrap().to_owned());
    let both = json!({"name": "x", "kinds": ["dead_letters"], "webhook": {"url": "https://a.example"}, "email": {"host": "h", "port": 1, "from": "a@b.example", "to": []}});
    assert_eq!(
        codes(&ask(&node, "POST", "/v1/alerts/targets", both).await.1),
        [("webhook".into(), "one_of_two".into())]
    );
    let renewed = done(&node, "POST", &format!("/v1/alerts/targets/{id}/secret"), Value::Null).await;
    assert_ne!(renewed["secret"], *secret);
    // Loopback is never told, and each step says why.
    let here = json!({"name": "on call", "kinds": ["dead_letters"], "webhook": {"url": "http://127.0.0.1:9/"}});
    let edited = ask(&node, "PUT", &format!("/v1/alerts/targets/{id}"), here).await;
    if edited.0 == 200 {
        let tested = done(&node, "POST", &format!("/v1/alerts/targets/{id}/test"), Value::Null).await;
        assert_eq!(tested["good"], false, "{tested}");
    } else {
        assert_eq!((edited.0, codes(&edited.1)[0].0.as_str()), (422, "url"), "{edited:?}");
    }
    let shown = get(&node, "/v1/alerts").await;
    assert_eq!(shown["targets"][0]["name"], "on call", "{shown}");
    assert_eq!(done(&node, "DELETE", &format!("/v1/alerts/targets/{id}"), Value::Null).await["removed"], *id);

    let all = get(&node, "/v1/audit?limit=200").await;
    let text = all.to_string();
    for told in
        ["create user `ana`", "role of user `ana`", "retention of all nodes", "marks of alarms", "remove alert target"]
    {
        assert!(text.contains(told), "{told}: {text}");
    }
    assert!(text.contains("admin token") && text.contains("127.0.0.1"), "{text}");
    for secret in [CANARY, secret.as_str(), renewed["secret"].as_str().unwrap(), TOKEN, "$argon2"] {
        assert!(!text.contains(secret), "{secret}: {text}");
        assert!(!node.logged().contains(secret), "{secret} in the log");
    }
    let page = get(&node, "/v1/audit?who=admin%20token&what=user&limit=2").await;
    assert_eq!(page["entries"].as_array().unwrap().len(), 2, "{page}");
    let next = get(&node, &format!("/v1/audit?what=user&limit=2&below={}", page["next"].as_str().unwrap())).await;
    assert!(next["entries"][0]["id"].as_str() < page["entries"][1]["id"].as_str(), "{next}");
    assert_eq!(ask(&node, "GET", "/v1/audit?from=yesterday", Value::Null).await.0, 422);
    assert_eq!(ask(&node, "GET", "/v1/audit?form=x", Value::Null).await.0, 400, "a slip in a name is told");
}

#[actix_web::test]
async fn routes_are_made_changed_and_removed_against_their_tables() {
    let installation = Installation::new().await;
    let target = installation.sqlite("rooms").await;
    installation.apply(
        &manifest(std::slice::from_ref(&target)).replace("kind = \"sqlite\"", "kind = \"sqlite\"\nnode = \"a\""),
    );
    let node = node(&installation, "a", &[]).await;
    shown(&node, "rooms", "up").await;
    let listed = get(&node, "/v1/routes?destination=rooms&sort=name").await;
    assert_eq!(
        (listed["total"].as_u64(), listed["routes"][0]["name"].as_str()),
        (Some(2), Some("rooms-cars")),
        "{listed}"
    );
    assert_eq!(
        codes(&ask(&node, "GET", "/v1/routes?state=odd", Value::Null).await.1),
        [("state".into(), "unknown_word".into())]
    );

    let route = |table: &str, columns: Value| {
        json!({"name": "new", "application": "car-app", "topic": "cars", "destination": "rooms", "table": table, "key": ["id"],
               "columns": columns})
    };
    let unfit = json!({"route": route("cars", json!({"id": "id", "version": "version", "colour": "color"}))});
    for (path, body) in [("/v1/route-outlooks", &unfit), ("/v1/routes", &unfit)] {
        let refused = ask(&node, "POST", path, body.clone()).await;
        assert_eq!(
            (refused.0, codes(&refused.1)),
            (422, vec![("columns.colour".into(), "unfit".into())]),
            "{refused:?}"
        );
    }
    let fit = json!({"route": route("cars", json!({"id": "id", "version": "version"}))});
    let outlook = done(&node, "POST", "/v1/route-outlooks", fit.clone()).await;
    assert_eq!(outlook["is_new"], true, "{outlook}");
    assert_eq!(ask(&node, "GET", "/v1/routes/new", Value::Null).await.0, 404, "an outlook changes nothing");
    let made = ask(&node, "POST", "/v1/routes", fit.clone()).await;
    assert_eq!((made.0, made.1["version"].as_u64()), (201, Some(1)), "{made:?}");
    assert_eq!(codes(&ask(&node, "POST", "/v1/routes", fit.clone()).await.1), [("name".into(), "taken".into())]);
    let mut spec = get(&node, "/v1/routes/new").await["spec"].clone();
    spec["columns"]["stock"] = json!("stock");
    let change = |base: Value| json!({"route": spec.clone(), "base": base});
    assert_eq!(
        codes(&ask(&node, "PUT", "/v1/routes/new", change(Value::Null)).await.1),
        [("base".into(), "missing".into())]
    );
    assert_eq!(ask(&node, "PUT", "/v1/routes/new", change(json!(7))).await.0, 409);
    assert_eq!(
        codes(&ask(&node, "PUT", "/v1/routes/other", change(json!(1))).await.1),
        [("name".into(), "fixed".into())]
    );
    assert_eq!(done(&node, "PUT", "/v1/routes/new", change(json!(1))).await["version"], 2);
    let versions = get(&node, "/v1/routes/new/versions").await;
    assert_eq!(versions["versions"][0]["differences"][0]["what"], "columns.stock", "{versions}");
    assert!(versions["versions"][0]["who"].as_str().unwrap().contains("admin token"), "{versions}");
    assert_eq!(get(&node, "/v1/routes/new/removal").await["table"], "cars");
    assert_eq!(ask(&node, "DELETE", "/v1/routes/new", Value::Null).await.0, 400, "which version is meant must be said");
    assert_eq!(ask(&node, "DELETE", "/v1/routes/new?version=1", Value::Null).await.0, 409);
    done(&node, "DELETE", "/v1/routes/new?version=2", Value::Null).await;
    assert_eq!(ask(&node, "GET", "/v1/routes/new", Value::Null).await.0, 404);

    assert_eq!(get(&node, "/v1/dead-letters/jobs").await, json!({"jobs": []}));
    let none = json!({"task": "discard", "filter": {"destination": "rooms"}, "counted": 0, "reason": "none"});
    let begun = ask(&node, "POST", "/v1/dead-letters/jobs", none).await;
    if begun.0 == 202 {
        let listed = get(&node, "/v1/dead-letters/jobs?limit=5").await;
        assert_eq!(listed["jobs"][0]["id"], begun.1["id"], "{listed}");
        assert_eq!(
            get(&node, &format!("/v1/dead-letters/jobs/{}", begun.1["id"].as_str().unwrap())).await["task"],
            "discard"
        );
    }

    // Nothing is held: what a decision would be is told, and deciding changes nothing.
    let would = get(&node, "/v1/destinations/rooms/decision?from=earliest").await;
    assert_eq!(would["would_go_on"][0]["application"], "car-app", "{would}");
    assert_eq!(ask(&node, "GET", "/v1/destinations/rooms/decision?from=nowhere", Value::Null).await.0, 400);

    // A destination that is called like a part of an address is reached all the same.
    for name in ["check", "checks", "new"] {
        let answer = ask(&node, "GET", &format!("/v1/destinations/{name}"), Value::Null).await;
        assert_eq!(answer.0, 404, "{name}: {answer:?}");
    }
}

#[actix_web::test]
async fn resources_are_exported_and_imported_as_by_the_commands() {
    let installation = Installation::new().await;
    let target = installation.sqlite("rooms").await;
    installation.apply(
        &manifest(std::slice::from_ref(&target)).replace("kind = \"sqlite\"", "kind = \"sqlite\"\nnode = \"a\""),
    );
    installation.run(&["destination", "pause", "rooms"]);
    let node = node(&installation, "a", &[("TIDEGATE_LOCAL_DESTINATIONS", "deny")]).await;
    let export = async || {
        let client = awc::Client::default();
        let url = format!("http://127.0.0.1:{}/v1/export", node.admin);
        let mut answer = client.get(url).bearer_auth(TOKEN).send().await.unwrap();
        String::from_utf8(answer.body().await.unwrap().to_vec()).unwrap()
    };
    let toml = export().await;
    assert_eq!(toml, installation.run(&["export"]));
    let same = done(&node, "POST", "/v1/import", json!({"toml": toml, "prune": true})).await;
    assert_eq!(same["changes"], json!([]), "{same}");

    // A limit goes in and comes out; what is set by hand stays.
    let limited = toml.replace("topics = [\"cars\"]", "topics = [\"cars\"]\nrecords_per_s = 700");
    let preview = done(&node, "POST", "/v1/import", json!({"toml": limited})).await;
    let said = "update application `car-app`: at most 700 records a second and node";
    assert_eq!(preview["changes"], json!([said]), "{preview}");
    assert!(!export().await.contains("records_per_s"), "a preview changes nothing");
    let stale = ask(&node, "POST", "/v1/import", json!({"toml": limited, "version": 1})).await;
    assert_eq!(stale.0, 409, "{stale:?}");
    let carried = done(&node, "POST", "/v1/import", json!({"toml": limited, "version": preview["version"]})).await;
    assert_eq!(carried["changed"], json!([said]), "{carried}");
    assert_eq!(export().await, limited);
    assert_eq!(get(&node, "/v1/applications/car-app").await["records_per_s"], 700);
    shown(&node, "rooms", "paused").await;

    // Held against the tables, with line and column, as by `tidegate apply`.
    let unfit = limited.replace("version = \"version\"", "version = \"version\"\ncolour = \"color\"");
    let refused = ask(&node, "POST", "/v1/import", json!({"toml": unfit})).await;
    assert_eq!((refused.0, codes(&refused.1)), (422, vec![("toml".into(), "mistake".into())]), "{refused:?}");
    assert_eq!(export().await, limited, "what is refused changes nothing");
    let mistake = refused.1["errors"][0]["message"].as_str().unwrap().to_owned();
    let file = installation.dir.path().join("unfit.toml");
    std::fs::write(&file, &unfit).unwrap();
    let applied = installation.command(&["apply", file.to_str().unwrap()]).output();
    // The command runs on another node's name by default: the file is node `a`'s.
    let applied = applied.map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).unwrap();
    assert!(mistake.starts_with("line ") && mistake.contains("colour"), "{mistake}");
    assert!(applied.contains(&mistake) || applied.contains("node `a`"), "{applied} has not {mistake}");

    // Nothing of the node is read, and nothing leads where a check must not.
    let before = export().await;
    let elsewhere = |url: &str, password: &str| {
        format!("[[destination]]\nname = \"d\"\nkind = \"postgres\"\nurl = \"{url}\"\n{password}")
    };
    for (toml, word) in [
        (elsewhere("postgres://w@db.example/d", "password = { file = \"/etc/hostname\" }"), "kept = true"),
        (elsewhere("postgres://w@db.example/d", "password = { env = \"HOME\" }"), "kept = true"),
        (elsewhere("postgres://w@127.0.0.1/d", ""), "local_destinations"),
        (elsewhere("postgres://w@169.254.169.254/d", ""), "metadata"),
        (elsewhere("postgres://w@db.example/d?hostaddr=127.0.0.1", ""), "parameter"),
        (
            "[[application]]\nname = \"x\"\nschemas = { cars = { file = \"/etc/hostname\" } }\n".into(),
            "only `tidegate apply` does",
        ),
    ] {
        let refused = ask(&node, "POST", "/v1/import", json!({"toml": toml})).await;
        assert!(refused.0 == 422 && refused.1.to_string().contains(word), "{word}: {refused:?}");
    }
    assert_eq!(export().await, before);
}

#[actix_web::test]
async fn codes_and_terminals_are_listed_made_taken_back_and_revoked() {
    let installation = Installation::new().await;
    installation.apply("[[shop]]\nname = \"s1\"\ntitle = \"Shop One\"\nregion = \"west\"\n");
    let node = node(&installation, "a", &[]).await;
    let made = ask(&node, "POST", "/v1/terminal-codes", json!({"shop": "s1", "name": "Till 1"})).await;
    assert_eq!(made.0, 201, "{made:?}");
    let code = made.1["code"].as_str().unwrap().to_owned();
    let odd = ask(&node, "POST", "/v1/terminal-codes", json!({"shop": "nowhere"})).await;
    assert_eq!((odd.0, codes(&odd.1)), (422, vec![("shop".into(), "unknown".into())]), "{odd:?}");
    let open = get(&node, "/v1/terminal-codes").await;
    let one = &open["codes"][0];
    assert_eq!(
        (one["name"].as_str(), one["shop_title"].as_str(), one["region"].as_str(), one["by"].as_str()),
        (Some("Till 1"), Some("Shop One"), Some("west"), Some("admin token")),
        "{open}"
    );
    assert_eq!(one["expires_ms"], made.1["expires_ms"]);
    assert!(!open.to_string().contains(&code), "{open}");
    let path = format!("/v1/terminal-codes/{}", one["id"].as_str().unwrap());
    assert_eq!(done(&node, "DELETE", &path, Value::Null).await["name"], "Till 1");
    assert_eq!(ask(&node, "DELETE", &path, Value::Null).await.0, 404);
    assert_eq!(get(&node, "/v1/terminal-codes?limit=5").await, json!({"codes": [], "found": 0, "all": 0}));
    let said = get(&node, "/v1/audit?limit=1").await.to_string();
    assert!(said.contains("take back the one-time code for a terminal `Till 1` in shop `s1`"), "{said}");
    assert_eq!(get(&node, "/v1/terminals?state=on").await["found"], 0);
    assert_eq!(ask(&node, "GET", "/v1/terminals?state=gone", Value::Null).await.0, 400);
    assert_eq!(ask(&node, "DELETE", "/v1/terminals/nobody", Value::Null).await.0, 404);
}

#[actix_web::test]
async fn a_replay_is_listed_and_stopped_with_one_entry_in_the_list_of_changes() {
    let installation = Installation::new().await;
    let target = installation.sqlite("rooms").await;
    installation.apply(
        &manifest(std::slice::from_ref(&target)).replace("kind = \"sqlite\"", "kind = \"sqlite\"\nnode = \"a\""),
    );
    let key = installation.run(&["key", "create", "car-app"]).trim().to_owned();
    let node = node(&installation, "a", &[]).await;
    let mut ids = Vec::new();
    for id in 1..=5 {
        let post = awc::Client::default().post(format!("http://127.0.0.1:{}/v1/messages", node.listen));
        let body = json!({"topic": "cars", "key": id, "data": {"id": id, "version": 1}});
        let mut answer = post.bearer_auth(&key).send_json(&body).await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        ids.push(answer["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned());
    }
    let counted = json!({"route": "rooms-cars", "from": ids[1], "to": ids[3], "dry_run": true});
    crate::servers::wait_for("all to be delivered", std::time::Duration::from_secs(20), async || {
        let (status, plan) = ask(&node, "POST", "/v1/replays", counted.clone()).await;
        (status == 200 && plan["records"] == 3).then_some(())
    })
    .await;
    // Paused, so that it waits.
    installation.run(&["destination", "pause", "rooms"]);
    shown(&node, "rooms", "paused").await;
    assert_eq!(get(&node, "/v1/routes/rooms-cars/replays").await, json!({"replays": []}));
    assert_eq!(ask(&node, "GET", "/v1/routes/rooms-car/replays", Value::Null).await.0, 404);
    let begun = done(&node, "POST", "/v1/replays", json!({"route": "rooms-cars", "from": ids[1], "to": ids[3]})).await;
    let token = begun["token"].as_str().unwrap();
    let listed = get(&node, "/v1/routes/rooms-cars/replays").await;
    let one = &listed["replays"][0];
    assert_eq!((&one["token"], &one["state"], &one["may_stop"]), (&json!(token), &json!("queued"), &json!(true)));
    assert_eq!((&one["sent"], &one["records"]), (&json!(0), &json!(3)), "{listed}");
    let path = format!("/v1/routes/rooms-cars/replays/{token}");
    assert_eq!(ask(&node, "DELETE", &path.replace("cars", "car"), Value::Null).await.0, 404);
    let bare = awc::Client::default().delete(format!("http://127.0.0.1:{}{path}", node.admin)).send().await.unwrap();
    assert_eq!(bare.status().as_u16(), 401);
    assert_eq!(done(&node, "DELETE", &path, Value::Null).await, json!({"stopped": token}));
    assert_eq!(get(&node, "/v1/routes/rooms-cars/replays").await, json!({"replays": []}));
    let again = ask(&node, "DELETE", &path, Value::Null).await;
    assert!(again.0 == 409 && again.1["detail"].as_str().unwrap().contains("ended already"), "{again:?}");
    let told = get(&node, "/v1/audit?what=stop%20the%20replay").await;
    let entries = told["entries"].as_array().unwrap();
    assert!(entries.len() == 1 && told.to_string().contains("admin token"), "{told}");
}

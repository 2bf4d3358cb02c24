//! What admins do to users, what everybody does to their own account, and what the list of changes says of it.

use secrecy::ExposeSecret;
use tidegate::{
    admin::{
        ActError, Role, Who,
        audit::{self, Filter},
        users as acts,
    },
    users::{Lang, SignInError},
};

use super::{OTHER, PASSWORD, Scene, home, root, store};

fn who(name: &str, role: Role) -> Who {
    Who { name: name.into(), role, from: "10.1.2.3".into() }
}

#[tokio::test]
async fn a_new_password_or_role_or_a_word_ends_all_sessions() {
    let scene = Scene::new().await;
    scene.add("budi", Role::Operator).await;
    let anas = scene.sign_in("ana", PASSWORD).await.unwrap();
    let mut password = PASSWORD;
    for act in ["password", "role", "end", "totp off", "remove"] {
        let budis = [scene.sign_in("budi", password).await.unwrap(), scene.sign_in("budi", password).await.unwrap()];
        let ana = who("ana", Role::Admin);
        match act {
            "password" => {
                password = OTHER;
                acts::set_password(&scene.users, &ana, "budi", OTHER.into()).await.unwrap();
            }
            "role" => {
                // The session knows the role as it stands; a changed one is another session.
                assert_eq!(scene.session(&budis[0]).await.unwrap().role, Role::Operator);
                acts::set_role(&scene.users, &ana, "budi", Role::Viewer).await.unwrap();
            }
            "end" => acts::end_sessions(&scene.users, &ana, "budi").await.unwrap(),
            "totp off" => {
                acts::second_factor_off(&scene.users, &ana, "budi").await.unwrap();
                // Nothing was on, so nothing has changed.
                assert!(scene.session(&budis[0]).await.is_some());
                continue;
            }
            _ => acts::remove(&scene.users, &ana, "budi").await.unwrap(),
        }
        for session in &budis {
            assert_eq!(scene.session(session).await, None, "{act}");
            assert_eq!(super::users(&scene.server, &scene.key).session(session.token.expose_secret()).await, Ok(None));
        }
    }
    assert_eq!(scene.sign_in("budi", OTHER).await.unwrap_err(), SignInError::Wrong);
    assert!(scene.session(&anas).await.is_some(), "others are not concerned");
    // Whoever has the name next does not have the sessions.
    scene.add("budi", Role::Operator).await;
    scene.sign_in("budi", PASSWORD).await.unwrap();
}

#[tokio::test]
async fn the_last_admin_stays() {
    let scene = Scene::new().await;
    let refused = acts::remove(&scene.users, &root(), "ana").await.unwrap_err();
    assert!(matches!(&refused, ActError::Conflict(why) if why.contains("last admin")), "{refused}");
    let refused = acts::set_role(&scene.users, &root(), "ana", Role::Operator).await.unwrap_err();
    assert!(matches!(refused, ActError::Conflict(_)), "{refused}");
    scene.add("budi", Role::Admin).await;
    // Two admins who take each other's role away at once: one of them is left.
    let (ana, budi) = (who("ana", Role::Admin), who("budi", Role::Admin));
    let outcomes = tokio::join!(
        acts::set_role(&scene.users, &ana, "budi", Role::Viewer),
        acts::set_role(&scene.users, &budi, "ana", Role::Viewer),
    );
    assert_eq!([outcomes.0, outcomes.1].iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let admins = scene.users.all().await.unwrap().iter().filter(|user| user.role == Role::Admin).count();
    assert_eq!(admins, 1);
}

#[tokio::test]
async fn only_admins_touch_users_and_everybody_their_own_account() {
    let scene = Scene::new().await;
    scene.add("budi", Role::Operator).await;
    for role in [Role::Viewer, Role::Broadcaster, Role::Operator] {
        let who = who("budi", role);
        let users = &scene.users;
        let refused = [
            acts::list(users, &who).await.err(),
            acts::add(users, &who, "eve", Role::Admin, PASSWORD.into()).await.err(),
            acts::set_role(users, &who, "budi", Role::Admin).await.err(),
            acts::set_password(users, &who, "ana", OTHER.into()).await.err(),
            acts::remove(users, &who, "ana").await.err(),
            acts::end_sessions(users, &who, "ana").await.err(),
            acts::second_factor_off(users, &who, "ana").await.err(),
            audit::changes(&mut store(&scene.server), &who, &Filter::default(), None, 10).await.err(),
        ];
        for (number, refusal) in refused.into_iter().enumerate() {
            assert!(matches!(refusal, Some(ActError::Forbidden { needs: Role::Admin })), "{number}: {refusal:?}");
        }
    }
    let budi = who("budi", Role::Operator);
    let other = scene.sign_in("budi", PASSWORD).await.unwrap();
    let wrong = acts::change_own_password(&scene.users, &budi, OTHER.into(), OTHER.into(), home()).await.unwrap_err();
    assert!(matches!(&wrong, ActError::Invalid(fields) if fields[0].code == "password_wrong"), "{wrong}");
    let short =
        acts::change_own_password(&scene.users, &budi, PASSWORD.into(), "short".into(), home()).await.unwrap_err();
    assert!(
        matches!(&short, ActError::Invalid(fields) if (fields[0].field.as_str(), fields[0].code) == ("new", "password_short")),
        "{short}"
    );
    let new = acts::change_own_password(&scene.users, &budi, PASSWORD.into(), OTHER.into(), home()).await.unwrap();
    assert!(scene.session(&other).await.is_none() && scene.session(&new).await.is_some());
    scene.sign_in("budi", OTHER).await.unwrap();
    acts::set_lang(&scene.users, &budi, Some(Lang::Id)).await.unwrap();
    assert_eq!(scene.session(&new).await.unwrap().lang, Some(Lang::Id), "at once, in the session that is open");
}

#[tokio::test]
async fn a_name_is_taken_once_and_wrong_ones_are_told_by_field() {
    let scene = Scene::new().await;
    let add =
        async |name: &str, password: &str| match acts::add(&scene.users, &root(), name, Role::Viewer, password.into())
            .await
        {
            Ok(_) => vec![],
            Err(ActError::Invalid(fields)) => fields.iter().map(|field| field.code).collect(),
            Err(other) => panic!("{other}"),
        };
    assert_eq!(add("ANA", PASSWORD).await, ["user_taken"]);
    assert_eq!(add("b b", "short").await, ["user_name", "password_short"]);
    assert_eq!(add("budi", "passwordpassword").await, ["password_common"]);
    assert_eq!(add("budi", PASSWORD).await, [""; 0]);
    let unknown = acts::set_role(&scene.users, &root(), "bud", Role::Admin).await.unwrap_err();
    assert_eq!(unknown.to_string(), "there is no user `bud`; did you mean `budi`?");
}

#[tokio::test]
async fn changes_tell_who_where_from_what_was_and_what_is_and_no_secret() {
    let scene = Scene::new().await;
    scene.add("budi", Role::Viewer).await;
    let ana = who("ana", Role::Admin);
    acts::set_role(&scene.users, &ana, "budi", Role::Operator).await.unwrap();
    acts::set_password(&scene.users, &ana, "budi", OTHER.into()).await.unwrap();
    let changes = scene.changes().await;
    let told: Vec<_> = changes.iter().map(|one| (one.who.as_str(), one.from.as_deref(), one.what.as_str())).collect();
    assert_eq!(
        told,
        [
            ("ana", Some("10.1.2.3"), "set the password of user `budi`"),
            ("ana", Some("10.1.2.3"), "role of user `budi`: viewer → operator"),
            ("operator@a", Some("tidegate user"), "create user `budi`, role viewer"),
            ("operator@a", Some("tidegate user"), "create user `ana`, role admin"),
        ]
    );
    let role = changes[1].changed.iter().find(|one| one.field == "role").unwrap();
    assert_eq!(
        (role.of.as_str(), role.before.as_deref(), role.after.as_deref()),
        ("user `budi`", Some("viewer"), Some("operator"))
    );
    let password = changes[0].changed.iter().find(|one| one.field == "password").unwrap();
    assert_eq!((password.before.as_deref(), password.after.as_deref()), (Some("(secret)"), Some("(secret)")));

    let mut store = store(&scene.server);
    let admin = who("ana", Role::Admin);
    let mut page = async |filter: Filter, below: Option<String>, most| {
        audit::changes(&mut store, &admin, &filter, below.as_deref(), most).await.unwrap()
    };
    let by = |who: &str| Filter { who: Some(who.into()), ..Filter::default() };
    assert_eq!(page(by("OPERATOR@"), None, 10).await.entries.len(), 2);
    assert_eq!(page(by("10.1.2"), None, 10).await.entries.len(), 2);
    let of = Filter { what: Some("budi".into()), ..Filter::default() };
    let first = page(of.clone(), None, 2).await;
    assert_eq!((first.entries.len(), first.next.as_ref()), (2, Some(&changes[1].id)));
    let second = page(of, first.next, 2).await;
    assert_eq!((second.entries.len(), second.next), (1, None));
    let since = Filter { since_ms: Some(changes[1].at_ms()), ..Filter::default() };
    assert!((2..=4).contains(&page(since, None, 10).await.entries.len()));
    let until = Filter { until_ms: Some(changes[3].at_ms()), ..Filter::default() };
    assert_eq!(page(until, None, 10).await.entries.len(), 0);
}

/// Whatever was done, the secrets are nowhere but in the heads of those who know them.
#[tokio::test]
async fn no_password_token_or_hash_is_listed_logged_or_kept() {
    let scene = Scene::new().await;
    scene.add("budi", Role::Operator).await;
    let signed_in = scene.sign_in("budi", PASSWORD).await.unwrap();
    let link = super::users(&scene.server, &scene.key);
    let _ = scene.users.sign_in("ana", OTHER.into(), Some("123456"), home()).await;
    acts::change_own_password(&link, &who("budi", Role::Operator), PASSWORD.into(), OTHER.into(), home())
        .await
        .unwrap();
    let hashes: Vec<String> = {
        let body: String = scene.server.ask("HGET test:{registry}:document body").await;
        let document: serde_json::Value = serde_json::from_str(&body).unwrap();
        let users = document["users"].as_array().unwrap();
        users.iter().map(|user| user["password"].as_str().unwrap().to_owned()).collect()
    };
    assert!(hashes.len() == 2 && hashes.iter().all(|hash| hash.starts_with("$argon2id$")));
    let list = acts::list(&scene.users, &who("ana", Role::Admin)).await.unwrap();
    let shown = format!(
        "{list:?}{}{:?}{:?}",
        serde_json::to_string(&list).unwrap(),
        scene.changes().await,
        scene.users.all().await.unwrap(),
    );
    let token = signed_in.token.expose_secret();
    for secret in hashes.iter().map(String::as_str).chain([PASSWORD, OTHER, token, "argon2", &signed_in.session.csrf]) {
        assert!(!shown.contains(secret), "{secret} is in {shown}");
    }
    // In Redis there is no password and no token either, under any key.
    let mut everything = String::new();
    let keys: Vec<String> = scene.server.ask("KEYS *").await;
    for key in keys {
        let kind: String = scene.server.ask(&format!("TYPE {key}")).await;
        let command = match kind.as_str() {
            "hash" => format!("HGETALL {key}"),
            "stream" => format!("XRANGE {key} - +"),
            "string" => format!("GET {key}"),
            other => panic!("{key} is a {other}"),
        };
        everything += &format!("{key} {:?}", scene.server.ask::<redis::Value>(&command).await);
    }
    for secret in [PASSWORD, OTHER, token] {
        assert!(!everything.contains(secret), "{secret} is in Redis");
    }
    assert!(format!("{signed_in:?}").find(token).is_none(), "a session that is printed does not tell its token");
}

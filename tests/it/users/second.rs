//! Second factors: turned on with a first code, asked for at every sign-in, each code good once.

use std::time::{SystemTime, UNIX_EPOCH};

use secrecy::ExposeSecret;
use tidegate::{
    admin::{ActError, Role, Who, users as acts},
    redis::Redis,
    users::{Enrolment, SignInError, Users},
};
use totp_rs::{Algorithm, Secret, TOTP};

use super::{LIMIT, PASSWORD, Scene, elsewhere, home, root};
use crate::servers::wait_for;

fn ana() -> Who {
    Who { name: "ana".into(), role: Role::Admin, from: "10.1.2.3".into() }
}

/// The device of somebody.
struct Device(TOTP);

impl Device {
    fn scan(enrolment: &Enrolment) -> Self {
        let url = enrolment.url.expose_secret();
        let secret = url.split("secret=").nth(1).unwrap().split('&').next().unwrap();
        assert_eq!(secret, enrolment.secret.expose_secret());
        assert!(url.starts_with("otpauth://totp/Tidegate:") && url.ends_with("&issuer=Tidegate"), "{url}");
        let secret = Secret::Encoded(secret.to_owned()).to_bytes().unwrap();
        Self(TOTP::new(Algorithm::SHA1, 6, 1, 30, secret).unwrap())
    }

    /// The code of this step of 30 s, or of one before or after it.
    fn code(&self, steps: i64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        self.0.generate(now.checked_add_signed(steps * 30).unwrap())
    }
}

async fn turned_on(scene: &Scene) -> (Device, Vec<String>) {
    let enrolment = acts::enrol(&scene.users, &ana(), PASSWORD.into(), home()).await.unwrap();
    let device = Device::scan(&enrolment);
    let codes = scene.users.turn_on(&ana(), &enrolment.sealed, &device.code(-1)).await.unwrap();
    (device, codes.iter().map(|code| code.expose_secret().to_owned()).collect())
}

async fn sign_in(scene: &Scene, code: Option<&str>) -> Result<(), SignInError> {
    scene.users.sign_in("ana", PASSWORD.into(), code, home()).await.map(drop)
}

#[tokio::test]
async fn a_code_is_asked_for_and_each_is_good_once() {
    let scene = Scene::new().await;
    let (device, _) = turned_on(&scene).await;
    assert_eq!(sign_in(&scene, None).await, Err(SignInError::CodeWanted));
    assert_eq!(sign_in(&scene, Some(" ")).await, Err(SignInError::CodeWanted));
    assert_eq!(sign_in(&scene, Some("000000x")).await, Err(SignInError::CodeWrong));
    let code = device.code(0);
    assert_eq!(sign_in(&scene, Some(&code)).await, Ok(()));
    assert_eq!(sign_in(&scene, Some(&code)).await, Err(SignInError::CodeWrong), "it is used");
    // Neither on another node, nor one that is older than what was used.
    let another = super::users(&scene.server, &scene.key);
    let used = another.sign_in("ana", PASSWORD.into(), Some(&code), home()).await;
    assert_eq!(used.unwrap_err(), SignInError::CodeWrong);
    assert_eq!(sign_in(&scene, Some(&device.code(-1))).await, Err(SignInError::CodeWrong));
    // A wrong password does not tell that there is a second factor.
    let wrong = scene.users.sign_in("ana", "wrong and wrong again".into(), Some(&device.code(1)), home()).await;
    assert_eq!(wrong.unwrap_err(), SignInError::Wrong);
    let next = format!("{} ", device.code(1));
    assert_eq!(sign_in(&scene, Some(&next)).await, Ok(()), "the device's clock may be ahead");
}

#[tokio::test]
async fn asking_for_the_code_is_no_wrong_attempt_and_a_wrong_code_is() {
    let scene = Scene::new().await;
    let (device, _) = turned_on(&scene).await;
    for _ in 0..20 {
        assert_eq!(sign_in(&scene, None).await, Err(SignInError::CodeWanted));
    }
    for _ in 0..5 {
        assert_eq!(sign_in(&scene, Some("abc")).await, Err(SignInError::CodeWrong));
    }
    assert!(matches!(sign_in(&scene, Some(&device.code(0))).await, Err(SignInError::LockedUntil(_))));
}

#[tokio::test]
async fn a_recovery_code_is_good_once() {
    let scene = Scene::new().await;
    let (_, codes) = turned_on(&scene).await;
    assert_eq!(codes.len(), tidegate::users::RECOVERY_CODES);
    assert_eq!(sign_in(&scene, Some(&codes[3].to_uppercase())).await, Ok(()));
    assert_eq!(sign_in(&scene, Some(&codes[3])).await, Err(SignInError::CodeWrong));
    assert_eq!(sign_in(&scene, Some(&codes[4].replace('-', ""))).await, Ok(()));
    let list = acts::list(&scene.users, &root()).await.unwrap();
    assert_eq!((list[0].second_factor, list[0].recovery_codes), (true, 8));
    let changes = scene.changes().await;
    assert!(changes[0].what.contains("recovery code; 8 are left"), "{:?}", changes[0]);
    let all = format!("{changes:?}{list:?}{:?}", scene.users.all().await.unwrap());
    assert!(codes.iter().all(|code| !all.contains(code.as_str()) && !all.contains(&code.replace('-', ""))));
}

#[tokio::test]
async fn it_is_on_only_once_the_device_has_it_and_off_when_an_admin_says_so() {
    let scene = Scene::new().await;
    scene.add("budi", Role::Operator).await;
    let budi = Who { name: "budi".into(), role: Role::Operator, from: "10.1.2.3".into() };
    let wrong = acts::enrol(&scene.users, &budi, "not his password".into(), home()).await.unwrap_err();
    assert!(matches!(&wrong, ActError::Invalid(fields) if fields[0].code == "password_wrong"), "{wrong}");
    let enrolment = acts::enrol(&scene.users, &budi, PASSWORD.into(), home()).await.unwrap();
    let device = Device::scan(&enrolment);
    let wrong = scene.users.turn_on(&budi, &enrolment.sealed, "12345").await.unwrap_err();
    assert!(matches!(&wrong, ActError::Invalid(fields) if fields[0].code == "code_wrong"), "{wrong}");
    // What was sealed for one user is of no use to another.
    let moved = scene.users.turn_on(&ana(), &enrolment.sealed, &device.code(0)).await.unwrap_err();
    assert!(matches!(moved, ActError::Conflict(_)), "{moved}");
    scene.users.sign_in("budi", PASSWORD.into(), None, home()).await.unwrap();

    scene.users.turn_on(&budi, &enrolment.sealed, &device.code(0)).await.unwrap();
    let first_code = scene.users.sign_in("budi", PASSWORD.into(), Some(&device.code(0)), elsewhere()).await;
    assert_eq!(first_code.unwrap_err(), SignInError::CodeWrong, "the code that turned it on is used");
    let open = wait_for("a code that is not used", LIMIT * 2, async || {
        scene.users.sign_in("budi", PASSWORD.into(), Some(&device.code(1)), elsewhere()).await.ok()
    })
    .await;
    acts::second_factor_off(&scene.users, &ana(), "budi").await.unwrap();
    assert_eq!(scene.session(&open).await, None);
    scene.users.sign_in("budi", PASSWORD.into(), None, home()).await.unwrap();
}

#[tokio::test]
async fn without_a_master_key_there_is_none_and_the_remedy_is_said() {
    let scene = Scene::new().await;
    let without = Users::new(Redis::open(&scene.server.url(), "test").unwrap());
    let refused = acts::enrol(&without, &ana(), PASSWORD.into(), home()).await.unwrap_err();
    assert!(matches!(&refused, ActError::Conflict(why) if why.contains("tidegate key generate-master")), "{refused}");
    // A node that has lost the key lets nobody past the second factor.
    let (device, _) = turned_on(&scene).await;
    let outcome = without.sign_in("ana", PASSWORD.into(), Some(&device.code(0)), home()).await;
    assert!(matches!(outcome, Err(SignInError::Unavailable(_))), "{outcome:?}");
    assert!(scene.server.ask::<String>("HGET test:{registry}:document body").await.contains("\"nonce\""));
}

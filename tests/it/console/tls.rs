//! The console behind its own certificate: a sign-in over TLS, and files that are not what they should be.

use std::process::Command;

use super::{PASSWORD, Scene, add_user};
use crate::{
    e2e::installation::Installation,
    servers::{free_port, redis_tls::certificates, temp_dir},
};

/// What `curl` is answered, headers first. It trusts that authority and no other.
fn curl(authority: &str, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--include", "--max-time", "10", "--cacert", authority]).args(arguments);
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[actix_web::test]
async fn one_signs_in_over_tls_and_is_given_a_cookie_that_stays_there() {
    let dir = temp_dir();
    certificates(dir.path(), "right");
    certificates(dir.path(), "wrong");
    let file = |name: &str| dir.path().join(name).display().to_string();
    let (cert, key) = (file("right.crt"), file("right.key"));
    let scene =
        Scene::start_with(&["olga:operator"], &[("TIDEGATE_CONSOLE_CERT", &cert), ("TIDEGATE_CONSOLE_KEY", &key)])
            .await;
    let port = scene.base.rsplit(':').next().unwrap().to_owned();
    let (base, authority) = (format!("https://localhost:{port}"), file("right-ca.crt"));
    let at = |path: &str| format!("{base}{path}");

    let form = curl(&authority, &[&at("/console/sign-in")]).unwrap();
    assert!(form.starts_with("HTTP/2 200") || form.starts_with("HTTP/1.1 200"), "{form}");
    assert!(form.contains("name=\"password\""), "{form}");
    let password = format!("password={PASSWORD}");
    let origin = format!("Origin: {base}");
    let post = ["--header", &origin, "--data-urlencode", "name=olga", "--data-urlencode", &password];
    let signed = curl(&authority, &[&post[..], &[&at("/console/sign-in")]].concat()).unwrap();
    let cookie = signed
        .lines()
        .find(|line| line.to_lowercase().starts_with("set-cookie: __host-tidegate="))
        .unwrap_or_else(|| panic!("{signed}"));
    for part in ["__Host-tidegate=", "Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(part), "{part}: {cookie}");
    }
    assert!(!cookie.to_lowercase().contains("domain"), "{cookie}");
    let value = cookie.split_once(": ").unwrap().1.split(';').next().unwrap();
    let home = curl(&authority, &["--cookie", value, &at("/console/")]).unwrap();
    assert!(home.lines().next().unwrap().contains("200") && home.contains("olga"), "{home}");
    // A cookie of the plain console is none here.
    let plain = value.trim_start_matches("__Host-");
    let turned_away = curl(&authority, &["--cookie", plain, &at("/console/")]).unwrap();
    assert!(turned_away.lines().next().unwrap().contains("303"), "{turned_away}");
    // A form of a page that was not this one.
    let other =
        ["--header", "Origin: http://localhost", "--data-urlencode", "name=olga", "--data-urlencode", &password];
    let refused = curl(&authority, &[&other[..], &[&at("/console/sign-in")]].concat()).unwrap();
    assert!(refused.lines().next().unwrap().contains("403"), "{refused}");
    // A terminal's beat: a handshake for each would cost too much, so its connection stays.
    let beat = curl(&authority, &["--http1.1", "--data", "{}", &at("/terminal/beat")]).unwrap();
    assert!(beat.starts_with("HTTP/1.1 401") && !beat.to_lowercase().contains("connection: close"), "{beat}");
    // Who does not know the authority, and who speaks in the clear.
    assert!(curl(&file("wrong-ca.crt"), &[&at("/console/sign-in")]).unwrap_err().contains("certificate"));
    curl(&authority, &[&format!("http://localhost:{port}/console/sign-in")]).unwrap_err();
}

#[actix_web::test]
async fn a_wrong_certificate_or_key_is_told_at_the_start() {
    let installation = Installation::new().await;
    add_user(&installation, "olga:admin");
    let dir = temp_dir();
    certificates(dir.path(), "right");
    certificates(dir.path(), "wrong");
    let file = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(file("nothing.pem"), "this is no certificate\n").unwrap();
    std::fs::write(file("broken.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let cases = [
        (file("gone.crt"), file("right.key"), vec!["console_cert", "gone.crt"]),
        (file("nothing.pem"), file("right.key"), vec!["console_cert", "nothing.pem", "holds no certificate"]),
        (file("broken.pem"), file("right.key"), vec!["console_cert", "broken.pem"]),
        (file("right.crt"), file("gone.key"), vec!["console_key", "gone.key"]),
        (file("right.crt"), file("right.crt"), vec!["console_key", "right.crt", "holds no"]),
        (file("right.crt"), file("wrong.key"), vec!["console_cert", "console_key", "do not go together"]),
    ];
    for (cert, key, words) in cases {
        let mut command = installation.command(&["serve"]);
        command
            .env("TIDEGATE_LISTEN", format!("127.0.0.1:{}", free_port()))
            .env("TIDEGATE_ADMIN", format!("127.0.0.1:{}", free_port()))
            .env("TIDEGATE_CONSOLE", format!("127.0.0.1:{}", free_port()))
            .env("TIDEGATE_CONSOLE_CERT", &cert)
            .env("TIDEGATE_CONSOLE_KEY", &key)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let ended =
            crate::servers::wait_for("it ends", std::time::Duration::from_secs(20), async || child.try_wait().unwrap())
                .await;
        let output = child.wait_with_output().unwrap();
        let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!ended.success(), "{cert} {key}: {told}");
        for word in words {
            assert!(told.contains(word), "{cert} {key}: no `{word}` in {told}");
        }
        assert!(!told.contains("panicked"), "{told}");
    }
}

//! A Redis that speaks TLS, with certificates made for it by `openssl`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{free_port, redis::RedisServer, run, temp_dir};

/// A server with a plain port and a TLS port, and whose certificate nobody trusts who does not know its authority.
pub(crate) struct TlsServer {
    /// The server; its own port is the plain one.
    pub(crate) server: RedisServer,
    /// The TLS port.
    pub(crate) port: u16,
    dir: tempfile::TempDir,
}

/// Makes an authority, and a certificate by it for 127.0.0.1 and localhost: `NAME-ca.crt`, `NAME.crt`, `NAME.key`.
pub(crate) fn certificates(dir: &Path, name: &str) {
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let openssl = |arguments: &[&str]| {
        run(Command::new("openssl").args(arguments).current_dir(dir)).unwrap();
    };
    let (ca_key, ca) = (format!("{name}-ca.key"), format!("{name}-ca.crt"));
    let (own_key, request, own) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.crt"));
    openssl(
        &[&["req", "-x509"], &key[..], &["-keyout", &ca_key, "-out", &ca, "-days", "2", "-subj", "/CN=test authority"]]
            .concat(),
    );
    openssl(&[&["req"], &key[..], &["-keyout", &own_key, "-out", &request, "-subj", "/CN=redis"]].concat());
    std::fs::write(dir.join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
    openssl(&[
        "x509",
        "-req",
        "-in",
        &request,
        "-CA",
        &ca,
        "-CAkey",
        &ca_key,
        "-CAcreateserial",
        "-days",
        "2",
        "-extfile",
        "names",
        "-out",
        &own,
    ]);
}

impl TlsServer {
    /// A server; with `wants_ours`, it only lets in who shows a certificate by its authority.
    pub(crate) async fn start(wants_ours: bool) -> Self {
        let dir = temp_dir();
        for name in ["right", "wrong"] {
            certificates(dir.path(), name);
        }
        let port = free_port();
        let file = |name: &str| dir.path().join(name).display().to_string();
        let server = RedisServer::start_with(&[
            ("tls-port", &port.to_string()),
            ("tls-cert-file", &file("right.crt")),
            ("tls-key-file", &file("right.key")),
            ("tls-ca-cert-file", &file("right-ca.crt")),
            ("tls-auth-clients", if wants_ours { "yes" } else { "no" }),
        ])
        .await;
        Self { server, port, dir }
    }

    /// A file beside the certificates.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `rediss://localhost:PORT`, without a CA.
    pub(crate) fn bare_url(&self) -> String {
        format!("rediss://localhost:{}", self.port)
    }

    /// The same with the right CA.
    pub(crate) fn url(&self) -> String {
        format!("{}?ca={}", self.bare_url(), self.file("right-ca.crt").display())
    }
}

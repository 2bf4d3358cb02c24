//! The console's own certificate.

use std::path::Path;

use anyhow::Context as _;
use rustls::{
    ServerConfig,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
};

/// TLS as the listener speaks it, from files in PEM.
///
/// # Errors
/// A file can't be read, holds nothing of its kind, or the two do not belong together; the sentence names the setting.
pub fn server_config(cert: &Path, key: &Path) -> anyhow::Result<ServerConfig> {
    let named = |setting: &str, path: &Path| format!("setting `{setting}`: can't use {}", path.display());
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| named("console_cert", cert))?;
    anyhow::ensure!(!chain.is_empty(), "setting `console_cert`: {} holds no certificate in PEM", cert.display());
    let secret = match PrivateKeyDer::from_pem_file(key) {
        Err(pem::Error::NoItemsFound) => anyhow::bail!(
            "setting `console_key`: {} holds no private key in PEM that can be used; one with a passphrase can't be",
            key.display()
        ),
        read => read.with_context(|| named("console_key", key))?,
    };
    ServerConfig::builder().with_no_client_auth().with_single_cert(chain, secret).with_context(|| {
        format!(
            "settings `console_cert` and `console_key`: {} and {} do not go together",
            cert.display(),
            key.display()
        )
    })
}

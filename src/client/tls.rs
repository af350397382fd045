//! Whom to trust. A configuration is built once and shared by all attempts; sessions are not
//! resumed, so that every handshake measured is a whole one.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_native_certs::{CertificateResult, load_native_certs};
use tokio::task::spawn_blocking;

use super::error::ClientError;

/// Trusts these roots.
pub(super) fn trusting(roots: RootCertStore) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Trusts the roots of this machine. Some hundred files may be read, so on a thread of its own.
pub(super) async fn of_this_machine() -> Result<Arc<ClientConfig>, ClientError> {
    let roots = spawn_blocking(|| usable(load_native_certs())).await;
    let roots = roots.map_err(ClientError::roots)??;
    trusting(roots).map_err(ClientError::roots)
}

/// A broken root among good ones only means that what it signed is not trusted; without any, every
/// target would look broken.
fn usable(found: CertificateResult) -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    match (roots.is_empty(), found.errors.into_iter().next()) {
        (false, _) => Ok(roots),
        (true, Some(error)) => Err(ClientError::roots(error)),
        (true, None) => Err(ClientError::roots("there are none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Cause, Failure};

    #[test]
    fn a_machine_without_roots_blames_no_target() {
        let error = usable(CertificateResult::default()).unwrap_err();
        let failure = Failure::from(error);
        assert_eq!(failure.fault, Cause::Resources.into());
        assert!(failure.message.ends_with(": there are none"), "{failure}");
    }
}

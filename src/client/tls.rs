//! Whom to trust, as rustls wants it, and what a handshake came to. Sessions are resumed only for
//! who asks: every other handshake that is measured is a whole one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind,
    ProtocolVersion, RootCertStore, SignatureScheme,
};
use rustls_native_certs::{CertificateResult, load_native_certs};
use tokio::task::spawn_blocking;

use super::error::ClientError;
use super::transport::Trust;
use crate::text::{moment, rfc3339, roughly};

/// What a TLS handshake came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The version: `1.2` or `1.3`.
    pub version: &'static str,
    /// The cipher suite by its IANA name.
    pub cipher: String,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The certificates that the server sent, its own first.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The protocol that was agreed on by ALPN.
    pub protocol: Option<Vec<u8>>,
}

impl Session {
    pub(super) fn of(connection: &ClientConnection) -> Self {
        let suite = connection.negotiated_cipher_suite();
        let certificates = connection.peer_certificates().unwrap_or_default();
        Self {
            version: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "1.3",
                _ => "1.2",
            },
            cipher: suite
                .and_then(|suite| suite.suite().as_str().map(str::to_owned))
                .unwrap_or_default(),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            certificates: certificates
                .iter()
                .map(|certificate| certificate.clone().into_owned())
                .collect(),
            protocol: connection.alpn_protocol().map(<[u8]>::to_vec),
        }
    }
}

/// The sessions that one run may resume.
#[derive(Debug, Default)]
pub(super) struct Sessions(Option<Resumption>);

impl Sessions {
    /// The configuration for these protocols, with sessions to resume if that is wanted.
    pub(super) fn configure(
        &mut self,
        config: &ClientConfig,
        protocols: &[&str],
        resume: bool,
    ) -> Arc<ClientConfig> {
        let mut config = config.clone();
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        if resume {
            let few = || Resumption::in_memory_sessions(8);
            config.resumption = self.0.get_or_insert_with(few).clone();
        }
        Arc::new(config)
    }
}

/// Builds what these settings say. Reads files, so not for a thread that others wait for.
pub(super) fn configure(
    trust: &Trust,
    machine: Arc<RootCertStore>,
) -> Result<ClientConfig, ClientError> {
    let provider = Arc::new(ring::default_provider());
    let versions: &[_] = if trust.only_1_3 {
        &[&TLS13]
    } else {
        &[&TLS13, &TLS12]
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(ClientError::roots)?;
    let builder = if trust.anybody {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else {
        let roots = match &trust.ca_file {
            Some(file) => Arc::new(roots_of(file)?),
            None => machine,
        };
        builder.with_root_certificates(roots)
    };
    let mut config = match (&trust.cert_file, &trust.key_file) {
        (Some(chain), Some(key)) => {
            let certificates = certificates_of(chain)?;
            let secret = PrivateKeyDer::from_pem_file(key);
            let secret = secret.map_err(|error| unusable(key, error))?;
            builder
                .with_client_auth_cert(certificates, secret)
                .map_err(|source| ClientError::file(chain, source))?
        }
        _ => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// What the system says of a file is not among the causes of an error about PEM.
fn unusable(file: &Path, error: pem::Error) -> ClientError {
    match error {
        pem::Error::Io(source) => ClientError::file(file, source),
        other => ClientError::file(file, other),
    }
}

fn certificates_of(file: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let found = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    match found {
        Ok(found) if Vec::is_empty(&found) => Err(ClientError::file(file, "holds no certificate")),
        Ok(found) => Ok(found),
        Err(error) => Err(unusable(file, error)),
    }
}

fn roots_of(file: &Path) -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates_of(file)? {
        let added = roots.add(certificate);
        added.map_err(|source| ClientError::file(file, source))?;
    }
    Ok(roots)
}

/// The roots of this machine. Some hundred files may be read, so on a thread of its own.
pub(super) async fn roots_of_this_machine() -> Result<Arc<RootCertStore>, ClientError> {
    let roots = spawn_blocking(|| usable(load_native_certs())).await;
    roots.map_err(ClientError::roots)?.map(Arc::new)
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

/// Trusts whoever holds the key of the certificate that he shows.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// What is wrong with a certificate, in words and dates; rustls has numbers and names of types.
pub(super) fn blame(wrong: &CertificateError) -> String {
    let date = |time: &UnixTime| rfc3339(moment(time.as_secs()));
    let between = |from: &UnixTime, to: &UnixTime| {
        let seconds = to.as_secs().saturating_sub(from.as_secs());
        roughly(Duration::from_secs(seconds))
    };
    match wrong {
        CertificateError::ExpiredContext { time, not_after } => {
            let ago = between(not_after, time);
            format!("the certificate expired at {}, {ago} ago", date(not_after))
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            let (from, left) = (date(not_before), between(time, not_before));
            format!("the certificate is not valid before {from}, in {left}")
        }
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let expected = expected.to_str();
            if presented.is_empty() {
                return format!("the certificate is for nobody, expected {expected}");
            }
            let names: Vec<_> = presented.iter().take(10).map(|name| bare(name)).collect();
            let more = if presented.len() > names.len() {
                " and others"
            } else {
                ""
            };
            let names = names.join(", ");
            format!("the certificate is for {names}{more}, expected {expected}")
        }
        CertificateError::UnknownIssuer => {
            "nobody who is trusted has signed the certificate".to_owned()
        }
        other => format!("the certificate is refused: {other}"),
    }
}

/// The name in `DnsName("shop.example")` or `IpAddress(192.0.2.1)`.
fn bare(shown: &str) -> &str {
    let inner = ["DnsName(", "IpAddress("]
        .iter()
        .find_map(|kind| shown.strip_prefix(kind));
    let inner = inner.and_then(|rest| rest.strip_suffix(')'));
    inner.unwrap_or(shown).trim_matches('"')
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

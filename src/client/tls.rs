//! Whom to trust, as rustls wants it, and what a handshake came to. Sessions are resumed only for
//! who asks: every other handshake that is measured is a whole one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, HandshakeKind, OtherError, ProtocolVersion,
    RootCertStore,
};
use rustls_native_certs::{CertificateResult, load_native_certs};
use tokio::task::spawn_blocking;
use x509_parser::asn1_rs::{FromDer, Oid};

use super::error::ClientError;
use super::transport::Trust;
use super::verifier::{Roots, Verifier};
use crate::text::{moment, rfc3339, roughly};

/// How handshakes are made, and who looks at certificates in them.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    pub(super) config: Arc<ClientConfig>,
    verifier: Arc<Verifier>,
}

/// What a TLS handshake came to.
#[derive(Debug, Clone)]
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
    verifier: Arc<Verifier>,
}

impl Session {
    /// The certificates that lead from the server's own to a root; it may have sent others.
    #[must_use]
    pub fn used(&self) -> Vec<CertificateDer<'static>> {
        self.verifier.used(&self.certificates)
    }

    pub(super) fn of(connection: &ClientConnection, tls: &Tls) -> Self {
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
            verifier: Arc::clone(&tls.verifier),
        }
    }
}

/// The sessions that one run may resume.
#[derive(Debug, Default)]
pub(super) struct Sessions(Option<Resumption>);

impl Sessions {
    /// The configuration for these protocols, with sessions to resume if that is wanted.
    pub(super) fn configure(&mut self, tls: &Tls, protocols: &[&str], resume: bool) -> Tls {
        let mut config = (*tls.config).clone();
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        if resume {
            let few = || Resumption::in_memory_sessions(8);
            config.resumption = self.0.get_or_insert_with(few).clone();
        }
        Tls {
            config: Arc::new(config),
            verifier: Arc::clone(&tls.verifier),
        }
    }
}

/// Builds what these settings say. Reads files, so not for a thread that others wait for.
pub(super) fn configure(trust: &Trust, machine: Option<Arc<Roots>>) -> Result<Tls, ClientError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions: &[_] = if trust.only_1_3 {
        &[&TLS13]
    } else {
        &[&TLS13, &TLS12]
    };
    let roots = match &trust.ca_file {
        _ if trust.anybody => None,
        Some(file) => Some(Arc::new(roots_of(file)?)),
        // Nobody is trusted where nobody is known.
        None => Some(machine.unwrap_or_else(|| Arc::new(RootCertStore::empty().into()))),
    };
    let verifier = Arc::new(Verifier::new(roots));
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(ClientError::roots)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&verifier) as _);
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
    Ok(Tls {
        config: Arc::new(config),
        verifier,
    })
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

fn roots_of(file: &Path) -> Result<Roots, ClientError> {
    let roots = Roots::of(certificates_of(file)?);
    roots.map_err(|source| ClientError::file(file, source))
}

/// The roots of this machine. Some hundred files may be read, so on a thread of its own.
pub(super) async fn roots_of_this_machine() -> Result<Arc<Roots>, ClientError> {
    let roots = spawn_blocking(|| usable(load_native_certs())).await;
    roots.map_err(ClientError::roots)?.map(Arc::new)
}

/// A broken root among good ones only means that what it signed is not trusted; without any, every
/// target would look broken.
fn usable(found: CertificateResult) -> Result<Roots, ClientError> {
    let roots = Roots::of_the_good(found.certs);
    match (roots.is_empty(), found.errors.into_iter().next()) {
        (false, _) => Ok(roots),
        (true, Some(error)) => Err(ClientError::roots(error)),
        (true, None) => Err(ClientError::roots("there are none")),
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
            let wanted = expected;
            let expected = expected.to_str();
            if presented.is_empty() {
                return format!("the certificate is for nobody, expected {expected}");
            }
            let dns = format!("DnsName(\"{expected}\")");
            if matches!(wanted, ServerName::IpAddress(_)) && presented.contains(&dns) {
                return format!(
                    "the certificate is for the DNS name {expected}, not for the address"
                );
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
        CertificateError::Expired => "the certificate has expired".to_owned(),
        CertificateError::NotValidYet => "the certificate is not valid yet".to_owned(),
        CertificateError::BadEncoding => "the certificate cannot be read".to_owned(),
        CertificateError::BadSignature => {
            "the certificate is not signed by whom it names".to_owned()
        }
        CertificateError::Revoked => "the certificate was revoked".to_owned(),
        CertificateError::UnhandledCriticalExtension => {
            "the certificate has a critical extension that is not known".to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the certificate is not for servers".to_owned()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id,
            ..
        } => format!(
            "the certificate is signed with {}, which is not taken",
            algorithm(signature_algorithm_id)
        ),
        CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id,
            public_key_algorithm_id,
        } => format!(
            "the certificate is signed with {} by a key for {}, which is not taken",
            algorithm(signature_algorithm_id),
            algorithm(public_key_algorithm_id)
        ),
        // webpki names what it misses in a word.
        CertificateError::Other(OtherError(other)) => {
            format!("the certificate is refused: {}", words(&other.to_string()))
        }
        _ => "the certificate is refused".to_owned(),
    }
}

/// What an algorithm is called, or its number.
fn algorithm(id: &[u8]) -> String {
    let Ok((_, oid)) = Oid::from_der(id) else {
        return "an algorithm that cannot be read".to_owned();
    };
    match oid.to_id_string().as_str() {
        "1.2.840.113549.1.1.4" => "RSA and MD5".to_owned(),
        "1.2.840.113549.1.1.5" => "RSA and SHA-1".to_owned(),
        "1.2.840.113549.1.1.1" => "RSA".to_owned(),
        "1.2.840.113549.1.1.10" => "RSA-PSS".to_owned(),
        "1.2.840.113549.1.1.11" => "RSA and SHA-256".to_owned(),
        "1.2.840.10040.4.3" => "DSA and SHA-1".to_owned(),
        "1.2.840.10045.4.1" => "ECDSA and SHA-1".to_owned(),
        "1.2.840.10045.2.1" => "ECDSA".to_owned(),
        "1.3.101.113" => "Ed448".to_owned(),
        number => format!("the algorithm {number}"),
    }
}

/// `UnsupportedCertVersion` as words.
fn words(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() && !text.ends_with(' ') {
            text.push(' ');
        }
        text.extend(letter.to_lowercase());
    }
    text
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

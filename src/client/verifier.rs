//! Whether a server's certificate is to be trusted: rustls' answer (webpki), and where that one
//! refuses what people have and every other client takes:
//!
//! * the very certificate that the roots hold, as `openssl req -x509` makes it: a CA that is the
//!   leaf, or somebody else's signature below it;
//! * a leaf that could sign others as well, below a root;
//! * RSA keys that are for PSS only.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::signature::{
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    UnparsedPublicKey,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::alg_id::{RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512};
use rustls::pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, ServerName,
    SignatureVerificationAlgorithm, UnixTime,
};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Longer ways to a root are none.
const LONGEST: usize = 8;

/// Who is trusted.
#[derive(Debug)]
pub(super) struct Roots {
    store: RootCertStore,
    /// The same, whole.
    certificates: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// Of these certificates, all of which must be good for it.
    pub(super) fn of(certificates: Vec<CertificateDer<'static>>) -> Result<Self, Error> {
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            store.add(certificate.clone())?;
        }
        Ok(Self {
            store,
            certificates,
        })
    }

    /// Of those that are good for it, which may be none.
    pub(super) fn of_the_good(certificates: Vec<CertificateDer<'static>>) -> Self {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(certificates.iter().cloned());
        Self {
            store,
            certificates,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.store.is_empty()
    }
}

impl From<RootCertStore> for Roots {
    fn from(store: RootCertStore) -> Self {
        Self {
            store,
            certificates: Vec::new(),
        }
    }
}

/// Looks at certificates.
#[derive(Debug)]
pub(super) struct Verifier {
    /// Nobody in particular, if any certificate will do.
    roots: Option<Arc<Roots>>,
    known: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// Trusts these, or without any whoever holds the key of the certificate that he shows.
    pub(super) fn new(roots: Option<Arc<Roots>>) -> Self {
        let known = default_provider().signature_verification_algorithms;
        Self { roots, known }
    }

    /// The certificates that lead from the server's own to a root, of all that it sent. Where
    /// nobody was looked for, they all count.
    pub(super) fn used(&self, sent: &[CertificateDer<'static>]) -> Vec<CertificateDer<'static>> {
        let (Some(roots), Some((leaf, others))) = (&self.roots, sent.split_first()) else {
            return sent.to_vec();
        };
        let used = path(roots, leaf, others, UnixTime::now()).unwrap_or_else(|_| sent.to_vec());
        used.into_iter().map(CertificateDer::into_owned).collect()
    }
}

/// Every way to sign a certificate that is taken.
static SIGNATURES: LazyLock<Vec<&'static dyn SignatureVerificationAlgorithm>> =
    LazyLock::new(|| {
        let known = default_provider().signature_verification_algorithms;
        let pss = PSS_KEYS
            .iter()
            .map(|key| key as &dyn SignatureVerificationAlgorithm);
        known.all.iter().copied().chain(pss).collect()
    });

/// The way from a certificate to a root.
fn path<'a>(
    roots: &'a Roots,
    leaf: &'a CertificateDer<'a>,
    others: &'a [CertificateDer<'a>],
    now: UnixTime,
) -> Result<Vec<CertificateDer<'a>>, Error> {
    let anchors = &roots.store.roots;
    let usage = KeyUsage::server_auth();
    let read = EndEntityCert::try_from(leaf);
    if let Ok(read) = &read
        && let Ok(path) =
            read.verify_for_usage(&SIGNATURES, anchors, others, now, usage, None, None)
    {
        let between = path.intermediate_certificates();
        let between = between.map(|certificate| certificate.der().into_owned());
        return Ok(std::iter::once(leaf.clone()).chain(between).collect());
    }
    // Once more, for the reason in rustls' words.
    let parsed = ParsedCertificate::try_from(leaf)?;
    let store = &roots.store;
    let refused =
        verify_server_cert_signed_by_trust_anchor(&parsed, store, others, now, &SIGNATURES);
    let Err(error) = refused else {
        return Ok(vec![leaf.clone()]);
    };
    // What is wrong with the leaf itself was told already: dates and purpose are looked at before
    // anybody's signature is.
    let only_whose = match &error {
        Error::InvalidCertificate(wrong) => {
            may_sign(wrong)
                || matches!(
                    wrong,
                    CertificateError::UnknownIssuer
                        | CertificateError::BadSignature
                        | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
                        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
                )
        }
        _ => false,
    };
    if only_whose && roots.certificates.contains(leaf) && serves(leaf) {
        return Ok(vec![leaf.clone()]);
    }
    match &error {
        Error::InvalidCertificate(wrong) if may_sign(wrong) => {
            if serves(leaf) {
                to_root(roots, leaf, others, now).ok_or(CertificateError::UnknownIssuer.into())
            } else {
                Err(CertificateError::InvalidPurpose.into())
            }
        }
        _ => Err(error),
    }
}

/// Whether all that is wrong with a leaf is that it could sign others.
fn may_sign(wrong: &CertificateError) -> bool {
    let CertificateError::Other(OtherError(other)) = wrong else {
        return false;
    };
    matches!(other.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

/// Whether a certificate is for servers, or does not say what it is for.
fn serves(certificate: &CertificateDer<'_>) -> bool {
    let read = X509Certificate::from_der(certificate);
    read.is_ok_and(|(_, read)| match read.extended_key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.server_auth || usage.value.any),
        Err(_) => false,
    })
}

/// The way from a leaf that could sign others. The first issuer that fits is taken; where names
/// are constrained, nobody is.
fn to_root<'a>(
    roots: &'a Roots,
    leaf: &'a CertificateDer<'a>,
    others: &'a [CertificateDer<'a>],
    now: UnixTime,
) -> Option<Vec<CertificateDer<'a>>> {
    let mut way = vec![leaf];
    while let Some(last) = way.last()
        && way.len() < LONGEST
    {
        if roots.certificates.iter().any(|root| has_signed(root, last)) {
            return Some(way.into_iter().cloned().collect());
        }
        let mut issuers = others.iter().filter(|other| !way.contains(other));
        let below = way.len() - 1;
        let issuer = issuers.find(|one| is_authority(one, below, now) && has_signed(one, last))?;
        way.push(issuer);
    }
    None
}

/// Whether it may sign certificates now, with so many authorities below it.
fn is_authority(certificate: &CertificateDer<'_>, below: usize, now: UnixTime) -> bool {
    let Ok((_, read)) = X509Certificate::from_der(certificate) else {
        return false;
    };
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = read.validity();
    let valid = (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now);
    let signs = match read.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.key_cert_sign()),
        Err(_) => false,
    };
    let constraints = read.basic_constraints().ok().flatten();
    let depth = |longest: u32| usize::try_from(longest).is_ok_and(|longest| below <= longest);
    let issues = constraints.is_some_and(|constraints| {
        constraints.value.ca && constraints.value.path_len_constraint.is_none_or(depth)
    });
    valid && signs && issues
}

fn has_signed(issuer: &CertificateDer<'_>, signed: &CertificateDer<'_>) -> bool {
    let (Ok((_, from)), Ok((_, of))) = (
        X509Certificate::from_der(issuer),
        X509Certificate::from_der(signed),
    ) else {
        return false;
    };
    let unbound = matches!(from.name_constraints(), Ok(None));
    let Ok(key) = EndEntityCert::try_from(issuer) else {
        return false;
    };
    let (content, signature) = (of.tbs_certificate.as_ref(), &of.signature_value.data);
    unbound
        && from.subject().as_raw() == of.issuer().as_raw()
        && SIGNATURES
            .iter()
            .any(|known| key.verify_signature(*known, content, signature).is_ok())
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(roots) = &self.roots {
            path(roots, leaf, others, now)?;
            verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let mut pss = PSS_KEYS
            .iter()
            .filter(|key| key.scheme == signed.scheme)
            .peekable();
        if pss.peek().is_none() {
            return verify_tls13_signature(message, certificate, signed, &self.known);
        }
        let bad = |_| Error::from(CertificateError::BadEncoding);
        let read = EndEntityCert::try_from(certificate).map_err(bad)?;
        let fits = |key| {
            read.verify_signature(key, message, signed.signature())
                .is_ok()
        };
        if pss.any(|key| fits(key)) {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(CertificateError::BadSignature.into())
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.known.supported_schemes();
        for key in &PSS_KEYS {
            if !schemes.contains(&key.scheme) {
                schemes.push(key.scheme);
            }
        }
        schemes
    }
}

/// An RSA key that is for PSS only (RFC 4055, 3.1), and the signatures that it makes. TLS 1.2 has
/// them too, but rustls only in 1.3.
#[derive(Debug)]
struct PssKey {
    scheme: SignatureScheme,
    key: AlgorithmIdentifier,
    signature: AlgorithmIdentifier,
    check: &'static RsaParameters,
}

/// A key that does not say what it may be used with: `rsassaPss`, without parameters.
const ANY_PSS: AlgorithmIdentifier = AlgorithmIdentifier::from_slice(&[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a,
]);

const fn pss(
    scheme: u16,
    key: AlgorithmIdentifier,
    signature: AlgorithmIdentifier,
    check: &'static RsaParameters,
) -> PssKey {
    PssKey {
        scheme: SignatureScheme::Unknown(scheme),
        key,
        signature,
        check,
    }
}

/// `rsa_pss_pss_…` of RFC 8446, 4.2.3, of keys for any hash and for this one.
static PSS_KEYS: [PssKey; 6] = [
    pss(0x0809, ANY_PSS, RSA_PSS_SHA256, &RSA_PSS_2048_8192_SHA256),
    pss(0x080a, ANY_PSS, RSA_PSS_SHA384, &RSA_PSS_2048_8192_SHA384),
    pss(0x080b, ANY_PSS, RSA_PSS_SHA512, &RSA_PSS_2048_8192_SHA512),
    pss(
        0x0809,
        RSA_PSS_SHA256,
        RSA_PSS_SHA256,
        &RSA_PSS_2048_8192_SHA256,
    ),
    pss(
        0x080a,
        RSA_PSS_SHA384,
        RSA_PSS_SHA384,
        &RSA_PSS_2048_8192_SHA384,
    ),
    pss(
        0x080b,
        RSA_PSS_SHA512,
        RSA_PSS_SHA512,
        &RSA_PSS_2048_8192_SHA512,
    ),
];

impl SignatureVerificationAlgorithm for PssKey {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let key = UnparsedPublicKey::new(self.check, public_key);
        key.verify(message, signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }
}

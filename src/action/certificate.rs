//! What stands in a certificate, and whether it will be valid long enough. Whether it is to be
//! trusted, and for whom, is decided in the handshake.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::prelude::FromDer;

use super::content::excerpt;
use crate::client::Session;
use crate::outcome::{Failure, Reason};
use crate::text::{moment, rfc3339, roughly};

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The first moment of its validity.
    pub not_before: SystemTime,
    /// The last.
    pub not_after: SystemTime,
    /// Whose it is, such as `CN=shop.example`.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The DNS names and IP addresses that it is for.
    pub names: Vec<String>,
    /// Its number, in lower-case hexadecimal digits.
    pub serial: String,
    /// The SHA-256 of all of it, in lower-case hexadecimal digits.
    pub fingerprint: String,
}

/// These bytes are no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a certificate that the server showed cannot be read")]
pub struct Unreadable;

impl From<Unreadable> for Failure {
    fn from(error: Unreadable) -> Self {
        Self::new(Reason::Tls, error.to_string())
    }
}

impl Certificate {
    /// Reads one.
    pub fn read(der: &[u8]) -> Result<Self, Unreadable> {
        let (_, read) = X509Certificate::from_der(der).map_err(|_| Unreadable)?;
        let parsed = read
            .extensions()
            .iter()
            .map(X509Extension::parsed_extension);
        let names = parsed.filter_map(|extension| match extension {
            ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
            _ => None,
        });
        Ok(Self {
            not_before: time(read.validity().not_before.timestamp()),
            not_after: time(read.validity().not_after.timestamp()),
            subject: read.subject().to_string(),
            issuer: read.issuer().to_string(),
            names: names.flatten().filter_map(name).collect(),
            serial: hex(read.raw_serial()),
            fingerprint: hex(digest(&SHA256, der).as_ref()),
        })
    }

    /// Whether it is for this name; `*.shop.example` is for `www.shop.example`, and for itself.
    #[must_use]
    pub fn is_for(&self, name: &str) -> bool {
        let covers = |own: &String| {
            own.eq_ignore_ascii_case(name)
                || own.strip_prefix("*.").is_some_and(|parent| {
                    name.split_once('.')
                        .is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent))
                })
        };
        self.names.iter().any(covers)
    }

    /// How messages call it.
    #[must_use]
    pub fn called(&self) -> String {
        let first = self.names.first();
        let name = match self.subject.as_str() {
            "" => first.map_or("without a name", String::as_str),
            subject => subject,
        };
        excerpt(name)
    }

    /// Fails unless it is valid now, and will be for so long.
    fn valid_for(&self, wanted: Duration, now: SystemTime) -> Result<(), Failure> {
        let what = if let Ok(early) = self.not_before.duration_since(now)
            && !early.is_zero()
        {
            let (from, early) = (rfc3339(self.not_before), roughly(early));
            format!("is not valid before {from}, in {early}")
        } else {
            let until = rfc3339(self.not_after);
            match self.not_after.duration_since(now) {
                Ok(left) if left >= wanted => return Ok(()),
                Ok(left) => {
                    let (left, wanted) = (roughly(left), roughly(wanted));
                    format!("expires at {until}, in {left}, expected {wanted} at least")
                }
                Err(over) => format!("expired at {until}, {} ago", roughly(over.duration())),
            }
        };
        let what = format!("the certificate `{}` {what}", self.called());
        Err(Failure::new(Reason::Assertion, what))
    }
}

/// Fails unless every certificate between the server's own and the root is valid now, and will be
/// for so long. What else a server sends does not count: nobody needs it.
pub fn valid_for(session: &Session, wanted: Duration) -> Result<(), Failure> {
    let now = crate::text::wall_clock();
    let (used, sent) = (session.used(), session.certificates.len());
    if used.is_empty() {
        let what = "the server showed no certificate";
        return Err(Failure::new(Reason::Assertion, what));
    }
    let checked = used
        .iter()
        .try_for_each(|der| Certificate::read(der)?.valid_for(wanted, now));
    checked.map_err(|failure| match sent - used.len() {
        0 => failure,
        more => Failure {
            message: format!(
                "{} (of {sent} certificates that the server sends, {more} lead to no root and do not count)",
                failure.message
            ),
            ..failure
        },
    })
}

/// Nothing is before 1970 here: nobody cares how long before, and few can write it.
fn time(seconds: i64) -> SystemTime {
    moment(seconds.max(0).unsigned_abs())
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let ip = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            ip.ok().map(|ip| ip.to_string())
        }
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        for digit in [byte >> 4, byte & 0xf] {
            text.extend(char::from_digit(digit.into(), 16));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SerialNumber, date_time_ymd};

    fn made(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let names = ["shop.example", "*.Shop.example", "192.0.2.1", "2001:db8::1"];
        let mut params = CertificateParams::new(names.map(str::to_owned)).unwrap();
        params.distinguished_name.push(DnType::CommonName, "shop");
        params.serial_number = Some(SerialNumber::from(vec![0x0a, 0xbc]));
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2026, 3, 1);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    fn at(text: &str) -> SystemTime {
        humantime::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn what_stands_in_a_certificate_is_read() {
        let der = made(|_| {});
        let read = Certificate::read(&der).unwrap();
        assert_eq!(rfc3339(read.not_before), "2026-01-01T00:00:00Z");
        assert_eq!(rfc3339(read.not_after), "2026-03-01T00:00:00Z");
        assert_eq!(
            read.names,
            ["shop.example", "*.Shop.example", "192.0.2.1", "2001:db8::1"]
        );
        assert_eq!((&*read.subject, &*read.issuer), ("CN=shop", "CN=shop"));
        assert_eq!(read.serial, "0abc");
        assert_eq!(read.fingerprint, hex(digest(&SHA256, &der).as_ref()));
        assert_eq!(read.fingerprint.len(), 64);
        for (name, is_for) in [
            ("SHOP.example", true),
            ("www.shop.example", true),
            ("*.shop.example", true),
            ("192.0.2.1", true),
            ("a.b.shop.example", false),
            ("example", false),
            ("192.0.2.2", false),
        ] {
            assert_eq!(read.is_for(name), is_for, "{name}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_refused_and_odd_ones_are_not() {
        let der = made(|_| {});
        for broken in [&b""[..], b"hush", &der[..der.len() - 1], &der[1..]] {
            assert_eq!(Certificate::read(broken), Err(Unreadable));
        }
        let odd = made(|params| {
            params.not_before = date_time_ymd(1950, 1, 1);
            params.not_after = date_time_ymd(9999, 12, 31);
            params.subject_alt_names.clear();
            params.distinguished_name = rcgen::DistinguishedName::new();
        });
        let read = Certificate::read(&odd).unwrap();
        assert_eq!(rfc3339(read.not_before), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(read.not_after), "9999-12-31T00:00:00Z");
        assert_eq!(read.called(), "without a name");
        let long = made(|params| {
            let name = DnValue::Utf8String("x\n".repeat(300));
            params.distinguished_name.push(DnType::CommonName, name);
        });
        let called = Certificate::read(&long).unwrap().called();
        assert!(called.len() < 210 && !called.contains('\n'), "{called}");
    }

    #[test]
    fn validity_is_judged_to_the_second() {
        let read = Certificate::read(&made(|_| {})).unwrap();
        let day = Duration::from_secs(86_400);
        for (now, wanted, says) in [
            ("2026-01-01T00:00:00Z", 59 * day, ""),
            ("2026-02-15T00:00:00Z", 14 * day, ""),
            (
                "2026-02-15T00:00:01Z",
                14 * day,
                "expires at 2026-03-01T00:00:00Z, in 13 days, expected 14 days at least",
            ),
            ("2026-03-01T00:00:00Z", Duration::ZERO, ""),
            (
                "2026-03-01T03:00:00Z",
                Duration::ZERO,
                "expired at 2026-03-01T00:00:00Z, 3 hours ago",
            ),
            (
                "2025-12-31T23:59:00Z",
                day,
                "is not valid before 2026-01-01T00:00:00Z, in 60 seconds",
            ),
        ] {
            let judged = read.valid_for(wanted, at(now));
            let said = judged.err().map(|failure| {
                assert_eq!(failure.fault, Reason::Assertion.into());
                failure.message
            });
            let expected = (!says.is_empty()).then(|| format!("the certificate `CN=shop` {says}"));
            assert_eq!(said, expected, "{now}");
        }
    }
}

//! `tls`: shakes hands, and looks at what the handshake came to and at the certificates.
//!
//! Whoever is not trusted, or whose certificate has expired or names somebody else, fails the
//! handshake itself, whatever is expected of it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use regex::Regex;
use serde_json::Value;

use super::capture::{SECRET, read_sources};
use super::certificate::{Certificate, Unreadable, valid_for};
use super::content::{PATTERN, excerpt, pattern};
use super::kind::{DURATION, INTEGER, Kind, NAMED, TABLE, WORD};
use super::starttls::{self, Protocol};
use super::wire::{PEER, Peer};
use super::{Built, Key, Part, Shape};
use crate::client::Session;
use crate::outcome::{Failure, Reason};
use crate::spec::{Action, Capture, Context, Done, Work};
use crate::text::{Fields, Raw, rfc3339};

/// Its keys.
pub const KEYS: &[Part] = &[
    PEER,
    Part::own(&[
        Key::optional(
            "starttls",
            STARTTLS,
            "what is spoken first, in the clear, to ask for TLS",
        )
        .default("TLS is spoken from the beginning"),
        Key::optional(
            "expect",
            TABLE,
            "what must hold beside that the server is trusted",
        )
        .of(EXPECT),
        Key::optional(
            "capture",
            NAMED,
            "what is kept, to be read as `${step.NAME}`",
        )
        .of(&[Part::own(&[Key::optional(
            "*",
            SOURCE,
            "where it is taken from; as a table, also whether it is secret",
        )
        .of(&[Part::own(&[
            Key::required("from", SOURCE, "where it is taken from"),
            SECRET,
        ])])])]),
    ]),
];

const EXPECT: &[Part] = &[Part::own(&[
    Key::optional("version", VERSION, "which TLS it must be"),
    Key::optional(
        "cert_valid_for",
        DURATION,
        "how long each certificate between the server's own and the root must still be valid; what else the server sends does not count",
    ),
    Key::optional(
        "names",
        NAMES,
        "DNS names and IP addresses that the certificate must be for",
    ),
    Key::optional(
        "subject",
        PATTERN,
        "whose certificate it must be, such as `CN=shop`",
    ),
    Key::optional("issuer", PATTERN, "who must have signed it"),
    Key::optional(
        "fingerprint",
        FINGERPRINT,
        "the SHA-256 that the certificate must have, or one of several",
    ),
    Key::optional(
        "chain",
        INTEGER,
        "how many certificates the server must show at least",
    ),
    Key::optional(
        "cipher",
        PATTERN,
        "which cipher suite it must be, by its IANA name",
    ),
    Key::optional(
        "alpn",
        WORD,
        "the one protocol that is offered, and must be taken",
    ),
])];

const STARTTLS: Kind = Kind::new(
    "`\"smtp\"`, `\"imap\"`, `\"pop3\"`, `\"ftp\"` or `\"postgres\"`",
    "'smtp'",
    "'gopher'",
);
const VERSION: Kind = Kind::new(
    "`\"1.2\"`, `\"1.3\"` or an array of them",
    "['1.2', '1.3']",
    "'1.1'",
);
const NAMES: Kind = Kind::new("array of texts", "['a.example']", "1");
const FINGERPRINT: Kind = Kind::new(
    "64 hexadecimal digits, or an array of such texts",
    "'0011223344556677889900112233445566778899001122334455667788990011'",
    "'00'",
);
const SOURCE: Kind = Kind::new(
    "`\"not_after\"`, `\"days_left\"`, `\"not_before\"`, `\"subject\"`, `\"issuer\"`, `\"names\"`, \
     `\"serial\"`, `\"fingerprint\"`, `\"chain\"`, `\"version\"`, `\"cipher\"` or `\"alpn\"`",
    "'not_after'",
    "1",
);

/// No server says more before a handshake.
const LIMIT: u64 = 1 << 20;

/// Seconds.
const DAY: u64 = 86_400;

struct Tls {
    peer: Peer,
    starttls: Option<Protocol>,
    expect: Expectation,
    captures: Vec<(String, Source, bool)>,
}

/// What must hold.
#[derive(Default)]
struct Expectation {
    versions: Vec<String>,
    cipher: Option<Regex>,
    alpn: Option<String>,
    cert_valid_for: Option<Duration>,
    names: Vec<String>,
    subject: Option<Regex>,
    issuer: Option<Regex>,
    fingerprints: Vec<String>,
    chain: Option<usize>,
}

/// What may be kept.
#[derive(Debug, Clone, Copy)]
enum Source {
    Version,
    Cipher,
    Alpn,
    NotBefore,
    NotAfter,
    DaysLeft,
    Subject,
    Issuer,
    Names,
    Serial,
    Fingerprint,
    Chain,
}

const SOURCES: [(&str, Source); 12] = [
    ("version", Source::Version),
    ("cipher", Source::Cipher),
    ("alpn", Source::Alpn),
    ("not_before", Source::NotBefore),
    ("not_after", Source::NotAfter),
    ("days_left", Source::DaysLeft),
    ("subject", Source::Subject),
    ("issuer", Source::Issuer),
    ("names", Source::Names),
    ("serial", Source::Serial),
    ("fingerprint", Source::Fingerprint),
    ("chain", Source::Chain),
];

const SOURCES_HELP: &str = "take it from \"not_after\", \"days_left\", \"not_before\", \"subject\", \
     \"issuer\", \"names\", \"serial\", \"fingerprint\", \"chain\", \"version\", \"cipher\" or \"alpn\"";

/// Reads where to connect to, `starttls`, `expect` and `capture`.
pub fn build(fields: &mut Fields<'_, '_>, _: Shape<'_>) -> Option<Built> {
    let peer = Peer::read(fields);
    let starttls = fields.string("starttls").and_then(|name| {
        let protocol = Protocol::named(&name);
        if protocol.is_none() {
            let names = starttls::ALL.map(|protocol| format!("\"{}\"", protocol.name));
            let what = format!("`{name}` is not a protocol that is known here");
            fields.problem("starttls", what, format!("write {}", names.join(", ")));
        }
        protocol
    });
    let expect = fields.table("expect").map(Expectation::read);
    let source = |text: &str| {
        let found = SOURCES.iter().find(|(name, _)| *name == text);
        found.map(|(_, source)| *source).ok_or(SOURCES_HELP)
    };
    let captures = fields
        .table("capture")
        .map(|table| read_sources(table, "a handshake", SOURCES_HELP, source))
        .unwrap_or_default();
    let writes = captures.iter();
    Some(Built {
        writes: writes
            .map(|(key, _, secret)| (key.clone(), *secret))
            .collect(),
        recorded: Vec::new(),
        work: Work::Act(Box::new(Tls {
            peer,
            starttls,
            expect: expect.unwrap_or_default(),
            captures,
        })),
    })
}

impl Expectation {
    fn read(mut fields: Fields<'_, '_>) -> Self {
        let versions = one_or_more(&mut fields, "version");
        if versions
            .iter()
            .any(|version| !["1.2", "1.3"].contains(&version.as_str()))
        {
            let what = "is not a version of TLS that can be spoken here";
            fields.problem(
                "version",
                what,
                "write \"1.2\" or \"1.3\", or both in an array",
            );
        }
        let fingerprints = one_or_more(&mut fields, "fingerprint");
        let fingerprints: Vec<_> = fingerprints.iter().map(|text| bare(text)).collect();
        let is_digest =
            |text: &String| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !fingerprints.iter().all(is_digest) {
            let help =
                "write 64 hexadecimal digits, as openssl x509 -fingerprint -sha256 prints them";
            fields.problem("fingerprint", "is not a SHA-256", help);
        }
        let names = fields.strings("names").into_iter();
        let chain = fields.integer("chain", 1..=10);
        let expectation = Self {
            versions,
            cipher: pattern(&mut fields, "cipher"),
            alpn: fields.string("alpn"),
            cert_valid_for: fields.duration("cert_valid_for", Duration::ZERO),
            names: names.map(|(name, _)| name).collect(),
            subject: pattern(&mut fields, "subject"),
            issuer: pattern(&mut fields, "issuer"),
            fingerprints,
            chain: chain.and_then(|chain| usize::try_from(chain).ok()),
        };
        fields.finish();
        expectation
    }

    fn check(&self, session: &Session) -> Result<(), Failure> {
        let wrong = |what: String| Err(Failure::new(Reason::Assertion, what));
        let version = session.version;
        if !self.versions.is_empty() && !self.versions.iter().any(|wanted| wanted == version) {
            let wanted = self.versions.join(" or ");
            return wrong(format!("TLS is {version}, expected {wanted}"));
        }
        if let Some(pattern) = &self.cipher
            && !pattern.is_match(&session.cipher)
        {
            let cipher = &session.cipher;
            return wrong(format!("the cipher is {cipher}, expected `{pattern}`"));
        }
        if let Some(wanted) = &self.alpn
            && session.protocol.as_deref() != Some(wanted.as_bytes())
        {
            // Nothing else was offered.
            return wrong(format!("the server does not agree to speak `{wanted}`"));
        }
        let count = session.certificates.len();
        if let Some(wanted) = self.chain
            && count < wanted
        {
            return wrong(format!(
                "the certificates are {count}, expected {wanted} at least"
            ));
        }
        if let Some(wanted) = self.cert_valid_for {
            valid_for(session, wanted)?;
        }
        self.check_leaf(&leaf(session)?)
    }

    fn check_leaf(&self, leaf: &Certificate) -> Result<(), Failure> {
        let wrong = |what: String| Err(Failure::new(Reason::Assertion, what));
        for name in &self.names {
            if !leaf.is_for(name) {
                let names = excerpt(&leaf.names.join(", "));
                return wrong(format!("the certificate is for {names}, expected {name}"));
            }
        }
        for (noun, pattern, found) in [
            ("subject", &self.subject, &leaf.subject),
            ("issuer", &self.issuer, &leaf.issuer),
        ] {
            if let Some(pattern) = pattern
                && !pattern.is_match(found)
            {
                let found = excerpt(found);
                return wrong(format!("the {noun} is `{found}`, expected `{pattern}`"));
            }
        }
        if !self.fingerprints.is_empty() && !self.fingerprints.contains(&leaf.fingerprint) {
            let found = &leaf.fingerprint;
            return wrong(format!("the fingerprint is {found}, expected another"));
        }
        Ok(())
    }
}

/// A fingerprint without colons, in lower case.
fn bare(fingerprint: &str) -> String {
    fingerprint.replace([':', ' '], "").to_ascii_lowercase()
}

/// Reads a string, or an array of them.
fn one_or_more(fields: &mut Fields<'_, '_>, key: &'static str) -> Vec<String> {
    let is_one = |raw: &Raw| matches!(raw, Raw::String(_));
    if fields
        .entry(key)
        .is_some_and(|entry| is_one(&entry.node.raw))
    {
        return fields.string(key).into_iter().collect();
    }
    let all = fields.strings(key).into_iter();
    all.map(|(text, _)| text).collect()
}

fn leaf(session: &Session) -> Result<Certificate, Unreadable> {
    let first = session.certificates.first().ok_or(Unreadable)?;
    Certificate::read(first)
}

impl Action for Tls {
    fn perform<'a>(&'a self, context: &'a mut Context<'_>) -> BoxFuture<'a, Result<Done, Failure>> {
        async move {
            let session = self.shake(context).await?;
            self.expect.check(&session)?;
            Ok(Done {
                captures: self.take(&session)?,
                ..Done::default()
            })
        }
        .boxed()
    }
}

impl Tls {
    async fn shake(&self, context: &mut Context<'_>) -> Result<Arc<Session>, Failure> {
        let offered: Vec<_> = self.expect.alpn.iter().map(String::as_str).collect();
        let at_once = self.starttls.is_none();
        let endpoint = self.peer.endpoint(context, Some(at_once))?;
        let mut dialog = context.dial(&endpoint, &offered, LIMIT).await?;
        if let Some(protocol) = self.starttls {
            protocol.ask(&mut dialog, context).await?;
            dialog = context.secure(dialog, &offered).await?;
        }
        let session = dialog.session().cloned();
        dialog.close();
        session.ok_or_else(|| Failure::new(Reason::Tls, "there was no handshake"))
    }

    fn take(&self, session: &Session) -> Result<Vec<Capture>, Failure> {
        if self.captures.is_empty() {
            return Ok(Vec::new());
        }
        let leaf = leaf(session)?;
        let captures = self.captures.iter().map(|(key, source, secret)| Capture {
            key: key.clone(),
            value: source.of(session, &leaf, crate::text::wall_clock()),
            secret: *secret,
        });
        Ok(captures.collect())
    }
}

impl Source {
    fn of(self, session: &Session, leaf: &Certificate, now: SystemTime) -> Value {
        match self {
            Self::Version => session.version.into(),
            Self::Cipher => session.cipher.clone().into(),
            Self::Alpn => {
                let protocol = session.protocol.as_deref().unwrap_or_default();
                String::from_utf8_lossy(protocol).into()
            }
            Self::NotBefore => rfc3339(leaf.not_before).into(),
            Self::NotAfter => rfc3339(leaf.not_after).into(),
            Self::DaysLeft => days_left(leaf.not_after, now).into(),
            Self::Subject => leaf.subject.clone().into(),
            Self::Issuer => leaf.issuer.clone().into(),
            Self::Names => leaf.names.clone().into(),
            Self::Serial => leaf.serial.clone().into(),
            Self::Fingerprint => leaf.fingerprint.clone().into(),
            Self::Chain => session.certificates.len().into(),
        }
    }
}

/// Whole days; below 0 once it has expired.
fn days_left(until: SystemTime, now: SystemTime) -> i64 {
    let days = |seconds: u64| i64::try_from(seconds / DAY).unwrap_or(i64::MAX);
    match until.duration_since(now) {
        Ok(left) => days(left.as_secs()),
        Err(over) => -days(over.duration().as_secs()) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_that_are_left_are_whole_and_go_below_zero() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100 * DAY);
        for (until, left) in [
            (101 * DAY, 1),
            (101 * DAY - 1, 0),
            (100 * DAY, 0),
            (100 * DAY - 1, -1),
            (99 * DAY, -2),
        ] {
            let until = SystemTime::UNIX_EPOCH + Duration::from_secs(until);
            assert_eq!(days_left(until, now), left, "{until:?}");
        }
    }
}

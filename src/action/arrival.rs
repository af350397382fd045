//! What must hold of how an answer came: over which connection, from where, how fast.

use std::time::Duration;

use http::Version;

use super::expect::Reply;
use super::keys::{Key, Part};
use super::kind::{DURATION, FLAG, Kind, TABLE, TEXT};
use super::manner::shown;
use super::refused;
use crate::client::Session;
use crate::outcome::{Failure, Reason};
use crate::text::{Fields, Lookup, Template, plain};

/// The keys.
pub(super) const ARRIVAL: Part = Part::shared(
    "how an answer came",
    &[
        Key::optional(
            "max_duration",
            DURATION,
            "how long the request may take at most, with all its redirects",
        ),
        Key::optional(
            "phases",
            TABLE,
            "how long each phase may take at most; of a chain of redirects the last request's count",
        )
        .of(&[Part::own(&[
            Key::optional("resolve", DURATION, "resolving the name"),
            Key::optional("connect", DURATION, "the TCP handshake, and a proxy's tunnel"),
            Key::optional("tls", DURATION, "the TLS handshake"),
            Key::optional("first_byte", DURATION, "from sending to the head of the answer"),
            Key::optional("transfer", DURATION, "from there to the end of the body"),
        ])]),
        Key::optional(
            "url",
            TEXT,
            "where the answer must come from, after redirects",
        ),
        Key::optional("http_version", HTTP, "which HTTP the answer must be"),
        Key::optional("tls_version", TLS, "which TLS it must come over"),
        Key::optional(
            "tls_resumed",
            FLAG,
            "whether the TLS session must be a resumed one; false: must not",
        ),
        Key::optional(
            "cert_valid_for",
            DURATION,
            "how long each certificate between the server's own and the root must still be valid; what else the server sends does not count",
        ),
    ],
);

const HTTP: Kind = Kind::new("`\"1.0\"`, `\"1.1\"` or `\"2\"`", "'2'", "'h2'");
const TLS: Kind = Kind::new("`\"1.2\"` or `\"1.3\"`", "'1.3'", "'tls'");

/// What must hold of how an answer came.
#[derive(Default)]
pub(super) struct Arrival {
    max_duration: Option<Duration>,
    /// The phases' names, and how long each may take.
    phases: Vec<(&'static str, Duration)>,
    url: Option<Template>,
    http_version: Option<Version>,
    tls_version: Option<String>,
    tls_resumed: Option<bool>,
    cert_valid_for: Option<Duration>,
}

impl Arrival {
    /// Reads the keys of `ARRIVAL`.
    pub(super) fn read(fields: &mut Fields<'_, '_>) -> Self {
        let least = Duration::from_millis(1);
        let mut phases = Vec::new();
        if let Some(mut table) = fields.table("phases") {
            for name in ["resolve", "connect", "tls", "first_byte", "transfer"] {
                let most = table.duration(name, Duration::from_micros(1));
                phases.extend(most.map(|most| (name, most)));
            }
            table.finish();
        }
        Self {
            max_duration: fields.duration("max_duration", least),
            phases,
            url: fields.template("url"),
            http_version: read_http_version(fields),
            tls_version: read_tls_version(fields),
            tls_resumed: fields
                .has("tls_resumed")
                .then(|| fields.flag("tls_resumed")),
            cert_valid_for: fields.duration("cert_valid_for", Duration::ZERO),
        }
    }

    /// Says how the answer did not come as expected.
    pub(super) fn check(&self, reply: &Reply, lookup: &dyn Lookup) -> Result<(), Failure> {
        if let Some(url) = &self.url {
            let url = url.text(lookup, plain).map_err(|error| refused(&error))?;
            if reply.url != url {
                let (came, wanted) = (shown(&reply.url), shown(&url));
                return failed(if came == wanted {
                    format!("the answer came from {came} with another query than expected")
                } else {
                    format!("the answer came from {came}, expected {wanted}")
                });
            }
        }
        if let Some(expected) = self.http_version
            && reply.answer.version != expected
        {
            let version = reply.answer.version;
            return failed(format!("the answer is {version:?}, expected {expected:?}"));
        }
        self.check_session(reply)?;
        for (name, most) in &self.phases {
            let taken = reply.phases.taken().find(|(phase, _)| phase == name);
            let taken = taken.map_or(Duration::ZERO, |(_, taken)| taken);
            if taken > *most {
                return failed(format!(
                    "{name} took {taken:.1?}, expected at most {most:.1?}"
                ));
            }
        }
        match self.max_duration {
            Some(limit) if reply.duration > limit => {
                let taken = reply.duration;
                failed(format!("took {taken:.1?}, expected at most {limit:.1?}"))
            }
            _ => Ok(()),
        }
    }

    fn check_session(&self, reply: &Reply) -> Result<(), Failure> {
        let asked = self.tls_version.is_some()
            || self.tls_resumed.is_some()
            || self.cert_valid_for.is_some();
        if !asked {
            return Ok(());
        }
        let Some(session) = reply.answer.session.as_deref() else {
            return failed("the answer did not come over tls".into());
        };
        let Session {
            version, resumed, ..
        } = session;
        if let Some(expected) = &self.tls_version
            && version != expected
        {
            return failed(format!("it is tls {version}, expected {expected}"));
        }
        if let Some(expected) = self.tls_resumed
            && *resumed != expected
        {
            let word = if *resumed { "" } else { "not " };
            return failed(format!("the tls session was {word}resumed"));
        }
        match self.cert_valid_for {
            Some(least) => super::certificate::valid_for(session, least),
            None => Ok(()),
        }
    }
}

fn failed(what: String) -> Result<(), Failure> {
    Err(Failure::new(Reason::Assertion, what))
}

fn read_http_version(fields: &mut Fields<'_, '_>) -> Option<Version> {
    let text = fields.string("http_version")?;
    let version = match text.as_str() {
        "1.0" => Some(Version::HTTP_10),
        "1.1" => Some(Version::HTTP_11),
        "2" => Some(Version::HTTP_2),
        _ => None,
    };
    if version.is_none() {
        let what = format!("`{text}` is not a version of HTTP");
        fields.problem("http_version", what, "write \"1.0\", \"1.1\" or \"2\"");
    }
    version
}

fn read_tls_version(fields: &mut Fields<'_, '_>) -> Option<String> {
    let text = fields.string("tls_version")?;
    if !matches!(text.as_str(), "1.2" | "1.3") {
        let what = format!("`{text}` is not a version of TLS");
        fields.problem("tls_version", what, "write \"1.2\" or \"1.3\"");
    }
    Some(text)
}

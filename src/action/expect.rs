//! What an HTTP answer should be, and how it is not.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName};
use regex::Regex;
use serde_json::Value;

use super::arrival::{ARRIVAL, Arrival};
use super::charset::{self, Text};
use super::content::{CONTENT, Content, compiled, excerpt};
use super::keys::{Key, Part};
use super::kind::{HEADERS, Kind, TABLE, TEXTS};
use super::refused;
use crate::client::Answer;
use crate::event::HttpPhases;
use crate::outcome::{Cause, Failure, Reason};
use crate::text::json::{self, Json, Unread};
use crate::text::{Fields, Lookup, Raw, Template, plain};

/// What must hold of the head of an answer.
const EXPECT: Part = Part::shared(
    "an answer",
    &[
        Key::optional("status", STATUS, "the status, a class, or several of them").default("`2xx`"),
        Key::optional(
            "header",
            HEADERS,
            "what headers must be; parameters of a `content-type` count only if they are written",
        ),
        Key::optional(
            "header_matches",
            HEADER_PATTERNS,
            "what must match somewhere in headers",
        ),
        Key::optional("no_header", TEXTS, "headers that must not be there"),
    ],
);

const HEADER_PATTERNS: Kind = Kind::new(
    "table: header to regular expression",
    "{ a = 'b+' }",
    "{ a = '(' }",
);

/// The keys of an `expect` table.
pub(crate) const EXPECTATION: &[Part] = &[EXPECT, ARRIVAL, CONTENT];

/// What resources that may be refused have; the refusal says its status.
pub(crate) const REFUSED: Key = Key::optional(
    "expect_refused",
    TABLE,
    "how the target refuses it, `status` at least: the step fails if it does not, and what was made is undone",
)
.of(EXPECTATION);

const STATUS: Kind = Kind::new(
    "status, `\"2xx\"`, or an array of them",
    "[200, '3xx']",
    "'ok'",
);

/// Exact statuses.
pub(super) const STATUSES: Kind = Kind::new("array of statuses", "[404]", "['4xx']");

/// An answer with what is derived from it.
pub(crate) struct Reply {
    pub(crate) answer: Answer,
    pub(super) duration: Duration,
    /// What an unexpected status says.
    pub(crate) reason: Reason,
    /// Whether it is only a piece of an answer.
    is_part: bool,
    /// How messages call the body.
    pub(super) noun: &'static str,
    /// Where it came from, after redirects.
    pub(super) url: String,
    /// Whether it is the answer to another request than the first.
    pub(super) redirected: bool,
    /// What the last request of a chain took.
    pub(super) phases: HttpPhases,
    json: OnceLock<Result<Json, Unread>>,
}

impl Reply {
    pub(crate) fn new(answer: Answer, duration: Duration, reason: Reason) -> Self {
        Self {
            answer,
            duration,
            reason,
            is_part: false,
            noun: "the body",
            url: String::new(),
            redirected: false,
            phases: HttpPhases::default(),
            json: OnceLock::new(),
        }
    }

    /// The reply with where it came from, and what that took.
    pub(super) fn from(self, (url, redirected): (String, bool), phases: HttpPhases) -> Self {
        Self {
            url,
            redirected,
            phases,
            ..self
        }
    }

    /// One piece of an answer that goes on, as if it were the whole body.
    pub(super) fn part(
        noun: &'static str,
        status: u16,
        headers: &HeaderMap,
        body: impl Into<Bytes>,
    ) -> Self {
        let answer = Answer::part(status, headers.clone(), body.into());
        Self {
            is_part: true,
            noun,
            ..Self::new(answer, Duration::ZERO, Reason::of_status(status))
        }
    }

    /// The body as JSON; what is none fails for this reason.
    pub(crate) fn json(&self, reason: Reason) -> Result<&Value, Failure> {
        self.json_unquoted(reason).map_err(|mut failure| {
            if matches!(self.json.get(), Some(Err(Unread::Wrong { .. }))) {
                let short = failure.message.clone();
                failure.message = format!("{short}; {}", self.excerpt());
                failure = failure.in_short(short);
            }
            failure
        })
    }

    /// The same, but a failure shows nothing of the body: there may be secrets in it.
    pub(super) fn json_unquoted(&self, reason: Reason) -> Result<&Value, Failure> {
        let read = self.json.get_or_init(|| json::parse(&self.answer.body));
        read.as_deref().map_err(|error| self.unread(error, reason))
    }

    /// Why it is not read: where and why, nothing of what it says.
    fn unread(&self, error: &Unread, wrong: Reason) -> Failure {
        let noun = self.noun;
        let not_read = format!("{noun} is not read: {error}");
        let failure = match error {
            Unread::Wrong { .. } => Failure::new(wrong, format!("{noun} is not JSON: {error}")),
            Unread::Deep | Unread::Large => Failure::new(Reason::Protocol, not_read),
            Unread::Crowded => Failure::new(Cause::Resources, not_read),
        };
        failure.in_our_words()
    }

    /// The body as text.
    pub(super) fn text(&self) -> Result<Text<'_>, Failure> {
        let Answer { headers, body, .. } = &self.answer;
        // Events and messages are UTF-8 whatever the head says.
        let text = if self.is_part {
            charset::utf8(body)
        } else {
            charset::text(headers, body)
        };
        text.map_err(|error| self.unread(&error, Reason::Protocol))
    }

    /// A header as text; several of the same name are joined as RFC 9110, 5.3 says.
    pub(super) fn header(&self, name: &HeaderName) -> Option<String> {
        let values: Vec<_> = self
            .answer
            .headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// How long the target wants to be left alone (RFC 9110, 10.2.3).
    fn retry_after(&self) -> Option<Duration> {
        let text = self.header(&RETRY_AFTER)?;
        if let Ok(seconds) = text.trim().parse() {
            return Some(Duration::from_secs(seconds));
        }
        let when = httpdate::parse_http_date(&text).ok()?;
        when.duration_since(crate::text::wall_clock()).ok()
    }

    /// How the body begins.
    pub(crate) fn excerpt(&self) -> String {
        let Answer { headers, body, .. } = &self.answer;
        let unsaid = HeaderMap::new();
        let headers = if self.is_part { &unsaid } else { headers };
        let begins = charset::beginning(headers, body);
        match excerpt(&begins) {
            text if text.is_empty() => format!("{} is empty", self.noun),
            text => format!("{} begins: {text}", self.noun),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Exactly(u16),
    Class(u16),
}

impl Status {
    fn matches(self, status: u16) -> bool {
        match self {
            Self::Exactly(code) => status == code,
            Self::Class(hundreds) => status / 100 == hundreds,
        }
    }

    fn describe(self) -> String {
        match self {
            Self::Exactly(code) => code.to_string(),
            Self::Class(hundreds) => format!("{hundreds}xx"),
        }
    }
}

/// What must hold of an answer.
#[derive(Default)]
pub(crate) struct Expectation {
    status: Vec<Status>,
    header: Vec<(HeaderName, Template)>,
    header_matches: Vec<(HeaderName, Regex)>,
    no_header: Vec<HeaderName>,
    content: Content,
    arrival: Arrival,
}

impl Expectation {
    /// Any 2xx: what holds when nothing is said.
    pub(crate) fn success() -> Self {
        Self {
            status: vec![Status::Class(2)],
            ..Self::default()
        }
    }

    /// This status and no other.
    pub(super) fn status(code: u16) -> Self {
        Self {
            status: vec![Status::Exactly(code)],
            ..Self::default()
        }
    }

    /// Reads the keys of an `expect` table; without `status`, any 2xx.
    pub(crate) fn read(mut fields: Fields<'_, '_>) -> Self {
        let mut expectation = Self::success();
        if fields.has("status") {
            expectation.status = statuses(&mut fields, "status");
        }
        if let Some(mut headers) = fields.table("header") {
            expectation.header = header_templates(&mut headers);
        }
        if let Some(mut headers) = fields.table("header_matches") {
            expectation.header_matches = header_patterns(&mut headers);
        }
        for (name, _) in fields.strings("no_header") {
            expectation
                .no_header
                .extend(header_name(&mut fields, "no_header", &name));
        }
        expectation.content = Content::read(&mut fields);
        expectation.arrival = Arrival::read(&mut fields);
        fields.finish();
        expectation
    }

    /// Says how the answer is not as expected.
    pub(crate) fn check(&self, reply: &Reply, lookup: &dyn Lookup) -> Result<(), Failure> {
        let status = reply.answer.status;
        if !self.status.iter().any(|expected| expected.matches(status)) {
            let expected: Vec<_> = self.status.iter().map(|s| s.describe()).collect();
            let short = format!("status is {status}, expected {}", expected.join(" or "));
            let what = format!("{short}; {}", reply.excerpt());
            let failure = Failure::new(reply.reason, what).in_short(short);
            return Err(failure.after(reply.retry_after()));
        }
        for (name, expected) in &self.header {
            check_header(
                reply,
                name,
                &expected.text(lookup, plain).map_err(|e| refused(&e))?,
            )?;
        }
        for (name, pattern) in &self.header_matches {
            let value = reply.header(name);
            if !value
                .as_deref()
                .is_some_and(|value| pattern.is_match(value))
            {
                let is = value.map_or("there is none".to_owned(), |value| {
                    format!("it is `{}`", excerpt(&value))
                });
                let short = format!("header {name} does not match `{pattern}`");
                let what = format!("{short}: {is}");
                return Err(Failure::new(Reason::Assertion, what).in_short(short));
            }
        }
        for name in &self.no_header {
            if let Some(value) = reply.header(name) {
                let short = format!("there is a header {name}");
                let what = format!("{short}: `{}`", excerpt(&value));
                return Err(Failure::new(Reason::Assertion, what).in_short(short));
            }
        }
        self.content.check(reply, lookup)?;
        self.arrival.check(reply, lookup)
    }
}

fn check_header(reply: &Reply, name: &HeaderName, expected: &str) -> Result<(), Failure> {
    let Some(value) = reply.header(name) else {
        let what = format!("there is no header {name}, expected `{expected}`");
        return Err(Failure::new(Reason::Assertion, what).in_our_words());
    };
    // Parameters such as charset matter only to those who ask for them.
    let media_type = value.split(';').next().unwrap_or("").trim();
    let is_type = name == http::header::CONTENT_TYPE && media_type.eq_ignore_ascii_case(expected);
    if value == expected || is_type {
        return Ok(());
    }
    let what = format!(
        "header {name} is `{}`, expected `{expected}`",
        excerpt(&value)
    );
    let short = format!("header {name} is not `{expected}`");
    Err(Failure::new(Reason::Assertion, what).in_short(short))
}

const STATUS_HELP: &str =
    "write a status such as 200, a class such as \"2xx\", or an array of them";

/// Reads a status, a class, or an array of them.
fn statuses(fields: &mut Fields<'_, '_>, key: &'static str) -> Vec<Status> {
    let Some((value, _)) = fields.constant(key) else {
        return Vec::new();
    };
    let values = match value {
        Value::Array(values) => values,
        value => vec![value],
    };
    let statuses: Option<Vec<_>> = values.iter().map(status).collect();
    statuses
        .filter(|statuses| !statuses.is_empty())
        .unwrap_or_else(|| {
            fields.problem(key, "is not an HTTP status", STATUS_HELP);
            Vec::new()
        })
}

fn status(value: &Value) -> Option<Status> {
    if let Some(text) = value.as_str() {
        let class = text.strip_suffix("xx")?.parse().ok()?;
        return (1..=9).contains(&class).then_some(Status::Class(class));
    }
    let code = u16::try_from(value.as_u64()?).ok()?;
    // Some servers have codes of their own, such as 999.
    (100..=999).contains(&code).then_some(Status::Exactly(code))
}

/// Reads an array of exact statuses, such as `gone`.
pub(super) fn exact_statuses(fields: &mut Fields<'_, '_>, key: &'static str) -> Option<Vec<u16>> {
    fields.entry(key)?;
    let codes = statuses(fields, key)
        .into_iter()
        .map(|status| match status {
            Status::Exactly(code) => Some(code),
            Status::Class(_) => None,
        });
    let codes: Option<Vec<_>> = codes.collect();
    if codes.is_none() {
        fields.problem(
            key,
            "holds a class of statuses",
            "name each status, such as [404]",
        );
    }
    codes
}

/// Reads a table of headers.
pub(super) fn header_templates(fields: &mut Fields<'_, '_>) -> Vec<(HeaderName, Template)> {
    let mut headers = Vec::new();
    for entry in fields.entries() {
        let template = fields.template_of(&entry.key, &entry.node);
        let name = header_name(fields, &entry.key, &entry.key);
        headers.extend(name.zip(template));
    }
    headers
}

fn header_patterns(fields: &mut Fields<'_, '_>) -> Vec<(HeaderName, Regex)> {
    let mut headers = Vec::new();
    for entry in fields.entries() {
        let name = header_name(fields, &entry.key, &entry.key);
        let pattern = if let Raw::String(text) = &entry.node.raw {
            compiled(fields, &entry.key, text)
        } else {
            let what = format!("is {}", entry.node.kind());
            fields.problem(&entry.key, what, "write a regular expression, '…'");
            None
        };
        headers.extend(name.zip(pattern));
    }
    headers
}

fn header_name(fields: &mut Fields<'_, '_>, key: &str, name: &str) -> Option<HeaderName> {
    let header = HeaderName::try_from(name);
    if header.is_err() {
        let what = format!("`{name}` is not a header name");
        fields.problem(key, what, "use letters, digits and `-`");
    }
    header.ok()
}

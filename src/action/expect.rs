//! What an HTTP answer should be, and how it is not.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Version};
use regex::Regex;
use serde_json::Value;

use super::items::Item;
use super::refused;
use crate::client::Answer;
use crate::event::HttpPhases;
use crate::outcome::{Failure, Fault, Reason};
use crate::text::{Fields, Lookup, Raw, Template, ValueTemplate, plain};

/// How much of an unexpected text a message shows.
const EXCERPT: usize = 200;

/// An answer with what is derived from it.
pub(crate) struct Reply {
    pub(crate) answer: Answer,
    pub(super) duration: Duration,
    /// What an unexpected status says.
    pub(crate) reason: Reason,
    /// How messages call the body.
    noun: &'static str,
    /// Where it came from, after redirects.
    pub(super) url: String,
    /// What the last request of a chain took.
    pub(super) phases: HttpPhases,
    json: OnceLock<Option<Value>>,
}

impl Reply {
    pub(crate) fn new(answer: Answer, duration: Duration, reason: Reason) -> Self {
        Self {
            answer,
            duration,
            reason,
            noun: "the body",
            url: String::new(),
            phases: HttpPhases::default(),
            json: OnceLock::new(),
        }
    }

    /// The reply with where it came from, and what that took.
    pub(super) fn from(self, url: String, phases: HttpPhases) -> Self {
        Self {
            url,
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
        let (headers, body) = (headers.clone(), body.into());
        let answer = Answer {
            status,
            headers,
            body,
            version: Version::default(),
            session: None,
        };
        Self {
            noun,
            ..Self::new(answer, Duration::ZERO, Reason::of_status(status))
        }
    }

    /// The body as JSON, if it is.
    pub(crate) fn json(&self) -> Option<&Value> {
        self.json
            .get_or_init(|| serde_json::from_slice(&self.answer.body).ok())
            .as_ref()
    }

    pub(super) fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.answer.body)
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

    /// How the body begins.
    pub(crate) fn excerpt(&self) -> String {
        match excerpt(&self.text()) {
            text if text.is_empty() => format!("{} is empty", self.noun),
            text => format!("{} begins: {text}", self.noun),
        }
    }
}

/// The beginning of a text, on one line.
pub(crate) fn excerpt(text: &str) -> String {
    let mut short: String = text.chars().take(EXCERPT).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short.split_whitespace().collect::<Vec<_>>().join(" ")
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
    content: Content,
    max_duration: Option<Duration>,
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
        expectation.content = Content::read(&mut fields);
        expectation.max_duration = fields.duration("max_duration", Duration::from_millis(1));
        fields.finish();
        expectation
    }

    /// Says how the answer is not as expected.
    pub(crate) fn check(&self, reply: &Reply, lookup: &dyn Lookup) -> Result<(), Failure> {
        let status = reply.answer.status;
        if !self.status.iter().any(|expected| expected.matches(status)) {
            let expected: Vec<_> = self.status.iter().map(|s| s.describe()).collect();
            return Err(Failure::new(
                reply.reason,
                format!(
                    "status is {status}, expected {}; {}",
                    expected.join(" or "),
                    reply.excerpt()
                ),
            ));
        }
        for (name, expected) in &self.header {
            check_header(
                reply,
                name,
                &expected.text(lookup, plain).map_err(|e| refused(&e))?,
            )?;
        }
        self.content.check(reply, lookup)?;
        if let Some(limit) = self.max_duration
            && reply.duration > limit
        {
            let what = format!("took {:.1?}, expected at most {limit:.1?}", reply.duration);
            return Err(Failure::new(Reason::Assertion, what));
        }
        Ok(())
    }
}

/// What must hold of a body, an event's data or a message.
#[derive(Default)]
pub(super) struct Content {
    json: Vec<(String, ValueTemplate)>,
    /// Where there must be a value, whatever it is.
    has: Vec<String>,
    /// What arrays must have, and must not have.
    items: Vec<Item>,
    /// All of it.
    equals: Option<Template>,
    text: Option<Template>,
    matches: Option<Regex>,
}

impl Content {
    /// Reads `json`, `has`, `contains`, `lacks`, `equals`, `text` and `matches`.
    pub(super) fn read(fields: &mut Fields<'_, '_>) -> Self {
        let mut content = Self::default();
        if let Some(mut pointers) = fields.table("json") {
            content.json = json_pointers(&mut pointers);
        }
        for (pointer, _) in fields.strings("has") {
            if !is_pointer(&pointer) {
                let what = format!("`{pointer}` is not a JSON pointer");
                fields.problem("has", what, POINTER_HELP);
            }
            content.has.push(pointer);
        }
        for (key, wanted) in [("contains", true), ("lacks", false)] {
            if let Some(arrays) = fields.table(key) {
                content.items.extend(Item::read(arrays, wanted));
            }
        }
        content.equals = fields.template("equals");
        content.text = fields.template("text");
        content.matches = regex(fields, "matches");
        content
    }

    /// Says how the content is not as expected.
    pub(super) fn check(&self, reply: &Reply, lookup: &dyn Lookup) -> Result<(), Failure> {
        for (pointer, expected) in &self.json {
            check_json(
                reply,
                pointer,
                &expected.value(lookup).map_err(|e| refused(&e))?,
            )?;
        }
        for pointer in &self.has {
            let value = reply.json().and_then(|json| json.pointer(pointer));
            if value.is_none_or(Value::is_null) {
                let what = format!("there is no json {pointer}; {}", reply.excerpt());
                return Err(Failure::new(Reason::Assertion, what));
            }
        }
        for item in &self.items {
            item.check(reply.json(), lookup)?;
        }
        if let Some(all) = &self.equals {
            let all = all.text(lookup, plain).map_err(|e| refused(&e))?;
            if reply.answer.body != all.as_bytes() {
                let (noun, all) = (reply.noun, excerpt(&all));
                let what = format!("{noun} is not `{all}`; {}", reply.excerpt());
                return Err(Failure::new(Reason::Assertion, what));
            }
        }
        if let Some(text) = &self.text {
            let text = text.text(lookup, plain).map_err(|e| refused(&e))?;
            if !reply.text().contains(&text) {
                let what = format!(
                    "{} does not contain `{}`; {}",
                    reply.noun,
                    excerpt(&text),
                    reply.excerpt()
                );
                return Err(Failure::new(Reason::Assertion, what));
            }
        }
        if let Some(regex) = &self.matches
            && !regex.is_match(&reply.text())
        {
            let what = format!(
                "{} does not match `{regex}`; {}",
                reply.noun,
                reply.excerpt()
            );
            return Err(Failure::new(Reason::Assertion, what));
        }
        Ok(())
    }

    /// Why the content is something else, if it is; an error if that cannot be said.
    pub(super) fn differs(
        &self,
        reply: &Reply,
        lookup: &dyn Lookup,
    ) -> Result<Option<String>, Failure> {
        match self.check(reply, lookup) {
            Ok(()) => Ok(None),
            Err(failure) if matches!(failure.fault, Fault::Target(_)) => Ok(Some(failure.message)),
            Err(failure) => Err(failure),
        }
    }
}

/// Reads a regular expression.
pub(super) fn regex(fields: &mut Fields<'_, '_>, key: &'static str) -> Option<Regex> {
    match Regex::new(&fields.string(key)?) {
        Ok(regex) => Some(regex),
        Err(error) => {
            let why = excerpt(&error.to_string());
            let what = format!("is not a regular expression: {why}");
            let help = "see the syntax of the regex crate; write \\\\ for a backslash in \"…\", or use '…'";
            fields.problem(key, what, help);
            None
        }
    }
}

fn check_header(reply: &Reply, name: &HeaderName, expected: &str) -> Result<(), Failure> {
    let Some(value) = reply.header(name) else {
        let what = format!("there is no header {name}, expected `{expected}`");
        return Err(Failure::new(Reason::Assertion, what));
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
    Err(Failure::new(Reason::Assertion, what))
}

fn check_json(reply: &Reply, pointer: &str, expected: &Value) -> Result<(), Failure> {
    let Some(json) = reply.json() else {
        let what = format!("{} is not JSON; {}", reply.noun, reply.excerpt());
        return Err(Failure::new(Reason::Assertion, what));
    };
    match json.pointer(pointer) {
        Some(value) if equal(value, expected) => Ok(()),
        Some(value) => {
            let (value, expected) = (excerpt(&value.to_string()), excerpt(&expected.to_string()));
            let what = format!("json {pointer} is {value}, expected {expected}");
            Err(Failure::new(Reason::Assertion, what))
        }
        None => {
            let what = format!("there is no json {pointer}; {}", reply.excerpt());
            Err(Failure::new(Reason::Assertion, what))
        }
    }
}

/// Whether two JSON values are the same; 1 and 1.0 are.
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        (Value::Array(x), Value::Array(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| equal(x, y))
        }
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len()
                && x.iter()
                    .all(|(key, x)| y.get(key).is_some_and(|y| equal(x, y)))
        }
        _ => a == b,
    }
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
        return (1..=5).contains(&class).then_some(Status::Class(class));
    }
    let code = u16::try_from(value.as_u64()?).ok()?;
    (100..=599).contains(&code).then_some(Status::Exactly(code))
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
        match HeaderName::try_from(entry.key.as_str()) {
            Ok(name) => headers.extend(template.map(|template| (name, template))),
            Err(_) => fields.problem(
                &entry.key,
                "is not a header name",
                "use letters, digits and `-`",
            ),
        }
    }
    headers
}

/// Reads a table from JSON pointers to values.
pub(super) fn json_pointers(fields: &mut Fields<'_, '_>) -> Vec<(String, ValueTemplate)> {
    let mut pointers = Vec::new();
    for entry in fields.entries() {
        if let Raw::Table(_) = entry.node.raw
            && !is_pointer(&entry.key)
        {
            // `json./a = 1` instead of `json = { "/a" = 1 }` is a common slip.
            fields.problem(
                &entry.key,
                "is not a JSON pointer",
                "write it in quotes, \"/name\" = …",
            );
            continue;
        }
        if !is_pointer(&entry.key) {
            fields.problem(&entry.key, "is not a JSON pointer", POINTER_HELP);
        }
        if let Some(value) = fields.value_of(&entry.key, &entry.node) {
            pointers.push((entry.key.clone(), value));
        }
    }
    pointers
}

pub(super) const POINTER_HELP: &str =
    "a JSON pointer (RFC 6901) is empty or begins with `/`, such as \"/items/0/name\"";

pub(super) fn is_pointer(text: &str) -> bool {
    text.is_empty() || text.starts_with('/')
}

//! What is kept of an answer: `capture = { id = "json:/id" }`.

use http::HeaderName;
use serde_json::Value;
use serde_json_path::JsonPath;

use super::content::shown;
use super::expect::Reply;
use super::keys::{Key, Part};
use super::kind::{FLAG, Kind, NAMED};
use super::place::{POINTER_HELP, is_pointer, parse_path};
use crate::outcome::{Failure, Reason};
use crate::secret::Redactor;
use crate::spec::Capture;
use crate::text::json::weight;
use crate::text::{Fields, Raw};

/// The key of what is kept.
pub(crate) const CAPTURE: Key = Key::optional(
    "capture",
    NAMED,
    "what is kept of it, to be read as `${step.NAME}`",
)
.of(&[CAPTURES]);

/// The key of what is told nobody.
pub(super) const SECRET: Key = Key::optional(
    "secret",
    FLAG,
    "whether it is kept out of every log, page and message",
);

const CAPTURES: Part = Part::shared(
    "captures",
    &[Key::optional(
        "*",
        SOURCE,
        "where it is taken from; several values of a JSONPath as an array; as a table, also whether it is secret",
    )
    .of(&[Part::own(&[
        Key::required("from", SOURCE, "where it is taken from"),
        SECRET,
    ])])],
);

const SOURCE: Kind = Kind::new(
    "`\"json:/pointer\"`, `\"jsonpath:$.path\"`, `\"header:name\"`, `\"status\"` or `\"body\"`",
    "'json:/a'",
    "1",
);

const SOURCES: &str =
    "take it from \"json:/pointer\", \"jsonpath:$.path\", \"header:name\", \"status\" or \"body\"";

/// What the captures of one answer may take together: a run keeps them to its end.
const LARGEST: usize = 1 << 20;

#[derive(Debug, Clone)]
enum Source {
    Json(String),
    /// RFC 9535; what it names, as an array if there are several.
    JsonPath(JsonPath, String),
    Header(HeaderName),
    Status,
    Body,
}

/// The captures of one request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Captures(Vec<(String, Source, bool)>);

impl Captures {
    /// Reads a `capture` table.
    pub(crate) fn read(fields: Fields<'_, '_>) -> Self {
        Self(read_sources(fields, "an answer", SOURCES, source))
    }

    /// What is written, and whether it is secret.
    pub(crate) fn writes(&self) -> Vec<(String, bool)> {
        self.0
            .iter()
            .map(|(key, _, secret)| (key.clone(), *secret))
            .collect()
    }

    /// Takes them from an answer.
    pub(crate) fn take(&self, reply: &Reply) -> Result<Vec<Capture>, Failure> {
        let mut taken = 0;
        let captures = self.0.iter().map(|(key, source, secret)| {
            let named = |mut failure: Failure| {
                failure.message = format!("the capture `{key}`: {}", failure.message);
                failure
            };
            let value = source.of(reply).map_err(named)?;
            let value = value.ok_or_else(|| {
                let what = format!("there is no {} for the capture `{key}`", source.describe());
                Failure::new(Reason::Capture, what).in_our_words()
            })?;
            taken += weight(&value);
            fits(taken).map_err(named)?;
            Ok(Capture {
                key: key.clone(),
                value,
                secret: *secret,
            })
        });
        captures.collect()
    }

    /// What is said of an answer, without the secrets in it: when its step fails they are never
    /// captured, and nobody else would know them. Where one of them is not found, or is no text
    /// that can be searched for, the failure counts as not searched.
    pub(crate) fn hush(&self, reply: &Reply, failure: Failure) -> Failure {
        let mut redactor = Redactor::default();
        let mut all = true;
        for (_, source, _) in self.0.iter().filter(|(_, _, secret)| *secret) {
            let value = source.of(reply).ok().flatten();
            all &= value.is_some_and(|value| redactor.learn_value(&value));
        }
        if all {
            failure.searched(&redactor)
        } else {
            failure.redacted(&redactor)
        }
    }

    /// Whether one of them is a secret.
    pub(super) fn have_secrets(&self) -> bool {
        self.0.iter().any(|(_, _, secret)| *secret)
    }

    /// Takes them, relative to one item of an answer; each must be usable as an id.
    pub(super) fn take_ids(&self, item: &Value) -> Result<Vec<Capture>, Failure> {
        let captures = self.0.iter().map(|(key, source, secret)| {
            let value = match source {
                Source::Json(pointer) => item.pointer(pointer),
                Source::JsonPath(path, _) => path.query(item).exactly_one().ok(),
                Source::Header(_) | Source::Status | Source::Body => None,
            };
            let value = value.map_or(Ok(Value::Null), copied)?;
            Ok(Capture {
                key: key.clone(),
                value,
                secret: *secret,
            })
        });
        captures.collect::<Result<Vec<_>, _>>().and_then(check_ids)
    }

    /// The data from which [`Self::from_data`] makes them again.
    pub(super) fn to_data(&self) -> Vec<(String, String)> {
        let data = |(key, source, _): &(String, Source, bool)| (key.clone(), source.describe());
        self.0.iter().map(data).collect()
    }

    /// The captures that [`Self::to_data`] described.
    pub(super) fn from_data(data: &[(String, String)]) -> Result<Self, &'static str> {
        let captures = data
            .iter()
            .map(|(key, text)| Ok((key.clone(), source(text)?, false)));
        captures.collect::<Result<_, _>>().map(Self)
    }

    /// Whether every source is a place in JSON.
    pub(super) fn only_json(&self) -> bool {
        self.0
            .iter()
            .all(|(_, source, _)| matches!(source, Source::Json(_) | Source::JsonPath(..)))
    }
}

/// Reads a `capture` table whose sources are these; `help` tells all of them.
pub(super) fn read_sources<S>(
    mut fields: Fields<'_, '_>,
    whole: &str,
    help: &str,
    source: impl Fn(&str) -> Result<S, &'static str>,
) -> Vec<(String, S, bool)> {
    let mut captures = Vec::new();
    for entry in fields.entries() {
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if entry.key.is_empty() || !entry.key.bytes().all(word) {
            let help = "use lower-case letters, digits and `_`";
            fields.problem(&entry.key, "is not a name for a capture", help);
        }
        let (text, secret) = match &entry.node.raw {
            Raw::String(text) => (Some(text.clone()), false),
            Raw::Table(_) => {
                let Some(mut inner) = fields.table_of(entry) else {
                    continue;
                };
                let text = inner.required_string("from", help);
                let secret = inner.flag("secret");
                inner.finish();
                (text, secret)
            }
            _ => {
                fields.problem(&entry.key, format!("is {}", entry.node.kind()), help);
                continue;
            }
        };
        let Some(text) = text else { continue };
        match source(&text) {
            Ok(source) => captures.push((entry.key.clone(), source, secret)),
            Err(help) => {
                fields.problem(
                    &entry.key,
                    format!("`{text}` names no part of {whole}"),
                    help,
                );
            }
        }
    }
    captures
}

/// Ids name what will be deleted: empty ones, null and tables name nothing.
pub(super) fn check_ids(captures: Vec<Capture>) -> Result<Vec<Capture>, Failure> {
    for Capture { key, value, .. } in &captures {
        let usable = match value {
            Value::String(text) => !text.is_empty(),
            Value::Number(_) | Value::Bool(_) => true,
            Value::Null | Value::Array(_) | Value::Object(_) => false,
        };
        if !usable {
            let what = format!("the capture `{key}` is {}, not an id", shown(value));
            return Err(Failure::new(Reason::Capture, what));
        }
    }
    Ok(captures)
}

impl Source {
    fn of(&self, reply: &Reply) -> Result<Option<Value>, Failure> {
        let json = || reply.json_unquoted(Reason::Capture);
        Ok(match self {
            Self::Json(pointer) => json()?.pointer(pointer).map(copied).transpose()?,
            Self::JsonPath(path, _) => match path.query(json()?).all().as_slice() {
                [] => None,
                [only] => Some(copied(only)?),
                all => {
                    // A path may name one value many times.
                    fits(all.iter().map(|value| weight(value)).sum())?;
                    Some(all.iter().map(|&value| value.clone()).collect())
                }
            },
            Self::Header(name) => reply.header(name).map(Value::from),
            Self::Status => Some(Value::from(reply.answer.status)),
            Self::Body => {
                let text = reply.text()?;
                fits(text.len())?;
                Some(Value::from(&*text))
            }
        })
    }

    fn describe(&self) -> String {
        match self {
            Self::Json(pointer) => format!("json:{pointer}"),
            Self::JsonPath(_, text) => format!("jsonpath:{text}"),
            Self::Header(name) => format!("header:{name}"),
            Self::Status => "status".into(),
            Self::Body => "body".into(),
        }
    }
}

/// A copy, unless it is too large to be kept: then none is made, not even for a moment.
fn copied(value: &Value) -> Result<Value, Failure> {
    fits(weight(value)).map(|()| value.clone())
}

fn fits(weight: usize) -> Result<(), Failure> {
    if weight <= LARGEST {
        return Ok(());
    }
    let what = format!("more than {} MiB would be kept", LARGEST >> 20);
    Err(Failure::new(Reason::Protocol, what).in_our_words())
}

const PATH_HELP: &str = "a JSONPath (RFC 9535) begins with `$`, such as \"$.items[0].name\", and \
     compares with numbers of at most 15 digits";

fn source(text: &str) -> Result<Source, &'static str> {
    match text.split_once(':') {
        Some(("json", pointer)) if is_pointer(pointer) => Ok(Source::Json(pointer.to_owned())),
        Some(("json", _)) => Err(POINTER_HELP),
        Some(("jsonpath", path)) => parse_path(path)
            .map(|parsed| Source::JsonPath(parsed, path.to_owned()))
            .map_err(|_| PATH_HELP),
        Some(("header", name)) => HeaderName::try_from(name)
            .map(Source::Header)
            .map_err(|_| SOURCES),
        None if text == "status" => Ok(Source::Status),
        None if text == "body" => Ok(Source::Body),
        _ => Err(SOURCES),
    }
}

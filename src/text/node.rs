//! A TOML document as a tree in which every key and value knows where it stands.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::json;
use super::problem::Problem;

/// A place in a text. Lines and columns count from 1; line 0 is the file as a whole.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// The file, as the user named it.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl At {
    /// A file as a whole.
    #[must_use]
    pub fn file(file: &str) -> Self {
        Self {
            file: file.into(),
            line: 0,
            column: 0,
        }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            f.write_str(&self.file)
        } else {
            write!(f, "{}:{}:{}", self.file, self.line, self.column)
        }
    }
}

impl fmt::Debug for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct Node {
    /// The value.
    pub raw: Raw,
    /// Where it begins.
    pub at: At,
}

/// A TOML value. Dates and times are kept as their text.
#[derive(Debug, Clone)]
pub enum Raw {
    /// A string, or the text of a date or time.
    String(String),
    /// An integer or a float, as it was written.
    Number(Number),
    /// A boolean.
    Boolean(bool),
    /// An array.
    Array(Vec<Node>),
    /// A table.
    Table(Table),
}

/// A table in the order of the file.
#[derive(Debug, Clone)]
pub struct Table {
    /// Where it begins.
    pub at: At,
    /// Its entries in the order of the file.
    pub entries: Vec<Entry>,
}

/// A key, where it stands, and its value.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub at: At,
    /// The value.
    pub node: Node,
}

impl Table {
    /// The entry of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

impl Node {
    /// What kind of value this is, as people say it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.raw {
            Raw::String(_) => "a string",
            Raw::Number(number) if number.is_f64() => "a float",
            Raw::Number(_) => "an integer",
            Raw::Boolean(_) => "a boolean",
            Raw::Array(_) => "an array",
            Raw::Table(_) => "a table",
        }
    }

    /// The plain value, positions dropped.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match &self.raw {
            Raw::String(text) => Value::from(text.as_str()),
            Raw::Number(number) => Value::Number(number.clone()),
            Raw::Boolean(flag) => Value::from(*flag),
            Raw::Array(items) => items.iter().map(Self::to_value).collect(),
            Raw::Table(table) => Value::Object(
                table
                    .entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.node.to_value()))
                    .collect(),
            ),
        }
    }
}

/// Parses a document; on broken syntax, every error the parser could find.
pub fn parse(file: &str, text: &str) -> Result<Table, Vec<Problem>> {
    let mut lines = Lines::new(file, text);
    let (document, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let at = lines.at(0);
        let table = table(document.into_inner(), at, &mut lines);
        return if lines.problems.is_empty() {
            Ok(table)
        } else {
            Err(lines.problems)
        };
    }
    Err(errors
        .iter()
        .map(|error| {
            let at = error
                .span()
                .map_or_else(|| At::file(file), |span| lines.at(span.start));
            Problem::error(
                &at,
                "",
                format!("not valid TOML: {}", error.message()),
                "see https://toml.io for the syntax",
            )
        })
        .collect())
}

fn table(entries: DeTable<'_>, at: At, lines: &mut Lines<'_>) -> Table {
    let mut entries: Vec<(Range<usize>, Entry)> = entries
        .into_iter()
        .map(|(key, value)| {
            let span = key.span();
            let at = lines.at(span.start);
            let entry = Entry {
                key: key.into_inner().into_owned(),
                node: node(value, lines),
                at,
            };
            (span, entry)
        })
        .collect();
    entries.sort_by_key(|(span, _)| span.start);
    Table {
        at,
        entries: entries.into_iter().map(|(_, entry)| entry).collect(),
    }
}

fn node(value: Spanned<DeValue<'_>>, lines: &mut Lines<'_>) -> Node {
    let at = lines.at(value.span().start);
    let raw = match value.into_inner() {
        DeValue::String(text) => Raw::String(text.into_owned()),
        DeValue::Integer(number) if number.radix() == 10 => number_of(number.as_str(), &at, lines),
        DeValue::Integer(number) => match u128::from_str_radix(number.as_str(), number.radix()) {
            Ok(value) => number_of(&value.to_string(), &at, lines),
            Err(_) => refused(number.as_str(), &at, lines),
        },
        DeValue::Float(number) => number_of(number.as_str(), &at, lines),
        DeValue::Boolean(flag) => Raw::Boolean(flag),
        DeValue::Datetime(instant) => Raw::String(instant.to_string()),
        DeValue::Array(items) => {
            Raw::Array(items.into_iter().map(|item| node(item, lines)).collect())
        }
        DeValue::Table(entries) => Raw::Table(table(entries, at.clone(), lines)),
    };
    Node { raw, at }
}

/// A number keeps all of its digits, as in the JSON that it is compared with.
fn number_of(text: &str, at: &At, lines: &mut Lines<'_>) -> Raw {
    match json::parse_own(text.trim_start_matches('+')) {
        Ok(Value::Number(number)) => Raw::Number(number),
        _ => refused(text, at, lines),
    }
}

fn refused(text: &str, at: &At, lines: &mut Lines<'_>) -> Raw {
    let (what, help) = if text.ends_with("inf") || text.ends_with("nan") {
        (
            format!("`{text}` is no number of JSON"),
            "write a finite number, or a text in quotes",
        )
    } else {
        (
            "is an integer of more than 128 bits".to_owned(),
            "write it in decimal digits",
        )
    };
    lines.problems.push(Problem::error(at, "", what, help));
    Raw::String(text.to_owned())
}

/// Turns byte offsets into lines and columns, and keeps what is wrong there.
struct Lines<'a> {
    file: Arc<str>,
    text: &'a str,
    starts: Vec<usize>,
    /// How many characters come before every [`STRIDE`]th byte: a line may be as long as the file.
    characters: Vec<usize>,
    problems: Vec<Problem>,
}

const STRIDE: usize = 256;

fn characters(bytes: &[u8]) -> usize {
    // All but the bytes in the middle of a character.
    bytes.iter().filter(|byte| *byte & 0xc0 != 0x80).count()
}

impl<'a> Lines<'a> {
    fn new(file: &str, text: &'a str) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self {
            file: file.into(),
            text,
            starts: std::iter::once(0)
                .chain(newlines.map(|(index, _)| index + 1))
                .collect(),
            characters: text
                .as_bytes()
                .chunks(STRIDE)
                .scan(0, |before, chunk| {
                    let now = *before;
                    *before += characters(chunk);
                    Some(now)
                })
                .collect(),
            problems: Vec::new(),
        }
    }

    /// How many characters come before a byte.
    fn before(&self, offset: usize) -> usize {
        let offset = offset.min(self.text.len());
        let stride = (offset / STRIDE).min(self.characters.len().saturating_sub(1));
        let known = self.characters.get(stride).copied().unwrap_or(0);
        known + characters(&self.text.as_bytes()[stride * STRIDE..offset])
    }

    fn at(&self, offset: usize) -> At {
        let line = self.starts.partition_point(|start| *start <= offset).max(1);
        let start = self.starts[line - 1];
        let before = self.before(offset).saturating_sub(self.before(start));
        At {
            file: self.file.clone(),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(before + 1).unwrap_or(u32::MAX),
        }
    }
}

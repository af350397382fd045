//! Typed reading of a table: every accessor notes what it knows and what is wrong, and goes on.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::node::{At, Entry, Node, Raw, Table};
use super::problem::{Problem, nearest};
use super::template::{Template, ValueTemplate};

/// The values that `${name}` stands for when the plan is made.
#[derive(Debug, Clone, Default)]
pub struct Params(BTreeMap<String, Value>);

impl Params {
    /// The value of `${name}`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Sets a value, replacing an earlier one.
    pub fn set(&mut self, name: impl Into<String>, value: Value) {
        self.0.insert(name.into(), value);
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl FromIterator<(String, Value)> for Params {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// A capture that something reads at run time, `${name.key}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Read {
    /// The step or wrapper, `-` written as `_`.
    pub name: String,
    /// Its capture.
    pub key: String,
}

/// What reading left behind: problems, and the captures that will be read at run time.
#[derive(Debug, Default)]
pub struct Notes {
    /// Everything that is wrong so far.
    pub problems: Vec<Problem>,
    /// What the tables read so far will read at run time, and where that is written.
    pub reads: Vec<(Read, At)>,
    /// Files that will be read when they are needed.
    pub files: Vec<NamedFile>,
    /// Every key that was asked for: tables of keys are held to it.
    #[cfg(test)]
    pub asked: std::collections::BTreeSet<String>,
}

/// A file that some key names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedFile {
    /// Where the key stands.
    pub at: At,
    /// The key.
    pub key: String,
    /// What it names.
    pub what: Outside,
}

/// Something outside of the files that are read: whether it is there is asked later.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outside {
    /// A file.
    File(PathBuf),
    /// A variable of the environment.
    Variable(String),
    /// A credential of the service.
    Credential(String),
}

/// A table being read.
pub struct Fields<'a, 'n> {
    table: &'a Table,
    path: String,
    known: Vec<&'static str>,
    params: Option<&'a Params>,
    notes: &'n mut Notes,
}

impl<'a, 'n> Fields<'a, 'n> {
    /// Reads `table`, called `path` in problems. Without `params`, `${…}` means nothing.
    pub fn new(
        table: &'a Table,
        path: impl Into<String>,
        params: Option<&'a Params>,
        notes: &'n mut Notes,
    ) -> Self {
        Self {
            table,
            path: path.into(),
            known: Vec::new(),
            params,
            notes,
        }
    }

    /// Where the table begins.
    #[must_use]
    pub fn at(&self) -> At {
        self.table.at.clone()
    }

    /// The notes that this reading adds to.
    pub fn notes(&mut self) -> &mut Notes {
        self.notes
    }

    /// The dotted name of a key in this table; of the table itself for an empty key.
    #[must_use]
    pub fn key(&self, key: &str) -> String {
        match (self.path.as_str(), key) {
            ("", key) => key.to_owned(),
            (path, "") => path.to_owned(),
            (path, key) => format!("{path}.{key}"),
        }
    }

    /// Notes a problem at `key`, or at the table if the key is absent.
    pub fn problem(&mut self, key: &str, what: impl Into<String>, help: impl Into<String>) {
        let at = self
            .table
            .get(key)
            .map_or_else(|| self.table.at.clone(), |entry| entry.at.clone());
        let problem = Problem::error(&at, self.key(key), what, help);
        self.notes.problems.push(problem);
    }

    /// Notes a problem at one of the [`Self::entries`], of which there may be many.
    pub fn problem_of(&mut self, entry: &Entry, what: impl Into<String>, help: impl Into<String>) {
        self.wrong(&entry.at, &entry.key, what, help);
    }

    /// Notes a required key as missing.
    pub fn missing(&mut self, key: &str, help: impl Into<String>) {
        self.problem(key, "is missing", help);
    }

    fn wrong(&mut self, at: &At, key: &str, what: impl Into<String>, help: impl Into<String>) {
        let problem = Problem::error(at, self.key(key), what, help);
        self.notes.problems.push(problem);
    }

    /// The entry of `key`, which is known from now on.
    pub fn entry(&mut self, key: &'static str) -> Option<&'a Entry> {
        if !self.known.contains(&key) {
            self.known.push(key);
            #[cfg(test)]
            self.notes.asked.insert(self.key(key));
        }
        self.table.get(key)
    }

    /// Whether `key` is given.
    pub fn has(&mut self, key: &'static str) -> bool {
        self.entry(key).is_some()
    }

    /// Every entry: for tables whose keys are the user's.
    pub fn entries(&self) -> &'a [Entry] {
        &self.table.entries
    }

    /// The value of `key` if it is known now; a `${param}` is replaced.
    pub fn constant(&mut self, key: &'static str) -> Option<(Value, At)> {
        let entry = self.entry(key)?;
        let value = self.constant_of(&entry.key, &entry.node)?;
        Some((value, entry.node.at.clone()))
    }

    fn constant_of(&mut self, key: &str, node: &Node) -> Option<Value> {
        let (Raw::String(text), Some(params)) = (&node.raw, self.params) else {
            return Some(node.to_value());
        };
        let mut reads = Vec::new();
        match Template::parse(text, params, &mut reads) {
            Ok(template) => match template.constant() {
                Some(Ok(value)) => Some(value),
                Some(Err(refused)) => {
                    self.wrong(&node.at, key, refused.to_string(), "use a scalar here");
                    None
                }
                None => {
                    self.wrong(
                        &node.at,
                        key,
                        format!("`{text}` is only known while a run goes on"),
                        "use a value, or a ${parameter} of the spec",
                    );
                    None
                }
            },
            Err((what, help)) => {
                self.wrong(&node.at, key, what, help);
                None
            }
        }
    }

    fn expected<T>(&mut self, at: &At, key: &str, wanted: &str, value: &Value) -> Option<T> {
        let shown = shown(value);
        self.wrong(at, key, format!("is {shown}"), format!("write {wanted}"));
        None
    }

    /// A string.
    pub fn string(&mut self, key: &'static str) -> Option<String> {
        let (value, at) = self.constant(key)?;
        match value {
            Value::String(text) => Some(text),
            other => self.expected(&at, key, "a string", &other),
        }
    }

    /// A string that is not empty.
    pub fn required_string(&mut self, key: &'static str, help: &str) -> Option<String> {
        if !self.has(key) {
            self.missing(key, help);
            return None;
        }
        let text = self.string(key)?;
        if text.is_empty() {
            self.problem(key, "must not be empty", help);
            return None;
        }
        Some(text)
    }

    /// A path, relative to the file that holds it.
    pub fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        let text = self.string(key)?;
        if text.is_empty() {
            self.problem(key, "must not be empty", "name a file");
            return None;
        }
        let folder = Path::new(&*self.table.at.file).parent();
        let path = folder.unwrap_or(Path::new("")).join(text);
        self.names(key, Outside::File(path.clone()));
        Some(path)
    }

    /// Notes what a key names.
    pub fn names(&mut self, key: &'static str, what: Outside) {
        if let Some(entry) = self.entry(key) {
            let (at, key) = (entry.at.clone(), self.key(key));
            self.notes.files.push(NamedFile { at, key, what });
        }
    }

    /// An integer in a range.
    pub fn integer(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let (value, at) = self.constant(key)?;
        let wanted = format!("an integer from {} to {}", range.start(), range.end());
        match value.as_u64() {
            Some(number) if range.contains(&number) => Some(number),
            _ => self.expected(&at, key, &wanted, &value),
        }
    }

    /// A ratio above 0 and at most 1.
    pub fn ratio(&mut self, key: &'static str) -> Option<f64> {
        let (value, at) = self.constant(key)?;
        match value.as_f64() {
            Some(ratio) if ratio > 0.0 && ratio <= 1.0 => Some(ratio),
            _ => self.expected(
                &at,
                key,
                "a ratio above 0 and at most 1, such as 0.99",
                &value,
            ),
        }
    }

    /// A boolean, false if absent.
    pub fn flag(&mut self, key: &'static str) -> bool {
        match self.constant(key) {
            None => false,
            Some((Value::Bool(flag), _)) => flag,
            Some((other, at)) => self
                .expected(&at, key, "true or false", &other)
                .unwrap_or_default(),
        }
    }

    /// A duration in humantime's notation, at least `least`.
    pub fn duration(&mut self, key: &'static str, least: Duration) -> Option<Duration> {
        let (value, at) = self.constant(key)?;
        let parsed = value
            .as_str()
            .and_then(|text| humantime::parse_duration(text).ok());
        match parsed {
            Some(duration) if duration > LONGEST => {
                self.wrong(&at, key, "is longer than a year", "use a shorter duration");
                None
            }
            Some(duration) if duration >= least => Some(duration),
            Some(_) => {
                let least = humantime::format_duration(least);
                self.wrong(
                    &at,
                    key,
                    format!("must be at least {least}"),
                    "use a longer duration",
                );
                None
            }
            None => self.expected(&at, key, "a duration such as \"30s\" or \"1m 30s\"", &value),
        }
    }

    /// A list of strings, empty if absent, each with its place.
    pub fn strings(&mut self, key: &'static str) -> Vec<(String, At)> {
        let Some(entry) = self.entry(key) else {
            return Vec::new();
        };
        let wanted = "an array of strings such as [\"a\", \"b\"]";
        let Raw::Array(items) = &entry.node.raw else {
            let value = entry.node.to_value();
            self.expected::<()>(&entry.node.at, key, wanted, &value);
            return Vec::new();
        };
        let mut strings = Vec::new();
        for item in items {
            match self.constant_of(key, item) {
                Some(Value::String(text)) => strings.push((text, item.at.clone())),
                Some(other) => {
                    self.expected::<()>(&item.at, key, wanted, &other);
                }
                None => {}
            }
        }
        strings
    }

    /// A text with `${…}` in it.
    pub fn template(&mut self, key: &'static str) -> Option<Template> {
        let entry = self.entry(key)?;
        self.template_of(key, &entry.node)
    }

    /// The template in one node of this table.
    pub fn template_of(&mut self, key: &str, node: &Node) -> Option<Template> {
        let Raw::String(text) = &node.raw else {
            return self.expected(&node.at, key, "a string", &node.to_value());
        };
        let empty = Params::default();
        let mut reads = Vec::new();
        match Template::parse(text, self.params.unwrap_or(&empty), &mut reads) {
            Ok(template) => {
                let reads = reads.into_iter().map(|read| (read.into(), node.at.clone()));
                self.notes.reads.extend(reads);
                Some(template)
            }
            Err((what, help)) => {
                self.wrong(&node.at, key, what, help);
                None
            }
        }
    }

    /// Any value with `${…}` in its strings.
    pub fn value(&mut self, key: &'static str) -> Option<ValueTemplate> {
        let entry = self.entry(key)?;
        self.value_of(key, &entry.node)
    }

    /// The value in one node of this table.
    pub fn value_of(&mut self, key: &str, node: &Node) -> Option<ValueTemplate> {
        Some(match &node.raw {
            Raw::String(_) => ValueTemplate::Text(self.template_of(key, node)?),
            Raw::Array(items) => {
                let items = items.iter().map(|item| self.value_of(key, item));
                ValueTemplate::Array(items.collect::<Option<_>>()?)
            }
            Raw::Table(table) => {
                let entries = table.entries.iter().map(|entry| {
                    let value = self.value_of(&format!("{key}.{}", entry.key), &entry.node)?;
                    Some((entry.key.clone(), value))
                });
                ValueTemplate::Table(entries.collect::<Option<_>>()?)
            }
            Raw::Number(_) | Raw::Boolean(_) => ValueTemplate::Constant(node.to_value()),
        })
    }

    /// A table inside this one.
    pub fn table(&mut self, key: &'static str) -> Option<Fields<'a, '_>> {
        let entry = self.entry(key)?;
        self.table_of(entry)
    }

    /// The table in one entry of this one.
    pub fn table_of<'b>(&mut self, entry: &'b Entry) -> Option<Fields<'b, '_>>
    where
        'a: 'b,
    {
        let path = self.key(&entry.key);
        let Raw::Table(table) = &entry.node.raw else {
            let value = entry.node.to_value();
            return self.expected(&entry.node.at, &entry.key, "a table", &value);
        };
        Some(Fields::new(table, path, self.params, self.notes))
    }

    /// An array of tables, empty if absent.
    pub fn tables(&mut self, key: &'static str) -> Vec<&'a Table> {
        let Some(entry) = self.entry(key) else {
            return Vec::new();
        };
        let Raw::Array(items) = &entry.node.raw else {
            let value = entry.node.to_value();
            self.expected::<()>(&entry.node.at, key, "an array of tables, [[…]]", &value);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items {
            match &item.raw {
                Raw::Table(table) => tables.push(table),
                _ => {
                    self.expected::<()>(&item.at, key, "a table", &item.to_value());
                }
            }
        }
        tables
    }

    /// One of the [`Self::tables`] under `key`.
    pub fn one_of<'b>(&mut self, key: &str, table: &'b Table) -> Fields<'b, '_>
    where
        'a: 'b,
    {
        let path = self.key(key);
        Fields::new(table, path, self.params, self.notes)
    }

    /// Notes every key that nobody asked for.
    pub fn finish(self) {
        for entry in &self.table.entries {
            if self.known.contains(&entry.key.as_str()) {
                continue;
            }
            let help = match nearest(&entry.key, self.known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            let problem = Problem::error(&entry.at, self.key(&entry.key), "unknown key", help);
            self.notes.problems.push(problem);
        }
    }
}

/// No deadline or interval is longer: sums of durations can then never overflow.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// A value as a problem shows it: never longer than a line.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::Array(_) => return "an array".into(),
        Value::Object(_) => return "a table".into(),
        Value::String(text) if text.chars().count() > 40 => return "a long string".into(),
        scalar => scalar.to_string(),
    };
    let kind = match value {
        Value::Number(number) if number.is_f64() => "the float",
        Value::Number(_) => "the integer",
        Value::Bool(_) => "the boolean",
        _ => "the string",
    };
    format!("{kind} {text}")
}

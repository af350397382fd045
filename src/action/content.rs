//! What a body, an event's data or a message should be, and how it is not.

use std::fmt::{self, Display, Write};

use regex::Regex;
use serde_json::Value;

use super::expect::Reply;
use super::items::Item;
use super::keys::{Key, Part};
use super::kind::{FILE, JSON, Kind, PLACES, TEXT};
use super::place::Place;
use super::refused;
use super::schema::Schema;
use crate::outcome::{Failure, Fault, Reason};
use crate::text::{Fields, Lookup, Template, ValueTemplate, plain};

/// How much of an unexpected text a message shows.
const EXCERPT: usize = 200;

/// What must hold of a body, an event's data or a message.
pub(super) const CONTENT: Part = Part::shared(
    "a content",
    &[
        Key::optional(
            "json",
            JSON,
            "what must stand at places in it; numbers are compared exactly, and of a key that stands twice the last one counts",
        ),
        Key::optional("has", PLACES, "places at which there must be something"),
        Key::optional(
            "contains",
            ITEMS,
            "items that arrays must have, told by what stands in them",
        ),
        Key::optional("lacks", ITEMS, "items that arrays must not have"),
        Key::optional("equals", TEXT, "what it must be, byte by byte"),
        Key::optional("text", TEXT, "what must stand somewhere in it"),
        Key::optional("matches", PATTERN, "what must match somewhere in it"),
        Key::optional("not_matches", PATTERN, "what must match nowhere in it"),
        Key::optional(
            "schema",
            SCHEMA,
            "the JSON Schema that it must follow, with its formats; nothing is fetched that it refers to",
        ),
        Key::optional(
            "schema_file",
            FILE,
            "the schema as a file of JSON, read when it is first needed",
        ),
    ],
);

const ITEMS: Kind = Kind::new(
    "table: JSON pointer of an array to `{ POINTER = value, … }`, the item itself, or an array of these",
    "{ '/a' = { '/b' = 1 } }",
    "{ '/a' = { b = 1 } }",
);

const SCHEMA: Kind = Kind::new(
    "table, or text of JSON",
    "{ type = 'object' }",
    "{ type = 'none' }",
);

/// A regular expression.
pub(super) const PATTERN: Kind = Kind::new("regular expression", "'a+'", "'('");

/// What must hold of a body, an event's data or a message.
#[derive(Default)]
pub(super) struct Content {
    json: Vec<(Place, ValueTemplate)>,
    /// Where there must be a value, whatever it is.
    has: Vec<Place>,
    /// What arrays must have, and must not have.
    items: Vec<Item>,
    /// All of it.
    equals: Option<Template>,
    text: Option<Template>,
    matches: Option<Regex>,
    not_matches: Option<Regex>,
    schema: Option<Schema>,
}

impl Content {
    /// Reads the keys of `CONTENT`.
    pub(super) fn read(fields: &mut Fields<'_, '_>) -> Self {
        let json = fields.table("json");
        let json = json.map(|mut places| Place::read_table(&mut places));
        let has = Place::read_all(fields, "has");
        let mut items = Vec::new();
        for (key, wanted) in [("contains", true), ("lacks", false)] {
            if let Some(arrays) = fields.table(key) {
                items.extend(Item::read(arrays, wanted));
            }
        }
        Self {
            json: json.unwrap_or_default(),
            has,
            items,
            equals: fields.template("equals"),
            text: fields.template("text"),
            matches: pattern(fields, "matches"),
            not_matches: pattern(fields, "not_matches"),
            schema: Schema::read(fields),
        }
    }

    /// Says how the content is not as expected.
    pub(super) fn check(&self, reply: &Reply, lookup: &dyn Lookup) -> Result<(), Failure> {
        for (place, expected) in &self.json {
            let expected = expected.value(lookup).map_err(|e| refused(&e))?;
            check_json(reply, place, &expected)?;
        }
        for place in &self.has {
            let found = place.of(reply.json(Reason::Assertion)?);
            if found.iter().all(|value| value.is_null()) {
                return failed(
                    &format!("there is no json {}", place.text()),
                    &reply.excerpt(),
                );
            }
        }
        for item in &self.items {
            item.check(reply.json(Reason::Assertion)?, lookup)?;
        }
        if let Some(all) = &self.equals {
            let all = all.text(lookup, plain).map_err(|e| refused(&e))?;
            if reply.answer.body != all.as_bytes() {
                let (noun, all) = (reply.noun, excerpt(&all));
                return failed(&format!("{noun} is not `{all}`"), &reply.excerpt());
            }
        }
        if let Some(text) = &self.text {
            let text = text.text(lookup, plain).map_err(|e| refused(&e))?;
            if !reply.text()?.contains(&text) {
                let (noun, text) = (reply.noun, excerpt(&text));
                let what = format!("{noun} does not contain `{text}`");
                return failed(&what, &reply.excerpt());
            }
        }
        if let Some(regex) = &self.matches
            && !regex.is_match(&reply.text()?)
        {
            let what = format!("{} does not match `{regex}`", reply.noun);
            return failed(&what, &reply.excerpt());
        }
        if let Some(regex) = &self.not_matches
            && let Some(found) = regex.find(&reply.text()?)
        {
            let short = format!("{} matches `{regex}`", reply.noun);
            let what = format!("{short}: `{}`", excerpt(found.as_str()));
            return Err(Failure::new(Reason::Assertion, what).in_short(short));
        }
        match &self.schema {
            None => Ok(()),
            Some(schema) => schema.check(reply.json(Reason::Assertion)?, reply.noun),
        }
    }

    /// Why the content is something else, if it is; an error if that cannot be said.
    pub(super) fn differs(
        &self,
        reply: &Reply,
        lookup: &dyn Lookup,
    ) -> Result<Option<Failure>, Failure> {
        match self.check(reply, lookup) {
            Ok(()) => Ok(None),
            Err(failure) if matches!(failure.fault, Fault::Target(_)) => Ok(Some(failure)),
            Err(failure) => Err(failure),
        }
    }
}

/// What is wrong, and what came instead.
fn failed<T>(what: &str, instead: &str) -> Result<T, Failure> {
    let failure = Failure::new(Reason::Assertion, format!("{what}; {instead}"));
    Err(failure.in_short(what))
}

fn check_json(reply: &Reply, place: &Place, expected: &Value) -> Result<(), Failure> {
    let found = place.of(reply.json(Reason::Assertion)?);
    if place.holds(&found, expected) {
        return Ok(());
    }
    let (place, expected) = (place.text(), shown(expected));
    let is = match found.as_slice() {
        [] => return failed(&format!("there is no json {place}"), &reply.excerpt()),
        [value] => shown(value),
        values => {
            // As an array is written, but only as many as are shown.
            let all = values.iter().take(EXCERPT).map(|value| shown(value));
            excerpt(&format!("[{}]", all.collect::<Vec<_>>().join(",")))
        }
    };
    let what = format!("json {place} is {is}, expected {expected}");
    let short = format!("json {place} is not {expected}");
    Err(Failure::new(Reason::Assertion, what).in_short(short))
}

/// Reads a regular expression.
pub(super) fn pattern(fields: &mut Fields<'_, '_>, key: &'static str) -> Option<Regex> {
    let pattern = fields.string(key)?;
    compiled(fields, key, &pattern)
}

/// A regular expression that was read under this key.
pub(super) fn compiled(fields: &mut Fields<'_, '_>, key: &str, pattern: &str) -> Option<Regex> {
    match Regex::new(pattern) {
        Ok(regex) => Some(regex),
        Err(error) => {
            let why = excerpt(&error.to_string());
            let what = format!("is not a regular expression: {why}");
            fields.problem(key, what, "see the syntax of the regex crate; write \\\\ for a backslash in \"…\", or use '…'");
            None
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

/// The beginning of what may be much longer: no more of it is ever written out.
pub(crate) fn shown(value: &dyn Display) -> String {
    let mut begun = Beginning(String::new());
    // Its error says that this is enough.
    let _ = write!(begun, "{value}");
    excerpt(&begun.0)
}

struct Beginning(String);

impl Write for Beginning {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // A character more than are shown, so that it is seen to go on.
        let missing = (EXCERPT + 1).saturating_sub(self.0.chars().count());
        self.0.extend(text.chars().take(missing));
        if missing == 0 {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}

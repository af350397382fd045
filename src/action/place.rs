//! Places in JSON: a pointer (RFC 6901), which begins with `/` or is empty, or a path (RFC 9535),
//! which begins with `$`.

use serde_json::Value;
use serde_json_path::JsonPath;

use crate::text::json::equal;
use crate::text::{Fields, Raw, ValueTemplate};

pub(super) const POINTER_HELP: &str =
    "a JSON pointer (RFC 6901) is empty or begins with `/`, such as \"/items/0/name\"";

const PLACE_HELP: &str = "write a JSON pointer (RFC 6901), which is empty or begins with `/`, \
     such as \"/items/0/name\", or a JSONPath (RFC 9535) such as \"$.items[*].name\"";

pub(super) fn is_pointer(text: &str) -> bool {
    text.is_empty() || text.starts_with('/')
}

/// Digits of a number that a JSON path compares exactly: it knows floats only.
const EXACT_DIGITS: usize = 15;

/// Reads a JSON path. The error is what is wrong with it.
pub(super) fn parse_path(text: &str) -> Result<JsonPath, String> {
    let path =
        JsonPath::parse(text).map_err(|error| format!("is not a JSONPath: {}", error.message()))?;
    let mut quote = None;
    let mut digits = 0;
    for byte in text.bytes() {
        match (quote, byte) {
            (None, b'\'' | b'"') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            (None, b'0'..=b'9') => digits += 1,
            _ => digits = 0,
        }
        if digits > EXACT_DIGITS {
            return Err(format!(
                "compares with a number of more than {EXACT_DIGITS} digits, which a JSONPath rounds"
            ));
        }
    }
    Ok(path)
}

/// A place in JSON, or several.
pub(super) enum Place {
    Pointer(String),
    Path(String, Box<JsonPath>),
}

impl Place {
    /// Reads one; what is none is noted, and left out.
    fn read(fields: &mut Fields<'_, '_>, key: &str, text: &str) -> Option<Self> {
        if is_pointer(text) {
            return Some(Self::Pointer(text.to_owned()));
        }
        if text.starts_with('$') {
            match parse_path(text) {
                Ok(path) => return Some(Self::Path(text.to_owned(), Box::new(path))),
                Err(error) => {
                    fields.problem(key, format!("`{text}` {error}"), PLACE_HELP);
                }
            }
            return None;
        }
        fields.problem(key, format!("`{text}` is no place in JSON"), PLACE_HELP);
        None
    }

    /// Reads an array of them.
    pub(super) fn read_all(fields: &mut Fields<'_, '_>, key: &'static str) -> Vec<Self> {
        let texts = fields.strings(key).into_iter();
        let places = texts.filter_map(|(text, _)| Self::read(fields, key, &text));
        places.collect()
    }

    /// Reads a table from places to values.
    pub(super) fn read_table(fields: &mut Fields<'_, '_>) -> Vec<(Self, ValueTemplate)> {
        let mut places = Vec::new();
        for entry in fields.entries() {
            if is_slip(fields, &entry.key, &entry.node.raw) {
                continue;
            }
            let place = Self::read(fields, &entry.key, &entry.key);
            let value = fields.value_of(&entry.key, &entry.node);
            places.extend(place.zip(value));
        }
        places
    }

    /// How it was written.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Pointer(text) | Self::Path(text, _) => text,
        }
    }

    /// What stands there: of a pointer at most one value, of a path any number.
    pub(super) fn of<'a>(&self, json: &'a Value) -> Vec<&'a Value> {
        match self {
            Self::Pointer(pointer) => json.pointer(pointer).into_iter().collect(),
            Self::Path(_, path) => path.query(json).all(),
        }
    }

    /// Whether this stands there: the only value, or of a path all of them as an array.
    pub(super) fn holds(&self, found: &[&Value], expected: &Value) -> bool {
        let all = |items: &Vec<Value>| {
            items.len() == found.len() && items.iter().zip(found).all(|(a, b)| equal(a, b))
        };
        match (self, found) {
            (_, [only]) if equal(only, expected) => true,
            (Self::Pointer(_), _) | (_, []) => false,
            (Self::Path(..), _) => expected.as_array().is_some_and(all),
        }
    }
}

/// Reads a table from JSON pointers to values.
pub(super) fn json_pointers(fields: &mut Fields<'_, '_>) -> Vec<(String, ValueTemplate)> {
    let mut pointers = Vec::new();
    for entry in fields.entries() {
        if is_slip(fields, &entry.key, &entry.node.raw) {
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

/// `json./a = 1` instead of `json = { "/a" = 1 }` is a common slip.
fn is_slip(fields: &mut Fields<'_, '_>, key: &str, node: &Raw) -> bool {
    let slip = matches!(node, Raw::Table(_)) && !is_pointer(key) && !key.starts_with('$');
    if slip {
        let help = "write it in quotes, \"/name\" = …";
        fields.problem(key, "is not a JSON pointer", help);
    }
    slip
}

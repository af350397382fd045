//! JSON that a target sent: read once, numbers as they were written, within bounds.
//!
//! `serde_json` writes a number anew as it reads it (`1e3` becomes `1e+3`), stops at an escape that is
//! half of a pair and knows no bound but the depth. Its `Value` is the tree nevertheless, so that
//! everything else is left to it: writing, pointers, paths and schemas.
//!
//! What is decided here: a byte order mark is skipped (RFC 8259, 8.1), half of a surrogate pair is
//! U+FFFD, of a key that stands twice the last one counts. What the text means is left to others.

mod budget;
mod exact;
mod number;
mod parser;

use std::fmt;
use std::ops::Deref;

use serde::Serialize;
use serde::de::{DeserializeOwned, Error};
use serde_json::Value;

pub use budget::{Budget, weight};
pub use exact::{exact_map, exact_some, exact_value};
pub use number::{equal, same_number};

/// No answer is nested deeper: what walks a tree does it by recursion.
pub const DEEPEST: usize = 256;

/// What we wrote ourselves wraps values that came from answers.
const DEEPEST_OWN: usize = DEEPEST + 32;

/// A tree, and its share of the memory that all of them may take.
#[derive(Debug)]
pub struct Json {
    value: Value,
    _budget: Budget,
}

impl Json {
    /// The tree by itself, for what is kept of it at once.
    #[must_use]
    pub fn into_value(self) -> Value {
        self.value
    }
}

impl Deref for Json {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.value
    }
}

/// Why a text is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// It is not JSON.
    Wrong {
        /// What is wrong, in a few words, nothing of the text itself.
        what: &'static str,
        /// Where, from 1.
        line: usize,
        /// Where, in characters from 1.
        column: usize,
    },
    /// It is nested too deep.
    Deep,
    /// Its tree would take too much memory.
    Large,
    /// It would not be too large, but others are being read.
    Crowded,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong { what, line, column } => {
                write!(f, "{what} at line {line}, column {column}")
            }
            Self::Deep => write!(f, "it is more than {DEEPEST} levels deep"),
            Self::Large => write!(
                f,
                "to read it takes more than {} MiB of memory",
                budget::LARGEST >> 20
            ),
            Self::Crowded => write!(
                f,
                "with what else is being read it takes more than {} MiB of memory",
                budget::ALL >> 20
            ),
        }
    }
}

/// Reads what a target sent.
pub fn parse(text: &[u8]) -> Result<Json, Unread> {
    let mut budget = Budget::of_an_answer();
    let value = parser::parse(text, DEEPEST, &mut budget)?;
    Ok(Json {
        value,
        _budget: budget,
    })
}

/// Reads what we wrote ourselves, or a person did.
pub fn parse_own(text: &str) -> Result<Value, Unread> {
    parser::parse(text.as_bytes(), DEEPEST_OWN, &mut Budget::unbounded())
}

/// Reads data that we wrote ourselves.
pub fn from_text<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_value(parse_own(text).map_err(serde_json::Error::custom)?)
}

/// As `serde_json::to_value`, which writes numbers anew.
pub fn to_value(data: &impl Serialize) -> Result<Value, serde_json::Error> {
    let text = serde_json::to_string(data)?;
    parse_own(&text).map_err(serde_json::Error::custom)
}

#[cfg(test)]
mod tests;

//! One problem in a text: where it is, what is wrong, and what to do.

use std::fmt;

use super::node::At;

/// Whether a problem stops the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The plan cannot be made.
    Error,
    /// The plan can be made, but somebody should look.
    Warning,
}

/// One problem, printed as `file:line:column: error: key: what` with its remedy below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it is.
    pub at: At,
    /// Whether it stops the plan.
    pub severity: Severity,
    /// The dotted key it is about, empty for a whole file.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub help: String,
}

impl Problem {
    /// A problem that stops the plan.
    pub fn error(
        at: &At,
        key: impl Into<String>,
        what: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self {
            at: at.clone(),
            severity: Severity::Error,
            key: key.into(),
            what: what.into(),
            help: help.into(),
        }
    }

    /// A problem that does not.
    pub fn warning(
        at: &At,
        key: impl Into<String>,
        what: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(at, key, what, help)
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{}: {severity}: ", self.at)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)?;
        if !self.help.is_empty() {
            write!(f, "\n    help: {}", self.help)?;
        }
        Ok(())
    }
}

/// So many known words are looked at, and no word that is longer: whoever has more mistakes than
/// that is not helped by a guess at each.
const MOST_KNOWN: usize = 1000;
const LONGEST_WORD: usize = 200;

/// The known word that is most like `word`, if one is like it at all.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST_WORD {
        return None;
    }
    known
        .into_iter()
        .take(MOST_KNOWN)
        .filter(|candidate| candidate.len() <= LONGEST_WORD)
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

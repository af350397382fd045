//! What may stand behind a key, in words, with an example of it and of what is refused.
//!
//! The words are for documents; the examples hold the words to the code, in a test of `plan`.

/// What may stand behind a key.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// In words, for documents.
    pub words: &'static str,
    /// One such value, in TOML; empty where the keys of a table, or of others, decide.
    pub right: &'static str,
    /// A value in TOML that is refused; empty if none is.
    pub wrong: &'static str,
}

impl Kind {
    /// A kind of value. An empty `wrong` says that nothing is refused.
    #[must_use]
    pub const fn new(words: &'static str, right: &'static str, wrong: &'static str) -> Self {
        Self {
            words,
            right,
            wrong,
        }
    }
}

/// A text that is known when the plan is made.
pub const WORD: Kind = Kind::new("text", "'a'", "1");
/// A text in which `${…}` may stand.
pub const TEXT: Kind = Kind::new("text with `${…}`", "'a'", "1");
/// Several of them.
pub const TEXTS: Kind = Kind::new("array of texts with `${…}`", "['a']", "1");
/// Anything, with `${…}` in its texts.
pub const ANY: Kind = Kind::new("any value with `${…}`", "{ a = [1] }", "");
/// A table with keys and values of the user's.
pub const MAP: Kind = Kind::new("table with `${…}`", "{ a = 'b' }", "1");
/// True or false.
pub const FLAG: Kind = Kind::new("true or false", "true", "'a'");
/// A number without fraction.
pub const INTEGER: Kind = Kind::new("integer", "1", "'a'");
/// A duration as humantime writes it.
pub const DURATION: Kind = Kind::new("duration", "'10ms'", "1");
/// A table with keys of its own.
pub const TABLE: Kind = Kind::new("table", "", "1");
/// Several tables with keys of their own.
pub const TABLES: Kind = Kind::new("array of tables", "", "1");
/// A table from names of the user's to what the key `*` says.
pub const NAMED: Kind = Kind::new("table by name", "", "1");
/// A path behind the target's endpoint.
pub const PATH: Kind = Kind::new("path with `${…}`", "'/a'", "'a'");
/// A file.
pub const FILE: Kind = Kind::new("path, relative to the file that names it", "'a'", "1");
/// Names and texts of headers.
pub const HEADERS: Kind = Kind::new("table: header to text with `${…}`", "{ a = 'b' }", "1");
/// A place in JSON.
pub const POINTER: Kind = Kind::new("JSON pointer", "'/a'", "'a'");
/// Several of them.
pub const POINTERS: Kind = Kind::new("array of JSON pointers", "['/a']", "['a']");
/// Several places in JSON.
pub const PLACES: Kind = Kind::new(
    "array of JSON pointers or JSONPaths",
    "['/a', '$.b[*]']",
    "['a']",
);
/// What stands where in JSON.
pub const JSON: Kind = Kind::new(
    "table: JSON pointer or JSONPath to value",
    "{ '/a' = 1, '$.b[*]' = [2, 3] }",
    "{ a = 1 }",
);

//! Text with positions, TOML above all: parsing, typed reading, and every problem at once.
//!
//! Serde stops at the first error and loses positions once values are typed, so configuration and
//! specs are read from a tree of [`Node`]s through [`Fields`], which notes each problem with file,
//! line, column, key and remedy and goes on. What the keys mean is left to the readers.

mod dates;
mod fields;
pub mod json;
mod node;
mod problem;
mod template;
mod visible;
mod yaml;

pub use dates::{clock_fault, moment, rfc3339, roughly, wall_clock};
pub use fields::{Fields, NamedFile, Notes, Outside, Params, Read};
pub use node::{At, Entry, Node, Raw, Table, parse};
pub use problem::{Problem, Severity, nearest};
pub use template::{Lookup, Refused, Template, ValueTemplate, encode_path, plain};
pub use visible::{is_unseen, visible};
pub use yaml::{parse_json, parse_yaml};

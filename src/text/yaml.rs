//! YAML, and JSON, which is a part of it, as the same tree of nodes as TOML.
//!
//! A scalar is its text, whether it is quoted or not: what is written in these formats here are
//! names and addresses, and Prometheus reads `8080` and `yes` as labels in the same way.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScanError, Span};
use serde_json::Value;

use super::json::{self, Unread};
use super::node::{At, Entry, Node, Raw, Table};
use super::problem::Problem;

/// Nothing that people write is deeper; what is would only exhaust the stack.
const DEEPEST: usize = 32;

/// An alias stands for all of what it names, so that few lines may mean very much.
const LARGEST: usize = 500_000;

/// So many bytes of text weigh as much as a node.
const BYTES: usize = 64;

/// Parses the first document of a YAML text.
///
/// # Errors
/// What is wrong first: the parser knows no more.
pub fn parse_yaml(file: &str, text: &str) -> Result<Node, Problem> {
    let mut builder = Builder {
        file: file.into(),
        open: Vec::new(),
        anchors: BTreeMap::new(),
        weight: 0,
    };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| builder.broken(&error))?;
        if let Some(document) = builder.take(event, span)? {
            return Ok(document);
        }
    }
    let help =
        "write [] where nothing is meant; an empty file may be one that is still being written";
    Err(Problem::error(&At::file(file), "", "is empty", help))
}

/// Parses a JSON text.
///
/// # Errors
/// As [`parse_yaml`].
pub fn parse_json(file: &str, text: &str) -> Result<Node, Problem> {
    let value = json::parse_own(text).map_err(|error| {
        let place = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let (what, at) = match error {
            Unread::Wrong { what, line, column } => {
                let (line, column) = (place(line), place(column));
                let at = At::file(file);
                (what.to_owned(), At { line, column, ..at })
            }
            other => (other.to_string(), At::file(file)),
        };
        let help = "see https://json.org for the syntax";
        Problem::error(&at, "", format!("not valid JSON: {what}"), help)
    })?;
    // The YAML knows where everything stands. It lacks the escapes of letters that UTF-16 takes two
    // words for.
    Ok(parse_yaml(file, text).unwrap_or_else(|_| without_places(value, &At::file(file))))
}

fn without_places(value: Value, at: &At) -> Node {
    let raw = match value {
        Value::String(text) => Raw::String(text),
        Value::Array(items) => {
            let items = items.into_iter().map(|item| without_places(item, at));
            Raw::Array(items.collect())
        }
        Value::Object(entries) => {
            let entry = |(key, value)| Entry {
                key,
                at: at.clone(),
                node: without_places(value, at),
            };
            Raw::Table(Table {
                at: at.clone(),
                entries: entries.into_iter().map(entry).collect(),
            })
        }
        scalar => Raw::String(scalar.to_string()),
    };
    Node {
        raw,
        at: at.clone(),
    }
}

/// A collection whose end has not come yet.
struct Open {
    node: Node,
    anchor: usize,
    /// Of a mapping: the key whose value comes next.
    key: Option<(String, At)>,
    /// Of a mapping: all keys so far.
    keys: HashSet<String>,
}

struct Builder {
    file: Arc<str>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    /// Of all nodes so far, see [`weigh`].
    weight: usize,
}

impl Builder {
    /// Takes one event. Returns the document once it is whole.
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<Option<Node>, Problem> {
        let at = self.at(&span.start);
        let (raw, anchor) = match event {
            Event::Scalar(text, _, anchor, _) => {
                let weight = weigh_text(&text);
                let raw = Raw::String(text.into_owned());
                return self.ended(Node { raw, at }, anchor, weight);
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    // An anchor is known once what it names has ended.
                    return Err(wrong(&at, "an alias stands inside what it names"));
                };
                let (raw, weight) = (node.raw.clone(), weigh(node));
                return self.ended(Node { raw, at }, 0, weight);
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { node, anchor, .. }) = self.open.pop() else {
                    return Ok(None);
                };
                return self.ended(node, anchor, 1);
            }
            Event::SequenceStart(anchor, _) => (Raw::Array(Vec::new()), anchor),
            Event::MappingStart(anchor, _) => {
                let table = Table {
                    at: at.clone(),
                    entries: Vec::new(),
                };
                (Raw::Table(table), anchor)
            }
            _ => return Ok(None),
        };
        if self.open.len() == DEEPEST {
            return Err(wrong(&at, format!("is more than {DEEPEST} levels deep")));
        }
        let node = Node { raw, at };
        self.open.push(Open {
            node,
            anchor,
            key: None,
            keys: HashSet::new(),
        });
        Ok(None)
    }

    /// A node is whole: it goes into what is open, or is the document. It adds so much `weight`
    /// to what was weighed already.
    fn ended(&mut self, node: Node, anchor: usize, weight: usize) -> Result<Option<Node>, Problem> {
        // What has an anchor is kept once more, with all that is in it.
        let kept = if anchor == 0 { 0 } else { weigh(&node) };
        self.weight += weight + kept;
        if self.weight > LARGEST {
            return Err(wrong(&node.at, "means too much, with its aliases"));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            return Ok(Some(node));
        };
        match &mut open.node.raw {
            Raw::Array(items) => items.push(node),
            Raw::Table(table) => match (open.key.take(), node.raw) {
                (Some((key, at)), raw) => {
                    let node = Node { raw, at: node.at };
                    table.entries.push(Entry { key, at, node });
                }
                (None, Raw::String(key)) => {
                    if !open.keys.insert(key.clone()) {
                        return Err(wrong(&node.at, format!("the key `{key}` stands twice")));
                    }
                    open.key = Some((key, node.at));
                }
                (None, _) => return Err(wrong(&node.at, "a key is no text")),
            },
            _ => {}
        }
        Ok(None)
    }

    fn broken(&self, error: &ScanError) -> Problem {
        let at = self.at(error.marker());
        wrong(&at, format!("not valid YAML: {}", error.info()))
    }

    fn at(&self, marker: &Marker) -> At {
        At {
            file: self.file.clone(),
            line: u32::try_from(marker.line()).unwrap_or(u32::MAX),
            column: u32::try_from(marker.col() + 1).unwrap_or(u32::MAX),
        }
    }
}

fn wrong(at: &At, what: impl Into<String>) -> Problem {
    Problem::error(at, "", what, "see https://yaml.org for the syntax")
}

/// What a copy of it costs.
fn weigh(node: &Node) -> usize {
    let entry = |entry: &Entry| weigh_text(&entry.key) + weigh(&entry.node);
    match &node.raw {
        Raw::Array(items) => 1 + items.iter().map(weigh).sum::<usize>(),
        Raw::Table(table) => 1 + table.entries.iter().map(entry).sum::<usize>(),
        Raw::String(text) => weigh_text(text),
        _ => 1,
    }
}

fn weigh_text(text: &str) -> usize {
    1 + text.len() / BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(node: Result<Node, Problem>) -> String {
        node.map_or_else(
            |problem| problem.to_string(),
            |node| node.to_value().to_string(),
        )
    }

    #[test]
    fn scalars_are_texts_and_aliases_are_what_they_name() {
        let text = "# comment\n- &a {x: 1, 'y': yes}\n- *a\n- [z, ~, '']\n---\n- another\n";
        let read = json(parse_yaml("f", text));
        assert_eq!(
            read,
            r#"[{"x":"1","y":"yes"},{"x":"1","y":"yes"},["z","~",""]]"#
        );
    }

    #[test]
    fn json_is_read_as_people_and_programs_write_it() {
        let text = "[\n\t{\"a\\/b\": \"\\u00e9 \\ud83d\\ude00\",\n\t\t\"n\": [1, true]}\n]\n";
        let read = json(parse_json("f", text));
        assert_eq!(read, r#"[{"a/b":"é 😀","n":["1","true"]}]"#);
    }

    #[test]
    fn what_is_broken_is_told_with_its_place() {
        for (text, told) in [
            ("", "f: error: is empty"),
            ("# only this\n", "f: error: is empty"),
            ("- a\n- [b\n", "f:3:1: error: not valid YAML"),
            ("a: 1\na: 2\n", "f:2:1: error: the key `a` stands twice"),
            ("- &a [*a]\n", "f:1:7: error: an alias stands inside"),
            ("- *b\n", "f:1:3: error: not valid YAML"),
            ("? [a]\n: b\n", "f:1:3: error: a key is no text"),
        ] {
            let read = json(parse_yaml("f", text));
            assert!(read.starts_with(told), "{text}: {read}");
        }
        let read = json(parse_json("f", "[\n  {\"a\": }\n]"));
        assert!(
            read.starts_with("f:2:9: error: not valid JSON: expected value\n"),
            "{read}"
        );
        assert!(json(parse_json("f", "- a\n")).contains("not valid JSON"));
    }

    #[test]
    fn a_hostile_text_costs_little() {
        let deep = "[".repeat(100);
        assert!(json(parse_yaml("f", &deep)).contains("32 levels"));
        for deeper in ["[", "- ", "{a: "] {
            assert!(parse_yaml("f", &deeper.repeat(100_000)).is_err());
        }
        let mut laughs = "- &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let more = vec![format!("*a{}", level - 1); 10].join(", ");
            laughs = format!("{laughs}- &a{level} [{more}]\n");
        }
        let long = "x".repeat(200_000);
        let many = "- *a\n".repeat(1_000);
        let nested = "&a [".repeat(DEEPEST);
        for costly in [
            laughs,
            format!("- &a {long}\n{many}"),
            format!("- &a {{? {long}\n : 1}}\n{many}"),
            format!("{nested}{}{}", "x,".repeat(100_000), "]".repeat(DEEPEST)),
        ] {
            let read = parse_yaml("f", &costly).map(|_| ());
            let told = read.map_err(|problem| problem.to_string()).unwrap_err();
            assert!(told.contains("means too much"), "{told}");
        }
        // As large as a file may be, without a trick.
        assert!(parse_yaml("f", &"x".repeat(4 << 20)).is_ok());
    }
}

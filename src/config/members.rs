//! Targets files: lists of addresses with labels in the format of Prometheus' `file_sd_configs`.
//!
//! Each address is a target of its own, called `TABLE/NAME`. Nothing of a label but `name` and
//! `__scheme__` has a meaning here; the others are for specs.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Param;
use super::shelf::File;
use super::targets::parse_endpoint;
use crate::client::Endpoint;
use crate::spec::TargetKind;
use crate::text::{At, Fields, Node, Notes, Problem, Raw, parse_json, parse_yaml};

/// Finds the files that a pattern means.
pub(super) type Find<'a> = dyn FnMut(&str) -> Result<Vec<File>, String> + 'a;

/// Each target of a group has all its labels, so that a small file may mean very many.
const MOST_LABELS: usize = 1_000_000;

/// Longer names are nothing to read.
const LONGEST_NAME: usize = 100;

const FORMAT_HELP: &str = "write a list of groups, such as \
     [{ \"targets\": [\"10.0.0.1:8080\"], \"labels\": { \"region\": \"eu\" } }]";

/// One target of a table.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) endpoint: Endpoint,
    /// Its labels.
    pub(super) vars: Vec<Param>,
}

impl Member {
    /// The only one of a table, which has its name.
    pub(super) fn alone(name: &str, endpoint: Endpoint) -> Self {
        Self {
            name: name.to_owned(),
            endpoint,
            vars: Vec::new(),
        }
    }
}

/// Reads `targets_file`, `scheme`, and the files.
pub(super) fn read(
    fields: &mut Fields<'_, '_>,
    table: &str,
    kind: Option<TargetKind>,
    find: &mut Find<'_>,
) -> Option<Vec<Member>> {
    if fields.has("endpoint") {
        let what = "the table has an `endpoint` too";
        fields.problem("targets_file", what, "remove one of the two");
    }
    let known = schemes(kind);
    let scheme = match fields.string("scheme") {
        None => known[0],
        Some(text) => {
            let Some(scheme) = known.into_iter().find(|scheme| *scheme == text) else {
                let what = format!("`{text}` is not a scheme of such targets");
                fields.problem("scheme", what, scheme_help(known));
                return None;
            };
            scheme
        }
    };
    let help = "write a path relative to this file; *, ? and […] work as in a shell";
    let pattern = fields.required_string("targets_file", help)?;
    let files = match find(&pattern) {
        Ok(files) => files,
        Err(what) => {
            fields.problem("targets_file", what, help);
            return None;
        }
    };
    let before = fields.notes().problems.len();
    let mut reader = Reader {
        table,
        kind,
        scheme,
        members: Vec::new(),
        names: BTreeMap::new(),
        addresses: BTreeMap::new(),
        notes: fields.notes(),
    };
    let none = files.is_empty();
    for file in files {
        reader.file(file);
    }
    let members = reader.members;
    // Where something is wrong, that there is nothing goes without saying.
    if members.is_empty() && fields.notes().problems.len() == before {
        let what = if none {
            format!("`{pattern}` names no file now, so no target")
        } else {
            format!("`{pattern}` names no target now")
        };
        let help = "the probes on it run nothing until there is one";
        let at = fields.entry("targets_file")?.at.clone();
        let problem = Problem::warning(&at, fields.key("targets_file"), what, help);
        fields.notes().problems.push(problem);
    }
    Some(members)
}

/// The schemes that addresses of such targets may have, the default first.
fn schemes(kind: Option<TargetKind>) -> [&'static str; 2] {
    match kind {
        Some(TargetKind::Tcp) => ["tcp", "tls"],
        _ => ["http", "https"],
    }
}

fn scheme_help([one, other]: [&str; 2]) -> String {
    format!("write \"{one}\" or \"{other}\"")
}

struct Reader<'a> {
    table: &'a str,
    kind: Option<TargetKind>,
    scheme: &'a str,
    members: Vec<Member>,
    /// Where each name was given first.
    names: BTreeMap<String, At>,
    /// Where each address was given first.
    addresses: BTreeMap<String, At>,
    notes: &'a mut Notes,
}

impl Reader<'_> {
    fn file(&mut self, File { name, text }: File) {
        let document = text.and_then(|text| match name.rsplit_once('.') {
            Some((_, "json")) => parse_json(&name, &text),
            Some((_, "yml" | "yaml")) => parse_yaml(&name, &text),
            _ => {
                let what = "its name ends in none of .json, .yml and .yaml";
                let help = "rename it, or let the pattern leave it out";
                Err(Problem::error(&At::file(&name), "", what, help))
            }
        });
        let key = format!("target.{}", self.table);
        let document = document.map_err(|problem| Problem { key, ..problem });
        match document {
            Err(problem) => self.notes.problems.push(problem),
            Ok(document) => match &document.raw {
                Raw::Array(groups) => groups.iter().for_each(|group| self.group(group)),
                _ => self.problem(&document.at, "is not a list of groups", FORMAT_HELP),
            },
        }
    }

    fn group(&mut self, group: &Node) {
        let Raw::Table(group) = &group.raw else {
            return self.problem(&group.at, "is not a group", FORMAT_HELP);
        };
        let key = format!("target.{}", self.table);
        let mut fields = Fields::new(group, key, None, self.notes);
        if !fields.has("targets") {
            fields.missing("targets", FORMAT_HELP);
        }
        let addresses = fields.strings("targets");
        let labels = match fields.table("labels") {
            Some(labels) => read_labels(labels),
            None => Vec::new(),
        };
        fields.finish();
        let label = |name: &str| labels.iter().find(|label| label.name == name);
        let scheme = match label("__scheme__") {
            None => self.scheme,
            Some(Param { value, at, .. }) => {
                let known = schemes(self.kind);
                let Some(scheme) = known.into_iter().find(|scheme| *value == *scheme) else {
                    let what = "`__scheme__` is not a scheme of such targets";
                    return self.problem(at, what, scheme_help(known));
                };
                scheme
            }
        };
        let called = label("name").filter(|_| addresses.len() == 1);
        let called = called.and_then(|label| Some((label.value.as_str()?.to_owned(), &label.at)));
        let vars = labels.iter().filter(|label| !label.name.starts_with("__"));
        let vars: Vec<_> = vars.cloned().collect();
        if addresses.len() > 1 && addresses.len().saturating_mul(vars.len()) > MOST_LABELS {
            let what = format!(
                "has {} targets with {} labels each, more than {MOST_LABELS} together",
                addresses.len(),
                vars.len()
            );
            return self.problem(&group.at, what, "leave out labels that no spec reads");
        }
        for (address, at) in &addresses {
            let url = if address.contains("://") {
                address.clone()
            } else {
                format!("{scheme}://{address}")
            };
            match parse_endpoint(&url, self.kind) {
                Ok(endpoint) => {
                    let (name, at) = called.clone().unwrap_or((address.clone(), at));
                    self.member(&name, at, endpoint, vars.clone());
                }
                // What is no address may be a password: it is not repeated.
                Err((error, help)) => self.problem(at, error.to_string(), help),
            }
        }
    }

    fn member(&mut self, name: &str, at: &At, endpoint: Endpoint, vars: Vec<Param>) {
        if !is_member_name(name) {
            let help = format!(
                "give its group a label `name`, and no other target: at most {LONGEST_NAME} letters, digits and -._~:/[]%"
            );
            return self.problem(at, "cannot be the name of a target", help);
        }
        let (name, address) = (format!("{}/{name}", self.table), endpoint.to_string());
        let known = self.names.get(&name);
        if let Some(first) = known.or_else(|| self.addresses.get(&address)) {
            let what = format!("`{name}` ({address}) stands twice, first at {first}");
            let help =
                "remove one of them; with other settings it may stand in another table's file";
            return self.problem(at, what, help);
        }
        self.names.insert(name.clone(), at.clone());
        self.addresses.insert(address, at.clone());
        self.members.push(Member {
            name,
            endpoint,
            vars,
        });
    }

    fn problem(&mut self, at: &At, what: impl Into<String>, help: impl Into<String>) {
        let key = format!("target.{}", self.table);
        let problem = Problem::error(at, key, what, help);
        self.notes.problems.push(problem);
    }
}

fn read_labels(mut fields: Fields<'_, '_>) -> Vec<Param> {
    let mut labels = Vec::new();
    for entry in fields.entries() {
        let Raw::String(text) = &entry.node.raw else {
            let what = format!("is {}, not a text", entry.node.kind());
            fields.problem_of(entry, what, FORMAT_HELP);
            continue;
        };
        labels.push(Param {
            name: entry.key.clone(),
            value: Value::from(text.as_str()),
            at: entry.at.clone(),
        });
    }
    labels
}

/// Whether it can be seen whole wherever a target is named: in labels, pages, logs and on command
/// lines.
fn is_member_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/[]%".contains(&byte);
    (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(fits)
}

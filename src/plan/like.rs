//! `like = "other-spec"`: a spec takes over everything of another that it does not say itself, so
//! that variations of one scenario under names of their own are written once.

use std::collections::{BTreeMap, HashMap};

use crate::config::Source;
use crate::text::{Entry, Notes, Problem, Raw, Table, nearest};

/// What both have of these is put together; of everything else the spec's own is taken.
const MERGED: &str = "params";
const JOINED: &str = "requires";

/// Longer chains are a mistake: each spec of one holds all that the others say.
const DEEPEST: usize = 16;

/// Every spec of all sources, whole, with whether it is built in. Built-in ones come first.
pub(super) fn whole(sources: &[Source]) -> Specs<'_> {
    let mut named = BTreeMap::new();
    let mut all = Vec::new();
    for source in sources {
        let lists = source.document.entries.iter().filter(|e| e.key == "spec");
        for entry in lists {
            let Raw::Array(items) = &entry.node.raw else {
                continue;
            };
            for item in items {
                let Raw::Table(table) = &item.raw else {
                    continue;
                };
                if let Some(name) = text(table, "name") {
                    // A user's spec comes later, and replaces the built-in one.
                    named.insert(name, table);
                }
                all.push((table, source.built_in));
            }
        }
    }
    Specs { named, all }
}

/// All specs as written.
pub(super) struct Specs<'a> {
    named: BTreeMap<&'a str, &'a Table>,
    pub(super) all: Vec<(&'a Table, bool)>,
}

impl Specs<'_> {
    /// The spec with what it takes over, also from what the other one takes over itself. `seen`
    /// are the specs on the way here, [`DEEPEST`] at most.
    pub(super) fn fill(&self, table: &Table, seen: &[&str], notes: &mut Notes) -> Option<Table> {
        let Some(like) = table.get("like") else {
            return Some(table.clone());
        };
        let key = format!("spec.{}.like", text(table, "name").unwrap_or_default());
        let mut wrong = |what: String, help: &str| {
            let problem = Problem::error(&like.node.at, key.as_str(), what, help);
            notes.problems.push(problem);
            None
        };
        let Raw::String(name) = &like.node.raw else {
            let what = format!("is {}", like.node.kind());
            return wrong(what, "name another spec: like = \"…\"");
        };
        let Some(base) = self.named.get(name.as_str()) else {
            let help = match nearest(name, self.named.keys().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`testerd list` shows all specs".to_owned(),
            };
            return wrong(format!("there is no spec `{name}`"), &help);
        };
        if seen.contains(&name.as_str()) {
            let what = format!("leads back to `{name}`");
            return wrong(what, "one of them has to say itself what it does");
        }
        if seen.len() == DEEPEST {
            let what = format!("is like a spec that is like another, more than {DEEPEST} times");
            return wrong(what, "let it be like one that says itself what it does");
        }
        let seen = [seen, &[name.as_str()]].concat();
        let base = self.fill(base, &seen, notes)?;
        let mut filled = table.clone();
        filled.entries.retain(|entry| entry.key != "like");
        let places = places(&filled);
        for theirs in &base.entries {
            let own = places.get(&theirs.key);
            match own.map(|place| &mut filled.entries[*place]) {
                None => filled.entries.push(theirs.clone()),
                Some(own) if own.key == MERGED => merge(own, theirs),
                Some(own) if own.key == JOINED => join(own, theirs),
                Some(_) => {}
            }
        }
        Some(filled)
    }
}

fn merge(own: &mut Entry, theirs: &Entry) {
    if let (Raw::Table(own), Raw::Table(theirs)) = (&mut own.node.raw, &theirs.node.raw) {
        let places = places(own);
        for entry in &theirs.entries {
            if !places.contains_key(&entry.key) {
                own.entries.push(entry.clone());
            }
        }
    }
}

/// Where each key of a table stands among its entries.
fn places(table: &Table) -> HashMap<String, usize> {
    let entries = table.entries.iter().enumerate();
    entries
        .map(|(place, entry)| (entry.key.clone(), place))
        .collect()
}

fn join(own: &mut Entry, theirs: &Entry) {
    if let (Raw::Array(own), Raw::Array(theirs)) = (&mut own.node.raw, &theirs.node.raw) {
        own.splice(0..0, theirs.iter().cloned());
    }
}

fn text<'a>(table: &'a Table, key: &str) -> Option<&'a str> {
    match &table.get(key)?.node.raw {
        Raw::String(text) => Some(text),
        _ => None,
    }
}

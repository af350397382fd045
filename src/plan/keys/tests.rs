//! The tables of keys are true: they have exactly the keys that the code asks for, and behind each
//! may stand what its kind says.

use std::collections::BTreeSet;

use super::{POLLING, RESOURCE, STEP};
use crate::action::kind::TABLES;
use crate::action::{Entry, Key, Part};
use crate::catalog;
use crate::client::{DEFAULT_BODY_LIMIT, DEFAULT_MESSAGE_LIMIT};
use crate::config::Source;
use crate::plan::{declared, lower};
use crate::spec::DEFAULT_TEARDOWN;
use crate::text::{Notes, Params, parse};

/// All keys of a step that does this.
fn table(entry: &Entry) -> Vec<Part> {
    let mut parts = vec![STEP];
    parts.extend(entry.polls.then_some(POLLING));
    parts.extend(entry.is_resource.then_some(RESOURCE));
    parts.extend(entry.keys);
    parts
}

fn join(path: &str, key: &Key) -> String {
    // A name of the user's.
    let name = if key.name == "*" { "own" } else { key.name };
    match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    }
}

/// All keys by their dotted names, those of inner tables too.
fn all(parts: &[Part], path: &str) -> Vec<(String, Key)> {
    let mut found = Vec::new();
    for key in parts.iter().flat_map(|part| part.keys) {
        let path = join(path, key);
        found.push((path.clone(), *key));
        found.extend(all(key.keys, &path));
    }
    found
}

/// What one text does with a key.
#[derive(Clone, Copy)]
enum Put<'a> {
    /// Every inner table is there.
    Tables,
    /// This key has this value, and the tables around it are there.
    One(&'a str, &'a str),
    /// This key is not there, and the tables around it are.
    None(&'a str),
}

/// The keys of a table as TOML: what is required, and what is put.
fn written(entry: &Entry, parts: &[Part], path: &str, put: Put<'_>) -> Vec<String> {
    let mut pairs = Vec::new();
    for key in parts.iter().flat_map(|part| part.keys) {
        let path = join(path, key);
        let name = path.rsplit('.').next().unwrap();
        let is_around = |one: &str| one.starts_with(&format!("{path}."));
        let value = match put {
            Put::One(one, value) if one == path => Some(value.to_owned()),
            Put::None(one) if one == path => None,
            _ if !key.keys.is_empty() => {
                let wanted = match put {
                    Put::Tables => true,
                    Put::One(one, _) | Put::None(one) => is_around(one) || key.required,
                };
                let inner = written(entry, key.keys, &path, put).join(", ");
                let is_array = key.kind.words == TABLES.words;
                let (open, close) = if is_array { ("[{", "}]") } else { ("{", "}") };
                wanted.then(|| format!("{open} {inner} {close}"))
            }
            _ if path == "use" => Some(format!("'{}'", entry.name)),
            _ => key.required.then(|| key.kind.right.to_owned()),
        };
        pairs.extend(value.map(|value| format!("{name} = {value}")));
    }
    pairs
}

/// Reads a spec with one such step.
fn read(entry: &Entry, put: Put<'_>) -> (String, Notes) {
    let step = written(entry, &table(entry), "", put).join("\n");
    let text = format!("[[spec]]\nname = 's'\n[[spec.steps]]\n{step}\n");
    let document = parse("s.toml", &text).unwrap_or_else(|problem| panic!("{problem:?}\n{text}"));
    let sources = [Source {
        document,
        built_in: false,
    }];
    let mut notes = Notes::default();
    let [spec] = &declared::read(&sources, &mut notes)[..] else {
        panic!("{:?}\n{text}", notes.problems);
    };
    lower::lower(spec, None, &Params::default(), &mut notes);
    (text, notes)
}

/// A key of the step as problems and notes call it, without what is around the step.
fn inner(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("spec.s.steps.")?;
    Some(rest.split_once('.').map_or(rest, |(_, key)| key))
}

/// Whether the value of a key is refused.
fn refused(notes: &Notes, path: &str) -> bool {
    notes.problems.iter().any(|problem| {
        let rest = inner(&problem.key).and_then(|key| key.strip_prefix(path));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

#[test]
fn the_tables_have_exactly_the_keys_that_are_asked_for() {
    for entry in catalog::all() {
        let (text, notes) = read(entry, Put::Tables);
        let asked = notes.asked.iter().filter_map(|key| inner(key));
        // Asked for only to say that it cannot be.
        let asked = asked.filter(|key| *key != "poll" || entry.polls);
        let asked: BTreeSet<_> = asked.map(str::to_owned).collect();
        let told = all(&table(entry), "").into_iter();
        let told = told.filter(|(_, key)| key.name != "*");
        let told: BTreeSet<_> = told.map(|(path, _)| path).collect();
        let unread: Vec<_> = told.difference(&asked).collect();
        let untold: Vec<_> = asked.difference(&told).collect();
        assert!(
            unread.is_empty() && untold.is_empty(),
            "`{}`: keys that nobody reads: {unread:?}; keys that no table has: {untold:?}\n{text}",
            entry.name
        );
    }
}

#[test]
fn behind_each_key_may_stand_what_its_kind_says() {
    let mut untrue = Vec::new();
    for entry in catalog::all() {
        for (path, key) in all(&table(entry), "") {
            for (value, wrong) in [(key.kind.right, false), (key.kind.wrong, true)] {
                if value.is_empty() {
                    continue;
                }
                let (text, notes) = read(entry, Put::One(&path, value));
                if refused(&notes, &path) != wrong {
                    let verb = if wrong { "takes" } else { "refuses" };
                    let problems = &notes.problems;
                    untrue.push(format!("{path} {verb} {value}: {problems:?}\n{text}"));
                }
            }
        }
    }
    assert!(untrue.is_empty(), "{}", untrue.join("\n"));
}

#[test]
fn the_defaults_that_constants_say_are_told() {
    let entry = catalog::find("http.resource").unwrap();
    let told = all(&table(entry), "");
    let teardown = humantime::format_duration(DEFAULT_TEARDOWN);
    let (body, message) = (DEFAULT_BODY_LIMIT >> 20, DEFAULT_MESSAGE_LIMIT >> 10);
    for (path, default) in [
        ("teardown_timeout", format!("{teardown}")),
        (
            "timeout",
            format!("what is left of the deadline around it; with `always` {teardown}"),
        ),
        (
            "create.body_limit",
            format!("{body} MiB; of an event or a message {message} KiB"),
        ),
    ] {
        let (_, key) = told.iter().find(|(key, _)| key == path).unwrap();
        assert_eq!(key.default, default, "{path}");
    }
}

#[test]
fn what_is_required_must_be_there() {
    for entry in catalog::all() {
        for (path, key) in all(&table(entry), "") {
            if key.required {
                let (text, notes) = read(entry, Put::None(&path));
                assert!(refused(&notes, &path), "{path}\n{text}");
            }
        }
    }
}

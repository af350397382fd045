//! House rules that the compiler does not hold: which module may know which, and how files look.
//!
//! A violation's message says what to do about it.

use std::path::Path;

use regex::Regex;

use crate::tools::root;

/// The modules in the order of the flow. A file may name `crate::X` only for an X of an earlier
/// line, of its own line, or its own module. A module that does not exist yet does no harm here.
const ORDER: &[&[&str]] = &[
    // Words: pure data and pure functions.
    &[
        "text", "outcome", "secret", "grid", "event", "contract", "offload",
    ],
    &["client"],
    &["spec"],
    &["action"],
    &["backendai"],
    &["catalog"],
    &["config"],
    &["plan"],
    &["journal"],
    &["runner"],
    &["sweeper"],
    &["control"],
    &["tester"],
    &["exporter"],
    &["generate"],
    &["http"],
    // Where everything is put together.
    &["demo", "service", "cli", "main", "lib"],
];

/// What must not be named though the order would allow it, and why.
const NEVER: &[(&str, &[&str], &str)] = &[
    (
        "runner",
        &["action", "backendai", "catalog"],
        "the runner knows only the traits in `spec`: a new action must not touch it",
    ),
    (
        "exporter",
        &["runner", "tester", "plan"],
        "an exporter lives on events alone: put what it lacks into `event`",
    ),
];

const LONGEST_FILE: usize = 600;

/// A source file: its path below `src/`, its top module, its text.
struct Source {
    path: String,
    module: String,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let top = path.split('/').next().unwrap_or(path);
        Self {
            path: path.to_owned(),
            module: top.trim_end_matches(".rs").to_owned(),
            text: text.to_owned(),
        }
    }

    /// Its lines with their numbers, without comments. (It also cuts a string at `//`, which hides
    /// the rest of an address and nothing that matters here.)
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| {
            let code = line.split_once("//").map_or(line, |(code, _)| code);
            (index + 1, code)
        })
    }

    /// The modules of the crate that it names, each with the number of the line.
    fn named(&self) -> Vec<(usize, String)> {
        let path = Regex::new(r"\bcrate::(\w+)").unwrap();
        let first = Regex::new(r"^\s*(\w+)").unwrap();
        let mut named = Vec::new();
        // What stands in the braces of an open `use crate::{`.
        let mut group: Option<(usize, String)> = None;
        for (number, line) in self.code() {
            for found in path.captures_iter(line) {
                named.push((number, found[1].to_owned()));
            }
            if let Some((_, inside)) = line.split_once("crate::{") {
                group = Some((number, inside.to_owned()));
            } else if let Some((_, inside)) = &mut group {
                inside.push_str(line);
            }
            if let Some((begin, inside)) = group.take() {
                if balanced(&inside) {
                    named.extend(
                        top_level(&inside)
                            .iter()
                            .filter_map(|part| Some((begin, first.captures(part)?[1].to_owned()))),
                    );
                } else {
                    group = Some((begin, inside));
                }
            }
        }
        named
    }
}

/// Whether the brace that was open before `inside` is closed in it.
fn balanced(inside: &str) -> bool {
    inside.matches('}').count() > inside.matches('{').count()
}

/// `a, b::{c, d}, e}` → `a`, `b::{c, d}`, `e`.
fn top_level(inside: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for letter in inside.chars() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
    }
    parts
}

fn level(module: &str) -> Option<usize> {
    ORDER.iter().position(|level| level.contains(&module))
}

/// Every violation of the direction of imports.
fn wrong_imports(sources: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for source in sources {
        let Some(own) = level(&source.module) else {
            wrong.push(format!(
                "src/{}: the module `{}` has no place yet: put it into ORDER in tests/it/tidy.rs \
                 where it stands in the flow, and into ARCHITECTURE.md",
                source.path, source.module
            ));
            continue;
        };
        for (line, named) in source.named() {
            // Anything else is an item of lib.rs, or has been reported by its own file.
            let Some(other) = level(&named) else { continue };
            if other > own {
                wrong.push(format!(
                    "src/{}:{line}: `{}` must not know `crate::{named}`, which comes later in the \
                     flow: move what both need to the earlier one, or pass it in as a value or a \
                     trait. (Does only a unit test need it? Then the test belongs in tests/it.)",
                    source.path, source.module
                ));
            }
            for (module, never, why) in NEVER {
                if source.module == *module && never.contains(&named.as_str()) {
                    wrong.push(format!(
                        "src/{}:{line}: `{module}` must not name `crate::{named}`: {why}",
                        source.path
                    ));
                }
            }
        }
    }
    wrong
}

/// Every violation of the other rules.
fn untidy(sources: &[Source]) -> Vec<String> {
    let spawn = Regex::new(r"\btokio::(task::)?spawn\b|\buse tokio::.*\bspawn[,}; ]").unwrap();
    let mut wrong = Vec::new();
    for source in sources {
        let path = &source.path;
        let lines = source.text.lines().count();
        if lines > LONGEST_FILE {
            wrong.push(format!(
                "src/{path}: {lines} lines, and {LONGEST_FILE} are allowed: divide it by what it is \
                 for, not by length"
            ));
        }
        // The placeholder from before there was a command line has nothing to say for itself.
        if !source.text.starts_with("//!") && source.text.trim() != "fn main() {}" {
            wrong.push(format!(
                "src/{path}: open it with `//!`: what it is for, and what it leaves to others"
            ));
        }
        for (line, code) in source.code() {
            if spawn.is_match(code) {
                wrong.push(format!(
                    "src/{path}:{line}: no detached tasks: own a JoinSet or await the future"
                ));
            }
        }
    }
    wrong
}

fn sources() -> Vec<Source> {
    fn walk(folder: &Path, below: &str, sources: &mut Vec<Source>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let below = format!("{below}{name}");
            if path.is_dir() {
                walk(&path, &format!("{below}/"), sources);
            } else if path.extension().is_some_and(|end| end == "rs") {
                sources.push(Source::new(
                    &below,
                    &std::fs::read_to_string(&path).unwrap(),
                ));
            }
        }
    }
    let mut sources = Vec::new();
    walk(&root().join("src"), "", &mut sources);
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn imports_point_up_the_flow() {
    assert_none(&wrong_imports(&sources()));
}

#[test]
fn files_keep_the_house_rules() {
    assert_none(&untidy(&sources()));
}

/// The rules themselves, tried on files that break them.
#[test]
fn violations_are_seen() {
    let imports = |path: &str, text: &str| wrong_imports(&[Source::new(path, text)]).len();
    assert_eq!(imports("spec/case.rs", "use crate::runner::walk;"), 1);
    assert_eq!(imports("spec/case.rs", "let x = crate::runner::walk();"), 1);
    assert_eq!(imports("spec/case.rs", "// crate::runner is told later"), 0);
    assert_eq!(imports("spec/case.rs", "use crate::{text::Read, grid};"), 0);
    assert_eq!(
        imports("spec/case.rs", "use crate::{text::{runner}, plan, spec};"),
        1
    );
    assert_eq!(
        imports(
            "spec/case.rs",
            "use crate::{\n    text::Read,\n    plan::{\n a},\n http};"
        ),
        2
    );
    assert_eq!(imports("grid.rs", "use crate::event::Identity;"), 0);
    assert_eq!(imports("event.rs", "use crate::spec::Case;"), 1);
    assert_eq!(imports("runner/walk.rs", "use crate::action::Http;"), 1);
    assert_eq!(imports("exporter/log.rs", "use crate::plan::Plan;"), 1);
    assert_eq!(imports("exporter/log.rs", "use crate::event::Event;"), 0);
    assert_eq!(
        imports("cli.rs", "use crate::service;\nuse crate::demo;"),
        0
    );
    assert_eq!(imports("helpers.rs", ""), 1);

    let rules = |path: &str, text: &str| untidy(&[Source::new(path, text)]).len();
    assert_eq!(rules("grid.rs", "//! Slots.\n"), 0);
    assert_eq!(rules("grid.rs", "use std::fmt;\n"), 1);
    assert_eq!(
        rules("grid.rs", &"//! Slots.\n".repeat(LONGEST_FILE + 1)),
        1
    );
    assert_eq!(rules("grid.rs", "//! A.\ntokio::spawn(async {});"), 1);
    assert_eq!(rules("grid.rs", "//! A.\nuse tokio::{spawn, time};"), 1);
    assert_eq!(
        rules("grid.rs", "//! A.\ntokio::task::spawn_blocking(f);"),
        0
    );
}

//! `docs/backendai.md` is true to the code: its tables of specs and tests are all there is,
//! its examples make a plan, and its results are of every spec.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use testerd::config::{Overrides, Sources};
use testerd::plan::{self, Plan};

use crate::tools::{read, require, succeed};

const PAGE: &str = "docs/backendai.md";

/// A cluster and its web server, and everything that can run there.
pub(super) const CLUSTER: &str = "\
[target.cluster]\ntype = \"backendai\"\nendpoint = \"http://a\"\naccess_key = \"A\"\n\
secret_key = { env = \"NONE\" }\nvars = { image = \"i\" }\n\
[target.web]\ntype = \"backendai-web\"\nendpoint = \"http://b\"\n\
secrets = { password = { env = \"NONE\" } }\nvars = { username = \"u\" }\n";
const EVERYTHING: &str = "\
[[probe]]\ntarget = \"cluster\"\ninterval = \"1h\"\n[[probe]]\ntarget = \"web\"\ninterval = \"1h\"\n";

fn everything() -> Plan {
    let config = format!("{CLUSTER}{EVERYTHING}");
    let sources = Sources::from_text("all.toml", &config, &Overrides::default()).unwrap();
    plan::compile(sources).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// What stands between two marks of the page.
fn between<'a>(page: &'a str, mark: &str) -> &'a str {
    let (begin, end) = (
        format!("<!-- {mark}: begin -->\n"),
        format!("<!-- {mark}: end -->"),
    );
    let rest = page.split_once(&begin).expect(mark).1;
    rest.split_once(&end).expect(mark).0
}

/// The rows of a table, without its head.
fn rows(table: &str) -> Vec<Vec<&str>> {
    let rows = table.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

/// Tags, variants and file of every built-in spec, as the page has them; its description.
fn specs() -> BTreeMap<String, (Vec<String>, String)> {
    let plan = everything();
    let mut variants: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for scheduled in &plan.scheduled {
        let identity = &scheduled.info.identity;
        let of_spec = variants.entry(&identity.spec).or_default();
        of_spec.push(&identity.variant);
    }
    let spec = |spec: &plan::KnownSpec| {
        let file = spec.declared.strip_prefix("builtin:backendai/").unwrap();
        let cells = vec![
            format!("`{}`", spec.name),
            spec.tags.join(" "),
            variants[&*spec.name].join(" "),
            file.split(':').next().unwrap().to_owned(),
        ];
        (spec.name.clone(), (cells, spec.description.clone()))
    };
    plan.known.iter().map(spec).collect()
}

#[test]
fn every_built_in_spec_is_told() {
    let page = read(PAGE);
    let mut specs = specs();
    let originals = rows(between(&page, "originals"));
    assert_eq!(originals.len(), 82, "the original tester has 82 scenarios");
    for (place, row) in originals.iter().enumerate() {
        assert_eq!(row[0], (place + 1).to_string());
        let name = row[1].trim_matches('`');
        let (cells, _) = specs
            .remove(name)
            .unwrap_or_else(|| panic!("there is no spec `{name}`"));
        assert_eq!(row[1..], cells, "{PAGE}");
    }
    for row in rows(between(&page, "own")) {
        let name = row[0].trim_matches('`');
        let (mut cells, description) = specs
            .remove(name)
            .unwrap_or_else(|| panic!("there is no spec `{name}`"));
        cells.insert(1, description);
        assert_eq!(row, cells, "{PAGE}");
    }
    assert!(specs.is_empty(), "{PAGE} does not tell of {specs:?}");
}

#[test]
fn the_results_are_of_every_spec_and_variant() {
    let page = read(PAGE);
    let told: BTreeSet<_> = rows(between(&page, "results"))
        .iter()
        .map(|row| (row[0].trim_matches('`').to_owned(), row[1].to_owned()))
        .collect();
    let plan = everything();
    let all: BTreeSet<_> = plan
        .scheduled
        .iter()
        .map(|scheduled| {
            let identity = &scheduled.info.identity;
            (identity.spec.clone(), identity.variant.clone())
        })
        .collect();
    let difference: Vec<_> = told.symmetric_difference(&all).collect();
    assert!(
        difference.is_empty(),
        "run them and write the table by scripts/backendai-table: {difference:?}"
    );
}

#[test]
fn its_examples_make_a_plan() {
    let page = read(PAGE);
    let blocks = page.split("```toml\n").skip(1);
    let mut blocks = blocks.map(|rest| rest.split("```").next().unwrap());
    let config = blocks.next().unwrap();
    let probe = "[[probe]]\nname = \"examples\"\ntarget = \"cluster\"\ntags = [\"own\", \"gpu\"]\ninterval = \"1h\"\n";
    let config = format!("{config}{probe}");
    let mut sources = Sources::from_text(PAGE, &config, &Overrides::default()).unwrap();
    sources.add(PAGE, &blocks.collect::<String>(), false);
    let plan = plan::compile(sources).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!(plan.warnings, []);
    let examples = plan.scheduled.iter();
    let examples = examples.filter(|spec| spec.info.probe == "examples");
    assert_eq!(examples.count(), 2);
}

#[test]
fn the_tests_that_it_names_exist() {
    let page = read(PAGE);
    let name = Regex::new(r"`([a-z_/]+\.rs)::([a-z_0-9]+)`").unwrap();
    let mut count = 0;
    for found in name.captures_iter(&page) {
        let (file, test) = (&found[1], &found[2]);
        assert!(
            read(file).contains(&format!("fn {test}(")),
            "there is no test {test} in {file}"
        );
        count += 1;
    }
    assert!(count > 20, "{count}");
}

#[test]
fn the_table_of_results_is_written_from_runs() {
    if !require("python3") {
        return;
    }
    let run = |spec: &str, verdict: &str, step: &str, message: &str, others: &str| {
        format!(
            "{{\"spec\":\"{spec}\",\"variant\":\"\",\"verdict\":\"{verdict}\",\"reason\":\"status\",\
             \"step\":\"{step}\",\"message\":\"{message}\",\"other_steps\":[{others}]}}\n"
        )
    };
    let other = "{\"step\":\"files\",\"reason\":\"not_applicable\",\"message\":\"no `x`\"}";
    let new = [
        run("a", "fail", "get", "was before", ""),
        run("a", "pass", "", "", other),
        run("b", "not_applicable", "proxy", "is 500 (request 1)", ""),
        run("c", "not_applicable", "proxy", "is 500 (request 2)", ""),
    ];
    let old = [run("a", "fail", "get", "a | b", "")];
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("new"), new.concat()).unwrap();
    std::fs::write(path("old"), old.concat()).unwrap();
    let page = "before\n<!-- results: begin -->\nold\n<!-- results: end -->\nafter\n";
    std::fs::write(path("page"), page).unwrap();
    let arguments = ["new", "old", "page"].map(path);
    for _ in 0..2 {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        succeed("scripts/backendai-table", &arguments);
    }
    insta::assert_snapshot!(std::fs::read_to_string(path("page")).unwrap(), @r"
    before
    <!-- results: begin -->

    Line 26: 2 not applicable, 1 pass. Line 24.09: 1 fail, 2 not run.

    | spec | variant | line 26 | line 24.09 |
    |---|---|---|---|
    | `a` |  | pass, in part [1] | **fail** status at `get`: `a \| b` |
    | `b` |  | not applicable [2] | - |
    | `c` |  | not applicable [2] | - |

    What the clusters answered:

    1. `files`: `` no `x` ``
    2. `proxy`: `is 500`

    <!-- results: end -->
    after
    ");
}

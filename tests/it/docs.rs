//! What the documents say is true: their examples make plans, and every key that the configuration
//! file shows is read, with the default that it states.

mod actions;
mod backendai;
mod blackbox;

use std::path::Path;

use testerd::config::{File, Overrides, Shelf, Sources};
use testerd::event::StateRule;
use testerd::outcome::{Cause, Reason};
use testerd::plan;
use testerd::spec::TargetKind;
use testerd::text::Severity;

fn root(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_shipped_configuration_states_the_defaults() {
    let shipped = Sources::load(&root("config/testerd.toml"), &Overrides::default()).unwrap();
    assert_eq!(shipped.notes.problems, []);
    let least = "[target.shop]\ntype = \"http\"\nendpoint = \"http://a\"\n[[probe]]\ntarget = \"shop\"\ninterval = \"1m\"";
    let defaults = Sources::from_text("least.toml", least, &Overrides::default()).unwrap();
    let (shipped_settings, defaults) = (&shipped.settings, &defaults.settings);
    assert_eq!(shipped_settings.listen, defaults.listen);
    assert_eq!(shipped_settings.instance, defaults.instance);
    assert_eq!(shipped_settings.concurrency, defaults.concurrency);
    assert_eq!(shipped_settings.state_dir, defaults.state_dir);
    assert_eq!(shipped_settings.patience, defaults.patience);
    assert_eq!(shipped_settings.max_owed, defaults.max_owed);
    assert_eq!(shipped_settings.stop_grace, defaults.stop_grace);
    assert_eq!(shipped_settings.series_limit, defaults.series_limit);
    assert_eq!(shipped_settings.http_phases, defaults.http_phases);
    let concurrency =
        |settings: &testerd::config::Settings| settings.targets["shop"].target.concurrency;
    assert_eq!(concurrency(shipped_settings), concurrency(defaults));
    assert_eq!(shipped_settings.probes[0].state, StateRule::default());
    for (word, kind) in TargetKind::ALL {
        let mut targets = shipped_settings.targets.values();
        assert!(
            targets.any(|settings| settings.target.kind == kind),
            "no target of type {word}"
        );
    }
    let plan = plan::compile(shipped).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!(plan.warnings, []);
}

#[test]
fn every_reason_and_cause_is_told() {
    let reasons = Reason::ALL.map(Reason::as_str);
    let causes = Cause::ALL.map(Cause::as_str);
    for file in ["README.md", "ARCHITECTURE.md"] {
        let text = std::fs::read_to_string(root(file)).unwrap();
        for list in [&reasons[..], &causes] {
            let list = list.join(" ");
            assert!(text.contains(&format!("`{list}`")), "{file}: {list}");
        }
    }
}

#[test]
fn the_examples_of_the_readme_make_a_plan() {
    let readme = std::fs::read_to_string(root("README.md")).unwrap();
    let blocks: Vec<_> = readme
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    let [spec, config, wrap] = blocks.as_slice() else {
        panic!("the README has three examples");
    };
    for (text, lines) in [(spec, 10), (config, 10)] {
        assert!(text.lines().filter(|line| !line.is_empty()).count() <= lines);
    }
    let mut sources = Sources::from_text("README.md", config, &Overrides::default()).unwrap();
    sources.add("README.md", &format!("{spec}\n{wrap}"), false);
    assert!(plan::compile(sources).is_ok());
}

/// The one file of the page about targets.
struct Example<'a>(&'a str);

impl Shelf for Example<'_> {
    fn files(&self, pattern: &str) -> Result<Vec<File>, String> {
        assert_eq!(pattern, "targets/shops-*.json");
        let (name, text) = ("shops-1.json".to_owned(), Ok(self.0.to_owned()));
        Ok(vec![File { name, text }])
    }
}

#[test]
fn the_targets_of_the_page_about_them_are_called_as_it_says() {
    let page = std::fs::read_to_string(root("docs/targets.md")).unwrap();
    let block = |kind: &str| {
        let (_, rest) = page.split_once(&format!("```{kind}\n")).unwrap();
        rest.split("```").next().unwrap()
    };
    let overrides = Overrides::default();
    let example = Example(block("json"));
    let sources = Sources::from_texts("page", block("toml"), &overrides, &example).unwrap();
    assert_eq!(sources.notes.problems, []);
    let targets = &sources.settings.targets;
    let names: Vec<_> = targets.keys().map(|name| format!("`{name}`")).collect();
    assert_eq!(names.len(), 3);
    assert!(names.iter().all(|name| page.contains(name)), "{names:?}");
    let first = &targets["shops/berlin-1"];
    assert_eq!(first.target.endpoint.to_string(), "https://10.0.0.1:8443");
    let region = first.vars.iter().find(|var| var.name == "region");
    assert_eq!(region.unwrap().value, "de");
    // The commented table of the shipped file is read as well.
    let shipped = std::fs::read_to_string(root("config/testerd.toml")).unwrap();
    let lines = shipped
        .lines()
        .skip_while(|line| !line.starts_with("# [target.shops]"));
    let table: Vec<_> = lines
        .map_while(|line| line.strip_prefix("# "))
        .chain(["[[probe]]\ntarget = \"shops\"\ninterval = \"1m\""])
        .collect();
    let sources = Sources::from_text("all.toml", &table.join("\n"), &overrides).unwrap();
    assert!(
        sources
            .notes
            .problems
            .iter()
            .all(|p| p.severity == Severity::Warning)
    );
}

#[test]
fn the_example_specs_make_a_plan() {
    let config = "[target.shop]\ntype = \"http\"\nendpoint = \"http://a\"\nvars = { user = \"ann\" }\n\
                  [[probe]]\ntarget = \"shop\"\ntags = [\"example\"]\ninterval = \"1m\"";
    let mut sources = Sources::from_text("all.toml", config, &Overrides::default()).unwrap();
    let mut count = 0;
    for file in std::fs::read_dir(root("config/specs/examples")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        count += text.matches("[[spec]]").count();
        sources.add("examples", &text, false);
    }
    let plan = plan::compile(sources).unwrap_or_else(|problems| panic!("{problems:?}"));
    let mut planned: Vec<_> = plan
        .scheduled
        .iter()
        .map(|scheduled| &scheduled.info.identity.spec)
        .collect();
    planned.dedup();
    assert_eq!(planned.len(), count);
}

#[test]
fn the_readme_names_every_command_and_every_metric() {
    let readme = std::fs::read_to_string(root("README.md")).unwrap();
    let page = std::fs::read_to_string(root("src/exporter/metrics/page.rs")).unwrap();
    let names = page
        .split("\"testerd_")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap());
    for name in names {
        let is_there = readme.contains(&format!("`{name}"))
            || (name.starts_with("config_last_reload_")
                && readme.contains("`config_last_reload_*`"));
        assert!(is_there, "README.md does not name {name}");
    }
    for command in ["serve", "check", "list", "run", "sweep", "demo"] {
        assert!(
            readme.contains(&format!("| `{command}` |")),
            "README.md does not name {command}"
        );
    }
}

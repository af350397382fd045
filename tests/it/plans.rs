//! Plans from text: each file in `tests/plans/ok` has a tree, each in `tests/plans/bad` the full
//! list of its problems. To report a bug in either, add a file.
//!
//! A file is a configuration and, below the line `# --- specs.toml`, the specs it runs; below other
//! such lines are its targets files.

use std::fmt::Write;

use testerd::config::{File, Overrides, Shelf, Sources};
use testerd::plan::{self, Plan};
use testerd::spec::{Case, Work};
use testerd::text::Problem;

/// Begins a line that begins a file.
const MARK: &str = "# --- ";

/// The parts of a file, by name.
struct Parts<'a>(Vec<(&'a str, &'a str)>);

impl Shelf for Parts<'_> {
    fn files(&self, pattern: &str) -> Result<Vec<File>, String> {
        let pattern = glob::Pattern::new(pattern).map_err(|error| error.to_string())?;
        let found = self.0.iter().filter(|(name, _)| pattern.matches(name));
        let file = |(name, text): &(&str, &str)| File {
            name: (*name).to_owned(),
            text: Ok((*text).to_owned()),
        };
        Ok(found.map(file).collect())
    }
}

pub(crate) fn compile(text: &str) -> Result<Plan, Vec<Problem>> {
    let mut parts = text.split(MARK);
    let config = parts.next().unwrap_or_default();
    let parts = Parts(parts.map(|part| part.split_once('\n').unwrap()).collect());
    let mut sources = Sources::from_texts("testerd.toml", config, &Overrides::default(), &parts)?;
    for (name, specs) in &parts.0 {
        if *name == "specs.toml" && !specs.is_empty() {
            sources.add(name, specs, false);
        }
    }
    plan::compile(sources)
}

#[test]
fn bad_files_have_all_their_problems_told() {
    insta::glob!("../plans", "bad/*.toml", |path| {
        let text = std::fs::read_to_string(path).unwrap();
        let problems = compile(&text)
            .err()
            .unwrap_or_else(|| panic!("{} makes a plan", path.display()));
        let mut told = String::new();
        for problem in &problems {
            assert!(!problem.help.is_empty(), "no remedy: {problem}");
            writeln!(told, "{problem}").unwrap();
        }
        insta::assert_snapshot!(told);
    });
}

#[test]
fn a_users_spec_replaces_the_built_in_one_of_its_name() {
    let config = "[target.t]\ntype = \"http\"\nendpoint = \"http://a\"\n\
                  [[probe]]\ntarget = \"t\"\ninterval = \"1m\"\n";
    let spec = |description: &str| {
        format!(
            "[[spec]]\nname = \"same\"\ndescription = \"{description}\"\n\
             [[spec.steps]]\nname = \"get\"\nuse = \"http\"\npath = \"/\"\n"
        )
    };
    let mut sources = Sources::from_text("testerd.toml", config, &Overrides::default()).unwrap();
    sources.add("built-in.toml", &spec("ours"), true);
    sources.add("own.toml", &spec("theirs"), false);
    let plan = plan::compile(sources).unwrap_or_else(|problems| panic!("{problems:?}"));
    let [known] = plan.known.as_slice() else {
        panic!("one spec: {:?}", plan.known);
    };
    assert!(known.replaces_built_in && known.description == "theirs");
    assert_eq!(known.declared, "own.toml:1:1");
}

#[test]
fn good_files_become_trees() {
    insta::glob!("../plans", "ok/*.toml", |path| {
        let text = std::fs::read_to_string(path).unwrap();
        let plan = compile(&text).unwrap_or_else(|problems| {
            panic!(
                "{}: {}",
                path.display(),
                problems
                    .iter()
                    .fold(String::new(), |all, p| all + &format!("\n{p}"))
            )
        });
        let mut told = String::new();
        let targets = plan.settings.targets.values();
        for target in targets.filter(|target| target.table != target.target.name) {
            let vars = target.vars.iter();
            let vars: Vec<_> = vars
                .map(|var| format!("{} = {}", var.name, var.value))
                .collect();
            writeln!(told, "{}: {}", target.target, vars.join(", ")).unwrap();
        }
        for spec in &plan.scheduled {
            let info = &spec.info;
            writeln!(
                told,
                "{} every {:?}, {:?} at most, uses {:?}",
                info.identity, info.interval, info.timeout, spec.uses
            )
            .unwrap();
            tree(&spec.case, 1, &mut told);
        }
        for warning in &plan.warnings {
            writeln!(told, "{warning}").unwrap();
        }
        writeln!(told, "{:#?}", plan.forecast).unwrap();
        insta::assert_snapshot!(told);
    });
}

fn tree(case: &Case, depth: usize, told: &mut String) {
    let indent = "  ".repeat(depth);
    match case {
        Case::Step(step) => {
            let work = match &step.work {
                Work::Act(_) => "step".to_owned(),
                Work::Acquire {
                    teardown_timeout, ..
                } => format!("resource (teardown {teardown_timeout:?})"),
            };
            write!(told, "{indent}{work} {}", step.name).unwrap();
            if let Some(timeout) = step.timeout {
                write!(told, ", {timeout:?} at most").unwrap();
            }
            if step.retry.attempts > 1 {
                write!(
                    told,
                    ", {} attempts {:?} apart",
                    step.retry.attempts, step.retry.delay
                )
                .unwrap();
            }
            if let Some(every) = step.poll {
                write!(told, ", polled every {every:?}").unwrap();
            }
            for (flag, word) in [(step.always, "always"), (step.allow_failure, "may fail")] {
                if flag {
                    write!(told, ", {word}").unwrap();
                }
            }
            for read in &step.reads {
                write!(told, ", reads {}.{}", read.name, read.key).unwrap();
            }
            writeln!(told).unwrap();
        }
        Case::Sequence(sequence) => {
            let name = sequence.name.as_deref().unwrap_or("-");
            write!(told, "{indent}sequence {name}").unwrap();
            if let Some(timeout) = sequence.timeout {
                write!(told, ", {timeout:?} at most").unwrap();
            }
            writeln!(told).unwrap();
            sequence
                .cases
                .iter()
                .for_each(|case| tree(case, depth + 1, told));
        }
        Case::Wrapper(wrapper) => {
            writeln!(told, "{indent}wrapper").unwrap();
            let Case::Step(_) = wrapper.inner.as_ref() else {
                write_setup(wrapper, depth + 1, told);
                tree(&wrapper.inner, depth + 1, told);
                return;
            };
            unreachable!("a wrapper holds a suite");
        }
    }
}

fn write_setup(wrapper: &testerd::spec::Wrapper, depth: usize, told: &mut String) {
    let indent = "  ".repeat(depth);
    let Work::Acquire {
        teardown_timeout, ..
    } = &wrapper.setup.work
    else {
        unreachable!("a setup is a resource");
    };
    writeln!(
        told,
        "{indent}setup {} (teardown {teardown_timeout:?})",
        wrapper.setup.name
    )
    .unwrap();
}

//! Inputs as large as a file may be: reading them takes time in proportion, or they are refused. What
//! is quadratic here would take minutes, and no test of this file would end.

use testerd::config::{File, Overrides, Shelf, Sources};
use testerd::plan;
use testerd::text::Problem;

/// A targets file.
struct Targets(String);

impl Shelf for Targets {
    fn files(&self, _: &str) -> Result<Vec<File>, String> {
        Ok(vec![File {
            name: "targets.json".into(),
            text: Ok(self.0.clone()),
        }])
    }
}

const TARGET: &str = "[target.t]\ntype = \"http\"\nendpoint = \"http://127.0.0.1:9\"\n[metrics]\nseries_limit = 2000\n";

fn problems(config: &str, specs: &str, targets: String) -> Vec<Problem> {
    let sources = Sources::from_texts("c", config, &Overrides::default(), &Targets(targets));
    let made = sources.and_then(|mut sources| {
        sources.add("s", specs, false);
        plan::compile(sources)
    });
    made.map_or_else(|problems| problems, |plan| plan.warnings)
}

fn many(count: usize, one: impl Fn(usize) -> String) -> String {
    (0..count).map(one).collect()
}

fn spec(name: &str, more: &str) -> String {
    let step = "[[spec.steps]]\nname = \"a\"\nuse = \"http\"\npath = \"/\"\n";
    format!("[[spec]]\nname = \"{name}\"\n{more}{step}")
}

fn probe(more: &str) -> String {
    format!("{TARGET}[[probe]]\ntarget = \"t\"\ninterval = \"1m\"\n{more}")
}

/// A table with as many keys of its own as fit into a file, and what is said of them.
#[test]
fn many_keys() {
    let unknown = many(50_000, |n| format!("k{n} = 1\n"));
    let params = many(50_000, |n| format!("p{n} = {n}\n"));
    let declared = many(20_000, |n| format!("p{n} = {{ default = {n} }}\n"));
    let bad = many(30_000, |n| format!("[target.\"B {n}\"]\ntype = \"x\"\n"));
    for (config, specs, said, times) in [
        (probe("") + &unknown, spec("s", ""), "unknown key", 50_000),
        (
            probe("[probe.params]\n") + &params,
            spec("s", &format!("[spec.params]\n{declared}")),
            "no spec that the probe selects has this parameter",
            30_000,
        ),
        (bad, spec("s", ""), "is not a name for a target", 30_000),
    ] {
        let problems = problems(&config, &specs, String::new());
        let said = problems
            .iter()
            .filter(|problem| problem.what.contains(said));
        assert_eq!(said.count(), times);
    }
}

#[test]
fn many_labels_and_targets() {
    let config = "[target.t]\ntype = \"http\"\ntargets_file = \"t.json\"\n\
                  [[probe]]\ntarget = \"t\"\ninterval = \"1m\"\n";
    let labels = many(150_000, |n| format!(",\"k{n}\":\"v\""));
    let numbers = many(50_000, |n| format!(",\"k{n}\":[]"));
    let hosts = many(20_000, |n| format!(",\"h{n}:80\""));
    let doubled = many(20_000, |_| ",\"a:1\"".into());
    let group = |hosts: &str, labels: &str| {
        format!("[{{\"targets\":[\"a:1\"{hosts}],\"labels\":{{\"a\":\"b\"{labels}}}}}]")
    };
    for (targets, said, times) in [
        (group("", &labels), "", 0),
        (group("", &numbers), "not a text", 50_000),
        (group(&hosts, ""), "series", 1),
        (group(&doubled, ""), "stands twice", 20_000),
        (group(&hosts, &labels), "labels each", 1),
    ] {
        let problems = problems(config, &spec("s", ""), targets);
        let said = problems
            .iter()
            .filter(|problem| problem.what.contains(said));
        assert_eq!(said.count(), times);
    }
}

#[test]
fn many_specs() {
    let chain = many(5_000, |n| match n {
        0 => spec("s0", ""),
        n => format!("[[spec]]\nname = \"s{n}\"\nlike = \"s{}\"\n", n - 1),
    });
    let strangers = many(10_000, |n| {
        format!("[[spec]]\nname = \"s{n}\"\nlike = \"x{n}\"\n")
    });
    let same = many(20_000, |_| spec("s", ""));
    let rows = many(20_000, |n| {
        format!("[[spec.matrix]]\nvariant = \"v{n}\"\nk{n} = 1\n")
    });
    let plain = many(20_000, |n| format!("[[spec.matrix]]\nvariant = \"v{n}\"\n"));
    let twice = many(20_000, |_| "[[spec.matrix]]\nvariant = \"v\"\n".into());
    let wide = format!(
        "[[spec.matrix]]\nvariant = \"v\"\n{}",
        many(50_000, |n| format!("k{n} = 1\n"))
    );
    let unused = format!("{}{}", spec("s", ""), spec("unused", &rows));
    let names = probe("names = [\"s\"]\n");
    for (config, specs, said, times) in [
        (&names, chain, "more than 16 times", 5_000 - 17),
        (&names, strangers, "there is no spec", 10_000),
        (&names, same, "is declared in", 19_999),
        (&names, spec("s", &rows), "parameters, more than", 1),
        (&names, spec("s", &plain), "series", 1),
        (&names, spec("s", &twice), "stands twice", 19_999),
        (&names, spec("s", &wide), "", 0),
        (&names, unused, "parameters, more than", 1),
    ] {
        let problems = problems(config, &specs, String::new());
        let said = problems
            .iter()
            .filter(|problem| problem.what.contains(said));
        assert_eq!(said.count(), times);
    }
}

#[test]
fn many_probes_and_long_lines() {
    let probes = many(5_000, |_| {
        "[[probe]]\nname = \"p\"\ntarget = \"x\"\ninterval = \"1m\"\n".into()
    });
    let same = problems(
        &(TARGET.to_owned() + &probes),
        &spec("s", ""),
        String::new(),
    );
    let said = |what: &str| {
        same.iter()
            .filter(|problem| problem.what.contains(what))
            .count()
    };
    assert_eq!(said("another probe has the same name"), 4_999);
    assert_eq!(said("there is no target"), 5_000);

    // All on one line, whose columns are counted in characters.
    let line = many(300_000, |_| "'ü',".into());
    let params = format!("[spec.params]\np = {{ default = [{line}], x = 1 }}\n");
    let problems = problems(&probe(""), &spec("s", &params), String::new());
    assert_eq!(problems.len(), 1, "{problems:?}");
    let column = "p = { default = [".len() + line.chars().count() + "], ".len() + 1;
    assert_eq!(problems[0].at.column as usize, column);
}

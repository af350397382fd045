//! `docs/blackbox.md`: its specs make plans, and every key that it names exists.

use std::collections::BTreeSet;

use regex::Regex;
use testerd::config::{Overrides, Sources};
use testerd::plan;

use super::root;

fn read(path: &str) -> String {
    std::fs::read_to_string(root(path)).unwrap()
}

#[test]
fn modules_as_specs_make_plans() {
    let page = read("docs/blackbox.md");
    let specs = page.split("```toml\n").nth(1).unwrap();
    let specs = specs.split("```").next().unwrap();
    let configuration = "[target.shop]\ntype = \"http\"\nendpoint = \"http://shop.example\"\n\
        [target.mail]\ntype = \"tcp\"\nendpoint = \"tcp://mail.example:25\"\n\
        [[probe]]\ntarget = \"shop\"\ntags = [\"blackbox\"]\ninterval = \"1m\"\n\
        [[probe]]\ntarget = \"mail\"\ntags = [\"blackbox\"]\ninterval = \"1m\"\n";
    let sources = Sources::from_text("testerd.toml", configuration, &Overrides::default());
    let mut sources = sources.unwrap();
    sources.add("blackbox.toml", specs, false);
    let plan = plan::compile(sources).unwrap_or_else(|problems| panic!("{problems:?}"));
    let on = |target: &str| {
        let all = plan.scheduled.iter();
        all.filter(|spec| spec.target.name == target).count()
    };
    // What speaks HTTP does not fit a target that does not.
    assert_eq!((on("shop"), on("mail")), (6, 4));
}

#[test]
fn every_key_that_is_named_exists() {
    let documented = read("docs/actions.md") + &read("config/testerd.toml") + &read("README.md");
    let code = Regex::new("`([^`]+)`").unwrap();
    let key = Regex::new(r"([a-z0-9_]+) = ").unwrap();
    // Headers, secrets and JSON of the reader's own.
    let own = BTreeSet::from(["host", "x", "key", "authorization", "encoding"]);
    let mut found = 0;
    for row in read("docs/blackbox.md")
        .lines()
        .filter(|line| line.starts_with("| "))
    {
        let here = row.replace("\\|", "/");
        let here = here.split(" | ").nth(1).unwrap();
        for code in code.captures_iter(here) {
            for key in key.captures_iter(&code[1]) {
                let key = &key[1];
                found += 1;
                let known = Regex::new(&format!(r"(`{key}`|\b{key} = )")).unwrap();
                assert!(
                    own.contains(key) || known.is_match(&documented),
                    "{key} in: {row}"
                );
            }
        }
    }
    assert!(found > 30, "only {found} keys were found");
}

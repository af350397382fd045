//! `docs/actions.md` is written from the catalog, and its examples pass.

use std::fmt::Write as _;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use testerd::action::{Entry, Key, Part};
use testerd::config::{Overrides, Sources};
use testerd::event::Event;
use testerd::outcome::Verdict;
use testerd::spec::Needs;
use testerd::{catalog, plan};

use super::backendai::CLUSTER;
use crate::runs::World;
use crate::runs::wire::with_mail;
use crate::shop::with_shop;
use crate::tools::{read, root};

const PAGE: &str = "docs/actions.md";

const HEAD: &str = "\
# Actions and resources

What a step or a wrapper can do: what stands behind `use`, with its keys and an example that passes. A resource makes something
and is undone at the end. This page is written from the catalog by `INSTA_UPDATE=always cargo test docs::`; every example is run
by a test. `config/specs/examples/` shows the rest of the language.

In a table, `a.b` is the key `b` of the table `a`, and NAME is a name of yours. `${…}` may stand for a parameter in every value;
where it says \"with `${…}`\", also for what an earlier step captured, as `${step.name}`.
";

/// The page as it should be.
fn page() -> String {
    let mut page = HEAD.to_owned();
    let mut shared = Vec::new();
    let steps = [
        ("Every step and wrapper", plan::STEP),
        ("What may be polled", plan::POLLING),
        ("Every resource", plan::RESOURCE),
    ];
    for (title, part) in steps {
        let _ = write!(page, "\n## {title}\n\n{}", keys(&[part], &mut shared));
    }
    for (title, is_backendai) in [("Any target", false), ("Backend.AI", true)] {
        let _ = write!(page, "\n## {title}\n");
        for entry in catalog::all() {
            if entry.name.starts_with("backendai.") == is_backendai {
                page.push_str(&section(entry, &mut shared));
            }
        }
    }
    page.push_str("\n## What several have\n");
    let mut next = 0;
    while let Some(part) = shared.get(next).copied() {
        let rows = rows(part.keys, "", &mut shared);
        let title = capital(part.title);
        let _ = write!(page, "\n### {title}\n\n{TABLE}{rows}");
        next += 1;
    }
    page
}

/// What the page has of one action.
fn section(entry: &Entry, shared: &mut Vec<Part>) -> String {
    let mut facts = vec![if entry.is_resource {
        format!("A resource that {}.", entry.summary)
    } else {
        format!("{}.", capital(entry.summary))
    }];
    if entry.polls {
        facts.push("May be polled.".into());
    }
    facts.extend(entry.needs.map(|needs| match needs {
        Needs::Http => "Needs a target that speaks HTTP.".to_owned(),
        Needs::Kind(kind) => format!("Needs a target of type `{kind}`."),
    }));
    match captures(entry).join(", ") {
        none if none.is_empty() => {}
        all => facts.push(format!("Captures {all}.")),
    }
    format!(
        "\n### `{}`\n\n{}\n\n{}\n```toml\n{}```\n",
        entry.name,
        facts.join(" "),
        keys(entry.keys, shared),
        entry.example
    )
}

const TABLE: &str = "| key | type | default | what |\n|---|---|---|---|\n";

/// Where shared keys are told, and a table of the others.
fn keys(parts: &[Part], shared: &mut Vec<Part>) -> String {
    let links = links(parts, shared);
    let own: String = parts
        .iter()
        .filter(|part| part.title.is_empty())
        .map(|part| rows(part.keys, "", shared))
        .collect();
    let links = match links.join(", ") {
        none if none.is_empty() => none,
        links => format!("The keys of {links}, and:\n\n"),
    };
    format!("{links}{TABLE}{own}")
}

/// Links to the shared ones of these keys, which are then told.
fn links(parts: &[Part], shared: &mut Vec<Part>) -> Vec<String> {
    let titled = parts.iter().filter(|part| !part.title.is_empty());
    titled
        .map(|part| {
            if shared.iter().all(|other| other.title != part.title) {
                shared.push(*part);
            }
            format!("[{}](#{})", part.title, part.title.replace(' ', "-"))
        })
        .collect()
}

/// Rows of a table, one for each key and each key of inner tables.
fn rows(keys: &[Key], path: &str, shared: &mut Vec<Part>) -> String {
    let mut text = String::new();
    for key in keys {
        let name = if key.name == "*" { "NAME" } else { key.name };
        let name = format!("{path}{name}");
        let links = links(key.keys, shared);
        let kind = if links.is_empty() {
            key.kind.words.to_owned()
        } else {
            format!("{}: {}", key.kind.words, links.join(", "))
        };
        let default = if key.required {
            "required"
        } else {
            key.default
        };
        let cells = [&format!("`{name}`"), &kind, default, key.help].map(|c| c.replace('|', "\\|"));
        let _ = writeln!(text, "| {} |", cells.join(" | "));
        for part in key.keys.iter().filter(|part| part.title.is_empty()) {
            text.push_str(&rows(part.keys, &format!("{name}."), shared));
        }
    }
    text
}

fn capital(text: &str) -> String {
    let (first, rest) = text.split_at(1);
    first.to_uppercase() + rest
}

/// What an action of Backend.AI captures by itself: a step that reads something else is told.
fn captures(entry: &Entry) -> Vec<String> {
    if !entry.name.starts_with("backendai.") {
        return Vec::new();
    }
    let mut step = format!("name = \"a\"\nuse = \"{}\"\n", entry.name);
    let keys = entry.keys.iter().flat_map(|part| part.keys);
    for key in keys.filter(|key| key.required) {
        let _ = writeln!(step, "{} = {}", key.name, key.kind.right);
    }
    let spec = format!(
        "[[spec]]\nname = \"s\"\n[[spec.steps]]\n{step}\
         [[spec.steps]]\nname = \"b\"\nuse = \"http\"\npath = \"/\"\njson = \"${{a.nothing}}\"\n"
    );
    let config =
        format!("{CLUSTER}[[probe]]\ntarget = \"cluster\"\nnames = [\"s\"]\ninterval = \"1h\"");
    let mut sources = Sources::from_text("all.toml", &config, &Overrides::default()).unwrap();
    sources.add("s.toml", &spec, false);
    let Err(problems) = plan::compile(sources) else {
        panic!("something captures what nobody knows");
    };
    let [problem] = &problems[..] else {
        panic!("{}: {problems:?}", entry.name);
    };
    let captures = problem.help.strip_prefix("`a` captures: ");
    let captures = captures.map(|all| all.split(", ").map(|key| format!("`{key}`")).collect());
    captures.unwrap_or_default()
}

#[test]
fn the_page_is_written_from_the_catalog() {
    let expected = page();
    if std::env::var("INSTA_UPDATE").is_ok_and(|word| word == "always") {
        std::fs::write(root().join(PAGE), expected).unwrap();
        return;
    }
    assert!(
        read(PAGE) == expected,
        "INSTA_UPDATE=always cargo test docs:: rewrites {PAGE}"
    );
}

/// What the rig must be asked for to be a shop that tells of orders and a clerk that echoes.
fn on_the_rig(example: &str) -> String {
    let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let event = |name, shop| {
        format!("event: {name}\ndata: {{\"shop\":\"{shop}\",\"order\":7,\"currency\":\"EUR\"}}\n\n")
    };
    let events = event("placed", "tea") + &event("paid", "pots") + &event("paid", "tea");
    let events = format!("/events?say={}&then=hang", encoded(&events));
    let clerk = format!("/websocket?say={}", encoded("{\"type\":\"ready\"}"));
    example
        .replace("\"/orders/events\"", &format!("\"{events}\""))
        .replace("\"/support\"", &format!("\"{clerk}\""))
}

/// Runs one spec on the shop, or on the rig where the shop has nothing to say; what speaks no HTTP
/// on a mail server.
async fn passes(name: &str, example: &str, shop: &str) {
    let there = on_the_rig(example);
    let world = if there == example {
        World::new().at(shop)
    } else {
        World::new()
    };
    let told = match name {
        "tcp" | "tls" => with_mail(example).await,
        _ => world.run(&there).await,
    };
    let passed = told.events.iter().any(|event| {
        matches!(
            event,
            Event::RunFinished {
                verdict: Verdict::Pass,
                ..
            }
        )
    });
    assert!(passed, "`{name}`:\n{}", told.story);
    assert!(told.owed.is_empty(), "`{name}` leaves something");
}

#[test]
fn the_examples_of_general_actions_pass() {
    with_shop(|shop| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        for entry in catalog::all().filter(|entry| !entry.name.starts_with("backendai.")) {
            let used = format!("use = \"{}\"", entry.name);
            assert!(entry.example.contains(&used), "{used}");
            runtime.block_on(passes(entry.name, entry.example, shop));
        }
    });
}

//! From text to a plan: what `check` and a reload wait for.

use std::fmt::Write;
use std::hint::black_box;

use criterion::{Criterion, Throughput};
use testerd::config::{Overrides, Sources};
use testerd::plan;

const SPECS: u64 = 1000;

const CONFIG: &str = r#"
[metrics]
series_limit = 1000000
[target.shop]
type = "http"
endpoint = "http://127.0.0.1:8091"
vars = { user = "ann" }
[[probe]]
target = "shop"
tags = ["shop"]
interval = "1m"
"#;

/// A spec with a parameter, a capture that is read later, and a retry.
fn spec(number: u64, text: &mut String) {
    let written = write!(
        text,
        r#"
[[spec]]
name = "visit-{number}"
description = "Somebody looks around in part {number} of the shop."
tags = ["shop", "visit"]
timeout = "30s"
params.user = {{ required = true, help = "who visits" }}

[[spec.steps]]
name = "login"
use = "http"
method = "POST"
path = "/login"
json = {{ user = "${{user}}", part = {number} }}
capture = {{ token = "json:/token" }}

[[spec.steps]]
name = "read"
use = "http"
path = "/parts/{number}?user=${{user}}"
headers = {{ authorization = "Bearer ${{login.token}}" }}
expect = {{ status = 200, json = {{ "/part" = {number} }}, max_duration = "500ms" }}
retry = {{ attempts = 3, delay = "200ms" }}
"#
    );
    assert!(written.is_ok());
}

/// A thousand specs in one file.
pub(crate) fn compile(criterion: &mut Criterion) {
    let mut text = String::new();
    (0..SPECS).for_each(|number| spec(number, &mut text));
    let compile = || {
        let mut sources = Sources::from_text("testerd.toml", CONFIG, &Overrides::default())?;
        sources.add("specs.toml", &text, false);
        plan::compile(sources)
    };
    let scheduled = compile().map(|plan| plan.scheduled.len() as u64);
    assert_eq!(scheduled, Ok(SPECS), "the specs are good");

    let mut group = criterion.benchmark_group("plan");
    group
        .sample_size(20)
        .throughput(Throughput::Elements(SPECS));
    group.bench_function("compile-1000-specs", |bencher| {
        bencher.iter(|| black_box(compile().is_ok()));
    });
    group.finish();
}

//! Answers that want us to delete something else: whatever a target tells for an id, nothing that
//! was not made by the run is deleted, and what was made is deleted or owed aloud.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::{Value, json};
use testerd::event::RunRef;
use testerd::journal::{Journal, MemoryJournal};
use testerd::runner::{Begun, Stop};

use super::config;
use super::subject::Subject;
use super::trial::{INSTANCE, RUN, Sweep, all_owed, runner, says_why};
use super::world::World;
use crate::rig::{Blow, Fault, Rig};

const SPEC: &str = r#"
[[spec]]
name = "hostile"
[[spec.wrap]]
name = "item"
use = "http.resource"
create = { path = "/items", json = { name = "${run.name}" }, capture = { id = "json:/id" } }
find = { path = "/items?name=${run.name}", items = "/found", match = { "/name" = "${run.name}" }, capture = { id = "json:/id" } }
delete = { path = "/items/${item.id}" }
[[spec.steps]]
name = "look"
use = "http"
path = "/items/${item.id}"
allow_failure = true
"#;

/// Ids that are none, and ids that would be something else if they were put into a path as they are.
fn ids() -> Vec<Value> {
    let long = "1".repeat(1 << 20);
    let wrong = [
        json!(""),
        json!(null),
        json!({}),
        json!([1]),
        json!("."),
        json!(".."),
        json!("1/../../users"),
        json!("../items/1"),
        json!("%2e%2e"),
        json!("1?x=1"),
        json!("1#"),
        json!("1;2"),
        json!("*"),
        json!("\u{0}"),
        json!("1\r\nX: y"),
        json!("${run.name}"),
        json!("-1"),
        json!(true),
        json!(1.5),
        json!(long),
    ];
    wrong.into()
}

/// Runs it with this blow, then sweeps a well target. `Err` tells what is wrong.
async fn withstands(at: usize, fault: Fault) -> Result<usize, String> {
    let subject = Subject::all(&config(SPEC)).remove(0);
    let rig = Rig::start();
    let mut spec = subject.take(Rig::PATIENT).spec;
    spec.target = Arc::new(rig.target(&spec.target));
    let targets = BTreeMap::from([(spec.target.name.clone(), spec.target.clone())]);
    let strangers = rig.seed_strangers().await;
    rig.strike(0, Blow::Once(Fault::Unreadable2xx));
    rig.strike(at, Blow::Once(fault));
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::default());
    let run = RunRef {
        spec: spec.info.clone(),
        id: RUN.into(),
    };
    let verdict = runner(journal.clone())
        .run(&spec, run, Begun::default(), Stop::default())
        .await;
    let owed = || journal.owed();
    all_owed(&rig, &strangers, &owed())?;
    // It ends; or, if the create told a wrong id, says why it cannot.
    let left = Sweep::new::<Rig>(journal.clone(), &targets)
        .until(|| {
            owed()
                .iter()
                .any(|owed| owed.record.created && says_why(owed))
        })
        .await;
    all_owed(&rig, &strangers, &left)?;
    let theirs = |name: &String| !rig.created().contains(name);
    if let Some(name) = rig.deleted().iter().find(|name| theirs(name)) {
        return Err(format!("{name} was deleted ({verdict:?})"));
    }
    if strangers
        .iter()
        .any(|thing| !rig.alive().contains(&thing.name))
    {
        return Err("a stranger is gone".into());
    }
    let known = [
        "POST /items",
        "GET /items",
        "GET /items/{id}",
        "DELETE /items/{id}",
    ];
    let log = rig.log();
    if let Some(odd) = log.iter().find(|kind| !known.contains(&kind.as_str())) {
        return Err(format!("asked for {odd}"));
    }
    Ok(left.len())
}

fn leaked(body: &Value) -> &'static str {
    Box::leak(body.to_string().into_boxed_str())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_is_none_deletes_nothing() {
    let stuck = join_all(ids().into_iter().map(async |id| {
        let told = id.to_string().chars().take(30).collect::<String>();
        // Told by the create …
        let body = leaked(&json!({ "id": id }));
        let created = withstands(0, Fault::FalseBody(body)).await;
        let stuck = created.unwrap_or_else(|wrong| panic!("create tells {told}: {wrong}"));
        // … and by the search that follows a create whose answer was lost.
        let name = format!("{INSTANCE}-{RUN}");
        let body = leaked(&json!({ "found": [{ "name": name, "id": id }] }));
        let found = withstands(1, Fault::FalseBody(body)).await;
        let left = found.unwrap_or_else(|wrong| panic!("find tells {told}: {wrong}"));
        assert_eq!(left, 0, "the target is well again: {told}");
        stuck
    }));
    let stuck: usize = stuck.await.into_iter().sum();
    assert!(
        stuck > 0,
        "some look like ids, and what they hide stays owed"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_that_is_unclear_deletes_nothing() {
    let name = format!("{INSTANCE}-{RUN}");
    let bodies = [
        json!(null),
        json!([]),
        json!({ "found": null }),
        json!({ "found": { "name": name, "id": 1 } }),
        json!({ "found": [{ "name": name, "id": 1 }, { "name": name, "id": 2 }] }),
        json!({ "found": [{ "name": { "": name }, "id": 1 }, null, 7, { "id": 1 }] }),
        json!({ "found": [{ "name": format!("{name}-"), "id": 1 }] }),
        json!({ "found": [{ "name": name.to_uppercase(), "id": 1 }] }),
        json!({ "found": [{ "name": name }] }),
    ];
    join_all(bodies.iter().map(async |body| {
        let left = withstands(1, Fault::FalseBody(leaked(body))).await;
        assert_eq!(left, Ok(0), "{body}");
    }))
    .await;
}

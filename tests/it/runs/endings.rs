//! Every leaf of a scenario with every ending: whatever happens, what is alive on the target
//! afterwards is owed by the journal, and no stranger was touched.
//!
//! Nothing here depends on who is quick: a machine that is too slow only adds an ending.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;

use super::{LONG, World, make, spec, step, wrap};
use crate::rig::Fault;

const STRANGERS: [&str; 2] = ["it-0001-inner-2", "it-0002-outer"];

#[derive(Debug, Clone, Copy)]
enum Ending {
    Fault(Fault),
    /// Cancelled while the endpoint hangs, its effect done.
    Cancel,
    /// Cancelled and killed while the endpoint hangs, its effect done.
    Kill,
}

const ENDINGS: [Ending; 11] = [
    Ending::Fault(Fault::Status(500)),
    Ending::Fault(Fault::FailBeforeEffect(400)),
    Ending::Fault(Fault::FailAfterEffect(503)),
    Ending::Fault(Fault::Unreadable2xx),
    Ending::Fault(Fault::Hang),
    Ending::Fault(Fault::HangAfterEffect),
    Ending::Fault(Fault::Reset),
    Ending::Fault(Fault::ResetAfterEffect),
    Ending::Fault(Fault::LateEffect(Duration::from_millis(1200))),
    Ending::Cancel,
    Ending::Kill,
];

fn scenario() -> String {
    let keys = "timeout = \"1s\"\nteardown_timeout = \"1s\"";
    spec(
        "",
        &[
            wrap("outer", keys),
            wrap("inner", keys),
            make("step", keys),
            step("look", "/items/${step.id}", "timeout = \"1s\""),
        ],
    )
}

/// Runs the scenario with `endpoint` ending so, and with `before` failing after its effect.
async fn check(endpoint: String, ending: Ending, before: Option<String>) {
    let world = World::new();
    for stranger in STRANGERS {
        world.rig.seed(stranger);
    }
    if let Some(before) = &before {
        world.rig.fail(before, Fault::FailAfterEffect(500));
    }
    let fault = match ending {
        Ending::Fault(fault) => fault,
        Ending::Cancel | Ending::Kill => Fault::HangAfterEffect,
    };
    world.rig.fail(&endpoint, fault);
    let key = endpoint.clone();
    let text = scenario();
    let told = world.run_while(&text, move |rig, stop| {
        if matches!(ending, Ending::Cancel | Ending::Kill) {
            assert!(rig.reaches(&key, 1, LONG));
            stop.cancel.cancel();
            if let Ending::Kill = ending {
                stop.kill.cancel();
            }
        }
    });
    let told = told.await;
    let case = format!("{endpoint} {ending:?} after {before:?}\n{}", told.story);
    assert!(world.rig.count(&endpoint) > 0, "{case}");
    if let Ending::Fault(Fault::LateEffect(_)) = ending {
        late_effects_come(&world, &endpoint);
    }
    let mut allowed = told.owed_names();
    allowed.extend(STRANGERS.map(str::to_owned));
    let alive = world.rig.alive();
    for name in &alive {
        assert!(allowed.contains(name), "`{name}` is left behind: {case}");
    }
    for stranger in STRANGERS {
        assert!(alive.iter().any(|name| name == stranger), "{case}");
    }
}

/// Waits for the item that is going to be made after everybody has given up.
fn late_effects_come(world: &World, endpoint: &str) {
    let Some(name) = endpoint.strip_prefix("POST /items#") else {
        return;
    };
    let mut alive = world.rig.alive();
    let name = format!("it-0001-{name}");
    if !world.rig.created().contains(&name) {
        alive.push(name);
        alive.sort_unstable();
        let alive: Vec<_> = alive.iter().map(String::as_str).collect();
        assert!(world.rig.comes_to(&alive, LONG), "{endpoint}: {alive:?}");
    }
}

#[tokio::test]
async fn whatever_happens_what_is_left_is_owed() {
    let mut cases = Vec::new();
    for ending in ENDINGS {
        cases.push(("GET /items/{id}#look".to_owned(), ending, None));
        for name in ["outer", "inner", "step"] {
            let create = format!("POST /items#{name}");
            cases.push((create.clone(), ending, None));
            cases.push((format!("DELETE /items/{{id}}#{name}"), ending, None));
            // A search happens only after a create that nobody is certain of.
            cases.push((format!("GET /items#{name}"), ending, Some(create)));
        }
    }
    assert_eq!(cases.len(), 11 * 10);
    let checks = cases
        .into_iter()
        .map(|(endpoint, ending, before)| check(endpoint, ending, before));
    stream::iter(checks)
        .buffer_unordered(8)
        .collect::<()>()
        .await;
}

//! `docs/actions.md` is written from the catalog, and its examples pass.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use testerd::catalog;
use testerd::event::Event;
use testerd::outcome::Verdict;

use crate::runs::World;
use crate::shop::with_shop;

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

/// Runs one spec on the shop, or on the rig where the shop has nothing to say.
async fn passes(name: &str, example: &str, shop: &str) {
    let there = on_the_rig(example);
    let world = if there == example {
        World::new().at(shop)
    } else {
        World::new()
    };
    let told = world.run(&there).await;
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

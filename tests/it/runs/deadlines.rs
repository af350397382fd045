//! Deadlines at each level, and waiting: retry and poll.
//!
//! What hangs has a short deadline, and everything else one that only a broken machine misses.

use insta::assert_snapshot;
use testerd::event::Event;

use super::{World, make, spec, step, suite, wrap};
use crate::rig::Fault;

#[tokio::test]
async fn a_step_ends_at_its_deadline_and_teardown_follows() {
    let world = World::new();
    let text = spec(
        "",
        &[
            wrap("item", ""),
            step("hangs", "/hang", "timeout = \"100ms\""),
            step("after", "/ok", ""),
        ],
    );
    assert_snapshot!(world.run(&text).await.story, @r"
    setup item: passed
    body hangs: timeout: no end within TIME
    skipped after: step `hangs` did not pass
    teardown item: passed
      http.resource: done
    fail timeout in body hangs
    ");
    assert_eq!(world.rig.deleted(), ["it-0001-item"]);
}

#[tokio::test]
async fn a_suite_ends_at_its_deadline_and_teardown_follows() {
    let world = World::new();
    let inner = suite(
        "inner",
        "timeout = \"2s\"",
        &[
            wrap("item", ""),
            step("hangs", "/hang", ""),
            step("after-hangs", "/ok", ""),
        ],
    );
    let text = spec("", &[wrap("outer", ""), inner, step("after", "/ok", "")]);
    assert_snapshot!(world.run(&text).await.story, @r"
    setup outer: passed
    setup item: passed
    body hangs: timeout: no end within TIME
    skipped after-hangs: step `hangs` did not pass
    teardown item: passed
      http.resource: done
    skipped after: suite `inner` did not pass
    teardown outer: passed
      http.resource: done
    fail timeout in body hangs
    ");
    assert_eq!(world.rig.deleted(), ["it-0001-item", "it-0001-outer"]);
}

#[tokio::test]
async fn a_spec_ends_at_its_deadline_and_teardown_follows() {
    let world = World::new();
    let text = spec(
        "timeout = \"2s\"",
        &[
            wrap("item", ""),
            step("hangs", "/hang", ""),
            step("after", "/ok", ""),
        ],
    );
    let told = world.run(&text).await;
    assert_snapshot!(told.story, @r"
    setup item: passed
    body hangs: timeout: no end within TIME
    skipped after: step `hangs` did not pass
    teardown item: passed
      http.resource: done
    fail timeout in body hangs
    ");
    assert_eq!(world.rig.deleted(), ["it-0001-item"]);
    // The timer ticks in milliseconds and rounds up; the deadline is what is told.
    for event in told.events {
        if let Event::StepFinished { end, .. } = event {
            assert!(end.duration.as_secs_f64() <= 2.0, "{end:?}");
        }
    }
}

#[tokio::test]
async fn always_has_its_own_deadline_also_when_that_of_the_spec_has_passed() {
    let world = World::new();
    let text = spec(
        "timeout = \"300ms\"",
        &[
            step("hangs", "/hang", ""),
            step("after", "/ok", ""),
            step("clean", "/ok", "always = true"),
            step("hangs-too", "/hang", "always = true\ntimeout = \"100ms\""),
        ],
    );
    assert_snapshot!(world.run(&text).await.story, @r"
    body hangs: timeout: no end within TIME
    skipped after: step `hangs` did not pass
    body clean: passed
    body hangs-too: timeout: no end within TIME
    fail timeout in body hangs
    ");
    assert_eq!(world.rig.count("/ok#clean"), 1);
}

#[tokio::test]
async fn a_teardown_has_its_own_deadline() {
    let world = World::new();
    world.rig.fail("DELETE /items/{id}#inner", Fault::Hang);
    let text = spec(
        "",
        &[
            wrap("outer", ""),
            wrap("inner", "teardown_timeout = \"100ms\""),
            step("look", "/ok", ""),
        ],
    );
    let told = world.run(&text).await;
    assert_snapshot!(told.story, @r"
    setup outer: passed
    setup inner: passed
    body look: passed
    teardown inner: timeout: no end in time
      http.resource: failed
      http.resource: owed
    fail teardown in teardown inner
    ");
    // What is around it comes after it.
    assert_eq!(world.rig.alive(), ["it-0001-inner", "it-0001-outer"]);
    assert_eq!(told.owed_names(), ["it-0001-inner", "it-0001-outer"]);
}

#[tokio::test]
async fn a_retry_passes_in_the_end_or_fails_with_its_last_failure() {
    let world = World::new();
    let retry = "retry = { attempts = 3, delay = \"1ms\" }";
    let text = spec(
        "",
        &[
            step("flaky", "/fail-first?n=2", retry),
            step("broken", "/fail-first?n=3", retry),
        ],
    );
    assert_snapshot!(world.run(&text).await.story, @r#"
    attempt 1 of flaky: status: status is 500, expected 2xx; the body begins: {"status":500,"why":"status as asked"}
    attempt 2 of flaky: status: status is 500, expected 2xx; the body begins: {"status":500,"why":"status as asked"}
    body flaky, retries 2: passed
    attempt 1 of broken: status: status is 500, expected 2xx; the body begins: {"status":500,"why":"status as asked"}
    attempt 2 of broken: status: status is 500, expected 2xx; the body begins: {"status":500,"why":"status as asked"}
    body broken, retries 2: status: status is 500, expected 2xx; the body begins: {"status":500,"why":"status as asked"}
    fail status in body broken
    "#);
    assert_eq!(world.rig.count("/fail-first#flaky"), 3);
    assert_eq!(world.rig.count("/fail-first#broken"), 3);
}

#[tokio::test]
async fn a_hang_is_not_retried_its_deadline_is_for_all_attempts() {
    let world = World::new();
    let text = spec(
        "",
        &[step(
            "hangs",
            "/hang",
            "timeout = \"100ms\"\nretry = { attempts = 3, delay = \"1ms\" }",
        )],
    );
    assert_snapshot!(world.run(&text).await.story, @r"
    body hangs: timeout: no end within TIME
    fail timeout in body hangs
    ");
    assert_eq!(world.rig.count("/hang"), 1);
}

#[tokio::test]
async fn a_create_is_retried_only_if_certainly_nothing_was_made() {
    let retry = "retry = { attempts = 3, delay = \"1ms\" }";
    let text = spec("", &[make("item", retry)]);
    let world = World::new();
    world
        .rig
        .fail("POST /items#item", Fault::FailBeforeEffect(429));
    assert_snapshot!(world.run(&text).await.story, @r#"
    attempt 1 of item: quota: status is 429, expected 2xx; the body begins: {"status":429,"why":"status as asked"}
    attempt 2 of item: quota: status is 429, expected 2xx; the body begins: {"status":429,"why":"status as asked"}
    body item, retries 2: quota: status is 429, expected 2xx; the body begins: {"status":429,"why":"status as asked"}
    fail quota in body item
    "#);
    assert_eq!(world.rig.count("POST /items"), 3);

    let world = World::new();
    world
        .rig
        .fail("POST /items#item", Fault::FailAfterEffect(503));
    assert_snapshot!(world.run(&text).await.story, @r#"
    body item: status: status is 503, expected 2xx; the body begins: {"status":503,"why":"status as asked"}
      http.resource: owed
    fail status in body item
    "#);
    assert_eq!(world.rig.count("POST /items"), 1);
    assert!(world.rig.alive().is_empty());
}

#[tokio::test]
async fn a_create_that_waits_for_its_next_attempt_has_made_nothing() {
    let world = World::new();
    world
        .rig
        .fail("POST /items#item", Fault::FailBeforeEffect(429));
    let keys = "timeout = \"2s\"\nretry = { attempts = 3, delay = \"1h\" }";
    let told = world.run(&spec("", &[make("item", keys)])).await;
    assert_snapshot!(told.story, @r#"
    attempt 1 of item: quota: status is 429, expected 2xx; the body begins: {"status":429,"why":"status as asked"}
    body item: timeout: no end within TIME; the attempt before: status is 429, expected 2xx; the body begins: {"status":429,"why":"status as asked"}
    fail timeout in body item
    "#);
    assert!(told.owed.is_empty());
}

#[tokio::test]
async fn a_poll_waits_until_it_is_so() {
    let world = World::new();
    let until = "poll = { every = \"1ms\", until = { json = { \"/ready\" = true } } }";
    let text = spec(
        "",
        &[
            step("ready", "/ready-after?n=3", until),
            step(
                "ready-too",
                "/ready-after?n=1",
                "poll = { every = \"1ms\" }\nexpect = { json = { \"/ready\" = true } }",
            ),
        ],
    );
    assert_snapshot!(world.run(&text).await.story, @r"
    body ready: passed
    body ready-too: passed
    pass
    ");
    assert_eq!(world.rig.count("/ready-after#ready"), 4);
    assert_eq!(world.rig.count("/ready-after#ready-too"), 2);
}

#[tokio::test]
async fn a_poll_that_waits_in_vain_says_for_what() {
    let world = World::new();
    let until = "timeout = \"500ms\"\npoll = { every = \"50ms\", until = { json = { \"/ready\" = true } } }";
    let text = spec("", &[step("ready", "/ready-after?n=9999999", until)]);
    assert_snapshot!(world.run(&text).await.story, @r"
    body ready: timeout: still waiting after TIME: json /ready is false, expected true
    fail timeout in body ready
    ");
}

#[tokio::test]
async fn what_always_must_hold_ends_a_poll_at_once() {
    let world = World::new();
    let keys = "expect = { status = 200 }\npoll = { every = \"1ms\", until = { json = { \"/ready\" = true } } }";
    let text = spec("", &[step("broken", "/status/500", keys)]);
    assert_snapshot!(world.run(&text).await.story, @r#"
    body broken: status: status is 500, expected 200; the body begins: {"status":500,"why":"status as asked"}
    fail status in body broken
    "#);
    assert_eq!(world.rig.count("/status/500"), 1);
}

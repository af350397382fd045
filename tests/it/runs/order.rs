//! What runs after what: sequences, suites in suites, wrappers, `always`, `allow_failure`.

use insta::assert_snapshot;

use super::{World, make, spec, step, suite, wrap};
use crate::rig::Fault;

#[tokio::test]
async fn the_first_failure_skips_the_rest_which_never_reaches_the_target() {
    let world = World::new();
    let text = spec(
        "",
        &[
            step("first", "/ok", ""),
            step("broken", "/status/500", ""),
            step("second", "/ok", ""),
            suite("suite", "", &[wrap("item", ""), step("third", "/ok", "")]),
        ],
    );
    assert_snapshot!(world.run(&text).await.story, @r#"
    body first: passed
    body broken: status: status is 500, expected 2xx; the body begins: {"status":500,"why":"status as asked"}
    skipped second: step `broken` did not pass
    skipped item: step `broken` did not pass
    skipped third: step `broken` did not pass
    fail status in body broken
    "#);
    assert_eq!(world.rig.count("/ok"), 1);
    assert_eq!(world.rig.count("/items"), 0);
}

#[tokio::test]
async fn a_failing_suite_skips_its_rest_and_that_of_its_parents() {
    let world = World::new();
    let deep = suite(
        "deep",
        "",
        &[
            step("broken", "/status/500", ""),
            step("after-broken", "/ok", ""),
        ],
    );
    let good = suite("good", "", &[step("inside", "/ok", "")]);
    let middle = suite("middle", "", &[good, deep, step("after-deep", "/ok", "")]);
    let text = spec("", &[middle, step("after-middle", "/ok", "")]);
    assert_snapshot!(world.run(&text).await.story, @r#"
    body inside: passed
    body broken: status: status is 500, expected 2xx; the body begins: {"status":500,"why":"status as asked"}
    skipped after-broken: step `broken` did not pass
    skipped after-deep: suite `deep` did not pass
    skipped after-middle: suite `middle` did not pass
    fail status in body broken
    "#);
}

#[tokio::test]
async fn wrappers_begin_outermost_first_and_end_innermost_first() {
    let world = World::new();
    let text = spec(
        "",
        &[
            wrap("outer", ""),
            wrap("inner", ""),
            step("both", "/items/${inner.id}", ""),
        ],
    );
    let told = world.run(&text).await;
    assert_snapshot!(told.story, @r"
    setup outer: passed
    setup inner: passed
    body both: passed
    teardown inner: passed
      http.resource: done
    teardown outer: passed
      http.resource: done
    pass
    ");
    assert_eq!(world.rig.created(), ["it-0001-outer", "it-0001-inner"]);
    assert_eq!(world.rig.deleted(), ["it-0001-inner", "it-0001-outer"]);
    assert!(told.owed.is_empty());
}

#[tokio::test]
async fn wrappers_end_after_a_failure_too() {
    let world = World::new();
    let text = spec(
        "",
        &[
            wrap("outer", ""),
            suite(
                "suite",
                "",
                &[wrap("inner", ""), step("broken", "/status/500", "")],
            ),
            step("after", "/ok", ""),
        ],
    );
    let told = world.run(&text).await;
    assert_snapshot!(told.story, @r#"
    setup outer: passed
    setup inner: passed
    body broken: status: status is 500, expected 2xx; the body begins: {"status":500,"why":"status as asked"}
    teardown inner: passed
      http.resource: done
    skipped after: suite `suite` did not pass
    teardown outer: passed
      http.resource: done
    fail status in body broken
    "#);
    assert_eq!(world.rig.deleted(), ["it-0001-inner", "it-0001-outer"]);
    assert!(told.owed.is_empty());
}

#[tokio::test]
async fn after_half_a_setup_what_was_set_up_is_torn_down() {
    let world = World::new();
    world
        .rig
        .fail("POST /items#second", Fault::FailBeforeEffect(400));
    let text = spec(
        "",
        &[
            wrap("first", ""),
            wrap("second", ""),
            wrap("third", ""),
            step("never", "/ok", ""),
        ],
    );
    let told = world.run(&text).await;
    assert_snapshot!(told.story, @r#"
    setup first: passed
    setup second: status: status is 400, expected 2xx; the body begins: {"status":400,"why":"status as asked"}
    skipped third: setup `second` did not pass
    skipped never: setup `second` did not pass
    teardown first: passed
      http.resource: done
    fail status in setup second
    "#);
    assert_eq!(world.rig.created(), ["it-0001-first"]);
    assert_eq!(world.rig.deleted(), ["it-0001-first"]);
    assert!(told.owed.is_empty());
}

#[tokio::test]
async fn a_resource_as_a_step_is_undone_at_the_end_of_its_suite() {
    let world = World::new();
    let made = suite(
        "suite",
        "",
        &[
            make("one", ""),
            make("two", ""),
            step("look", "/items/${one.id}", ""),
        ],
    );
    let text = spec("", &[made, step("after", "/items", "")]);
    let told = world.run(&text).await;
    assert_snapshot!(told.story, @r"
    body one: passed
    body two: passed
    body look: passed
    teardown two: passed
      http.resource: done
    teardown one: passed
      http.resource: done
    body after: passed
    pass
    ");
    assert_eq!(world.rig.deleted(), ["it-0001-two", "it-0001-one"]);
}

#[tokio::test]
async fn always_runs_after_a_failure_and_changes_no_verdict() {
    let world = World::new();
    let text = spec(
        "",
        &[
            step("broken", "/status/500", ""),
            step("between", "/ok", ""),
            step("last", "/ok", "always = true"),
            step("broken-too", "/status/429", "always = true"),
        ],
    );
    assert_snapshot!(world.run(&text).await.story, @r#"
    body broken: status: status is 500, expected 2xx; the body begins: {"status":500,"why":"status as asked"}
    skipped between: step `broken` did not pass
    body last: passed
    body broken-too: quota: status is 429, expected 2xx; the body begins: {"status":429,"why":"status as asked"}
    fail status in body broken
    "#);
}

#[tokio::test]
async fn always_runs_in_its_own_suite_only() {
    let world = World::new();
    let skipped = suite("skipped", "", &[step("never", "/ok", "always = true")]);
    let text = spec("", &[step("broken", "/status/500", ""), skipped]);
    assert_snapshot!(world.run(&text).await.story, @r#"
    body broken: status: status is 500, expected 2xx; the body begins: {"status":500,"why":"status as asked"}
    skipped never: step `broken` did not pass
    fail status in body broken
    "#);
}

#[tokio::test]
async fn an_allowed_failure_is_told_and_fails_nothing() {
    let world = World::new();
    let text = spec(
        "",
        &[
            step(
                "advert",
                "/status/500",
                "allow_failure = true\ncapture = { id = \"json:/id\" }",
            ),
            step("reader", "/items/${advert.id}", ""),
            suite(
                "readers",
                "",
                &[
                    step("reader-too", "/items/${advert.id}", "always = true"),
                    step("no-reader", "/ok", ""),
                ],
            ),
            step("after", "/ok", ""),
        ],
    );
    assert_snapshot!(world.run(&text).await.story, @r#"
    body advert: status: status is 500, expected 2xx; the body begins: {"status":500,"why":"status as asked"} (allowed)
    skipped reader: ${advert.id} has no value
    skipped reader-too: ${advert.id} has no value
    body no-reader: passed
    body after: passed
    pass
    "#);
    assert_eq!(world.rig.count("/items/{id}"), 0);
}

#[tokio::test]
async fn a_wrapper_whose_input_is_missing_is_skipped_with_all_in_it() {
    let world = World::new();
    let reads = wrap("item", "").replace("path = \"/items?id", "path = \"/items?x=${advert.x}&id");
    let text = spec(
        "",
        &[
            step(
                "advert",
                "/status/500",
                "allow_failure = true\ncapture = { x = \"json:/x\" }",
            ),
            suite("suite", "", &[reads, step("inside", "/ok", "")]),
            step("after", "/ok", ""),
        ],
    );
    assert_snapshot!(world.run(&text).await.story, @r#"
    body advert: status: status is 500, expected 2xx; the body begins: {"status":500,"why":"status as asked"} (allowed)
    skipped item: ${advert.x} has no value
    skipped inside: setup `item` did not pass
    body after: passed
    pass
    "#);
    assert_eq!(world.rig.created().len(), 0);
}

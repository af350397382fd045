//! The table of verdicts and reasons: each row that can be brought about from outside. All that
//! can happen to one request, and `resources` (no descriptors left), is in `faults`.

use std::net::TcpListener;

use super::{World, make, spec, step};
use crate::rig::Fault;

async fn check(world: World, parts: &[String], verdict: &str) {
    let told = world.run(&spec("", parts)).await;
    let last = told.story.lines().last().unwrap();
    assert!(
        last.starts_with(&format!("{verdict} in ")),
        "{verdict}?\n{}",
        told.story
    );
}

fn look(path: &str, keys: &str) -> Vec<String> {
    vec![step("look", path, keys)]
}

#[tokio::test]
async fn what_keeps_a_request_from_its_target() {
    let nowhere = "http://does-not-exist.invalid";
    check(World::new().at(nowhere), &look("/ok", ""), "fail dns").await;
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    check(World::new().at(&closed), &look("/ok", ""), "fail connect").await;
    let world = World::new();
    let plain = world.rig.url().replace("http:", "https:");
    check(world.at(&plain), &look("/ok", ""), "fail tls").await;
}

#[tokio::test]
async fn what_a_target_does_wrong() {
    for (path, keys, verdict) in [
        ("/hang", "timeout = \"50ms\"", "fail timeout"),
        ("/slowbody?ms=100000", "timeout = \"300ms\"", "fail timeout"),
        ("/status/500", "", "fail status"),
        ("/status/302", "", "fail status"),
        ("/status/404", "", "fail status"),
        ("/status/401", "", "fail auth"),
        ("/chain/2", "", "fail auth"),
        ("/status/429", "", "fail quota"),
        ("/ok", "expect = { text = \"x\" }", "fail assertion"),
        (
            "/ok",
            "expect = { header = { a = \"x\" } }",
            "fail assertion",
        ),
        (
            "/delay?ms=20",
            "expect = { max_duration = \"1ms\" }",
            "fail assertion",
        ),
        (
            "/badjson",
            "expect = { json = { \"/ok\" = true } }",
            "fail assertion",
        ),
        ("/ok", "capture = { x = \"json:/x\" }", "fail capture"),
        ("/big?bytes=2", "body_limit = 1", "fail protocol"),
        ("/reset", "", "fail protocol"),
        ("/close", "", "fail protocol"),
    ] {
        check(World::new(), &look(path, keys), verdict).await;
    }
}

#[tokio::test]
async fn what_a_target_does_wrong_to_a_resource() {
    let accepted = [make("item", "expect_refused = { status = 400 }")];
    check(World::new(), &accepted, "fail assertion").await;
    let world = World::new();
    world.rig.fail("DELETE /items/{id}", Fault::Status(500));
    check(world, &[make("item", "")], "fail teardown").await;
    let world = World::new();
    world.rig.fail("POST /items", Fault::Unreadable2xx);
    check(world, &[make("item", "")], "fail capture").await;
}

/// Panic, journal and cancellation stand in `stopping` and `journal`.
#[tokio::test]
async fn what_is_our_own_fault() {
    let secret = |source: &str| World::new().target(&format!("auth = {{ bearer = {source} }}"));
    let unreadable = secret("{ file = \"/does/not/exist\" }");
    check(unreadable, &look("/ok", ""), "error secret").await;
    let unset = secret("{ env = \"TESTERD_TEST_IS_NOT_SET\" }");
    check(unset, &look("/ok", ""), "error secret").await;
    let world = secret("{ file = \"/dev/null\" }");
    let rig = world.rig.clone();
    check(world, &[make("item", "")], "error secret").await;
    assert_eq!(rig.connections(), 0);
    let world = World::new().target("secrets = { x = { file = \"/does/not/exist\" } }");
    let reads = look("/ok", "headers = { x = \"${secret.x}\" }");
    check(world, &reads, "error secret").await;

    let echo = "method = \"POST\"\nbody = '{\"id\":\"\"}'\ncapture = { id = \"json:/echo/id\" }";
    let empty = [
        step("first", "/json", echo),
        step("look", "/items/${first.id}", ""),
    ];
    check(World::new(), &empty, "error input").await;
    let table = "method = \"POST\"\nbody = '{\"id\":{}}'\ncapture = { id = \"json:/echo/id\" }";
    let header = "headers = { x = \"${first.id}\" }";
    check(
        World::new(),
        &[step("first", "/json", table), step("look", "/ok", header)],
        "error input",
    )
    .await;
}

/// The first failing leaf in tree order, whoever's fault it is.
#[tokio::test]
async fn the_first_failure_counts() {
    let parts = [
        step("allowed", "/status/401", "allow_failure = true"),
        step("first", "/status/500", ""),
        step("second", "/status/429", "always = true"),
    ];
    check(World::new(), &parts, "fail status").await;
}

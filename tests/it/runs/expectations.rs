//! What a failed expectation says: what was expected, and what was there.

use super::{World, spec, step};

#[tokio::test]
async fn messages_name_what_was_expected_and_what_was_there() {
    let rows = [
        (
            "/status/503",
            "expect = { status = [200, \"3xx\"] }",
            "status: status is 503, expected 200 or 3xx; the body begins: {\"status\":503,\"why\":\"status as asked\"}",
        ),
        (
            "/status/204",
            "expect = { status = 200 }",
            "status: status is 204, expected 200; the body is empty",
        ),
        (
            "/ok",
            "expect = { header = { content-type = \"text/html\" } }",
            "assertion: header content-type is `application/json`, expected `text/html`",
        ),
        (
            "/ok",
            "expect = { header = { x-none = \"a\" } }",
            "assertion: there is no header x-none, expected `a`",
        ),
        (
            "/ok",
            "expect = { json = { \"/ok\" = \"yes\" } }",
            "assertion: json /ok is true, expected \"yes\"",
        ),
        (
            "/ok",
            "expect = { json = { \"/none\" = 1 } }",
            "assertion: there is no json /none; the body begins: {\"ok\":true}",
        ),
        (
            "/badjson",
            "expect = { json = { \"/ok\" = true } }",
            "assertion: the body is not JSON: it ends too early at line 1, column 10; the body begins: {\"ok\":tru",
        ),
        (
            "/ok",
            "expect = { text = \"fine\" }",
            "assertion: the body does not contain `fine`; the body begins: {\"ok\":true}",
        ),
        (
            "/ok",
            "expect = { matches = \"^fine$\" }",
            "assertion: the body does not match `^fine$`; the body begins: {\"ok\":true}",
        ),
        (
            "/delay?ms=30",
            "expect = { max_duration = \"1ms\" }",
            "assertion: took TIME, expected at most TIME",
        ),
        (
            "/big?bytes=1000",
            "body_limit = 999",
            "protocol: the http answer from RIG is longer than 999 bytes",
        ),
        ("/close", "", "protocol: no http answer from RIG: "),
    ];
    say(&rows).await;
}

#[tokio::test]
async fn messages_name_items_and_whole_bodies() {
    say(&[
        (
            "/ok",
            "expect = { equals = \"{\\\"ok\\\":\" }",
            "assertion: the body is not `{\"ok\":`; the body begins: {\"ok\":true}",
        ),
        (
            "/items",
            "expect = { contains = { \"/found\" = { \"/name\" = \"none\" } } }",
            "assertion: none of the 0 items of json /found has /name = \"none\"",
        ),
        (
            "/ok",
            "expect = { lacks = { \"/found\" = { \"/name\" = \"none\" } } }",
            "assertion: there is no array at json /found",
        ),
    ])
    .await;
}

async fn say(rows: &[(&str, &str, &str)]) {
    let world = World::new();
    for (path, keys, expected) in rows {
        let told = world.run(&spec("", &[step("look", path, keys)])).await;
        let begin = format!("body look: {expected}");
        assert!(
            told.story.starts_with(&begin),
            "{path} {keys}\n{}",
            told.story
        );
    }
}

#[tokio::test]
async fn what_is_as_expected_passes() {
    let rows = [
        ("/status/404", "expect = { status = \"4xx\" }"),
        (
            "/redirect",
            "expect = { status = 302, header = { location = \"/ok\" } }",
        ),
        (
            "/ok",
            "expect = { header = { content-type = \"Application/JSON\" }, json = { \"\" = { ok = true } } }",
        ),
        (
            "/ok",
            "expect = { text = \"ok\", matches = 'o.\":\\w+', max_duration = \"1h\" }",
        ),
        ("/ok", "expect = { equals = \"{\\\"ok\\\":true}\" }"),
        (
            "/items",
            "expect = { lacks = { \"/found\" = [{ \"/name\" = \"a\" }, { \"/name\" = \"b\" }] } }",
        ),
        ("/big?bytes=999", "body_limit = 999"),
    ];
    let world = World::new();
    for (path, keys) in rows {
        let told = world.run(&spec("", &[step("look", path, keys)])).await;
        assert_eq!(told.story, "body look: passed\npass\n", "{path} {keys}");
    }
}

//! Numbers and ids as they were sent, lists as they are captured, and JSON that is too much.

use super::origin::Origin;
use super::{spec, step};

/// Each row's body and keys, and how the step's line of the story begins after its name.
async fn say(rows: &[(&str, &str, &str)]) {
    let target = Origin::on("127.0.0.1").await;
    let world = target.world();
    for (body, keys, expected) in rows {
        target.says("/look", 200, &[], *body);
        let told = world.run(&spec("", &[step("look", "/look", keys)])).await;
        let begin = format!("body look: {expected}");
        assert!(
            told.story.starts_with(&begin),
            "{body} {keys}\n{}",
            told.story
        );
    }
}

const IDS: [&str; 8] = [
    "7",
    "18446744073709551615",
    "18446744073709551616",
    "1236546565217899832645",
    "-9223372036854775809",
    "1e3",
    "1E+3",
    "1.50",
];

#[tokio::test]
async fn a_number_is_sent_as_it_came() {
    let target = Origin::on("127.0.0.1").await;
    let world = target.world();
    for id in IDS {
        target.says("/look", 200, &[], format!("{{\"id\":{id}}}"));
        let first = step("first", "/look", "capture = { id = \"json:/id\" }");
        let second = step(
            "second",
            "/things/${first.id}",
            "method = \"POST\"\nheaders = { x-id = \"${first.id}\" }\n\
             json = { id = \"${first.id}\", all = [\"a ${first.id}\"] }",
        );
        let told = world.run(&spec("", &[first, second])).await;
        assert!(told.story.ends_with("pass\n"), "{}", told.story);
        let heard = target.heard();
        let asked = heard.last().unwrap();
        let path = format!("POST /things/{}?", id.replace('+', "%2B"));
        assert!(asked.line.starts_with(&path), "{}", asked.line);
        assert_eq!(asked.header("x-id"), id);
        let body = format!("{{\"all\":[\"a {id}\"],\"id\":{id}}}");
        assert_eq!(asked.body, body.as_bytes());
    }
}

#[tokio::test]
async fn a_number_is_deleted_as_it_came() {
    let target = Origin::on("127.0.0.1").await;
    for id in IDS {
        let world = target.world();
        target.says("/things", 201, &[], format!("{{\"id\":{id}}}"));
        target.says("/found", 200, &[], "[]");
        let wrap = "[[spec.wrap]]\nname = \"thing\"\nuse = \"http.resource\"\n\
             create = { path = \"/things\", json = {}, expect = { status = 201 }, capture = { id = \"json:/id\" } }\n\
             find = { path = \"/found?name=${run.name}\", items = \"\", match = { \"/name\" = \"${run.name}\" }, capture = { id = \"json:/id\" } }\n\
             delete = { path = \"/things/${thing.id}\", method = \"POST\", json = { id = \"${thing.id}\" } }\n";
        let told = world.run(&spec(wrap, &[step("look", "/look", "")])).await;
        assert!(told.story.ends_with("pass\n"), "{}", told.story);
        let heard = target.heard();
        let path = format!("POST /things/{}", id.replace('+', "%2B"));
        let deleted = heard.iter().find(|asked| asked.line.starts_with(&path));
        let deleted = deleted.unwrap_or_else(|| panic!("{id}: {}", told.story));
        assert_eq!(deleted.body, format!("{{\"id\":{id}}}").as_bytes());
    }
}

#[tokio::test]
async fn equal_is_exactly_equal() {
    const ONE: &str = "{\"seven\": 7.0, \"half\": 10.5, \"id\": 1771234567890123456, \"ids\": [1771234567890123456], \"max\": 18446744073709551615, \"tenth\": 0.1, \"one\": 1.00, \"huge\": 1e999999999}";
    say(&[
        (
            ONE,
            "expect = { json = { \"/id\" = 1_771_234_567_890_123_456, \"/seven\" = +7, \"/half\" = 1_0.5, \"/max\" = 0o1777777777777777777777 } }",
            "passed",
        ),
        (
            ONE,
            "expect = { json = { \"/id\" = 1771234567890123500 } }",
            "assertion: json /id is 1771234567890123456, expected 1771234567890123500",
        ),
        (
            ONE,
            "expect = { json = { \"/max\" = 18446744073709551615 } }",
            "passed",
        ),
        (
            ONE,
            "expect = { json = { \"/max\" = 0xffff_ffff_ffff_ffff } }",
            "passed",
        ),
        (
            ONE,
            "expect = { json = { \"/max\" = 18446744073709551616 } }",
            "assertion: json /max is 18446744073709551615",
        ),
        (
            ONE,
            "expect = { json = { \"/one\" = 1, \"/tenth\" = 1e-1 } }",
            "passed",
        ),
        (
            ONE,
            "expect = { json = { \"/huge\" = 10e999999998 } }",
            "passed",
        ),
        (
            ONE,
            "expect = { json = { \"/huge\" = 1 } }",
            "assertion: json /huge is 1e999999999",
        ),
        (
            ONE,
            "expect = { contains = { \"/ids\" = 1771234567890123456 } }",
            "passed",
        ),
        (
            ONE,
            "expect = { contains = { \"/ids\" = 1771234567890123500 } }",
            "assertion: none of the 1 items of json /ids is 1771234567890123500",
        ),
        (
            ONE,
            "expect = { lacks = { \"/ids\" = { \"\" = 1771234567890123500 } } }",
            "passed",
        ),
        (
            ONE,
            "expect = { lacks = { \"/ids\" = 1771234567890123456.0 } }",
            "assertion: json /ids has an item that is 1771234567890123456.0, expected none",
        ),
        (
            ONE,
            "expect = { json = { '$.ids[*]' = [1771234567890123456] } }",
            "passed",
        ),
    ])
    .await;
}

#[tokio::test]
async fn an_array_has_items_that_are_no_objects() {
    const TAGS: &str = "{\"tags\": [\"a\", \"b\", 3, true], \"none\": []}";
    say(&[
        (
            TAGS,
            "expect = { contains = { \"/tags\" = \"a\" } }",
            "passed",
        ),
        (
            TAGS,
            "expect = { contains = { \"/tags\" = [\"a\", \"b\", 3.0, true] } }",
            "passed",
        ),
        (
            TAGS,
            "expect = { lacks = { \"/tags\" = [\"c\", \"3\", false], \"/none\" = \"a\" } }",
            "passed",
        ),
        (
            TAGS,
            "expect = { contains = { \"/tags\" = [\"a\", \"c\"] } }",
            "assertion: none of the 4 items of json /tags is \"c\"",
        ),
        (
            TAGS,
            "expect = { lacks = { \"/tags\" = \"b\" } }",
            "assertion: json /tags has an item that is \"b\", expected none: \"b\"",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_path_captures_all_that_it_names() {
    let target = Origin::on("127.0.0.1").await;
    let world = target.world();
    target.says(
        "/look",
        200,
        &[],
        "{\"items\":[{\"n\":1},{\"n\":2},{\"n\":3}],\"one\":[9]}",
    );
    for (path, captured) in [
        ("$.items[*].n", "[1,2,3]"),
        ("$.items[?@.n > 1].n", "[2,3]"),
        ("$.items[?@.n == 3].n", "3"),
        ("$.one[*]", "9"),
        ("$.one", "[9]"),
        ("$..n", "[1,2,3]"),
    ] {
        let first = step(
            "first",
            "/look",
            &format!("capture = {{ all = \"jsonpath:{path}\" }}"),
        );
        let second = step(
            "second",
            "/sent",
            "method = \"POST\"\njson = \"${first.all}\"",
        );
        let told = world.run(&spec("", &[first, second])).await;
        assert!(told.story.ends_with("pass\n"), "{path}: {}", told.story);
        assert_eq!(
            target.heard().last().unwrap().body,
            captured.as_bytes(),
            "{path}"
        );
    }
    let keys = "capture = { all = \"jsonpath:$.none[*]\" }";
    let told = world.run(&spec("", &[step("look", "/look", keys)])).await;
    let none = "body look: capture: there is no jsonpath:$.none[*] for the capture `all`";
    assert!(told.story.starts_with(none), "{}", told.story);
}

#[tokio::test]
async fn json_is_read_as_others_read_it_or_the_fault_is_told() {
    let many = |piece: &str| format!("[{}0]", piece.repeat(2_000_000 / piece.len()));
    let long = format!("{{\"ok\":\"{}\"}}", "x".repeat(1_100_000));
    let ok = "expect = { has = [\"/ok\"] }";
    let large = "protocol: the body is not read: to read it takes more than 16 MiB of memory";
    let deep = format!(
        "{{\"ok\":true,\"d\":{}{}}}",
        "[".repeat(200),
        "]".repeat(200)
    );
    let deeper = format!("{}{}", "[".repeat(300), "]".repeat(300));
    let kept = "protocol: the capture `ok`: more than 1 MiB would be kept";
    say(&[
        ("\u{feff}{\"ok\":true}", ok, "passed"),
        ("{\"ok\":true,\"name\":\"x\\ud83d\"}", ok, "passed"),
        ("{\"ok\":true,\"x\":1e400}", ok, "passed"),
        (&deep, ok, "passed"),
        (&deeper, ok, "protocol: the body is not read: it is more than 256 levels deep"),
        (
            "{\"ok\": true,\n \"x\": NaN}",
            ok,
            "assertion: the body is not JSON: expected value at line 2, column 7; the body begins: ",
        ),
        ("", ok, "assertion: the body is not JSON: there is nothing at line 1, column 1; the body is empty"),
        (&many("{\"\":0},"), ok, large),
        (&many("[0],"), ok, large),
        (&many("\"\","), ok, large),
        (&long, ok, "passed"),
        (&long, "capture = { ok = \"json:/ok\" }", kept),
        (&long, "capture = { ok = \"jsonpath:$.ok\" }", kept),
        (&long, "capture = { ok = \"jsonpath:$[*]\" }", kept),
        (&long, "capture = { ok = \"body\" }", kept),
    ])
    .await;
}

#[tokio::test]
async fn what_a_run_keeps_is_bounded() {
    let target = Origin::on("127.0.0.1").await;
    let world = target.world();
    let body = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes));
    target.says("/look", 200, &[], body(900_000));
    let keys = "capture = { a = \"json:/a\" }";
    let steps = |names: &[&str]| {
        let steps: Vec<_> = names.iter().map(|name| step(name, "/look", keys)).collect();
        spec("", &steps)
    };
    let told = world.run(&steps(&["one", "two"])).await;
    assert!(told.story.ends_with("pass\n"), "{}", told.story);
    let told = world.run(&steps(&["one", "two", "three"])).await;
    let much = "body three: protocol: the captures of the run take more than 2 MiB";
    assert!(told.story.contains(much), "{}", told.story);
}

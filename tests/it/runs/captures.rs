//! Values on their way into requests: parameters, captures, and those that mean harm.

use insta::assert_snapshot;
use serde_json::Value;
use testerd::event::Event;

use super::{World, spec, step};

/// What a step sent, as the rig echoes it, told by a failing expectation.
async fn sent(world: &World, keys: &str, json: &str) -> Vec<String> {
    let echo =
        format!("method = \"POST\"\njson = {json}\nexpect = {{ json = {{ \"/echo\" = \"?\" }} }}");
    let scheduled = world.compile(&spec(keys, &[step("echo", "/json", &echo)]));
    let mut told = Vec::new();
    for scheduled in scheduled {
        let message = world
            .run_scheduled(&scheduled)
            .await
            .events
            .iter()
            .find_map(|event| match event {
                Event::StepFinished { end, .. } => Some(end.failure.clone().unwrap().message),
                _ => None,
            });
        let message = message.unwrap();
        let begin = message.strip_prefix("json /echo is ").unwrap();
        told.push(begin.strip_suffix(", expected \"?\"").unwrap().to_owned());
    }
    told
}

#[tokio::test]
async fn the_nearest_parameter_wins() {
    let world = World::new()
        .target("vars = { b = \"vars\", c = \"vars\", d = \"vars\" }")
        .probe("params = { c = \"probe\", d = \"probe\" }");
    let keys = r#"
[spec.params]
a = { default = "default" }
b = { default = "default" }
c = { default = "default" }
d = { default = "default" }
[[spec.matrix]]
variant = "one"
d = "matrix"
[[spec.matrix]]
variant = "two"
"#;
    let json = "{ a = \"${a}\", b = \"${b}\", c = \"${c}\", d = \"${d}\" }";
    let told = sent(&world, keys, json).await;
    assert_eq!(
        told,
        [
            r#"{"a":"default","b":"vars","c":"probe","d":"matrix"}"#,
            r#"{"a":"default","b":"vars","c":"probe","d":"probe"}"#,
        ]
    );
}

#[tokio::test]
async fn a_lone_parameter_keeps_its_type_and_nothing_is_replaced_twice() {
    let world = World::new();
    let keys = r#"
[spec.params]
n = { default = 7 }
t = { default = { x = [1, true] } }
s = { default = "${n} ${run.id}" }
"#;
    let json = r#"{ n = "${n}", text = "n=${n}", t = "${t}", s = "${s}", plain = "$${n} $5", names = "${run.name} ${run.id} ${target.name}" }"#;
    let told = sent(&world, keys, json).await;
    let told: Value = serde_json::from_str(&told[0]).unwrap();
    let expected = serde_json::json!({
        "n": 7, "text": "n=7", "t": { "x": [1, true] }, "s": "${n} ${run.id}",
        "plain": "${n} $5", "names": "it-0001 0001 rig",
    });
    assert_eq!(told, expected);
}

#[tokio::test]
async fn values_are_encoded_in_paths_and_sent_as_they_are_elsewhere() {
    let world = World::new();
    let odd = "a b/c?d#e&f=g%20ä";
    let keys = format!("[spec.params]\nodd = {{ default = \"{odd}\" }}");
    let told = sent(&world, &keys, "{ odd = \"${odd}\" }").await;
    assert_eq!(told, [format!("{{\"odd\":\"{odd}\"}}")]);

    world.rig.seed(odd);
    let look = step(
        "look",
        "/items?name=${odd}",
        "expect = { json = { \"/found/0/name\" = \"${odd}\" } }",
    );
    let told = world.run(&spec(&keys, &[look])).await;
    assert_snapshot!(told.story, @r"
    body look: passed
    pass
    ");
}

#[tokio::test]
async fn captures_come_from_every_part_of_an_answer() {
    let world = World::new();
    let first = step(
        "first",
        "/chain/1",
        "capture = { token = \"json:/token\", type = \"header:content-type\", status = \"status\", body = \"body\" }",
    );
    let second = step(
        "second",
        "/chain/2",
        "headers = { x-token = \"${first.token}\" }",
    );
    let echo = step(
        "echo",
        "/json",
        r#"method = "POST"
json = { status = "${first.status}", type = "${first.type}", body = "${first.body}" }
expect = { json = { "/echo/status" = 200, "/echo/type" = "application/json", "/echo/body" = "${first.body}" } }"#,
    );
    let told = world.run(&spec("", &[first, second, echo])).await;
    assert_snapshot!(told.story, @r"
    body first: passed
    body second: passed
    body echo: passed
    pass
    ");
}

#[tokio::test]
async fn a_capture_that_is_not_there_fails_its_step() {
    let world = World::new();
    let capture = |name: &str, from: &str| {
        step(
            name,
            "/ok",
            &format!("allow_failure = true\ncapture = {{ x = \"{from}\" }}"),
        )
    };
    let told = world
        .run(&spec(
            "",
            &[
                capture("pointer", "json:/no/such"),
                capture("header", "header:x-none"),
                step(
                    "not-json",
                    "/big?bytes=3",
                    "allow_failure = true\ncapture = { x = \"json:\" }",
                ),
            ],
        ))
        .await;
    assert_snapshot!(told.story, @r"
    body pointer: capture: there is no json:/no/such for the capture `x` (allowed)
    body header: capture: there is no header:x-none for the capture `x` (allowed)
    body not-json: capture: the capture `x`: the body is not JSON: expected value at line 1, column 1 (allowed)
    pass
    ");
}

/// A create that answers with `body`, whose `/id` is taken for the id of the thing made.
fn hostile(body: &str) -> String {
    format!(
        r#"[[spec]]
name = "s"
[[spec.wrap]]
name = "item"
use = "http.resource"
create = {{ path = "/json", body = '{body}', capture = {{ id = "json:/echo/id" }} }}
find = {{ path = "/items?name=${{run.name}}", items = "/found", match = {{ "/name" = "${{run.name}}" }}, capture = {{ id = "json:/id" }} }}
delete = {{ path = "/items/${{item.id}}" }}
[[spec.steps]]
name = "look"
use = "http"
path = "/items/${{item.id}}"
allow_failure = true
"#
    )
}

#[tokio::test]
async fn an_id_that_is_none_names_nothing_to_delete() {
    for body in [
        r#"{"id":""}"#,
        r#"{"id":null}"#,
        r#"{"id":{"a":1}}"#,
        r#"{"id":[1]}"#,
        r#"{"other":1}"#,
    ] {
        let world = World::new();
        world.rig.seed("stranger");
        let told = world.run(&hostile(body)).await;
        assert!(
            told.story.ends_with("fail capture in setup item\n"),
            "{}",
            told.story
        );
        // Nobody knows what was made, so it is looked for by its name.
        assert_eq!(world.rig.count("GET /items"), 1, "{body}");
        assert_eq!(told.owed.len(), 1, "{body}");
        assert_eq!(world.rig.count("/items/{id}"), 0, "{body}");
        assert_eq!(world.rig.alive(), ["stranger"], "{body}");
    }
}

#[tokio::test]
async fn an_id_that_means_another_path_stays_one_segment() {
    for (id, asked) in [
        ("1/../../users", "/items/1%2F..%2F..%2Fusers"),
        ("../users", "/items/..%2Fusers"),
        ("%2e%2e", "/items/%252e%252e"),
        ("1?force=true", "/items/1%3Fforce%3Dtrue"),
        ("1#", "/items/1%23"),
    ] {
        let world = World::new();
        world.rig.seed("stranger");
        let told = world.run(&hostile(&format!(r#"{{"id":"{id}"}}"#))).await;
        assert_eq!(
            world.rig.count(&format!("DELETE {asked}")),
            1,
            "{}",
            told.story
        );
        assert_eq!(
            world.rig.count(&format!("GET {asked}")),
            1,
            "{}",
            told.story
        );
        assert_eq!(world.rig.alive(), ["stranger"], "{id}");
    }
}

#[tokio::test]
async fn a_dotted_id_is_refused_before_anything_is_sent() {
    for id in [".", ".."] {
        let world = World::new();
        world.rig.seed("stranger");
        let told = world.run(&hostile(&format!(r#"{{"id":"{id}"}}"#))).await;
        assert!(
            told.story
                .contains(&format!("`{id}` cannot be put into a path"))
        );
        assert!(
            told.story.ends_with("error input in body look\n"),
            "{}",
            told.story
        );
        assert_eq!(told.owed.len(), 1, "what was made has no usable id: {id}");
        assert_eq!(world.rig.count("/items/{id}"), 0, "{id}");
    }
}

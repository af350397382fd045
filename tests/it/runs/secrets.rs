//! Secrets in no form in anything that is told, also when the target says them back.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};

use super::{Told, World, spec, step};

const SECRET: &str = "pa ss/w\"ö?rd+1";

/// The forms in which it may come back.
fn forms() -> Vec<String> {
    let json = serde_json::Value::from(SECRET).to_string();
    vec![
        SECRET.to_owned(),
        json[1..json.len() - 1].to_owned(),
        json.replace('/', "\\/")
            .replace('ö', "\\u00f6")
            .trim_matches('"')
            .to_owned(),
        "pa%20ss%2Fw%22%C3%B6%3Frd%2B1".to_owned(),
        "pa%20ss%2fw%22%c3%b6%3frd%2b1".to_owned(),
        "pa+ss%2Fw%22%C3%B6%3Frd%2B1".to_owned(),
        "pa%20ss/w%22%C3%B6?rd+1".to_owned(),
        BASE64_STANDARD.encode(SECRET),
        BASE64_URL_SAFE_NO_PAD.encode(SECRET),
        BASE64_STANDARD.encode(format!("user:{SECRET}")),
        BASE64_STANDARD.encode(format!("us:{SECRET}!")),
        BASE64_STANDARD.encode(format!("u:{SECRET}!!")),
    ]
}

/// Looks for any part of the secret that is long enough to help somebody.
fn assert_hushed(told: &Told, case: &str) {
    let all = format!("{:?}\n{:?}\n{}", told.events, told.owed, told.story);
    for part in [
        "pa ss", "w\\\"ö", "ö?rd", "?rd+", "pa%20ss", "pa+ss", "%C3%B6", "rd%2B1",
    ] {
        assert!(!all.contains(part), "{case}: {part}\n{}", told.story);
    }
    for form in forms() {
        // The first and last characters of base64 hold bits of the neighbours too.
        let middle: String = form
            .chars()
            .skip(4)
            .take(form.chars().count().saturating_sub(9))
            .collect();
        assert!(!all.contains(&middle), "{case}: {middle}\n{}", told.story);
    }
}

fn toml(text: &str) -> String {
    toml_string(text)
}

/// A TOML basic string takes the escapes of JSON.
fn toml_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A world whose target's password is the secret, in a file.
fn world(folder: &tempfile::TempDir, auth: &str) -> World {
    let path = folder.path().join("secret");
    std::fs::write(&path, format!("{SECRET}\n")).unwrap();
    let file = toml(path.to_str().unwrap());
    World::new().target(&format!(
        "auth = {}",
        auth.replace("FILE", &format!("{{ file = {file} }}"))
    ))
}

const BASIC: &str = "{ username = \"user\", password = FILE }";

#[tokio::test]
async fn what_the_target_echoes_of_its_own_authentication() {
    let folder = tempfile::tempdir().unwrap();
    let echo = "method = \"POST\"\njson = {}\nexpect = { text = \"@\" }\nretry = { attempts = 2, delay = \"1ms\" }";
    let world = world(&folder, BASIC);
    let told = world.run(&spec("", &[step("echo", "/json", echo)])).await;
    assert!(
        told.story.contains("\"authorization\":\"Basic [secret]\""),
        "{}",
        told.story
    );
    assert_hushed(&told, BASIC);
    let again = world
        .run(&spec(
            "",
            &[step(
                "echo",
                "/json",
                &echo.replace("text = \"@\"", "header = { content-type = \"?\" }"),
            )],
        ))
        .await;
    assert_hushed(&again, BASIC);
}

#[tokio::test]
async fn what_the_target_echoes_in_other_forms() {
    let folder = tempfile::tempdir().unwrap();
    for form in forms() {
        let echo = format!(
            "method = \"POST\"\njson = {{ a = {} }}\nexpect = {{ text = \"@\" }}",
            toml(&form)
        );
        let told = world(&folder, BASIC)
            .run(&spec("", &[step("echo", "/json", &echo)]))
            .await;
        assert!(told.story.contains("[secret]"), "{form}: {}", told.story);
        assert_hushed(&told, &form);
    }
}

/// A message shows only the beginning of a body, which may end in the middle of a secret.
#[tokio::test]
async fn a_secret_that_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(&folder, BASIC);
    for form in [
        SECRET.to_owned(),
        BASE64_STANDARD.encode(format!("user:{SECRET}")),
    ] {
        let steps: Vec<_> = (165..195)
            .map(|before| {
                let padding = "-".repeat(before);
                let body = toml(&format!("{{\"a\":\"{padding}{}\"}}", form.replace('"', "\\\"")));
                let keys = format!("method = \"POST\"\nbody = {body}\nallow_failure = true\nexpect = {{ text = \"@\" }}");
                step(&format!("s{before}"), "/json", &keys)
            })
            .collect();
        let told = world.run(&spec("", &steps)).await;
        assert_hushed(&told, &form);
    }
}

fn login(capture: &str) -> String {
    let json = format!("{{ token = {} }}", toml(SECRET));
    step(
        "login",
        "/json",
        &format!("method = \"POST\"\njson = {json}\n{capture}"),
    )
}

const CAPTURE: &str = "capture = { token = { from = \"json:/echo/token\", secret = true } }";

#[tokio::test]
async fn a_captured_secret_is_kept_out_of_what_follows() {
    let world = World::new();
    let echo = "method = \"POST\"\njson = { token = \"${login.token}\" }\nallow_failure = true\nexpect = { json = { \"/echo/token\" = \"?\" } }";
    let expected = "method = \"POST\"\njson = { token = \"?\" }\nexpect = { json = { \"/echo/token\" = \"${login.token}\" } }";
    let text = spec(
        "",
        &[
            login(CAPTURE),
            step("echo", "/json", echo),
            step("expected", "/json", expected),
        ],
    );
    let told = world.run(&text).await;
    assert!(
        told.story
            .contains("json /echo/token is \"[secret]\", expected \"?\""),
        "{}",
        told.story
    );
    assert!(
        told.story
            .contains("json /echo/token is \"?\", expected \"[secret]\""),
        "{}",
        told.story
    );
    assert_hushed(&told, "captured");
}

/// The answer holds the secret, but the step fails before anything is captured.
#[tokio::test]
async fn a_secret_is_kept_out_of_the_failure_of_its_own_step() {
    let world = World::new();
    for keys in [
        "expect = { text = \"@\" }",
        "expect = { json = { \"/echo\" = \"?\" } }",
        "expect = { status = 400 }\nretry = { attempts = 2, delay = \"1ms\" }",
        "timeout = \"200ms\"\npoll = { every = \"10ms\", until = { text = \"@\" } }",
    ] {
        let told = world
            .run(&spec("", &[login(&format!("{keys}\n{CAPTURE}"))]))
            .await;
        assert!(told.story.contains("[secret]"), "{}", told.story);
        assert_hushed(&told, keys);
    }
}

/// The answer holds the secret, but not where it is looked for: nobody can learn it.
#[tokio::test]
async fn what_holds_a_secret_that_was_not_found_is_not_shown() {
    let world = World::new();
    let capture = "capture = { token = { from = \"json:/token\", secret = true } }";
    for (keys, told) in [
        ("", "there is no json:/token for the capture `token`"),
        ("expect = { status = 201 }", "status is 200, expected 201"),
        ("expect = { text = \"@\" }", "the body does not contain `@`"),
        (
            "expect = { not_matches = \"echo\" }",
            "the body matches `echo`",
        ),
        ("expect = { has = [\"/x\"] }", "there is no json /x"),
        (
            "expect = { json = { \"/echo\" = \"?\" } }",
            "json /echo is not \"?\"",
        ),
        (
            "expect = { schema = { type = \"array\" } }",
            "the body does not follow the schema",
        ),
        (
            "retry = { attempts = 2, delay = \"1ms\" }\nexpect = { text = \"@\" }",
            "the body does not",
        ),
        (
            "timeout = \"200ms\"\npoll = { every = \"10ms\", until = { text = \"@\" } }",
            "still waiting",
        ),
    ] {
        let text = spec("", &[login(&format!("{keys}\n{capture}"))]);
        let told_of = world.run(&text).await;
        assert!(told_of.story.contains(told), "{keys}: {}", told_of.story);
        assert!(
            !told_of.story.contains("begins"),
            "{keys}: {}",
            told_of.story
        );
        assert_hushed(&told_of, keys);
    }
}

/// A secret that cannot be read is the concern of those who read it.
#[tokio::test]
async fn a_secret_that_cannot_be_read_stops_who_needs_it() {
    let world = World::new().target("secrets = { lost = { file = \"/no/such/file\" } }");
    let needs = "headers = { x = \"${secret.lost}\" }";
    for (steps, told) in [
        (vec![step("look", "/ok", "")], "pass"),
        (vec![step("need", "/ok", needs)], "error"),
        (
            vec![step("look", "/ok", ""), step("need", "/ok", needs)],
            "body look: passed",
        ),
        (
            vec![
                step("need", "/ok", needs),
                step("look", "/ok", "always = true"),
            ],
            "body look: passed",
        ),
    ] {
        let heard = world.run(&spec("", &steps)).await;
        assert!(heard.story.contains(told), "{}", heard.story);
    }
}

#[tokio::test]
async fn what_is_inside_a_captured_table_is_secret_too() {
    let world = World::new();
    let keys = "capture = { all = { from = \"json:/echo\", secret = true } }\n";
    let echo = format!(
        "method = \"POST\"\njson = {{ x = {} }}\nexpect = {{ text = \"@\" }}",
        toml(SECRET)
    );
    let told = world
        .run(&spec("", &[login(keys), step("echo", "/json", &echo)]))
        .await;
    assert_hushed(&told, "table");
}

/// A resource's secret capture goes neither into the journal nor into its failures.
#[tokio::test]
async fn a_secret_of_a_resource_is_not_written_down() {
    let text = format!(
        r#"[[spec]]
name = "s"
[[spec.steps]]
name = "item"
use = "http.resource"
create = {{ path = "/json", json = {{ id = 1, key = {} }}, capture = {{ id = "json:/echo/id", key = {{ from = "json:/echo/key", secret = true }} }} }}
find = {{ path = "/items?name=${{run.name}}", items = "/found", match = {{ "/name" = "${{run.name}}" }}, capture = {{ id = "json:/id" }} }}
delete = {{ path = "/status/500" }}
"#,
        toml(SECRET)
    );
    let told = World::new().run(&text).await;
    assert_eq!(told.owed.len(), 1);
    assert_eq!(told.owed[0].captures.keys().collect::<Vec<_>>(), ["id"]);
    assert!(told.owed[0].may_show_secrets);
    assert_hushed(&told, "owed");

    let broken = text.replace(
        "capture = { id = \"json:/echo/id\"",
        "expect = { text = \"@\" }, capture = { id = \"json:/echo/id\"",
    );
    let told = World::new().run(&broken).await;
    assert!(told.story.contains("[secret]"), "{}", told.story);
    assert_hushed(&told, "broken");
}

/// The jar knows a cookie before anybody else does: also the step that it comes in says nothing.
#[tokio::test]
async fn a_cookie_that_the_target_sets() {
    let world = World::new();
    let echo = "method = \"POST\"\njson = {}\nallow_failure = true\n\
                expect = { text = \"@\" }\nretry = { attempts = 2, delay = \"1ms\" }";
    let set = "allow_failure = true\nexpect = { header = { set-cookie = \"?\" } }";
    let told = world
        .run(&spec(
            "",
            &[
                step("before", "/json", echo),
                step("set", "/cookie?set=session%3Dhush-hush;%20Path%3D/", set),
                step("echo", "/json", echo),
                step("capture", "/ok", "capture = { x = \"json:/x\" }"),
            ],
        ))
        .await;
    let all = format!("{:?}", told.events);
    assert!(!all.contains("hush"), "{}", told.story);
    assert!(all.contains("`session=[secret]; Path=/`"), "{}", told.story);
    assert_eq!(
        all.matches(r#"\"cookie\":\"session=[secret]\""#).count(),
        2,
        "{all}"
    );
}

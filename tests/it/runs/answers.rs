//! What is sent, byte by byte, and what is expected of how an answer came: over which HTTP and TLS,
//! packed or not, how fast, and what its body is as a whole.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::Version;

use super::origin::{Authority, Origin, Speaks};
use super::{World, spec, step};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Each row's keys, and how the step's line of the story begins after its name.
async fn say(world: &World, rows: &[(&str, &str)]) {
    for (keys, expected) in rows {
        let told = world.run(&spec("", &[step("look", "/look", keys)])).await;
        let begin = format!("body look: {expected}");
        assert!(told.story.starts_with(&begin), "{keys}\n{}", told.story);
    }
}

#[tokio::test]
async fn a_form_of_several_parts() {
    let target = Origin::on("127.0.0.1").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a \"b\".bin");
    std::fs::write(&file, b"\0\r\n--\xff").unwrap();
    let file = serde_json::Value::from(file.to_str().unwrap());
    let keys = format!(
        "method = \"POST\"\n\
         [[spec.steps.multipart]]\nname = \"who\"\ntext = \"${{run.name}} ö\"\n\
         [[spec.steps.multipart]]\nname = \"json\"\ntext = \"{{}}\"\ntype = \"application/json\"\n\
         [[spec.steps.multipart]]\nname = \"a\\\"b\"\ntext = \"x\"\nfilename = \"n\\nx\"\n\
         [[spec.steps.multipart]]\nname = \"raw\"\nfile = {file}\n\
         [[spec.steps.multipart]]\nname = \"raw\"\nfile = {file}\nfilename = \"c.csv\"\ntype = \"text/csv\""
    );
    say(&target.world(), &[(&keys, "passed")]).await;
    let [asked] = &target.heard()[..] else {
        panic!("one request");
    };
    let media_type = asked.header("content-type");
    let boundary = media_type
        .strip_prefix("multipart/form-data; boundary=")
        .unwrap();
    let part = |head: &str, body: &[u8]| {
        let head = format!("--{boundary}\r\ncontent-disposition: form-data; {head}\r\n\r\n");
        [head.as_bytes(), body, b"\r\n"].concat()
    };
    let raw = b"\0\r\n--\xff";
    let expected = [
        part("name=\"who\"", "it-0001 ö".as_bytes()),
        part("name=\"json\"\r\ncontent-type: application/json", b"{}"),
        part("name=\"a%22b\"; filename=\"n%0Ax\"", b"x"),
        part(
            "name=\"raw\"; filename=\"a %22b%22.bin\"\r\ncontent-type: application/octet-stream",
            raw,
        ),
        part(
            "name=\"raw\"; filename=\"c.csv\"\r\ncontent-type: text/csv",
            raw,
        ),
        format!("--{boundary}--\r\n").into_bytes(),
    ];
    assert_eq!(asked.body, expected.concat());
    assert_eq!(asked.header("content-length"), asked.body.len().to_string());
}

#[tokio::test]
async fn a_file_as_a_body() {
    let target = Origin::on("127.0.0.1").await;
    let folder = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let file = folder.path().join("body");
    std::fs::write(&file, &content).unwrap();
    let keys = format!("method = \"PUT\"\nbody_file = \"{}\"", file.display());
    say(&target.world(), &[(&keys, "passed")]).await;
    let [asked] = &target.heard()[..] else {
        panic!("one request");
    };
    assert_eq!(
        (&asked.body[..], asked.header("content-type")),
        (&content[..], "")
    );

    let none = folder.path().join("none");
    let (none, folder) = (none.display(), folder.path().display());
    for keys in [
        format!("body_file = \"{none}\""),
        format!("body_file = \"{folder}\""),
        format!("[[spec.steps.multipart]]\nname = \"a\"\nfile = \"{none}\""),
    ] {
        let told = target
            .world()
            .run(&spec("", &[step("look", "/look", &keys)]))
            .await;
        assert!(
            told.story.starts_with("body look: input: cannot read "),
            "{}",
            told.story
        );
        assert!(
            told.story.ends_with("error input in body look\n"),
            "{}",
            told.story
        );
    }
    assert!(target.heard().is_empty(), "nothing is sent");
}

fn packed(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_packed_answer() {
    let target = Origin::on("127.0.0.1").await;
    let world = target.world();
    let gzip = [("content-encoding", "gzip")];
    target.says("/look", 200, &gzip, packed(b"{\"a\":1}"));
    say(
        &world,
        &[
            (
                "compression = true\nexpect = { json = { \"/a\" = 1 } }",
                "passed",
            ),
            (
                "expect = { json = { \"/a\" = 1 } }",
                "assertion: the body is not JSON: expected value at line 1, column 1; ",
            ),
        ],
    )
    .await;
    let heard = target.heard();
    assert_eq!(heard[0].header("accept-encoding"), "gzip, br, zstd");
    assert_eq!(heard[1].header("accept-encoding"), "");

    target.says(
        "/look",
        200,
        &gzip,
        packed("x".repeat(1_000_000).as_bytes()),
    );
    let limit = "compression = true\nbody_limit = 999999";
    let long = "protocol: the unpacked http answer from RIG is longer than 999999 bytes";
    say(
        &world,
        &[
            (limit, long),
            ("compression = true\nbody_limit = 1000000", "passed"),
        ],
    )
    .await;

    let broken = "protocol: the http answer from RIG cannot be unpacked: ";
    target.says("/look", 200, &gzip, "not packed");
    say(&world, &[("compression = true", broken)]).await;
    target.says("/look", 200, &[("content-encoding", "compress")], "x");
    say(&world, &[("compression = true", broken)]).await;
    target.says("/look", 200, &[], "plain");
    say(
        &world,
        &[(
            "compression = true\nexpect = { equals = \"plain\" }",
            "passed",
        )],
    )
    .await;
}

#[tokio::test]
async fn which_http_is_spoken() {
    let ours = Authority::new();
    let both = ours.server(DAY, false, &["h2", "http/1.1"]);
    let old = ours.server(DAY, false, &[]);
    let one = "http_version = \"1.1\"";
    let two = "http_version = \"2\"";
    let any = "http_version = \"any\"";
    let (passed, none) = ("passed", "protocol: RIG speaks no http/2");
    for (speaks, keys, expected, version) in [
        (&both, "", passed, Some(Version::HTTP_11)),
        (&both, one, passed, Some(Version::HTTP_11)),
        (&both, two, passed, Some(Version::HTTP_2)),
        (&both, any, passed, Some(Version::HTTP_2)),
        (&old, two, none, None),
        (&old, any, passed, Some(Version::HTTP_11)),
        (&Speaks::Clear, any, passed, Some(Version::HTTP_11)),
        (&Speaks::ClearTwo, two, passed, Some(Version::HTTP_2)),
    ] {
        let target = Origin::start("127.0.0.1", speaks.clone()).await;
        let world = target.world().target(&ours.trust());
        let expect = match version {
            Some(Version::HTTP_2) => "\nexpect = { http_version = \"2\" }",
            _ => "\nexpect = { http_version = \"1.1\" }",
        };
        say(&world, &[(&format!("{keys}{expect}"), expected)]).await;
        let heard = target.heard().pop().map(|asked| asked.version);
        assert_eq!(heard, version, "{keys}");
    }
    let target = Origin::start("127.0.0.1", both).await;
    say(
        &target.world().target(&ours.trust()),
        &[
            (
                "expect = { http_version = \"2\" }",
                "assertion: the answer is HTTP/1.1, expected HTTP/2.0",
            ),
            (
                "http_version = \"2\"\nexpect = { http_version = \"1.0\" }",
                "assertion: the answer is HTTP/2.0, expected HTTP/1.0",
            ),
            (
                "http_version = \"2\"\nreuse = true\nmethod = \"POST\"\njson = { a = 1 }",
                "passed",
            ),
        ],
    )
    .await;
    assert_eq!(target.heard().pop().unwrap().body, "{\"a\":1}");
}

#[tokio::test]
async fn what_the_tls_handshake_came_to() {
    let ours = Authority::new();
    let clear = Origin::on("127.0.0.1").await;
    let plain = "assertion: the answer did not come over tls";
    say(
        &clear.world(),
        &[
            ("expect = { tls_version = \"1.3\" }", plain),
            ("expect = { tls_resumed = false }", plain),
            ("expect = { cert_valid_for = \"1s\" }", plain),
        ],
    )
    .await;
    let new = Origin::start("127.0.0.1", ours.server(10 * DAY, false, &[])).await;
    say(
        &new.world().target(&ours.trust()),
        &[
            ("expect = { tls_version = \"1.3\", tls_resumed = false, cert_valid_for = \"9days\" }", "passed"),
            ("expect = { tls_version = \"1.2\" }", "assertion: it is tls 1.3, expected 1.2"),
            ("expect = { tls_resumed = true }", "assertion: the tls session was not resumed"),
            ("expect = { cert_valid_for = \"14days\" }", "assertion: the certificate `CN=rcgen self signed cert` expires at "),
        ],
    )
    .await;
    let old = Origin::start("127.0.0.1", ours.server(DAY, true, &[])).await;
    let world = old.world().target(&ours.trust());
    let expect = "expect = { tls_version = \"1.2\" }";
    say(
        &world,
        &[
            (expect, "passed"),
            (
                "expect = { tls_version = \"1.3\" }",
                "assertion: it is tls 1.2, expected 1.3",
            ),
        ],
    )
    .await;
}

/// A session is there to be resumed once a request of the run has had one, of those with the key.
#[tokio::test]
async fn a_tls_session_is_resumed_only_when_asked_for() {
    let ours = Authority::new();
    for only_1_2 in [false, true] {
        let target = Origin::start("127.0.0.1", ours.server(DAY, only_1_2, &[])).await;
        let world = target.world().target(&ours.trust());
        let look = |name: &str, keys: &str, resumed: bool| {
            step(
                name,
                "/look",
                &format!("{keys}\nexpect = {{ tls_resumed = {resumed} }}"),
            )
        };
        let steps = [
            look("whole", "", false),
            look("first", "tls_resume = true", false),
            look("second", "tls_resume = true", true),
            look("never", "", false),
            look("third", "tls_resume = true", true),
        ];
        for _ in 0..2 {
            let told = world.run(&spec("", &steps)).await;
            assert!(told.story.ends_with("\npass\n"), "{}", told.story);
        }
    }
}

#[tokio::test]
async fn what_the_head_of_an_answer_must_be() {
    let target = Origin::on("127.0.0.1").await;
    let headers = [("x-a", "one"), ("x-a", "two"), ("server", "nginx/1.2")];
    target.says("/look", 200, &headers, "hello");
    say(
        &target.world(),
        &[
            ("expect = { header_matches = { server = '^nginx/\\d', x-a = 'one, two$' } }", "passed"),
            ("expect = { header_matches = { server = '^apache' } }", "assertion: header server does not match `^apache`: it is `nginx/1.2`"),
            ("expect = { header_matches = { x-b = '' } }", "assertion: header x-b does not match ``: there is none"),
            ("expect = { no_header = [\"X-B\", \"x-powered-by\"] }", "passed"),
            ("expect = { no_header = [\"x-b\", \"Server\"] }", "assertion: there is a header server: `nginx/1.2`"),
            ("expect = { not_matches = '^$' }", "passed"),
            ("expect = { matches = 'h', not_matches = 'l+' }", "assertion: the body matches `l+`: `ll`"),
            ("expect = { phases = { resolve = \"1us\", tls = \"1us\", first_byte = \"1h\", transfer = \"1h\" } }", "passed"),
            ("expect = { phases = { connect = \"1us\" } }", "assertion: connect took TIME, expected at most TIME"),
        ],
    )
    .await;
    let here = format!("{}/look", target.url);
    let url = |url: &str| format!("expect = {{ url = \"{url}\" }}");
    say(
        &target.world(),
        &[
            (&url(&format!("{here}?id=look")), "passed"),
            (
                &url("${target.name}"),
                "assertion: the answer came from http://RIG/look…, expected rig",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_must_stand_where_in_json() {
    let target = Origin::on("127.0.0.1").await;
    let body = "{\"items\":[{\"name\":\"a\",\"n\":1},{\"name\":\"b\",\"n\":null}],\"all\":[1,2],\"a b\":{\"c\":1.0}}";
    target.says("/look", 200, &[], body);
    say(
        &target.world(),
        &[
            (
                "expect = { json = { '$.items[*].name' = [\"a\", \"b\"] } }",
                "passed",
            ),
            (
                "expect = { json = { '$.items[0].name' = \"a\", '$[\"a b\"].c' = 1 } }",
                "passed",
            ),
            (
                "expect = { json = { '$.items[?@.n == 1].name' = \"a\" } }",
                "passed",
            ),
            (
                "expect = { json = { '$.all' = [1, 2], '$.all[*]' = [1, 2], '$.all[:1]' = [1] } }",
                "passed",
            ),
            (
                "expect = { json = { '$.items[*].name' = \"a\" } }",
                "assertion: json $.items[*].name is [\"a\",\"b\"], expected \"a\"",
            ),
            (
                "expect = { json = { '$.items[2]' = 1 } }",
                "assertion: there is no json $.items[2]; ",
            ),
            (
                "expect = { json = { '$.items[0].n' = 2 } }",
                "assertion: json $.items[0].n is 1, expected 2",
            ),
            (
                "expect = { has = ['/items/0', '$.items[*].n', '$..c'] }",
                "passed",
            ),
            (
                "expect = { has = ['$.items[1].n'] }",
                "assertion: there is no json $.items[1].n; ",
            ),
            (
                "expect = { has = ['$..d'] }",
                "assertion: there is no json $..d; ",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_a_body_must_be_as_a_whole() {
    let target = Origin::on("127.0.0.1").await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        format!("expect = {{ schema_file = \"{}\" }}", path.display())
    };
    let good = file(
        "good",
        "{\"type\":\"object\",\"properties\":{\"ok\":{\"type\":\"boolean\"}}}",
    );
    let strict = file("strict", "{\"properties\":{\"ok\":{\"type\":\"string\"}}}");
    let broken = file("broken", "{");
    let (none, path) = (file("none", ""), folder.path().join("none"));
    std::fs::remove_file(path).unwrap();
    say(
        &target.world(),
        &[
            ("expect = { schema = { type = \"object\", required = [\"ok\"] } }", "passed"),
            ("expect = { schema = '{\"type\":\"object\"}' }", "passed"),
            ("expect = { schema = { required = [\"id\"] } }", "assertion: the body does not follow the schema: \"id\" is a required property"),
            ("expect = { schema = { properties = { ok = { const = false } } } }", "assertion: the body does not follow the schema at json /ok: "),
            (&good, "passed"),
            (&strict, "assertion: the body does not follow the schema at json /ok: true is not of type \"string\""),
            (&broken, "input: the schema in "),
            (&none, "input: the schema in "),
        ],
    )
    .await;
    target.says("/look", 200, &[], "<html>");
    let html = "assertion: the body is not JSON: expected value at line 1, column 1; the body begins: <html>";
    say(&target.world(), &[("expect = { schema = {} }", html)]).await;
}

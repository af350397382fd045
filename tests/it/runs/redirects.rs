//! Redirects: how far they are followed, what the next request is, and who sees our credentials.

use std::time::Duration;

use testerd::event::{Event, HttpPhases};

use super::origin::{Authority, Origin};
use super::{Told, World, spec, step};

/// `Basic` of `user:open-sesame`.
const OURS: &str = "Basic dXNlcjpvcGVuLXNlc2FtZQ==";

/// A target and another origin; they have names of their own, for cookies do not tell ports apart.
async fn two() -> (Origin, Origin) {
    (Origin::on("127.0.0.1").await, Origin::on("localhost").await)
}

fn world(target: &Origin) -> World {
    target
        .world()
        .target("auth = { username = \"user\", password = \"open-sesame\" }\n")
}

async fn follow(world: &World, keys: &str) -> Told {
    let look = "[[spec.steps]]\nname = \"look\"\nuse = \"http\"\npath = \"/go\"\n";
    world.run(&spec("", &[format!("{look}{keys}\n")])).await
}

async fn passes(world: &World, keys: &str) -> Told {
    let told = follow(world, keys).await;
    assert_eq!(told.story, "body look: passed\npass\n", "{keys}");
    told
}

fn phases(told: &Told) -> Vec<HttpPhases> {
    let http = told.events.iter().find_map(|event| match event {
        Event::StepFinished { end, .. } => Some(end.http.clone()),
        _ => None,
    });
    http.unwrap()
}

const SENDS: &str = "redirects = 1\nbody = \"text\"\nheaders = { content-type = \"text/plain\", \
     accept = \"a/b\", cookie = \"own=1\", x-own = \"hush\", proxy-authorization = \"hush\" }\n";

#[tokio::test]
async fn the_next_request_is_made_as_the_status_says() {
    // Status, method, the next method, and whether the body goes along.
    for (status, method, next, body) in [
        (301, "POST", "GET", false),
        (302, "POST", "GET", false),
        (303, "POST", "GET", false),
        (307, "POST", "POST", true),
        (308, "POST", "POST", true),
        (301, "PUT", "PUT", true),
        (302, "PUT", "PUT", true),
        (303, "PUT", "GET", false),
        (307, "DELETE", "DELETE", true),
        (303, "HEAD", "HEAD", true),
        (302, "HEAD", "HEAD", true),
    ] {
        let (target, other) = two().await;
        for to in [&other, &target] {
            let there = format!("{}/there?a=b", to.url);
            target.says("/go", status, &[("location", &there)], "");
            let keys = format!("method = \"{method}\"\n{SENDS}");
            if body && to.url == other.url {
                let told = follow(&world(&target), &keys).await;
                let what = "a redirect that would take the body to another origin";
                assert!(told.story.contains(what), "{}", told.story);
                assert!(other.heard().is_empty(), "{status} {method}");
                target.heard();
                continue;
            }
            passes(&world(&target), &keys).await;
            let heard: Vec<_> = target.heard().into_iter().chain(other.heard()).collect();
            let [first, second] = heard.as_slice() else {
                panic!("two requests");
            };
            let case = format!("{status} {method} {to}", to = to.url);
            assert_eq!(first.line, format!("{method} /go"));
            assert_eq!(second.line, format!("{next} /there?a=b"), "{case}");
            let expected = if body {
                ("text", "text/plain")
            } else {
                ("", "")
            };
            let sent = (second.body.as_ref(), second.header("content-type"));
            assert_eq!(sent, (expected.0.as_bytes(), expected.1), "{case}");
            assert_eq!(second.header("accept"), "a/b", "{case}");
        }
    }
}

#[tokio::test]
async fn credentials_stay_with_the_targets_origin() {
    for status in [301, 302, 303, 307, 308] {
        let (target, other) = two().await;
        let there = format!("{}/there", other.url);
        target.says("/go", status, &[("location", &there)], "");
        let bare = SENDS.replace("body = \"text\"\n", "");
        passes(&world(&target), &format!("method = \"POST\"\n{bare}")).await;
        assert_eq!(target.heard()[0].header("authorization"), OURS);
        let heard = other.heard();
        for secret in ["authorization", "proxy-authorization", "cookie", "x-own"] {
            assert_eq!(heard[0].header(secret), "", "{status} {secret}");
        }
        assert!(heard[0].header("user-agent").starts_with("testerd/"));

        // Those that a spec writes itself stay too, and come back to the target only as its auth.
        let back = format!("{}/back", target.url);
        other.says("/there", status, &[("location", &back)], "");
        let own = "redirects = 2\nheaders = { authorization = \"Bearer hush\" }";
        passes(&world(&target), own).await;
        let at_target: Vec<_> = target
            .heard()
            .iter()
            .map(|asked| asked.header("authorization").to_owned())
            .collect();
        assert_eq!(at_target, ["Bearer hush", OURS]);
        assert_eq!(other.heard()[0].header("authorization"), "");
    }
    // Another port of the same host is another origin.
    let (target, other) = (Origin::on("127.0.0.1").await, Origin::on("127.0.0.1").await);
    target.says("/go", 302, &[("location", &other.url)], "");
    passes(&world(&target), "redirects = 1").await;
    assert_eq!(other.heard()[0].header("authorization"), "");
    // On the target all goes along.
    target.says("/go", 302, &[("location", "/next")], "");
    passes(&world(&target), SENDS).await;
    let heard = target.heard();
    assert_eq!(heard.last().unwrap().header("authorization"), OURS);
    assert_eq!(heard.last().unwrap().header("x-own"), "hush");
}

#[tokio::test]
async fn cookies_follow_their_own_rules() {
    let (target, other) = two().await;
    let there = format!("{}/there", other.url);
    let set = [
        ("location", there.as_str()),
        ("set-cookie", "a=first; Path=/"),
    ];
    target.says("/go", 302, &set, "");
    let back = format!("{}/back", target.url);
    let set = [
        ("location", back.as_str()),
        ("set-cookie", "b=second; Path=/"),
    ];
    other.says("/there", 302, &set, "");
    passes(&world(&target), "redirects = 2").await;
    let cookies = |origin: &Origin| -> Vec<_> {
        let heard = origin.heard();
        heard
            .iter()
            .map(|asked| asked.header("cookie").to_owned())
            .collect()
    };
    assert_eq!(cookies(&target), ["", "a=first"]);
    assert_eq!(cookies(&other), [""]);
}

#[tokio::test]
async fn a_location_is_read_as_browsers_read_it() {
    let (target, other) = two().await;
    let (_, authority) = other.url.split_once("//").unwrap();
    for (location, line) in [
        ("there", "GET /a/there"),
        ("./there?x=1", "GET /a/there?x=1"),
        ("../there", "GET /there"),
        ("/there", "GET /there"),
        ("?x=1", "GET /a/go?x=1"),
        ("/there#part", "GET /there"),
        ("/th ere", "GET /th%20ere"),
        ("/ümlaut", "GET /%C3%BCmlaut"),
    ] {
        target.says("/a/go", 302, &[("location", location)], "");
        let look = step("look", "/a/go", "redirects = 1\nheaders = { x = \"y\" }");
        let look = look.replace("?id=look", "");
        // A query alone leads to the same redirect again; where it led is what counts.
        let told = world(&target).run(&spec("", &[look])).await;
        let heard = target.lines();
        assert_eq!(heard[1], line, "{location}: {}", told.story);
    }
    target.says(
        "/go",
        302,
        &[("location", &format!("//{authority}/there"))],
        "",
    );
    passes(&world(&target), "redirects = 1").await;
    assert_eq!(other.lines(), ["GET /there"]);
}

#[tokio::test]
async fn what_is_below_the_base_path_and_what_is_not() {
    let target = Origin::on("127.0.0.1").await;
    for (location, line) in [
        ("/v1/there", "GET /v1/there"),
        ("there", "GET /v1/there"),
        ("/v10/there", "GET /v10/there"),
        ("/v1", "GET /v1"),
        ("/", "GET /"),
    ] {
        target.says("/v1/go", 302, &[("location", location)], "");
        let world = world(&target).at(&format!("{}/v1", target.url));
        let expected = format!("{}{}", target.url, line.split_once(' ').unwrap().1);
        let keys = format!("redirects = 1\nexpect = {{ url = \"{expected}\" }}");
        passes(&world, &keys).await;
        let heard = target.heard();
        assert_eq!(heard[1].line, line, "{location}");
        assert_eq!(heard[1].header("authorization"), OURS);
    }
}

#[tokio::test]
async fn what_is_no_redirect_is_an_answer() {
    let target = Origin::on("127.0.0.1").await;
    for (status, headers) in [
        (300, vec![("location", "/there")]),
        (302, vec![]),
        (201, vec![("location", "/there")]),
        (304, vec![("location", "/there")]),
    ] {
        target.says("/go", status, &headers, "");
        let keys = format!("redirects = 5\nexpect = {{ status = {status} }}");
        passes(&world(&target), &keys).await;
        assert_eq!(target.lines(), ["GET /go"]);
    }
    // Nobody has asked for it to be followed.
    target.says("/go", 302, &[("location", "/there")], "");
    passes(&world(&target), "expect = { status = 302 }").await;
    assert_eq!(target.lines(), ["GET /go"]);
}

#[tokio::test]
async fn what_is_not_followed_fails_as_protocol() {
    let (target, other) = two().await;
    let elsewhere = format!("{}/there?token=hush", other.url);
    let secret = elsewhere.replace("://", "://user:hush@");
    for (location, keys, what) in [
        (
            "/go",
            "redirects = 3",
            "more than 3 redirects: RIG/go → RIG/go → RIG/go → RIG/go → RIG/go",
        ),
        (
            "/go?x=hush",
            "redirects = 1",
            "more than 1 redirects: RIG/go → RIG/go… → RIG/go…",
        ),
        (
            &elsewhere,
            "redirects = 9\nsame_origin = true",
            "a redirect that leaves its origin: RIG/go → OTHER/there…",
        ),
        (
            &secret,
            "redirects = 9",
            "a redirect to no address, an endpoint holds no user and no password: write them as the target's auth: RIG/go → OTHER/there…",
        ),
        (
            "http://[",
            "redirects = 9",
            "a redirect that leads nowhere, invalid IPv6 address: RIG/go",
        ),
        (
            "ftp://files.example/",
            "redirects = 9",
            "a redirect to no address, an endpoint begins with http:// or https://: write \"http://shop.example:8080\": RIG/go → ftp://files.example/",
        ),
    ] {
        target.says("/go", 302, &[("location", location)], "");
        let told = follow(&world(&target), keys).await;
        let story = told
            .story
            .replace(&other.url, "OTHER")
            .replace("http://RIG", "RIG");
        assert_eq!(
            story,
            format!("body look: protocol: {what}\nfail protocol in body look\n")
        );
        assert!(!format!("{:?}", told.events).contains("hush"), "{location}");
        assert!(other.heard().is_empty(), "{location}");
        target.heard();
    }
    // As many as are allowed are followed, also with `same_origin`.
    target.says("/go", 302, &[("location", "/a")], "");
    target.says("/a", 302, &[("location", "/b")], "");
    passes(&world(&target), "redirects = 2\nsame_origin = true").await;
    assert_eq!(target.lines(), ["GET /go", "GET /a", "GET /b"]);
}

#[tokio::test]
async fn each_request_of_a_chain_has_its_own_phases() {
    let (target, other) = two().await;
    let there = format!("{}/there", other.url);
    target.says("/go", 302, &[("location", &there)], "");
    let keys =
        format!("redirects = 1\nexpect = {{ url = \"{there}\", phases = {{ resolve = \"1h\" }} }}");
    let told = passes(&world(&target), &keys).await;
    let names: Vec<Vec<_>> = phases(&told)
        .iter()
        .map(|phases| phases.taken().map(|(name, _)| name).collect())
        .collect();
    let straight = ["connect", "first_byte", "transfer"];
    let by_name = ["resolve", "connect", "first_byte", "transfer"];
    assert_eq!(names, [&straight[..], &by_name[..]]);
}

#[tokio::test]
async fn from_tls_to_the_clear_and_back() {
    let ours = Authority::new();
    let speaks = || ours.server(Duration::from_secs(86_400), false, &[]);
    let target = Origin::start("127.0.0.1", speaks()).await;
    let clear = Origin::on("127.0.0.1").await;
    let world = || world(&target).target(&ours.trust());
    let there = format!("{}/there", clear.url);
    target.says("/go", 302, &[("location", &there)], "");
    let back = format!("{}/back", target.url);
    clear.says("/there", 302, &[("location", &back)], "");
    passes(&world(), "redirects = 2").await;
    assert_eq!(clear.heard()[0].header("authorization"), "");
    assert_eq!(target.heard()[1].header("authorization"), OURS);
    let told = follow(&world(), "redirects = 2\nsame_origin = true").await;
    assert!(told.story.contains("leaves its origin"), "{}", told.story);
}

#[tokio::test]
async fn who_came_from_elsewhere_is_nobody_at_home() {
    let target = Origin::on("127.0.0.1").await;
    target.says("/go", 302, &[("location", "/next")], "");
    let look = format!(
        "[[spec.steps]]\nname = \"look\"\nuse = \"http\"\nurl = \"{}/go\"\nredirects = 1\n",
        target.url
    );
    let told = world(&target).run(&spec("", &[look])).await;
    assert_eq!(told.story, "body look: passed\npass\n");
    let heard = target.heard();
    assert_eq!(heard.len(), 2);
    for asked in heard {
        assert_eq!(asked.header("authorization"), "", "{}", asked.line);
    }
}

const ITEM: &str = "[[spec.steps]]\nname = \"item\"\nuse = \"http.resource\"\n\
     create = { path = \"/go\", redirects = 1 }\n\
     find = { path = \"/find\", items = \"/found\", match = { \"/name\" = \"${run.name}\" } }\n\
     delete = { path = \"/delete/${run.name}\" }\n";

/// What answers last did not make it, and says nothing of whoever did.
#[tokio::test]
async fn a_refusal_after_a_redirect_is_not_certain() {
    for (more, ends) in [
        ("", "fail status in body item\n"),
        (
            "expect_refused = { status = 404 }\n",
            "fail status in body item\n",
        ),
        ("retry = { attempts = 3 }\n", "fail status in body item\n"),
    ] {
        let target = Origin::on("127.0.0.1").await;
        target.says("/find", 200, &[], "{\"found\":[]}");
        target.says("/go", 303, &[("location", "/look")], "");
        target.says("/look", 404, &[], "");
        let told = world(&target)
            .run(&spec("", &[format!("{ITEM}{more}")]))
            .await;
        assert!(told.story.ends_with(ends), "{more}: {}", told.story);
        assert_eq!(told.owed.len(), 1, "{more}");
        let made = target
            .lines()
            .iter()
            .filter(|line| line.ends_with("/go"))
            .count();
        assert_eq!(made, 1, "{more}");
    }
}

/// It would be undone on the target, where it is not.
#[tokio::test]
async fn a_create_does_not_leave_the_target() {
    let (target, other) = two().await;
    target.says("/find", 200, &[], "{\"found\":[]}");
    let there = format!("{}/there", other.url);
    target.says("/go", 307, &[("location", &there)], "");
    let told = world(&target).run(&spec("", &[ITEM.to_owned()])).await;
    assert!(told.story.contains("leaves its origin"), "{}", told.story);
    assert_eq!(told.owed.len(), 1);
    assert!(other.heard().is_empty());
}

/// Whoever sent us on may have made it all the same.
#[tokio::test]
async fn a_create_that_was_sent_on_to_nobody_is_not_trusted() {
    let target = Origin::on("127.0.0.1").await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}/", closed.local_addr().unwrap());
    drop(closed);
    target.says("/find", 200, &[], "{\"found\":[]}");
    let item = ITEM;
    let world = || world(&target);
    target.says("/go", 302, &[("location", &nobody)], "");
    let told = world().run(&spec("", &[item.to_owned()])).await;
    assert!(
        told.story.ends_with("fail protocol in body item\n"),
        "{}",
        told.story
    );
    assert_eq!(told.owed.len(), 1);
    let direct = world().at(nobody.trim_end_matches('/'));
    let told = direct.run(&spec("", &[item.to_owned()])).await;
    assert!(
        told.story.ends_with("fail connect in body item\n"),
        "{}",
        told.story
    );
    assert!(told.owed.is_empty(), "nothing was sent");
}

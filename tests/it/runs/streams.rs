//! Steps that listen: events on a stream, and messages over a WebSocket, from a target that keeps to
//! the rules and from one that does not.

use futures_util::future::join_all;
use insta::assert_snapshot;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use testerd::event::Event;

use super::{Told, World, spec};

/// A step `listen` on streams that say and end as these do, one after another.
fn listen(streams: &[(&str, &str)], keys: &str) -> String {
    let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let streams: Vec<_> = streams
        .iter()
        .map(|(say, then)| format!("say={}&then={then}", encoded(say)))
        .collect();
    let path = format!("/events?{}", streams.join("&"));
    format!("[[spec.steps]]\nname = \"listen\"\nuse = \"sse\"\npath = \"{path}\"\n{keys}\n")
}

/// A step `talk` with these turns.
fn talk(path: &str, turns: &str, keys: &str) -> String {
    format!(
        "[[spec.steps]]\nname = \"talk\"\nuse = \"websocket\"\npath = \"{path}\"\n\
         exchange = [{turns}]\n{keys}\n"
    )
}

/// A step that fails and says what was captured.
fn show(value: &str) -> String {
    format!(
        "[[spec.steps]]\nname = \"show\"\nuse = \"http\"\npath = \"/ok\"\n\
         expect = {{ text = \"{value}\" }}\n"
    )
}

/// What each step came to, a line each.
async fn told(rows: &[(&str, String)]) -> String {
    let lines = rows.iter().map(|(what, step)| async move {
        let text = spec("", std::slice::from_ref(step));
        let story = World::new().run(&text).await.story;
        format!("{what}: {}\n", story.lines().next().unwrap())
    });
    join_all(lines).await.concat()
}

fn http_phases(told: &Told) -> String {
    let steps = told.events.iter().filter_map(|event| match event {
        Event::StepFinished { end, .. } => Some(&end.http),
        _ => None,
    });
    let attempts = steps.flatten().map(|phases| {
        let taken = phases.taken().map(|(name, _)| name);
        taken.collect::<Vec<_>>().join(" ")
    });
    attempts.collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn the_event_is_waited_for_and_kept() {
    let stream = ": hello\n\nevent: started\ndata: {\"id\":1}\n\nevent: done\ndata: {\"id\":1}\n\n\
                  event: done\ndata: {\"id\":2,\ndata: \"by\":\"m~e\"}\n\n";
    let keys = "until = { event = [\"done\", \"over\"], json = { \"/id\" = 2 } }\n\
                expect = { matches = \"by\" }\n\
                capture = { by = \"json:/by\", all = \"body\", type = \"header:content-type\" }";
    let parts = [
        listen(&[(stream, "hang")], keys),
        show("${listen.by} ${listen.type} ${listen.all}"),
    ];
    let world = World::new();
    let told = world.run(&spec("", &parts)).await;
    assert_snapshot!(told.story, @r#"
    body listen: passed
    body show: assertion: the body does not contain `me text/event-stream {"id":2, "by":"me"}`; the body begins: {"ok":true}
    fail assertion in body show
    "#);
    assert_eq!(
        http_phases(&told),
        "connect first_byte, connect first_byte transfer"
    );
}

#[tokio::test]
async fn how_waiting_for_an_event_fails() {
    let done = "until = { event = \"done\" }";
    let two = "data: 1\n\nevent: x\ndata: 2\n\n";
    let soon = "until = { event = \"done\" }\ntimeout = \"2s\"";
    let rows = [
        ("ended at once", listen(&[("", "end")], done)),
        ("ended", listen(&[("data: 1\n\n", "end")], done)),
        ("ended later", listen(&[(two, "end")], done)),
        (
            "cut off by the end",
            listen(&[("event: done\ndata: 1\n", "end")], done),
        ),
        ("closed", listen(&[("event: done\ndata: 1", "close")], done)),
        (
            "closed in a character",
            listen(&[("data: €~\n", "close")], done),
        ),
        ("nothing in time", listen(&[("", "hang")], soon)),
        ("others in time", listen(&[(two, "hang")], soon)),
        (
            "another in time",
            listen(
                &[("data: 1\n\n", "hang")],
                "until = { json = { \"\" = 2 } }\ntimeout = \"2s\"",
            ),
        ),
    ];
    assert_snapshot!(told(&rows).await, @r#"
    ended at once: body listen: assertion: the stream of events ended before `done` came; no event came
    ended: body listen: assertion: the stream of events ended before `done` came; one other came: `message`
    ended later: body listen: assertion: the stream of events ended before `done` came; 2 others came, the last: `x`
    cut off by the end: body listen: assertion: the stream of events ended before `done` came; no event came
    closed: body listen: protocol: the http answer from RIG broke off: error reading a body from connection: unexpected EOF during chunk size line
    closed in a character: body listen: protocol: the http answer from RIG broke off: error reading a body from connection: unexpected EOF during chunk size line
    nothing in time: body listen: timeout: still waiting after TIME: `done` has not come; no event came
    others in time: body listen: timeout: still waiting after TIME: `done` has not come; 2 others came, the last: `x`
    another in time: body listen: timeout: still waiting after TIME: the event has not come; one other came: `message`: json  is 1, expected 2
    "#);
}

#[tokio::test]
async fn how_an_event_fails() {
    let rows = [
        (
            "failed on",
            listen(
                &[("event: bad\ndata: a\ndata: b\n\n", "hang")],
                "fail_on = { event = [\"bad\"] }",
            ),
        ),
        (
            "failed on others only",
            listen(
                &[("event: bad\ndata: 1\n\nevent: bad\ndata: 2\n\n", "hang")],
                "until = { event = \"done\" }\nfail_on = { event = \"bad\", text = \"2\" }",
            ),
        ),
        (
            "not as expected",
            listen(
                &[("event: done\ndata: 1\n\n", "hang")],
                "expect = { json = { \"\" = 2 } }",
            ),
        ),
        (
            "no capture",
            listen(
                &[("event: done\ndata: 1\n\n", "hang")],
                "capture = { id = \"json:/id\" }",
            ),
        ),
        (
            "too long",
            listen(
                &[("data: 0123456789\n\n", "hang")],
                "body_limit = 10\nreconnect = true",
            ),
        ),
        (
            "no value for it",
            listen(&[("data: 1\n\n", "hang")], "headers = { a = \"\\n\" }"),
        ),
    ];
    assert_snapshot!(told(&rows).await, @r#"
    failed on: body listen: assertion: the event `bad` came; the data begins: a b
    failed on others only: body listen: assertion: the event `bad` came; the data begins: 2
    not as expected: body listen: assertion: json  is 1, expected 2
    no capture: body listen: capture: there is no json:/id for the capture `id`
    too long: body listen: protocol: an event from RIG is longer than 10 bytes
    no value for it: body listen: input: the value of header a holds a control character
    "#);
}

fn at(path: &str, keys: &str) -> String {
    format!("[[spec.steps]]\nname = \"listen\"\nuse = \"sse\"\npath = \"{path}\"\n{keys}\n")
}

#[tokio::test]
async fn what_is_no_stream_of_events() {
    let rows = [
        ("status", at("/status/503", "reconnect = true")),
        ("auth", at("/status/401", "")),
        ("no content", at("/status/204", "")),
        ("type", at("/ok", "")),
        ("endless", at("/big?endless=1&bytes=1000000000", "")),
        ("hangs", at("/hang", "timeout = \"100ms\"")),
        ("reset", at("/reset", "")),
        (
            "a parameter",
            at(
                "/events?say=data:%20a%0A%0A&type=Text/Event-Stream;charset=utf-8",
                "",
            ),
        ),
    ];
    assert_snapshot!(told(&rows).await, @r#"
    status: body listen: status: status is 503, expected 200; the body begins: {"status":503,"why":"status as asked"}
    auth: body listen: auth: status is 401, expected 200; the body begins: {"status":401,"why":"status as asked"}
    no content: body listen: status: status is 204, expected 200; the body is empty
    type: body listen: assertion: content-type is `application/json`, expected `text/event-stream`
    endless: body listen: assertion: there is no content-type, expected `text/event-stream`
    hangs: body listen: timeout: no end within TIME
    reset: body listen: protocol: no http answer from RIG: connection error: Connection reset by peer (os error 104)
    a parameter: body listen: passed
    "#);
}

#[tokio::test]
async fn a_lost_stream_is_asked_for_again() {
    let keys = "until = { event = \"done\" }\nreconnect = true\ncapture = { data = \"body\" }";
    // What was heard before, how it ended, and what the next request says was the last.
    for (heard, then, last) in [
        ("id: a\n\nid: b\ndata: 1", "close", "a"),
        ("id: a\ndata: 1\n\ndata: 2\n\nid: ä\n\n", "end", "ä"),
        ("id: a\n\nid\n\n", "end", "-"),
        ("id: \u{7}\n\n", "end", "-"),
        ("id: a\n\n~\u{20ac}", "close", "a"),
    ] {
        let (heard, done) = (
            format!("retry: 1\n{heard}"),
            "event: done\ndata: {last} {auth}\n\n",
        );
        let world = World::new().target("auth = { bearer = \"hush-hush\" }");
        let step = listen(&[(&heard, then), (done, "hang")], keys);
        let told = world.run(&spec("", &[step, show("${listen.data}")])).await;
        let expected = format!("does not contain `{last} Bearer [secret]`");
        assert!(told.story.contains(&expected), "{heard}: {}", told.story);
        assert_eq!(world.rig.count("/events"), 2);
    }
}

#[tokio::test]
async fn asking_again_ends_with_a_refusal_or_the_deadline() {
    let world = World::new();
    let keys = "until = { event = \"done\" }\nreconnect = true\ntimeout = \"1s\"";
    let step = listen(&[("retry: 0\ndata: 1\n\n", "end")], keys);
    let told = world.run(&spec("", std::slice::from_ref(&step))).await;
    let story = &told.story;
    assert!(
        story.contains("listen: timeout: still waiting after") && story.contains(": `message`"),
        "{story}"
    );
    // Not more often than every 100 ms, whatever the server says.
    assert!(world.rig.count("/events") <= 11);

    let world = World::new();
    let refuse = |rig: &crate::rig::Rig, _: &testerd::runner::Stop| {
        rig.reaches("/events", 2, super::LONG);
        rig.fail("/events", crate::rig::Fault::Status(403));
    };
    let longer = spec("", &[step.replace("\"1s\"", "\"20s\"")]);
    let told = world.run_while(&longer, refuse).await;
    assert_eq!(
        told.story.lines().last().unwrap(),
        "fail auth in body listen"
    );
}

#[tokio::test]
async fn messages_are_exchanged() {
    let turns = r#"
        { until = { text = "hello" } },
        { send = "plain ${run.name}", expect = { text = "plain it-0001" } },
        { send_json = { a = 1 }, expect = { json = { "/a" = 1 } }, capture = { a = "json:/a" } },
        { send = "say 1 2 3 4" },
        { until = { text = "3" } },
        { capture = { next = "body", how = "status", as = "header:sec-websocket-protocol" } },
        { send = "binary", expect = { matches = "^\ufffd" } },
        { send = "hush" },
    "#;
    let parts = [
        talk(
            "/websocket?say=hello&choose=b",
            turns,
            "subprotocol = \"b\"",
        ),
        show("${talk.a} ${talk.next} ${talk.how} ${talk.as}"),
    ];
    let told = World::new().run(&spec("", &parts)).await;
    assert_snapshot!(told.story, @r#"
    body talk: passed
    body show: assertion: the body does not contain `1 4 101 b`; the body begins: {"ok":true}
    fail assertion in body show
    "#);
    assert_eq!(
        http_phases(&told),
        "connect first_byte, connect first_byte transfer"
    );
}

#[tokio::test]
async fn how_an_exchange_fails() {
    let turn = |turn: &str| talk("/websocket", turn, "timeout = \"2s\"");
    let rows = [
        (
            "not as expected",
            turn("{ send = \"a\", expect = { text = \"b\" } }"),
        ),
        (
            "passed over",
            turn("{ send = \"say 1 2\", until = { json = { \"\" = 3 } } }"),
        ),
        ("nothing came", turn("{ send = \"hush\", expect = {} }")),
        (
            "no capture",
            turn("{ send = \"[]\", capture = { a = \"json:/a\" } }"),
        ),
        ("closed", turn("{ send = \"close\", expect = {} }")),
        (
            "closed, as usual",
            turn("{ send = \"close 1000\", expect = {} }"),
        ),
        (
            "closed, and why",
            turn(
                "{ send = \"say 1\" }, { send = \"close 1011 out of tea\", until = { text = \"2\" } }",
            ),
        ),
        (
            "closed before it is said",
            turn("{ send = \"close 4001\" }, { expect = {} }"),
        ),
        ("cut", turn("{ send = \"cut\", expect = {} }")),
        ("reset", turn("{ send = \"reset\", expect = {} }")),
        (
            "too long",
            talk(
                "/websocket",
                "{ send = \"12345\", expect = {} }",
                "body_limit = 4",
            ),
        ),
        (
            "another subprotocol",
            talk("/websocket?choose=b", "", "subprotocol = \"a\""),
        ),
        (
            "no subprotocol",
            talk("/websocket", "", "subprotocol = \"a\""),
        ),
        ("status", talk("/status/503", "", "")),
        ("auth", talk("/status/403", "", "")),
        ("no websocket", talk("/ok", "", "")),
        ("hangs", talk("/hang", "", "timeout = \"100ms\"")),
        ("nothing said", talk("/websocket", "", "")),
        ("said only", turn("{ send = \"close 1011\" }")),
    ];
    assert_snapshot!(told(&rows).await, @r#"
    not as expected: body talk: assertion: the message does not contain `b`; the message begins: a
    passed over: body talk: timeout: still waiting after TIME: json  is 2, expected 3
    nothing came: body talk: timeout: still waiting after TIME: no message came
    no capture: body talk: capture: there is no json:/a for the capture `a`
    closed: body talk: assertion: the server closed; no message came
    closed, as usual: body talk: assertion: the server closed with code 1000; no message came
    closed, and why: body talk: assertion: the server closed with code 1011: out of tea; the message does not contain `2`; the message begins: 1
    closed before it is said: body talk: assertion: the server closed with code 4001; no message came
    cut: body talk: protocol: the websocket to RIG broke off: WebSocket protocol error: Connection reset without closing handshake
    reset: body talk: protocol: the websocket to RIG broke off: IO error: Connection reset by peer (os error 104)
    too long: body talk: protocol: a websocket message from RIG is longer than 4 bytes
    another subprotocol: body talk: protocol: no websocket handshake with RIG: the answer has a subprotocol that was not offered
    no subprotocol: body talk: protocol: no websocket handshake with RIG: the answer has none of the subprotocols that were offered
    status: body talk: status: status is 503, expected 101; the body begins: {"status":503,"why":"status as asked"}
    auth: body talk: auth: status is 403, expected 101; the body begins: {"status":403,"why":"status as asked"}
    no websocket: body talk: status: status is 200, expected 101; the body begins: {"ok":true}
    hangs: body talk: timeout: no end within TIME
    nothing said: body talk: passed
    said only: body talk: passed
    "#);
}

/// A capture that is secret is one for every later message of the same step.
#[tokio::test]
async fn no_secret_is_told() {
    let secret = "{ from = \"json:\", secret = true }";
    let first = format!("{{ send = '\"so-secret\"', capture = {{ a = {secret} }} }}");
    let keys = "timeout = \"2s\"";
    let rows = [
        (
            "expected",
            talk(
                "/websocket",
                &format!("{first}, {{ send = \"so-secret\", expect = {{ text = \"x\" }} }}"),
                keys,
            ),
        ),
        (
            "passed over",
            talk(
                "/websocket",
                &format!("{first}, {{ send = \"so-secret\", until = {{ text = \"x\" }} }}"),
                keys,
            ),
        ),
        (
            "closed",
            talk(
                "/websocket",
                &format!("{first}, {{ send = \"close 1000 so-secret\", expect = {{}} }}"),
                keys,
            ),
        ),
        (
            "itself",
            talk(
                "/websocket",
                &format!(
                    "{{ send = '\"so-secret\"', expect = {{ text = \"x\" }}, capture = {{ a = {secret} }} }}"
                ),
                keys,
            ),
        ),
        (
            "an event",
            listen(
                &[("data: \"so-secret\"\n\n", "end")],
                &format!("until = {{ text = \"x\" }}\ncapture = {{ a = {secret} }}"),
            ),
        ),
        (
            "another event",
            listen(
                &[("data: \"so-secret\"\n\n", "hang")],
                &format!("until = {{ text = \"x\" }}\n{keys}\ncapture = {{ a = {secret} }}"),
            ),
        ),
    ];
    let told = told(&rows).await;
    assert!(!told.contains("so-s"), "{told}");
    assert_eq!(told.matches("[secret]").count(), rows.len(), "{told}");
}

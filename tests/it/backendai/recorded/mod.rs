//! The stand-in answers as the real manager does: every answer that the built-in specs get from it
//! has a shape that was recorded on a real cluster (`tests/backendai/shapes.json`; `README.md` beside
//! it says how).
//!
//! An answer fits if the same call had the same outcome there, with the same media type and headers,
//! a body that `shape` lets pass, and no other events or messages. What no recording can have is in
//! [`UNRECORDED`], with the reason.

mod call;
mod ear;
mod shape;

use std::collections::BTreeSet;
use std::io::Cursor;

use futures_util::future::join_all;
use hyper::header::HeaderMap;
use serde_json::{Map, Value, json};
use testerd::client::EventParser;
use testerd::outcome::{Cause, Verdict};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket};

use super::clock;
use super::cluster::{Cluster, config};
use super::site::Site;
use crate::plans::compile;
use crate::unwind::ENDPOINT;
use ear::{Answer, Ear};
use shape::{alternatives, differences};

const RECORDING: &str = include_str!("../../../backendai/shapes.json");

const NO_PROXY: &str = "there is no app proxy, without which nothing serves a model";
const NO_TEMPLATES: &str =
    "26.9.6 answers 500 to a session from a template, so its specs do not run";
const NO_FILES: &str = "nothing is in the sessions of an agent without containers";

/// What no recording has: front, the beginning of the call, why.
const UNRECORDED: &[(&str, &str, &str)] = &[
    ("app proxy", "", NO_PROXY),
    (
        "manager",
        "GET /scaling-groups/{id}/wsproxy-version",
        NO_PROXY,
    ),
    ("manager", "GET /services", NO_PROXY),
    ("manager", "POST /services", NO_PROXY),
    ("manager", "DELETE /services", NO_PROXY),
    ("manager", "POST /admin/gql endpoint", NO_PROXY),
    (
        "manager",
        "POST /session/_/create-from-template",
        NO_TEMPLATES,
    ),
    ("manager", "POST /session/{id}/download", NO_FILES),
];

/// The headers that are recorded: `NOTED_HEADERS` in `tests/backendai/record.py`.
const HEADERS: &[&str] = &[
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Set-Cookie",
    "Tus-Resumable",
    "Upload-Length",
    "Upload-Offset",
    "X-BackendAI-SessionID",
];

#[test]
fn the_stand_in_answers_as_the_real_manager_does() {
    let recording: Value = RECORDING.parse().unwrap();
    let mut wrong = BTreeSet::new();
    let mut excused = BTreeSet::new();
    for answer in clock::run(everything_said()) {
        let found = compare(&answer, &recording);
        let is_of = |(front, call, _): &&(&str, &str, &str)| {
            *front == answer.front && answer.call.starts_with(call)
        };
        match UNRECORDED.iter().find(is_of) {
            Some(known) if !found.is_empty() => drop(excused.insert(known)),
            _ => wrong.extend(found),
        }
    }
    let wrong: Vec<_> = wrong.into_iter().collect();
    assert!(
        wrong.is_empty(),
        "the stand-in has drifted from the real manager:\n{}\n\
         Is the stand-in wrong? Mend it in src/demo/backendai. Is the recording old, or does it lack \
         what a new spec asks? tests/backendai/README.md says how to record. Can no recording have \
         it? Add it to UNRECORDED here, with the reason.",
        wrong.join("\n")
    );
    let stale: Vec<_> = UNRECORDED
        .iter()
        .filter(|known| !excused.contains(known))
        .collect();
    assert!(stale.is_empty(), "nothing to excuse any more: {stale:?}");
}

/// All answers to all built-in specs, where users are made and where one is lent.
async fn everything_said() -> Vec<Answer> {
    let site = Site::open().await;
    let ear = Ear::at(&site.cluster.stand_in).await;
    let keys = guest(&site.cluster).await;
    let lent = format!("[target.cluster.secrets]\n{keys}[target.cluster.vars]");
    let config = config("*").replace(ENDPOINT, &ear.url());
    let lending = config.replace("[target.cluster.vars]", &lent);
    let plans = [config, lending].map(|config| {
        let plan = compile(&config).unwrap_or_else(|problems| panic!("{problems:#?}"));
        plan.scheduled
    });
    join_all(plans.concat().iter().enumerate().map(async |(nth, spec)| {
        let told = site.run_nth(spec, nth).await;
        let expected = [Verdict::Pass, Verdict::Inconclusive(Cause::NotApplicable)];
        let identity = &spec.info.identity;
        assert!(
            expected.contains(&told.verdict),
            "{identity}:\n{}",
            told.story
        );
    }))
    .await;
    ear.heard()
}

/// Makes a user to be lent, and tells their key pair.
async fn guest(cluster: &Cluster) -> String {
    let query = "mutation { create_user(email: \"guest@example.invalid\", props: { \
        username: \"guest\", password: \"Aa-12345\", need_password_change: false, \
        domain_name: \"default\", role: \"user\", status: \"active\", group_ids: [] }) \
        { keypair { access_key secret_key } } }";
    let answer = cluster.query(query, json!({})).await;
    let keys = &answer["create_user"]["keypair"];
    format!(
        "guest_access_key = {}\nguest_secret_key = {}\n",
        keys["access_key"], keys["secret_key"]
    )
}

/// Every difference between an answer and those of the recording to the same call.
fn compare(answer: &Answer, recording: &Value) -> Vec<String> {
    let said = &answer.said;
    let body = answer.json();
    let outcome = call::outcome(answer.status, body.as_ref().unwrap_or(&Value::Null));
    let call = format!("{} {}: {outcome}", answer.front, answer.call);
    let Some(outcomes) = recording[answer.front].get(&answer.call) else {
        return vec![format!("{call}: nobody has recorded this call")];
    };
    let Some(known) = outcomes.get(&outcome) else {
        let known: Vec<_> = outcomes.as_object().unwrap().keys().cloned().collect();
        let known = known.join(", ");
        let said = String::from_utf8_lossy(said);
        return vec![format!(
            "{call}: the real manager only answers {known}; said: {said}"
        )];
    };
    let mut found = Vec::new();
    match (answer.status, answer.kind()) {
        (101, _) => conversation(said, known, &mut found),
        (_, Some("text/event-stream")) => events(said, &known["events"], &mut found),
        _ => {
            headers(answer, known, &mut found);
            match body {
                Some(body) => differences(&body, &known["body"], "body", &mut found),
                // A file may have none.
                None if said.is_empty() && known["body"] == "bytes" => {}
                None => {
                    let bytes = (!said.is_empty()).then_some("bytes");
                    word("body", bytes, &known["body"], &mut found);
                }
            }
        }
    }
    word("type", answer.kind(), &known["type"], &mut found);
    let told = found.into_iter().map(|found| format!("{call}: {found}"));
    told.collect()
}

/// Something that is recorded as it is, or not at all.
fn word(part: &str, said: Option<&str>, known: &Value, found: &mut Vec<String>) {
    let said = json!(said);
    if !alternatives(known).contains(&said) {
        found.push(format!(
            "`{part}`: the stand-in answers {said}, the real manager {known}"
        ));
    }
}

fn headers(answer: &Answer, known: &Value, found: &mut Vec<String>) {
    let has = |name: &&&str| answer.headers.contains_key(**name);
    let said: Map<_, _> = HEADERS
        .iter()
        .filter(has)
        .map(|name| ((*name).into(), "".into()))
        .collect();
    let known = known.get("headers").cloned().unwrap_or_else(|| json!({}));
    differences(&said.into(), &known, "headers", found);
}

fn events(said: &[u8], known: &Value, found: &mut Vec<String>) {
    let mut parser = EventParser::new(usize::MAX);
    parser.push(said);
    while let Some(event) = parser.pull().unwrap() {
        let name = &event.name;
        let data: Value = event.data.parse().unwrap();
        match known.get(name) {
            Some(shape) => differences(&data, shape, &format!("event {name}"), found),
            None => found.push(format!(
                "event `{name}`: the real manager tells of no such thing: {data}"
            )),
        }
    }
}

/// What was sent over a WebSocket, after the head of the answer.
fn conversation(said: &[u8], known: &Value, found: &mut Vec<String>) {
    let end = said
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let mut socket =
        WebSocket::from_raw_socket(Cursor::new(said[end + 4..].to_vec()), Role::Client, None);
    while let Ok(message) = socket.read() {
        match message {
            Message::Text(text) => {
                let value: Value = text.parse().unwrap();
                differences(&value, &known["received"], "message", found);
            }
            Message::Close(frame) => {
                let code = frame.map(|frame| u16::from(frame.code).to_string());
                word("close", code.as_deref(), &known["closes"], found);
            }
            other => found.push(format!("the stand-in sends {other:?}")),
        }
    }
}

#[test]
fn whatever_differs_is_told() {
    let recording = json!({ "manager": { "GET /x": {
        "200": { "type": "application/json", "body": { "a": "int" }, "headers": { "ETag": "str" } },
        "201": { "type": "text/event-stream", "events": { "begun": { "a": "int" } } },
        "204": {},
        "101": { "received": { "a": "int" }, "closes": "1000" },
    } } });
    let said = |status: u16, kind: &str, said: &[u8]| {
        let mut headers = HeaderMap::new();
        headers.insert("etag", "x".parse().unwrap());
        if !kind.is_empty() {
            headers.insert("content-type", kind.parse().unwrap());
        }
        let answer = Answer {
            front: "manager",
            call: "GET /x".into(),
            status,
            headers,
            said: said.to_vec(),
        };
        compare(&answer, &recording)
    };
    let json = "application/json; charset=utf-8";
    let events = "text/event-stream";
    let frames = |text: &[u8], code: u16| {
        let length = u8::try_from(text.len()).unwrap();
        let frames = [&[0x81, length], text, &[0x88, 2], &code.to_be_bytes()];
        [b"HTTP/1.1 101 Upgrade\r\n\r\n".to_vec(), frames.concat()].concat()
    };
    for (found, differs) in [
        (said(200, json, b"{\"a\": 1}"), None),
        (said(200, json, b"{\"a\": 1.5}"), Some("`body.a`")),
        (said(200, json, b""), Some("`body`")),
        (said(200, "text/plain", b"a"), Some("`type`")),
        (said(204, "", b""), Some("`headers.ETag`")),
        (
            said(404, json, b"{}"),
            Some("only answers 101, 200, 201, 204"),
        ),
        (
            said(201, events, b"event: begun\ndata: {\"a\": 1}\n\n"),
            None,
        ),
        (
            said(201, events, b"event: begun\ndata: {}\n\n"),
            Some("`event begun.a`"),
        ),
        (
            said(201, events, b"event: ended\ndata: {}\n\n"),
            Some("event `ended`"),
        ),
        (said(101, "", &frames(b"{\"a\": 1}", 1000)), None),
        (
            said(101, "", &frames(b"{\"b\": 1}", 1000)),
            Some("`message.b`"),
        ),
        (said(101, "", &frames(b"{\"a\": 1}", 1011)), Some("`close`")),
    ] {
        match differs {
            None => assert_eq!(found, [""; 0]),
            Some(differs) => assert!(found.join("\n").contains(differs), "{differs}: {found:?}"),
        }
    }
}

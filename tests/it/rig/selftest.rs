//! The rig's books and faults, tried before anything is judged by them.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Fault, Rig, Told, ask, ask_with, get};

const SOON: Duration = Duration::from_millis(150);
const LONG: Duration = Duration::from_secs(5);

/// The first bytes that come back to a bare `GET`, or how the connection ended.
fn first_bytes(rig: &Rig, path: &str, within: Duration) -> Result<Vec<u8>, ErrorKind> {
    let mut stream = TcpStream::connect(rig.addr).unwrap();
    stream.set_read_timeout(Some(within)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: rig\r\n\r\n").unwrap();
    let mut bytes = vec![0; 4096];
    let length = stream.read(&mut bytes).map_err(|error| error.kind())?;
    bytes.truncate(length);
    Ok(bytes)
}

fn create(rig: &Rig, name: &str, within: Duration) -> Result<Told, ureq::Error> {
    let url = format!("{}/items", rig.url());
    ask_with("POST", &url, &[], Some(&json!({ "name": name })), within)
}

#[test]
fn requests_are_counted_by_path_method_and_id() {
    let rig = Rig::start();
    let before = Instant::now();
    assert_eq!(get(&format!("{}/ok", rig.url())).status, 200);
    assert_eq!(get(&format!("{}/ok?id=a", rig.url())).status, 200);
    assert_eq!(get(&format!("{}/items/7", rig.url())).status, 404);
    for (key, count) in [
        ("/ok", 2),
        ("GET /ok", 2),
        ("POST /ok", 0),
        ("/ok#a", 1),
        ("/ok#b", 0),
        ("/items/7", 1),
        ("/items/{id}", 1),
    ] {
        assert_eq!(rig.count(key), count, "{key}");
    }
    assert_eq!(rig.connections(), 3);
    let arrivals = rig.arrivals("/ok");
    assert!(before <= arrivals[0] && arrivals[0] <= arrivals[1]);
    assert!(rig.reaches("/ok", 2, SOON) && !rig.reaches("/ok", 3, SOON));
}

#[test]
fn each_path_misbehaves_as_told() {
    let rig = Rig::start();
    let url = |path: &str| format!("{}{path}", rig.url());
    assert_eq!(get(&url("/status/418")).status, 418);
    assert_eq!(get(&url("/status/204")).text, "");
    assert_eq!(get(&url("/badjson")).text, "{\"ok\":tru");
    assert_eq!(get(&url("/redirect?n=2")).status, 302);
    assert_eq!(get(&url("/slowbody?bytes=5&ms=1&chunks=3")).text.len(), 15);
    assert_eq!(get(&url("/big?bytes=200000")).text.len(), 200_000);
    assert_eq!(get(&url("/events?say=a~%C3~%A4{last}")).text, "aä-");
    assert_eq!(get(&url("/cookie?set=a%3D1")).status, 204);
    assert_eq!(get(&url("/websocket")).status, 426);
    assert_eq!(get(&url("/flaky?p=0")).status, 200);
    assert_eq!(get(&url("/flaky?p=1")).status, 500);
    assert_eq!(
        first_bytes(&rig, "/reset", LONG),
        Err(ErrorKind::ConnectionReset)
    );
    assert_eq!(first_bytes(&rig, "/close", LONG), Ok(Vec::new()));
    assert_eq!(first_bytes(&rig, "/hang", SOON), Err(ErrorKind::WouldBlock));
    let asked = Instant::now();
    get(&url("/delay?ms=30"));
    assert!(asked.elapsed() >= Duration::from_millis(30));
    let big = first_bytes(&rig, "/big?bytes=1073741824", LONG).unwrap();
    assert!(String::from_utf8_lossy(&big).contains("content-length: 1073741824"));
}

#[test]
fn answers_that_depend_on_what_came_before() {
    let rig = Rig::start();
    let url = |path: &str| format!("{}{path}", rig.url());
    let ready = |id: &str| get(&url(&format!("/ready-after?n=2&id={id}"))).json()["ready"].clone();
    assert_eq!(
        [ready("a"), ready("a"), ready("b"), ready("a")],
        [false, false, false, true]
    );
    let tried = || get(&url("/fail-first?n=1&id=a")).status;
    assert_eq!([tried(), tried(), tried()], [500, 200, 200]);

    let mut token = get(&url("/chain/1")).json()["token"].clone();
    for step in 2..=4 {
        let path = format!("/chain/{step}?token={}", token.as_str().unwrap());
        token = get(&url(&path)).json()["token"].clone();
    }
    assert!(token.is_string());
    assert_eq!(get(&url("/chain/3")).status, 403);

    let sent = json!({ "a": [1, "ä"] });
    let headers = [("x-token", "t")];
    let told = ask_with("POST", &url("/json"), &headers, Some(&sent), LONG).unwrap();
    assert_eq!(told.json()["echo"], sent);
    assert_eq!(told.json()["headers"]["x-token"], "t");
    assert_eq!(get(&url("/json")).status, 400);
}

#[test]
fn items_live_until_they_are_deleted() {
    let rig = Rig::start();
    let url = |path: &str| format!("{}{path}", rig.url());
    let stranger = rig.seed("run-1-old");
    let made = create(&rig, "run-1", LONG).unwrap();
    let id = made.json()["id"].clone();
    assert_eq!(made.status, 201);
    assert_eq!(rig.alive(), ["run-1", "run-1-old"]);
    let found = get(&url("/items?name=run%2D1")).json()["found"].clone();
    assert_eq!(found[0], json!({ "id": id, "name": "run-1" }));
    assert_eq!(found[1], json!({ "id": stranger, "name": "run-1-old" }));

    let item = url(&format!("/items/{id}"));
    assert_eq!(get(&item).json(), made.json());
    assert_eq!(ask("DELETE", &item, None).status, 204);
    assert_eq!(ask("DELETE", &item, None).status, 404);
    assert_eq!(get(&item).status, 404);
    assert!(rig.comes_to(&["run-1-old"], SOON));
    assert_eq!(
        (rig.created(), rig.deleted()),
        (rig.deleted(), rig.created())
    );
    assert_eq!(rig.deleted(), ["run-1"]);
    assert_eq!(ask("POST", &url("/items"), Some(&json!({}))).status, 400);
}

/// Creates one item under `fault`: the status, if one came, and whether the item is there.
fn check_fault(fault: Fault, status: Option<u16>, has_effect: bool) {
    let rig = Rig::start();
    rig.fail("POST /items", fault);
    let told = create(&rig, "x", if status.is_some() { LONG } else { SOON });
    assert_eq!(told.ok().map(|told| told.status), status, "{fault:?}");
    assert!(rig.reaches("POST /items", 1, LONG), "{fault:?}");
    let alive: &[&str] = if has_effect { &["x"] } else { &[] };
    assert!(rig.comes_to(alive, LONG), "{fault:?}");
    assert_eq!(get(&format!("{}/items", rig.url())).status, 200);
    rig.heal("POST /items");
    assert_eq!(create(&rig, "y", LONG).unwrap().status, 201);
    assert_eq!(rig.alive().len(), 1 + alive.len(), "{fault:?}");
}

#[test]
fn faults_have_their_effect_or_not_and_heal() {
    check_fault(Fault::Status(503), Some(503), false);
    check_fault(Fault::FailBeforeEffect(502), Some(502), false);
    check_fault(Fault::FailAfterEffect(504), Some(504), true);
    check_fault(Fault::Unreadable2xx, Some(201), true);
    check_fault(Fault::Hang, None, false);
    check_fault(Fault::HangAfterEffect, None, true);
    check_fault(Fault::Reset, None, false);
    check_fault(Fault::ResetAfterEffect, None, true);
    check_fault(Fault::LateEffect(LONG), None, false);
}

#[test]
fn an_unreadable_answer_is_a_2xx_that_breaks_off() {
    let rig = Rig::start();
    rig.fail("/items/{id}", Fault::Unreadable2xx);
    let item = format!("{}/items/{}", rig.url(), rig.seed("x"));
    let told = ask("DELETE", &item, None);
    assert_eq!((told.status, told.json()), (200, json!(null)));
    assert!(!told.text.is_empty() && rig.alive().is_empty());
}

#[test]
fn a_late_effect_comes_after_the_client_has_left() {
    let rig = Rig::start();
    rig.fail("/items", Fault::LateEffect(4 * SOON));
    assert!(create(&rig, "late", SOON).is_err());
    assert!(rig.alive().is_empty());
    assert!(rig.comes_to(&["late"], LONG));
}

#[test]
fn the_most_specific_fault_wins() {
    let rig = Rig::start();
    let url = |path: &str| get(&format!("{}{path}", rig.url())).status;
    rig.fail("/ok", Fault::Status(500));
    rig.fail("GET /ok#a", Fault::Status(418));
    assert_eq!(
        [url("/ok"), url("/ok?id=a"), url("/ok?id=b")],
        [500, 418, 500]
    );
}

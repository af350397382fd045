//! What a server does with the second request on a connection, and whether it is asked once more:
//! it is when it certainly did nothing, or when asking does no harm.

use super::server::Server;
use super::{Do, say};
use crate::runs::{World, spec, step};

/// Two requests on one connection, the second by this method; the server does the same on each
/// connection. Returns what came of the run.
async fn twice(script: Vec<Do>, keys: &str, method: &str) -> String {
    let server = Server::start(script, None);
    let world = World::new().at(&format!("http://{}", server.address()));
    let keys = format!("reuse = true\ntimeout = \"3s\"\n{keys}");
    let first = step("first", "/", &keys);
    let second = step("second", "/", &format!("{keys}\nmethod = \"{method}\"\n"));
    world.run(&spec("", &[first, second])).await.story
}

#[tokio::test]
async fn in_http1_harmless_requests_are_made_again() {
    let ok = || say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let begun = || say("HTTP/1.1 200 O");
    for (end, method, passes) in [
        (vec![], "GET", true),
        (vec![Do::Reset], "GET", true),
        (vec![], "OPTIONS", true),
        (vec![begun()], "GET", false),
        (vec![], "POST", false),
        (vec![], "PUT", false),
        (vec![], "DELETE", false),
        (vec![Do::Reset], "POST", false),
    ] {
        let script = [vec![Do::Request, ok(), Do::Request], end.clone()].concat();
        let story = twice(script, "", method).await;
        assert_eq!(
            story.ends_with("pass\n"),
            passes,
            "{method} {end:?}: {story}"
        );
    }
}

#[tokio::test]
async fn in_http2_what_was_not_processed_is_made_again() {
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).unwrap();
        Do::Say([&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat())
    };
    let goaway = |last: u8, code: u8| frame(7, 0, 0, &[0, 0, 0, last, 0, 0, 0, code]);
    let reset = |code: u8| frame(3, 0, 3, &[0, 0, 0, code]);
    for (end, method, passes) in [
        (vec![goaway(1, 0)], "GET", true),
        (vec![goaway(1, 0)], "POST", true),
        (vec![goaway(1, 0), Do::Hold], "DELETE", true),
        (vec![reset(7)], "GET", true),
        (vec![reset(7), Do::Hold], "POST", true),
        // It goes away in anger, or does not say that it did nothing.
        (vec![goaway(1, 11), Do::Hold], "POST", false),
        (vec![goaway(3, 0)], "POST", false),
        (vec![reset(8), Do::Hold], "POST", false),
        (vec![reset(2), Do::Hold], "DELETE", false),
        (vec![], "POST", false),
        (vec![], "GET", true),
    ] {
        let script = vec![
            frame(4, 0, 0, &[]),
            Do::Request2,
            frame(1, 4, 1, &[0x88]),
            frame(0, 1, 1, b"ok"),
            Do::Next2,
        ];
        let script = [script, end.clone()].concat();
        let story = twice(script, "http_version = \"2\"", method).await;
        assert_eq!(
            story.ends_with("pass\n"),
            passes,
            "{method} {end:?}: {story}"
        );
    }
}

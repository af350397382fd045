//! Ways to break HTTP/2, frame by frame (RFC 9113).

use super::{Do, Row, SHORT, Server, say};
use crate::authority::{Authority, Holds};
use crate::runs::World;

const TWO: &str = "http_version = \"2\"";

/// The first that a server says.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

/// A frame on a stream.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Do {
    let length = u8::try_from(payload.len()).unwrap();
    Do::Say([&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat())
}

fn rst_stream(code: u8) -> Do {
    frame(3, 0, 1, &[0, 0, 0, code])
}

/// After which no stream from `last` on is answered.
fn goaway(last: u8, code: u8) -> Do {
    frame(7, 0, 0, &[0, 0, 0, last, 0, 0, 0, code])
}

/// `:status: 200`, with more to come.
fn head() -> Do {
    frame(1, 4, 1, &[0x88])
}

fn after_request(script: Vec<Do>) -> Vec<Do> {
    [vec![Do::Say(SETTINGS.to_vec()), Do::Request2], script].concat()
}

/// In the clear and behind TLS.
async fn check(script: Vec<Do>, keys: &str, verdict: &str, says: &str) {
    let ours = Authority::new("ours");
    let folder = tempfile::tempdir().unwrap();
    let trust = ours.write(folder.path());
    let trust = format!("[target.rig.tls]\nca_file = \"{}\"\n", trust.display());
    for (scheme, tls) in [
        ("http", None),
        ("https", Some(ours.sign(&["127.0.0.1"], Holds::Now))),
    ] {
        let tls = tls.map(|signed| signed.server(&["h2"]));
        let server = Server::start(script.clone(), tls);
        let world = World::new().at(&format!("{scheme}://{}", server.address()));
        let row = Row {
            world: world.target(&trust),
            keys: &format!("{TWO}\n{keys}"),
            verdict,
            says,
        };
        row.check().await;
    }
}

#[tokio::test]
async fn streams_and_connections_that_are_ended() {
    let ended = frame(0, 1, 1, b"ok");
    let protocol = "fail protocol";
    for (script, keys, verdict, says) in [
        (
            vec![head(), ended],
            "expect = { text = \"ok\" }",
            "pass",
            "",
        ),
        (
            vec![goaway(0, 0), Do::Hold],
            SHORT,
            protocol,
            "no http answer from",
        ),
        (
            vec![goaway(0, 11), Do::Hold],
            SHORT,
            protocol,
            "excessive load generating",
        ),
        (
            vec![rst_stream(8), Do::Hold],
            SHORT,
            protocol,
            "stream no longer needed",
        ),
        (
            vec![rst_stream(7), Do::Hold],
            SHORT,
            protocol,
            "refused stream before processing",
        ),
        (
            vec![head(), rst_stream(2), Do::Hold],
            SHORT,
            protocol,
            "unexpected internal error",
        ),
        (vec![head(), Do::Reset], SHORT, protocol, "http answer from"),
        (vec![Do::Reset], SHORT, protocol, "no http answer from"),
        (vec![], SHORT, protocol, "no http answer from"),
        (vec![Do::Hold], SHORT, "fail timeout", "no end within 300"),
        (
            vec![head(), Do::Hold],
            SHORT,
            "fail timeout",
            "no end within 300",
        ),
    ] {
        check(after_request(script), keys, verdict, says).await;
    }
}

#[tokio::test]
async fn frames_that_are_none() {
    let protocol = "fail protocol";
    let says = "unspecific protocol error detected";
    // DATA that nobody has asked for, a header that is none, a frame too short for its kind.
    for frame in [
        frame(0, 0, 0, b"x"),
        frame(1, 4, 1, &[0xff, 0xff, 0xff]),
        frame(4, 0, 0, b"x"),
    ] {
        check(after_request(vec![frame, Do::Hold]), SHORT, protocol, says).await;
    }
}

/// One that answers to HTTP/1.1 only.
#[tokio::test]
async fn servers_that_do_not_speak_it() {
    let plain = vec![
        Do::Read,
        say("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"),
    ];
    let server = Server::start(plain.clone(), None);
    let row = Row {
        world: World::new().at(&format!("http://{}", server.address())),
        keys: TWO,
        verdict: "fail protocol",
        says: "no http answer from",
    };
    row.check().await;

    let ours = Authority::new("ours");
    let folder = tempfile::tempdir().unwrap();
    let trust = ours.write(folder.path());
    let trust = format!("[target.rig.tls]\nca_file = \"{}\"\n", trust.display());
    let protocols: [(&[&str], &str, &str); 2] = [
        (&[], "fail protocol", "speaks no http/2"),
        (&["http/1.1"], "fail tls", "NoApplicationProtocol"),
    ];
    for (protocols, verdict, says) in protocols {
        let signed = ours.sign(&["127.0.0.1"], Holds::Now);
        let server = Server::start(plain.clone(), Some(signed.server(protocols)));
        let world = World::new().at(&format!("https://{}", server.address()));
        let row = Row {
            world: world.target(&trust),
            keys: TWO,
            verdict,
            says,
        };
        row.check().await;
    }
}

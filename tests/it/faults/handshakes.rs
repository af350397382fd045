//! Ways to break a TLS handshake.

use super::{Do, Row, SHORT, Server, say};
use crate::authority::{Authority, Holds, Signed};
use crate::runs::World;

/// A target behind TLS, whose certificate is to be signed by this authority and no other.
fn behind(server: &Server, ours: &Authority, folder: &tempfile::TempDir) -> World {
    let file = ours.write(folder.path());
    let trust = format!("[target.rig.tls]\nca_file = \"{}\"\n", file.display());
    let world = World::new().at(&format!("https://{}", server.address()));
    world.target(&trust)
}

async fn check(
    ours: &Authority,
    script: Vec<Do>,
    shows: Option<Signed>,
    keys: &str,
    verdict: &str,
    says: &str,
) {
    let folder = tempfile::tempdir().unwrap();
    let tls = shows.map(|signed| signed.server(&["http/1.1"]));
    let server = Server::start(script, tls);
    let row = Row {
        world: behind(&server, ours, &folder),
        keys,
        verdict,
        says,
    };
    row.check().await;
}

fn hello() -> Vec<Do> {
    vec![
        Do::Request,
        say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
    ]
}

#[tokio::test]
async fn certificates_that_are_not_to_be_trusted() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let (here, away) = (&["127.0.0.1"], &["shop.example"]);
    let tls = "fail tls";
    for (shows, verdict, says) in [
        (ours.sign(here, Holds::Now), "pass", ""),
        (
            other.sign(here, Holds::Now),
            tls,
            "nobody who is trusted has signed",
        ),
        (ours.sign(here, Holds::Before), tls, "expired"),
        (
            ours.sign(here, Holds::Later),
            tls,
            "not valid before 2999-01-01",
        ),
        (
            ours.sign(away, Holds::Now),
            tls,
            "the certificate is for shop.example, expected 127.0.0.1",
        ),
    ] {
        check(&ours, hello(), Some(shows), "", verdict, says).await;
    }
}

#[tokio::test]
async fn handshakes_that_break_off() {
    let ours = Authority::new("ours");
    let plain = say("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    let tls = "fail tls";
    // `handshake_failure`, said before anything else.
    let alert = Do::Say(vec![21, 3, 3, 0, 2, 2, 40]);
    for (script, keys, verdict, says) in [
        (vec![Do::Read, plain], "", tls, "InvalidContentType"),
        (
            vec![Do::Read, Do::Reset],
            "",
            tls,
            "Connection reset by peer",
        ),
        (vec![Do::Read], "", tls, "tls handshake eof"),
        (
            vec![Do::Read, alert],
            "",
            tls,
            "fatal alert: HandshakeFailure",
        ),
        (vec![Do::Hold], SHORT, "fail timeout", "no end within 300"),
    ] {
        check(&ours, script, None, keys, verdict, says).await;
    }
}

#[tokio::test]
async fn answers_that_break_off_behind_tls() {
    let ours = Authority::new("ours");
    let protocol = "fail protocol";
    let half = say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhush");
    let endless = say("HTTP/1.1 200 OK\r\n\r\nto the end");
    for (script, keys, says) in [
        (vec![Do::Request, Do::Reset], "", "Connection reset by peer"),
        (vec![Do::Request], "", "close_notify"),
        (vec![Do::Request, half], "", "close_notify"),
        // Without a goodbye nobody knows that this is the end of it.
        (vec![Do::Request, endless], "", "close_notify"),
    ] {
        let shows = Some(ours.sign(&["127.0.0.1"], Holds::Now));
        check(&ours, script, shows, keys, protocol, says).await;
    }
}

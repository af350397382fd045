//! How attempts fail: what is blamed, what is said, and how far they came.

use http::Method;

use super::Play::{Fill, Hold, Read, Request as Asked, Reset, Say};
use super::server::{Authority, Play, Server};
use super::{HELLO, Request, User};
use crate::outcome::{Cause, Effect, Failure, Fault, Reason};

/// Fails, and returns the phases that it came to.
async fn check(user: &mut User, url: &str, fault: impl Into<Fault>, says: &str) -> String {
    let request = Request {
        body_limit: 1000,
        ..Request::new(Method::GET, "/?token=hush")
    };
    let failure = Failure::from(user.send(url, request).await.expect_err(says));
    assert_eq!(failure.fault, fault.into(), "{failure}");
    assert!(failure.message.contains(says), "{failure} | {says}");
    assert!(!failure.message.contains("hush"), "{failure}");
    let sent = user.phases.first_byte.is_some();
    assert_eq!(failure.effect == Effect::Unknown, sent, "{failure}");
    user.phases()
}

/// The same, over plain HTTP and with a broken answer.
async fn check_answer(script: &[Play], says: &str, phases: &str) {
    let server = Server::start(script).await;
    let taken = check(&mut User::new(), &server.url(), Reason::Protocol, says).await;
    assert_eq!(taken, phases, "{script:?}");
}

#[tokio::test]
async fn an_answer_without_a_head_is_the_protocol() {
    let rows: [(&[Play], &str); 7] = [
        (
            &[Asked, Reset],
            "connection error: Connection reset by peer",
        ),
        (&[Asked], "connection closed before message completed"),
        (
            &[Asked, Say("HTTP/1.1 200 OK\r\nx:")],
            "connection closed before message completed",
        ),
        (
            &[Asked, Say("SSH-2.0-hush\r\n\r\n")],
            "invalid HTTP version parsed",
        ),
        (
            &[Asked, Say("\u{1}\u{2}hush\r\n\r\n")],
            "invalid HTTP version parsed",
        ),
        (
            &[Asked, Say("HTTP/1.1 hush OK\r\n\r\n")],
            "invalid HTTP status-code parsed",
        ),
        (
            &[
                Asked,
                Say("HTTP/1.1 200 OK\r\ncontent-length: hush\r\n\r\n"),
            ],
            "invalid content-length parsed",
        ),
    ];
    for (script, says) in rows {
        check_answer(script, says, "connect first_byte").await;
    }
}

const SIZED: Play = Say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhush");
const CHUNKED: Play = Say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhush\r\n");

#[tokio::test]
async fn an_answer_that_breaks_off_is_the_protocol() {
    let rows: [(&[Play], &str); 5] = [
        (&[Asked, SIZED, Reset], "Connection reset by peer"),
        (&[Asked, SIZED], "end of file before message length reached"),
        (&[Asked, CHUNKED], "unexpected EOF"),
        (&[Asked, CHUNKED, Reset], "Connection reset by peer"),
        (
            &[Asked, CHUNKED, Say("hush\r\n")],
            "Invalid chunk size line",
        ),
    ];
    for (script, says) in rows {
        check_answer(script, says, "connect first_byte transfer").await;
    }
}

#[tokio::test]
async fn a_body_over_its_limit_is_not_read_to_its_end() {
    let rows: [&[Play]; 3] = [
        &[
            Asked,
            Say("HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n"),
            Hold,
        ],
        &[Asked, CHUNKED, Fill],
        &[Asked, Say("HTTP/1.1 200 OK\r\n\r\n"), Fill],
    ];
    for script in rows {
        let says = "is longer than 1000 bytes";
        check_answer(script, says, "connect first_byte transfer").await;
    }
}

#[tokio::test]
async fn what_never_got_through_is_dns_and_connect() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let unknown = "http://does-not-exist.invalid";
    let resolve = "cannot resolve does-not-exist.invalid:80: ";
    for (url, reason, says, phases) in [
        (
            gone.as_str(),
            Reason::Connect,
            "cannot connect to 127.0.0.1:",
            "connect",
        ),
        (unknown, Reason::Dns, resolve, "resolve"),
    ] {
        let taken = check(&mut User::new(), url, reason, says).await;
        assert_eq!(taken, phases, "{url}");
    }
}

#[tokio::test]
async fn a_bad_path_is_our_fault_and_sends_nothing() {
    let request = Request::new(Method::GET, "/a b");
    let error = User::new().send("http://192.0.2.1", request).await;
    let failure = Failure::from(error.unwrap_err());
    assert_eq!(failure.fault, Cause::Input.into());
    assert_eq!(failure.effect, Effect::Nothing);
}

#[tokio::test]
async fn broken_handshakes_are_tls() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let stranger = Some(other.server("127.0.0.1"));
    let namesake = Some(ours.server("shop.example"));
    let plain = Say("HTTP/1.1 400 Bad Request\r\n\r\n");
    let rows: [(Option<_>, &[Play], &str); 5] = [
        (
            stranger,
            &[],
            "nobody who is trusted has signed the certificate",
        ),
        (namesake, &[], "the certificate is for "),
        (
            None,
            &[Read, plain],
            "received corrupt message of type InvalidContentType",
        ),
        (None, &[Read, Reset], "Connection reset by peer"),
        (None, &[Read], "tls handshake eof"),
    ];
    for (tls, script, says) in rows {
        let server = Server::serve(script, tls).await;
        let url = format!("https://{}", server.address);
        let taken = check(&mut User::of(ours.client()), &url, Reason::Tls, says).await;
        assert_eq!(taken, "connect tls", "{says}");
    }
}

#[tokio::test]
async fn a_client_certificate_that_is_missing_is_tls() {
    let ours = Authority::new("ours");
    let server = Server::serve([Asked, HELLO], Some(ours.picky_server("127.0.0.1"))).await;
    let says = "received fatal alert: CertificateRequired";
    check(
        &mut User::of(ours.client()),
        &server.url(),
        Reason::Tls,
        says,
    )
    .await;
}

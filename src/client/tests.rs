//! The client against servers that do, byte for byte, what a script says.

mod server;

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method};
use tokio::time::Instant;

use self::Play::{Fill, Hold, Pass, Read, Request as Asked, Reset, Say};
use self::server::{Authority, Play, Server};
use super::{Answer, Client, ClientError, Connections, Endpoint, Request};
use crate::event::HttpPhases;
use crate::outcome::{Cause, Effect, Failure, Fault, Reason};

const HELLO: Play = Say("HTTP/1.1 200 OK\r\nX-A: b\r\ncontent-length: 5\r\n\r\nhello");

/// What an attempt is made with.
struct User {
    client: Client,
    connections: Connections,
    phases: HttpPhases,
}

impl User {
    fn new() -> Self {
        Self::of(Client::new())
    }

    fn of(client: Client) -> Self {
        Self {
            client,
            connections: Connections::new(),
            phases: HttpPhases::default(),
        }
    }

    async fn send(&mut self, url: &str, request: Request) -> Result<Answer, ClientError> {
        self.phases = HttpPhases::default();
        let endpoint = Endpoint::parse(url).unwrap();
        self.client
            .send(&endpoint, request, &mut self.connections, &mut self.phases)
            .await
    }

    fn phases(&self) -> String {
        let names: Vec<_> = self.phases.taken().map(|(name, _)| name).collect();
        names.join(" ")
    }
}

fn get(reuse: bool) -> Request {
    Request {
        reuse,
        ..Request::new(Method::GET, "/")
    }
}

/// What an attempt ends with: its fault, and what its message says behind host and port.
async fn check_failure(user: &mut User, url: &str, fault: impl Into<Fault>, says: &str) -> String {
    let limited = Request {
        body_limit: 1000,
        ..Request::new(Method::GET, "/?token=hush")
    };
    let error = user.send(url, limited).await.expect_err(says);
    let effect = error.effect();
    let failure = Failure::from(error);
    assert_eq!(failure.fault, fault.into(), "{failure}");
    assert_eq!(failure.effect, effect);
    assert!(failure.message.contains(says), "{failure} | {says}");
    assert!(!failure.message.contains("hush"), "{failure}");
    assert_eq!(
        effect == Effect::Nothing,
        user.phases.first_byte.is_none(),
        "{failure}"
    );
    user.phases()
}

#[tokio::test]
async fn broken_answers_are_the_protocol() {
    let rows: [(&[Play], &str, &str); 13] = [
        (&[Asked, Reset], "no http answer", "connect first_byte"),
        (&[Asked], "no http answer", "connect first_byte"),
        (
            &[Asked, Say("HTTP/1.1 200 OK\r\nx:")],
            "no http answer",
            "connect first_byte",
        ),
        (
            &[Asked, Say("\u{1}\u{2}SSH-2.0-x\r\n\r\n")],
            "no http answer",
            "connect first_byte",
        ),
        (
            &[Asked, Say("HTTP/1.1 999999 OK\r\n\r\n")],
            "status-code",
            "connect first_byte",
        ),
        (
            &[Asked, Say("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n")],
            "content-length",
            "connect first_byte",
        ),
        (
            &[
                Asked,
                Say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhush"),
                Reset,
            ],
            "broke off",
            "connect first_byte transfer",
        ),
        (
            &[
                Asked,
                Say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhush"),
            ],
            "broke off",
            "connect first_byte transfer",
        ),
        (
            &[
                Asked,
                Say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhush"),
            ],
            "broke off",
            "connect first_byte transfer",
        ),
        (
            &[
                Asked,
                Say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhush\r\n"),
            ],
            "broke off",
            "connect first_byte transfer",
        ),
        (
            &[
                Asked,
                Say("HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n"),
                Hold,
            ],
            "longer than 1000 bytes",
            "connect first_byte transfer",
        ),
        (
            &[
                Asked,
                Say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
                Fill,
            ],
            "longer than 1000 bytes",
            "connect first_byte transfer",
        ),
        (
            &[Asked, Say("HTTP/1.1 200 OK\r\n\r\n"), Fill],
            "longer than 1000 bytes",
            "connect first_byte transfer",
        ),
    ];
    for (script, says, phases) in rows {
        let server = Server::start(script).await;
        let url = server.url();
        let taken = check_failure(&mut User::new(), &url, Reason::Protocol, says).await;
        assert_eq!(taken, phases, "{script:?}");
    }
}

#[tokio::test]
async fn what_never_got_through_is_dns_and_connect() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let rows = [
        (
            gone.as_str(),
            Reason::Connect,
            "cannot connect to 127.0.0.1:",
            "connect",
        ),
        (
            "http://does-not-exist.invalid",
            Reason::Dns,
            "cannot resolve does-not-exist.invalid:80: ",
            "resolve",
        ),
    ];
    for (url, reason, says, phases) in rows {
        let taken = check_failure(&mut User::new(), url, reason, says).await;
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
    let rows: [(&str, Option<_>, &[Play], &str); 5] = [
        (
            "unknown ca",
            Some(other.server("127.0.0.1")),
            &[],
            "UnknownIssuer",
        ),
        (
            "wrong name",
            Some(ours.server("shop.example")),
            &[],
            "not valid for name",
        ),
        (
            "not tls",
            None,
            &[Read, Say("HTTP/1.1 400 Bad Request\r\n\r\n")],
            "InvalidContentType",
        ),
        ("reset", None, &[Read, Reset], "reset"),
        ("closed", None, &[Asked], "eof"),
    ];
    for (what, tls, script, says) in rows {
        let server = Server::serve(script, tls).await;
        let url = format!("https://{}", server.address);
        let taken = check_failure(&mut User::of(ours.client()), &url, Reason::Tls, says).await;
        assert_eq!(taken, "connect tls", "{what}");
    }
}

#[tokio::test]
async fn a_client_certificate_that_is_missing_is_tls() {
    let ours = Authority::new("ours");
    let server = Server::serve([Asked, HELLO], Some(ours.picky_server("127.0.0.1"))).await;
    let mut user = User::of(ours.client());
    check_failure(&mut user, &server.url(), Reason::Tls, "CertificateRequired").await;
}

#[tokio::test]
async fn an_answer_comes_back_whole() {
    let ours = Authority::new("ours");
    let tls = [None, Some(ours.server("127.0.0.1"))];
    for (tls, phases) in tls.into_iter().zip([
        "connect first_byte transfer",
        "connect tls first_byte transfer",
    ]) {
        // The second request finds a closed connection: the goodbye is read as one.
        let mut server = Server::serve([Asked, HELLO, Asked], tls).await;
        let mut user = User::of(ours.client());
        let mut request = Request::new(Method::POST, "/items?a=1");
        request.body = "{}".into();
        request.headers = HeaderMap::from_iter([
            (http::header::ACCEPT, HeaderValue::from_static("text/plain")),
            (http::header::CONTENT_LENGTH, HeaderValue::from_static("77")),
        ]);
        let url = format!("{}/v1/", server.url());
        let answer = user.send(&url, request).await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &b"hello"[..]));
        assert_eq!(answer.headers["x-a"], "b");
        assert_eq!(user.phases(), phases);
        let authority = server.address;
        assert_eq!(
            server.heard().await,
            format!(
                "POST /v1/items?a=1 HTTP/1.1\r\naccept: text/plain\r\ncontent-length: 2\r\n\
                 host: {authority}\r\n\r\n{{}}"
            )
        );
    }
}

#[tokio::test]
async fn names_are_resolved() {
    let server = Server::start([Asked, HELLO]).await;
    let url = format!("http://localhost:{}", server.address.port());
    let mut user = User::new();
    user.send(&url, get(false)).await.unwrap();
    assert_eq!(user.phases(), "resolve connect first_byte transfer");
}

#[tokio::test]
async fn answers_of_every_shape_are_understood() {
    let rows = [
        (
            Method::GET,
            "HTTP/1.1 200 OK\r\n\r\nto the end",
            200,
            "to the end",
        ),
        (
            Method::GET,
            "HTTP/1.0 500 No\r\ncontent-length: 2\r\n\r\nno",
            500,
            "no",
        ),
        (Method::GET, "HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        (
            Method::GET,
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 9999\r\n\r\n",
            304,
            "",
        ),
        (
            Method::HEAD,
            "HTTP/1.1 200 OK\r\ncontent-length: 9999999999\r\n\r\n",
            200,
            "",
        ),
        (
            Method::DELETE,
            "HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n",
            302,
            "",
        ),
        (
            Method::POST,
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n\
             HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok",
            201,
            "ok",
        ),
        (
            Method::GET,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x\r\n\r\n\
             3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nx: y\r\n\r\n",
            200,
            "abcde",
        ),
    ];
    for (method, said, status, body) in rows {
        let server = Server::start([Asked, Say(said)]).await;
        let mut request = Request::new(method, "/");
        request.body_limit = 10;
        let answer = User::new().send(&server.url(), request).await.unwrap();
        assert_eq!(
            (answer.status, &answer.body[..]),
            (status, body.as_bytes()),
            "{said}"
        );
    }
}

#[tokio::test]
async fn connections_are_kept_only_when_asked() {
    let closing = Say("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    let rows = [
        (true, [Asked, HELLO].repeat(3), 1, "first_byte transfer"),
        (
            false,
            [Asked, HELLO].repeat(3),
            3,
            "connect first_byte transfer",
        ),
        (true, vec![Asked, closing], 3, "connect first_byte transfer"),
    ];
    for (reuse, script, connections, phases) in rows {
        let server = Server::start(script).await;
        let mut user = User::new();
        for _ in 0..3 {
            let answer = user.send(&server.url(), get(reuse)).await.unwrap();
            assert_eq!(answer.status, 200);
        }
        assert_eq!(server.accepted(), connections, "reuse: {reuse}");
        assert_eq!(user.phases(), phases);
    }
}

#[tokio::test]
async fn a_kept_connection_that_ended_meanwhile_is_replaced() {
    let ours = Authority::new("ours");
    let unasked = Say("HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n");
    for script in [
        vec![Asked, HELLO],
        vec![Asked, HELLO, Reset],
        vec![Asked, HELLO, unasked],
    ] {
        for tls in [None, Some(ours.server("127.0.0.1"))] {
            let mut server = Server::serve(&script[..], tls).await;
            let mut user = User::of(ours.client());
            for _ in 0..2 {
                user.send(&server.url(), get(true)).await.unwrap();
                server.heard().await;
            }
            assert_eq!(server.accepted(), 2, "{script:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn phases_add_up_to_the_attempt() {
    let (moment, head) = (Duration::from_millis(30), "HTTP/1.1 200 OK\r\n");
    let server = Server::start([
        Asked,
        Pass(moment),
        Say(head),
        Pass(moment),
        Say("content-length: 2\r\n\r\nh"),
        Pass(moment),
        Say("i"),
    ])
    .await;
    let url = format!("http://localhost:{}", server.address.port());
    let mut user = User::new();
    let began = Instant::now();
    user.send(&url, get(false)).await.unwrap();
    let sum: Duration = user.phases.taken().map(|(_, taken)| taken).sum();
    assert_eq!(sum, began.elapsed());
    assert_eq!(sum, 3 * moment);
    assert!(user.phases.first_byte >= Some(2 * moment));
}

#[tokio::test]
async fn a_dropped_attempt_leaves_its_phases_and_no_connection() {
    let mut server = Server::start([Asked, Say("HTTP/1.1 200 OK\r\n"), Hold]).await;
    let mut user = User::new();
    let url = server.url();
    tokio::select! {
        answer = user.send(&url, get(true)) => panic!("{answer:?}"),
        _ = server.heard() => {}
    }
    assert_eq!(user.phases(), "connect first_byte");
    assert!(user.connections.0.is_empty());
    assert_eq!(server.heard().await, "the client closed");
}

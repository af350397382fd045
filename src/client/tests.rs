//! The client against servers that do, byte for byte, what a script says.

mod failures;
mod server;
mod streams;
mod unmeasured;
mod websockets;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Method};
use tokio::time::Instant;

use self::Play::{Hold, Pass, Request as Asked, Reset, Say};
use self::server::{Authority, Play, Server};
use super::{
    Answer, Client, ClientError, Connections, Endpoint, Request, Stream, Transport, Trust, Upgrade,
};
use crate::event::HttpPhases;
use crate::outcome::{Failure, Reason};

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
        let attempt = self
            .client
            .send(&endpoint, request, &mut self.connections, &mut self.phases);
        // As actions hold it: it moves between threads.
        let answer = attempt.boxed().await;
        self.connections.tidy().await;
        answer
    }

    async fn open(&mut self, url: &str, request: Request) -> Result<Stream, ClientError> {
        self.phases = HttpPhases::default();
        let endpoint = Endpoint::parse(url).unwrap();
        let attempt = self
            .client
            .open(&endpoint, request, &mut self.connections, &mut self.phases);
        attempt.boxed().await
    }

    async fn upgrade(&mut self, url: &str, request: Request) -> Result<Upgrade, ClientError> {
        self.phases = HttpPhases::default();
        let endpoint = Endpoint::parse(url).unwrap();
        let attempt =
            self.client
                .upgrade(&endpoint, request, &mut self.connections, &mut self.phases);
        attempt.boxed().await
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
async fn a_method_that_usually_has_a_body_says_when_there_is_none() {
    for (method, says_so) in [(Method::POST, true), (Method::GET, false)] {
        let mut server = Server::start([Asked, HELLO]).await;
        let request = Request::new(method, "/");
        User::new().send(&server.url(), request).await.unwrap();
        let heard = server.heard().await;
        assert_eq!(heard.contains("content-length: 0\r\n"), says_so, "{heard}");
    }
}

#[tokio::test]
async fn names_are_resolved() {
    let server = Server::on("localhost", [Asked, HELLO], None).await;
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
async fn a_connection_is_kept_for_those_who_are_reached_in_the_same_way() {
    let server = Server::start([Asked, HELLO].repeat(3)).await;
    let mut user = User::new();
    let named = Transport::new(
        None,
        None,
        Trust {
            server_name: Some("other.example".try_into().unwrap()),
            ..Trust::default()
        },
    );
    for (transport, connections) in [
        (Transport::default(), 1),
        (Transport::default(), 1),
        (named, 2),
        (Transport::default(), 3),
    ] {
        let endpoint = Endpoint::parse(&server.url()).unwrap();
        let endpoint = endpoint.via(Arc::new(transport));
        let (connections_of_run, phases) = (&mut user.connections, &mut user.phases);
        let sent = user
            .client
            .send(&endpoint, get(true), connections_of_run, phases);
        assert_eq!(sent.await.unwrap().status, 200);
        assert_eq!(server.accepted(), connections);
    }
}

#[tokio::test]
async fn cookies_come_back_also_with_a_websocket() {
    let set = Say(
        "HTTP/1.1 401 No\r\nset-cookie: a=hush; Path=/\r\nset-cookie: b=2\r\ncontent-length: 0\r\n\r\n",
    );
    let mut server = Server::start([Asked, set]).await;
    let (mut user, url) = (User::new(), format!("{}/v1", server.url()));
    let expected = "\r\ncookie: b=2; a=hush\r\n";
    user.send(&url, get(false)).await.unwrap();
    assert!(!server.heard().await.contains(expected));
    user.send(&url, get(false)).await.unwrap();
    assert!(server.heard().await.contains(expected));
    user.open(&url, get(false)).await.unwrap();
    assert!(server.heard().await.contains(expected));
    user.upgrade(&url, get(false)).await.unwrap();
    assert!(server.heard().await.contains(expected));
    let mut own = get(false);
    own.headers
        .insert(http::header::COOKIE, HeaderValue::from_static("c=3"));
    user.send(&url, own).await.unwrap();
    let heard = server.heard().await;
    assert!(
        heard.contains("\r\ncookie: c=3; b=2; a=hush\r\n"),
        "{heard}"
    );
    let told = user
        .connections
        .redact(Failure::new(Reason::Status, "hush is in a=hush"));
    assert_eq!(told.message, "hush is in a=[secret]");
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
    let mut user = User::new();
    let began = Instant::now();
    user.send(&server.url(), get(false)).await.unwrap();
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
    assert!(user.connections.kept.is_empty());
    assert_eq!(server.heard().await, "the client closed");
}

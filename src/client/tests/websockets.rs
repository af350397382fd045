//! A WebSocket against servers that do, byte for byte, what a script says.

use http::HeaderValue;
use http::header::SEC_WEBSOCKET_PROTOCOL;

use super::Play::{self, Bytes, Frame, Hold, Request as Asked, Reset, Say};
use super::server::{Authority, Server};
use super::{Request, User, get};
use crate::client::{Upgrade, WebSocket, WebSocketMessage as Message};
use crate::outcome::{Effect, Failure, Fault, Reason};

const AGREE: Play = Play::Upgrade("");

fn asking(protocols: &'static str) -> Request {
    let mut request = get(true);
    request.body_limit = 10;
    if !protocols.is_empty() {
        let protocols = HeaderValue::from_static(protocols);
        request.headers.insert(SEC_WEBSOCKET_PROTOCOL, protocols);
    }
    request
}

async fn opened(user: &mut User, server: &Server) -> WebSocket {
    match user.upgrade(&server.url(), asking("")).await.unwrap() {
        Upgrade::Open(socket) => socket,
        Upgrade::Answered(answer) => panic!("{answer:?}"),
    }
}

#[tokio::test]
async fn messages_go_both_ways() {
    let ours = Authority::new("ours");
    for (tls, phases) in [
        (None, "connect first_byte"),
        (Some(ours.server("127.0.0.1")), "connect tls first_byte"),
    ] {
        let script = [
            Asked,
            AGREE,
            // A ping, and a message in two frames around another ping.
            Bytes(b"\x89\x01p\x01\x03\xe2\x82\xac\x89\x01q\x80\x01!"),
            Frame,
            Bytes(b"\x82\x02\xff\x00"),
            Frame,
            Frame,
            Frame,
        ];
        let mut server = Server::serve(script, tls).await;
        let mut user = User::of(ours.client());
        let mut socket = opened(&mut user, &server).await;
        assert_eq!(user.phases(), phases);
        assert_eq!(socket.receive().await.unwrap(), Message::Text("€!".into()));
        socket.send("hello").await.unwrap();
        let bytes = Message::Binary(b"\xff\x00".as_slice().into());
        assert_eq!(socket.receive().await.unwrap(), bytes);
        socket.close().await;
        let heard = server.heard().await;
        let (asked, frames) = heard.split_once("\r\n\r\n").unwrap();
        assert_eq!(frames, "[8a p][8a q][81 hello][88 ]");
        assert!(asked.starts_with("GET / HTTP/1.1\r\n"), "{asked}");
        for line in [
            "connection: Upgrade",
            "upgrade: websocket",
            "sec-websocket-version: 13",
        ] {
            assert!(asked.lines().any(|other| other == line), "{line}: {asked}");
        }
    }
}

#[tokio::test]
async fn what_comes_with_the_handshake_is_not_lost() {
    let server = Server::start([
        Asked,
        Play::Upgrade("X-A: b\r\n"),
        Bytes(b"\x81\x02hi"),
        Hold,
    ]);
    let server = server.await;
    let mut socket = opened(&mut User::new(), &server).await;
    assert_eq!(socket.headers["x-a"], "b");
    assert_eq!(socket.receive().await.unwrap(), Message::Text("hi".into()));
}

#[tokio::test]
async fn a_close_is_told_and_answered() {
    let rows: [(&'static [u8], Option<u16>, &str, &str); 4] = [
        (b"\x88\x00", None, "", "[88 ]"),
        (b"\x88\x02\x03\xe8", Some(1000), "", "[88 \u{3}\u{fffd}]"),
        (
            b"\x88\x05\x03\xf3no!",
            Some(1011),
            "no!",
            "[88 \u{3}\u{fffd}no!]",
        ),
        (b"\x88\x02\x0f\xa1", Some(4001), "", "[88 \u{f}\u{fffd}]"),
    ];
    for (bytes, code, reason, reply) in rows {
        let mut server = Server::start([Asked, AGREE, Bytes(bytes), Frame]).await;
        let mut socket = opened(&mut User::new(), &server).await;
        let reason = reason.to_owned();
        let closed = socket.receive().await.unwrap();
        assert_eq!(closed, Message::Closed { code, reason });
        assert!(server.heard().await.ends_with(reply), "{reply}");
        assert!(socket.receive().await.is_err());
    }
}

#[tokio::test]
async fn what_is_no_websocket_is_the_protocol() {
    let rows: [(&[Play], &str); 9] = [
        (&[], "without closing handshake"),
        (&[Reset], "Connection reset by peer"),
        (&[Bytes(b"\x81\x05h")], "without closing handshake"),
        (
            &[Bytes(b"\x81\x7e\x00\x0b01234567890")],
            "longer than 10 bytes",
        ),
        (
            &[Bytes(b"\x01\x06012345\x80\x0501234")],
            "longer than 10 bytes",
        ),
        (&[Bytes(b"\x81\x02\xff\xff")], "UTF-8"),
        (&[Bytes(b"\x83\x00")], "opcode"),
        (&[Bytes(b"\xc1\x00")], "Reserved bits"),
        (&[Bytes(b"\x81\x85\x00\x00\x00\x00hello")], "masked"),
    ];
    for (plays, says) in rows {
        let script = [&[Asked, AGREE], plays].concat();
        let server = Server::start(script).await;
        let mut socket = opened(&mut User::new(), &server).await;
        let failure = Failure::from(socket.receive().await.unwrap_err());
        let told = failure.message.to_lowercase();
        assert_eq!(failure.fault, Fault::from(Reason::Protocol), "{failure}");
        assert_eq!(failure.effect, Effect::Unknown);
        assert!(told.contains(&says.to_lowercase()), "{failure} | {says}");
        assert!(told.contains(" 127.0.0.1:"), "{failure}");
    }
}

const FALSE_KEY: Play = Say(
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
);
const OTHER: Play =
    Say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n");

#[tokio::test]
async fn a_handshake_that_does_not_fit_is_the_protocol() {
    let rows: [(Play, &'static str, &str); 6] = [
        (FALSE_KEY, "", "does not belong to our key"),
        (OTHER, "", "to something else"),
        (AGREE, "a, b", "none of the subprotocols"),
        (
            Play::Upgrade("Sec-WebSocket-Protocol: c\r\n"),
            "a, b",
            "not offered",
        ),
        (
            Play::Upgrade("Sec-WebSocket-Protocol: a\r\n"),
            "",
            "not offered",
        ),
        (
            Play::Upgrade("Sec-WebSocket-Extensions: x\r\n"),
            "",
            "extension",
        ),
    ];
    for (answer, protocols, says) in rows {
        let server = Server::start([Asked, answer, Hold]).await;
        let mut user = User::new();
        let opened = user.upgrade(&server.url(), asking(protocols)).await;
        let failure = Failure::from(opened.err().expect(says));
        assert_eq!(failure.fault, Fault::from(Reason::Protocol), "{failure}");
        assert!(failure.message.contains(says), "{failure} | {says}");
        assert_eq!(user.phases(), "connect first_byte");
    }
}

#[tokio::test]
async fn a_subprotocol_is_chosen() {
    let answer = Play::Upgrade("Sec-WebSocket-Protocol: b\r\n");
    let server = Server::start([Asked, answer, Hold]).await;
    let opened = User::new().upgrade(&server.url(), asking("a, b")).await;
    let Upgrade::Open(socket) = opened.unwrap() else {
        panic!("no websocket");
    };
    assert_eq!(socket.headers[SEC_WEBSOCKET_PROTOCOL], "b");
}

#[tokio::test]
async fn any_other_status_is_an_answer() {
    let refusal = Say("HTTP/1.1 403 Forbidden\r\nx-a: b\r\ncontent-length: 4\r\n\r\nhush");
    let server = Server::start([Asked, refusal]).await;
    let mut user = User::new();
    let opened = user.upgrade(&server.url(), asking("")).await.unwrap();
    let Upgrade::Answered(answer) = opened else {
        panic!("a websocket");
    };
    assert_eq!((answer.status, &answer.body[..]), (403, &b"hush"[..]));
    assert_eq!(answer.headers["x-a"], "b");
    assert_eq!(user.phases(), "connect first_byte transfer");
}

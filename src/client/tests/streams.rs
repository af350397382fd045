//! Answers that are read as they come, and events in them.

use std::time::Duration;

use http::Method;
use tokio::time::timeout;

use super::Play::{self, Fill, Hold, Request as Asked, Reset, Say};
use super::server::Server;
use super::{Request, User, get};
use crate::client::EventStream;
use crate::outcome::{Failure, Fault, Reason};

const HEAD: Play =
    Say("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");

/// The chunk of this text.
macro_rules! chunk {
    ($length:literal, $text:literal) => {
        Say(concat!($length, "\r\n", $text, "\r\n"))
    };
}

/// The events of a stream, and how it ended.
async fn events(script: &[Play]) -> (Vec<String>, Result<(), Failure>) {
    let server = Server::start(script).await;
    let mut user = User::new();
    let request = Request {
        body_limit: 1000,
        ..get(false)
    };
    let stream = user.open(&server.url(), request).await.unwrap();
    assert!(stream.has_events());
    let mut stream = EventStream::over(stream);
    let mut told = Vec::new();
    let end = loop {
        match stream.next().await {
            Ok(Some(event)) => told.push(format!("{} {}", event.name, event.data)),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error.into()),
        }
    };
    assert_eq!(user.phases(), "connect first_byte");
    (told, end)
}

#[tokio::test]
async fn events_are_read_however_they_are_cut() {
    let script = [
        Asked,
        HEAD,
        chunk!("8", "event: x"),
        chunk!("7", "\ndata: "),
        Play::Bytes(b"2\r\n\xe2\x82\r\n"),
        Play::Bytes(b"3\r\n\xac\n\n\r\n"),
        chunk!("c", "data: a\n\ndat"),
        Say("0\r\n\r\n"),
    ];
    let (told, end) = events(&script).await;
    assert_eq!(
        (told, end),
        (vec!["x €".into(), "message a".into()], Ok(()))
    );
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_the_protocol() {
    let first = chunk!("d", "data: a\n\ndata");
    let rows: [(&[Play], &str); 4] = [
        (&[Asked, HEAD, first], "unexpected EOF"),
        (&[Asked, HEAD, first, Reset], "Connection reset by peer"),
        (&[Asked, HEAD, first, Say("x")], "Invalid chunk size line"),
        (&[Asked, HEAD, first, Fill], "an event from 127.0.0.1:"),
    ];
    for (script, says) in rows {
        let (told, end) = events(script).await;
        assert_eq!(told, ["message a"], "{says}");
        let failure = end.unwrap_err();
        assert_eq!(failure.fault, Fault::from(Reason::Protocol), "{failure}");
        assert!(failure.message.contains(says), "{failure} | {says}");
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_piece_can_be_given_up_and_taken_up() {
    let script = [Asked, HEAD, chunk!("1", "a"), Hold];
    let mut server = Server::start(script).await;
    let mut stream = User::new().open(&server.url(), get(false)).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), "a");
    let moment = Duration::from_millis(30);
    for _ in 0..3 {
        assert!(timeout(moment, stream.next()).await.is_err());
    }
    server.heard().await;
    drop(stream);
    assert_eq!(server.heard().await, "the client closed");
}

#[tokio::test]
async fn a_stream_that_is_none_is_read_as_an_answer() {
    let refusal = Say("HTTP/1.1 401 No\r\ncontent-length: 4\r\n\r\nhush");
    for (script, length) in [
        (vec![Asked, refusal], Ok(4)),
        (vec![Asked, Say("HTTP/1.1 500 No\r\n\r\n"), Fill], Err(())),
    ] {
        let server = Server::start(script).await;
        let mut request = Request::new(Method::POST, "/");
        request.body_limit = 1000;
        let stream = User::new().open(&server.url(), request).await.unwrap();
        assert!(!stream.has_events());
        let answer = stream.into_answer().await;
        assert_eq!(
            answer.map(|answer| answer.body.len()).map_err(|_| ()),
            length
        );
    }
}

#[tokio::test]
async fn a_stream_may_begin_on_a_kept_connection() {
    let hello = Say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
    let server = Server::start([Asked, hello, Asked, HEAD, chunk!("1", "a"), Hold]).await;
    let mut user = User::new();
    user.send(&server.url(), get(true)).await.unwrap();
    let mut stream = user.open(&server.url(), get(true)).await.unwrap();
    assert_eq!(user.phases(), "first_byte");
    assert_eq!(stream.next().await.unwrap().unwrap(), "a");
    assert_eq!(server.accepted(), 1);
}

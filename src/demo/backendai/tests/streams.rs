//! What goes on: event streams, and conversations over WebSocket.

use std::fmt::Write as _;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;

use super::*;

/// The names of the events that come until nothing has come for a while, pings left out.
async fn events(response: Response) -> Vec<String> {
    let mut body = response.into_body();
    let mut text = String::new();
    let quiet = Duration::from_secs(60);
    while let Ok(Some(Ok(frame))) = tokio::time::timeout(quiet, body.frame()).await {
        let piece = frame.into_data().unwrap();
        text.push_str(std::str::from_utf8(&piece).unwrap());
        if text.matches(": ping\r\n\r\n").count() > 3 {
            break;
        }
    }
    let names = text
        .split("\r\n")
        .filter_map(|line| line.strip_prefix("event: "));
    names.map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn a_stream_tells_a_whole_life() {
    let site = Site::open();
    let request = |path: &str| signed(&site.operator, "GET", path, None);
    let none = site.answer(request("/events/session?sessionName=b")).await;
    assert_eq!((none.status, none.code()), (404, "session_read_not-found"));
    let began = ["scheduled", "preparing", "prepared", "creating"];
    for (command, middle) in [
        // What ends at once may be told before it has begun.
        ("echo hi", ["success", "started", "terminating"]),
        ("sleep 3", ["started", "success", "terminating"]),
        ("exit 3", ["failure", "started", "terminating"]),
        ("sleep 99", ["started", "failure", "terminating"]),
    ] {
        let more = json!({ "type": "batch", "startup_command": command, "batch_timeout": "10s" });
        let id = site.enqueue("b", more).await;
        let stream = site.send(request("/events/session?sessionName=b")).await;
        assert_eq!(stream.headers()["content-type"], "text/event-stream");
        let expected = began.iter().chain(&middle).chain(&["terminated"]);
        let expected: Vec<_> = expected.map(|word| format!("session_{word}")).collect();
        assert_eq!(events(stream).await, expected, "{command}");
        assert_eq!(site.status_of(&id).await, "TERMINATED");
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_is_told_to_the_end_also_to_those_who_come_late() {
    let site = Site::open();
    let id = site.enqueue("a", Value::Null).await;
    pass(STATE * 5).await;
    let told = site
        .ask(&format!("POST /session/{id}/commit"), Value::Null)
        .await;
    let task = told.json["bgtask_id"].as_str().unwrap();
    let path = format!("/events/background-task?task_id={task}");
    let request = || signed(&site.operator, "GET", &path, None);
    let early = events(site.send(request()).await).await;
    assert_eq!(early, ["bgtask_updated", "bgtask_done", "server_close"]);
    let late = events(site.send(request()).await).await;
    assert_eq!(late, ["bgtask_done", "server_close"]);
    let unknown = "/events/background-task?task_id=00000000-0000-0000-0000-000000000000";
    let unknown = signed(&site.operator, "GET", unknown, None);
    assert_eq!(events(site.send(unknown).await).await, [""; 0]);
}

/// Over a real connection: there is nothing to upgrade without one.
#[tokio::test]
async fn code_runs_in_a_conversation_and_a_stop_ends_streams() {
    let site = Site::of(|setup| setup.pace = Pace::QUICK);
    let id = site.enqueue("a", Value::Null).await;
    while site.status_of(&id).await != "RUNNING" {
        pass(Pace::QUICK.state).await;
    }
    let listener = crate::demo::backendai::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let mut served = JoinSet::new();
    served.spawn(site.stand_in.clone().serve(listener, stop.clone()));

    let path = format!("/stream/session/{id}/execute");
    let request = signed(&site.operator, "GET", &path, None);
    let mut head = format!("GET {path} HTTP/1.1\r\n");
    for (name, value) in request.headers() {
        write!(head, "{name}: {}\r\n", value.to_str().unwrap()).unwrap();
    }
    head.push_str(
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answered = Vec::new();
    while !answered.ends_with(b"\r\n\r\n") {
        answered.push(stream.read_u8().await.unwrap());
    }
    let answered = String::from_utf8(answered).unwrap().to_lowercase();
    assert!(answered.starts_with("http/1.1 101"), "{answered}");
    // The example of RFC 6455.
    assert!(
        answered.contains("s3pplmbitxaq9kygzzhzrbk+xoo="),
        "{answered}"
    );
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    let asked = json!({ "mode": "query", "code": "print(\"Hello, world!\")" });
    socket.send(Message::text(asked.to_string())).await.unwrap();
    let told = socket.next().await.unwrap().unwrap();
    let told: Value = serde_json::from_str(told.to_text().unwrap()).unwrap();
    assert_eq!(
        (&told["status"], &told["exitCode"]),
        (&json!("finished"), &json!(0))
    );
    assert_eq!(told["console"], json!([["stdout", "Hello, world!\n"]]));
    let Message::Close(Some(farewell)) = socket.next().await.unwrap().unwrap() else {
        panic!("no farewell");
    };
    assert_eq!(u16::from(farewell.code), 1000);

    let request = signed(&site.operator, "GET", "/events/session", None);
    let open = site.send(request).await.into_body();
    stop.cancel();
    served.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(open.collect().await.unwrap().to_bytes(), "");
}

//! Answers that go on: events as the query says them, a WebSocket that does as it is told, and
//! cookies.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use super::answer::{Asked, refuse, status};
use super::body::{Answer, End};
use super::books::Shared;
use super::conn::Switch;

/// The nth request gets the nth `say`, cut into pieces at each `~`, and ends as the nth `then`
/// says; the last of each serves those that come after it.
pub(super) fn events(asked: &Asked) -> Response<Answer> {
    let of_this = |mut all: Vec<Vec<u8>>| {
        let nth = asked.nth.min(all.len());
        nth.checked_sub(1)
            .map(|at| all.swap_remove(at))
            .unwrap_or_default()
    };
    let said = of_this(asked.bytes("say"));
    let headers = &asked.head.headers;
    let said = filled(
        &filled(&said, b"{last}", headers, "last-event-id"),
        b"{auth}",
        headers,
        "authorization",
    );
    let end = match of_this(asked.bytes("then")).as_slice() {
        b"" | b"end" => End::Orderly,
        b"hang" => End::Never,
        b"close" => End::Cut { written: false },
        other => panic!("no such end: {}", String::from_utf8_lossy(other)),
    };
    let pieces = said.split(|byte| *byte == b'~').map(Bytes::copy_from_slice);
    let mut response = Response::new(Answer::pieces(pieces, end));
    let media_type = asked
        .get("type")
        .unwrap_or_else(|| "text/event-stream".into());
    let media_type = HeaderValue::from_str(&media_type).unwrap();
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}

/// Puts a header of the request in place of a mark; `-` if there is none.
fn filled(text: &[u8], mark: &[u8], headers: &HeaderMap, header: &str) -> Vec<u8> {
    let Some(at) = text.windows(mark.len()).position(|window| window == mark) else {
        return text.to_vec();
    };
    let value = headers.get(header).map_or(&b"-"[..], HeaderValue::as_bytes);
    [&text[..at], value, &text[at + mark.len()..]].concat()
}

/// Sets a cookie, and says no more than that.
pub(super) fn cookie(asked: &Asked) -> Response<Answer> {
    let mut response = status(204);
    let set = HeaderValue::from_str(&asked.get("set").unwrap()).unwrap();
    response.headers_mut().insert(SET_COOKIE, set);
    response
}

/// Agrees to a WebSocket, with the subprotocol `choose`.
pub(super) fn websocket(asked: &Asked, shared: &Shared, switch: &Switch) -> Response<Answer> {
    let key = asked.head.headers.get("sec-websocket-key");
    let upgrade = asked.head.extensions.get::<OnUpgrade>().cloned();
    let (Some(key), Some(upgrade)) = (key, upgrade) else {
        return refuse(StatusCode::UPGRADE_REQUIRED, "this is a websocket");
    };
    let accept = derive_accept_key(key.as_bytes());
    let chosen = asked
        .get("choose")
        .map(|name| ("sec-websocket-protocol", name));
    let mut response = Response::new(Answer::whole(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = [
        ("connection", "upgrade".to_owned()),
        ("upgrade", "websocket".to_owned()),
        ("sec-websocket-accept", accept),
    ];
    for (name, value) in headers.into_iter().chain(chosen) {
        let value = HeaderValue::try_from(value).unwrap();
        response
            .headers_mut()
            .insert(HeaderName::from_static(name), value);
    }
    let (switch, greeting) = (switch.clone(), asked.get("say"));
    shared.late.lock().unwrap().spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            obey(upgraded, greeting, &switch).await;
        }
    });
    response
}

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Does what each message says: `say A B` sends two, `binary` sends FF 00, `close CODE WHY` closes,
/// `cut` and `reset` end the connection in the middle of a frame, `hush` does nothing; any other is
/// sent back.
async fn obey(upgraded: Upgraded, greeting: Option<String>, switch: &Switch) {
    let io = TokioIo::new(upgraded);
    let mut socket: Socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
    if let Some(greeting) = greeting {
        let _ = socket.send(Message::text(greeting)).await;
    }
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else {
            continue;
        };
        let words: Vec<_> = text.split(' ').collect();
        let sent = match words.as_slice() {
            ["say", messages @ ..] => {
                for message in messages {
                    let _ = socket.send(Message::text(*message)).await;
                }
                continue;
            }
            ["binary"] => Message::binary(Bytes::from_static(b"\xff\x00")),
            ["close"] => Message::Close(None),
            ["close", code, why @ ..] => Message::Close(Some(CloseFrame {
                code: code.parse::<u16>().unwrap().into(),
                reason: why.join(" ").into(),
            })),
            ["cut" | "reset"] => {
                if words[0] == "reset" {
                    switch.reset_on_drop();
                }
                let _ = socket.get_mut().write_all(b"\x81\x05he").await;
                let _ = socket.get_mut().flush().await;
                return;
            }
            ["hush"] => continue,
            _ => Message::Text(text),
        };
        let _ = socket.send(sent).await;
    }
}

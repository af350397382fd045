//! Running code in a session: by requests that are repeated until the code has ended, and by one
//! conversation over WebSocket.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use axum::body::Body;
use axum::extract::{Path, Request, State as Here};
use axum::http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use super::Status;
use super::code::{self, Query};
use crate::demo::backendai::gate::{Caller, Sent};
use crate::demo::backendai::hall::{Hall, Id, State};
use crate::demo::backendai::refusal::{Refusal, malformed};
use crate::demo::backendai::told;

/// A conversation is told of output so often.
const FLUSH: Duration = Duration::from_millis(200);
/// So many programs are remembered in a session.
const KEPT: usize = 100;

fn invalid_data(msg: impl Into<String>) -> Refusal {
    Refusal::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "invalid-session-data",
        "Session data has an invalid type or format.",
        "session_read_invalid-data-format",
    )
    .said(msg)
}

impl State {
    /// Begins a program, or finds the one that is to go on; says when it ends.
    fn begin(&mut self, session: &Id, run: &str, sent: &Sent) -> Result<Duration, Refusal> {
        let mode = sent
            .maybe(&["mode"])
            .ok_or_else(|| invalid_data("runId or mode is missing"))?;
        let code = sent.maybe(&["code"]).unwrap_or_default();
        let now = self.now;
        let session = self.sessions.get_mut(session);
        let session = session.ok_or_else(|| invalid_data("the session is gone"))?;
        let outcome = match mode {
            "query" => code::python(code),
            "batch" => code::batch(sent.0["options"]["exec"].as_str().unwrap_or_default()),
            "continue" | "input" => {
                let known = session.queries.get(run);
                return Ok(known.map_or(now, Query::ends));
            }
            other => return Err(invalid_data(format!("mode has an invalid value: {other}"))),
        };
        while session.queries.len() >= KEPT {
            session.queries.pop_first();
        }
        let query = Query {
            began: now,
            outcome,
            told: 0,
        };
        let ends = query.ends();
        session.queries.insert(run.to_owned(), query);
        Ok(ends)
    }

    /// What a program has come to.
    fn told(&mut self, session: &Id, run: &str) -> Value {
        let now = self.now;
        let session = self.sessions.get_mut(session);
        let runs = session
            .as_ref()
            .is_some_and(|session| session.status() == Status::Running);
        let Some(query) = session.and_then(|session| session.queries.get_mut(run)) else {
            return json!({
                "status": "finished", "exitCode": 0, "options": null, "files": [], "console": [],
            });
        };
        let console = query.tell(now);
        let over = query.ends() <= now || !runs;
        json!({
            "status": if over { "finished" } else { "continued" },
            "exitCode": over.then_some(query.outcome.exit_code),
            "options": null,
            "files": [],
            "console": console,
        })
    }
}

/// One request: answers when the program has ended, or says that it goes on.
pub(super) async fn execute(
    Here(hall): Here<Arc<Hall>>,
    Path(key): Path<String>,
    caller: Caller,
    sent: Sent,
) -> Result<Response, Refusal> {
    let (id, run, ends, patience) = hall.enter(|state| {
        let id = state.running_session(&caller, &key)?;
        let given = sent.maybe(&["run_id", "runId"]).map(str::to_owned);
        let run = given.unwrap_or_else(|| state.new_word(16).to_lowercase());
        let ends = state.begin(&id, &run, &sent)?;
        Ok::<_, Refusal>((id, run, ends, state.now + state.pace.flush))
    })?;
    hall.until(ends.min(patience)).await;
    let mut result = hall.enter(|state| state.told(&id, &run));
    result["runId"] = run.into();
    Ok(told(StatusCode::OK, &json!({ "result": result })))
}

/// The handshake of a conversation.
pub(super) async fn converse(
    Here(hall): Here<Arc<Hall>>,
    Path(key): Path<String>,
    caller: Caller,
    mut request: Request,
) -> Result<Response, Refusal> {
    let id = hall.look(|state| state.running_session(&caller, &key))?;
    let token = request.headers().get(SEC_WEBSOCKET_KEY).cloned();
    let token = token.ok_or_else(malformed)?;
    let upgrade = hyper::upgrade::on(&mut request);
    hall.talk(talk(hall.clone(), id, upgrade));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    let accepted = HeaderValue::from_str(&accept(token.as_bytes()));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accepted.map_err(|_| malformed())?);
    Ok(response.into_response())
}

/// As RFC 6455 wants it.
fn accept(token: &[u8]) -> String {
    let text = [token, b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &text);
    base64::engine::general_purpose::STANDARD.encode(hash)
}

/// The first message is the program; the answers follow, then the end.
async fn talk(hall: Arc<Hall>, session: Id, upgrade: OnUpgrade) {
    let Ok(upgraded) = upgrade.await else { return };
    let io = TokioIo::new(upgraded);
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
    let first = loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => break text,
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return,
        }
    };
    let sent = serde_json::from_str(&first).map(Sent);
    let begun = match &sent {
        Ok(sent) => hall.enter(|state| {
            let run = state.new_word(16);
            let begun = state.begin(&session, &run, sent).map(|ends| (run, ends));
            begun.map_err(|refusal| refusal.message())
        }),
        Err(error) => Err(format!("Invalid API parameters: {error}")),
    };
    match begun {
        Ok((run, ends)) => loop {
            let next = hall.look(|state| state.now + FLUSH);
            hall.until(ends.min(next)).await;
            let result = hall.enter(|state| state.told(&session, &run));
            let finished = result["status"] == "finished";
            let silent = result["console"].as_array().is_some_and(Vec::is_empty);
            let told = Message::text(result.to_string());
            if (finished || !silent) && socket.send(told).await.is_err() {
                return;
            }
            if finished || hall.is_closed() {
                break;
            }
        },
        Err(msg) => {
            let told = json!({ "status": "error", "msg": msg }).to_string();
            if socket.send(Message::text(told)).await.is_err() {
                return;
            }
        }
    }
    // Wait for the other side's farewell, so that what was sent arrives.
    let farewell = CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    };
    if socket.close(Some(farewell)).await.is_ok() {
        while let Some(Ok(_)) = socket.next().await {}
    }
}

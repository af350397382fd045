//! Answers that go on: event streams as the manager writes them, with a sign of life every 15
//! seconds. What they tell is up to those who open them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::Response;
use futures_util::stream::unfold;
use serde_json::Value;
use tokio::time::Instant;

use super::hall::{Hall, State};

const PING: Duration = Duration::from_secs(15);

/// What an open stream does next.
pub(super) enum Next {
    Tell(String),
    /// The last words.
    End(String),
    /// Nothing before something changes, or before this time since the opening.
    Wait(Option<Duration>),
}

/// One event.
pub(super) fn event(name: &str, data: &Value, more: &str) -> String {
    format!("event: {name}\r\ndata: {data}\r\n{more}\r\n")
}

/// An answer that tells whatever `next` finds, until it has nothing more to say or nobody listens.
pub(super) fn answer(
    hall: Arc<Hall>,
    next: impl FnMut(&mut State) -> Next + Send + 'static,
) -> Response {
    let told = Told {
        changed: hall.listen(),
        hall,
        next,
        ping: Instant::now() + PING,
        ended: false,
    };
    let pieces = unfold(told, |mut told| async {
        let piece = told.piece().await?;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(piece)), told))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("X-Accel-Buffering", HeaderValue::from_static("no"));
    response
}

struct Told<F> {
    hall: Arc<Hall>,
    changed: tokio::sync::watch::Receiver<()>,
    next: F,
    ping: Instant,
    ended: bool,
}

impl<F: FnMut(&mut State) -> Next> Told<F> {
    async fn piece(&mut self) -> Option<String> {
        while !self.ended {
            let until = match self.hall.look(&mut self.next) {
                Next::Tell(piece) => return Some(piece),
                Next::End(piece) => {
                    self.ended = true;
                    return Some(piece);
                }
                Next::Wait(until) => until,
            };
            let due = async {
                match until {
                    Some(until) => self.hall.until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.changed.changed() => self.ended = changed.is_err(),
                () = due => {}
                () = self.hall.closed() => self.ended = true,
                () = tokio::time::sleep_until(self.ping) => {
                    self.ping += PING;
                    return Some(": ping\r\n\r\n".into());
                }
            }
        }
        None
    }
}

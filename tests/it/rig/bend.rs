//! How a fault bends the answer to a request, whatever the request is and whoever answers it.

use std::fmt;
use std::future::{Future, pending};
use std::sync::Mutex;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;

use super::conn::Switch;
use super::faults::Fault;

/// Ends the connection without an answer.
#[derive(Debug)]
pub(crate) struct Dropped;

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection dropped as asked")
    }
}

impl std::error::Error for Dropped {}

pub(crate) type Answered<B> = Result<Response<B>, Dropped>;

/// The effects of requests that come after the next one.
#[derive(Default)]
pub(crate) struct Overdue(Mutex<Vec<BoxFuture<'static, ()>>>);

impl Overdue {
    /// Those that are due now, to be awaited when the request that comes now has been judged.
    pub(crate) fn due(&self) -> Vec<BoxFuture<'static, ()>> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// Answers a request whose `effect` is what it does when nothing is out of order.
pub(crate) async fn bend<B, F>(
    fault: Fault,
    effect: impl Fn() -> F,
    switch: &Switch,
    overdue: &Overdue,
) -> Answered<B>
where
    B: From<String>,
    F: Future<Output = Answered<B>> + Send + 'static,
{
    match fault {
        Fault::Status(code) | Fault::FailBeforeEffect(code) => Ok(status(code)),
        Fault::Hang => pending().await,
        Fault::Reset => reset(switch),
        Fault::FailAfterEffect(code) => {
            effect().await?;
            Ok(status(code))
        }
        Fault::HangAfterEffect => {
            effect().await?;
            pending().await
        }
        Fault::ResetAfterEffect => {
            effect().await?;
            reset(switch)
        }
        Fault::Unreadable2xx => {
            let mut answer = effect().await?;
            if answer.status() == StatusCode::NO_CONTENT {
                *answer.status_mut() = StatusCode::OK;
            }
            Ok(with_body(answer, "{\"id\":"))
        }
        Fault::Twice => {
            effect().await?;
            effect().await
        }
        Fault::TwiceThenStatus(code) => {
            effect().await?;
            effect().await?;
            Ok(status(code))
        }
        Fault::FalseBody(body) => Ok(with_body(effect().await?, body)),
        Fault::FalseStream(text) => {
            let mut answer = Response::new(B::from(text.to_owned()));
            let kind = HeaderValue::from_static("text/event-stream");
            answer.headers_mut().insert(CONTENT_TYPE, kind);
            Ok(answer)
        }
        Fault::EffectAfterNext => {
            let late = effect().map(|_| ()).boxed();
            overdue.0.lock().unwrap().push(late);
            pending().await
        }
        Fault::LateEffect(after) => {
            tokio::time::sleep(after).await;
            effect().await
        }
    }
}

pub(crate) fn reset<B>(switch: &Switch) -> Answered<B> {
    switch.reset_on_drop();
    Err(Dropped)
}

fn with_body<B: From<String>>(answer: Response<B>, body: &str) -> Response<B> {
    let mut answer = answer.map(|_| B::from(body.to_owned()));
    answer.headers_mut().remove(hyper::header::CONTENT_LENGTH);
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}

/// An answer with this status that says nothing else.
pub(crate) fn status<B: From<String>>(code: u16) -> Response<B> {
    refuse(StatusCode::from_u16(code).unwrap(), "status as asked")
}

pub(crate) fn refuse<B: From<String>>(status: StatusCode, why: &str) -> Response<B> {
    let empty = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let body = if empty {
        String::new()
    } else {
        json!({ "status": status.as_u16(), "why": why }).to_string()
    };
    let mut answer = Response::new(B::from(body));
    *answer.status_mut() = status;
    if !empty {
        let json = HeaderValue::from_static("application/json");
        answer.headers_mut().insert(CONTENT_TYPE, json);
    }
    answer
}

//! The manager's event streams: opened, opened again with a fresh signature when they break, and
//! told apart from answers that are none.

use std::time::Duration;

use http::Method;
use serde_json::Value;
use tokio::time::sleep;

use super::api::Api;
use crate::client::{Event, EventStream, Request};
use crate::outcome::{Cause, Failure, Fault, Reason};
use crate::text::json::{self, Json};

/// Before a stream that broke is opened again.
const PAUSE: Duration = Duration::from_secs(1);

/// How much of one event is read.
const LONGEST_EVENT: u64 = 1 << 20;

/// A stream of events that is opened again for as long as somebody listens.
pub(super) struct Events {
    path: String,
    stream: Option<EventStream>,
}

impl Events {
    /// Events from this path; nothing is opened yet.
    pub(super) fn at(path: String) -> Self {
        Self { path, stream: None }
    }

    /// Opens the stream if it is not. `false` if the manager has none (404): what it would tell of
    /// is not there.
    pub(super) async fn open(&mut self, api: &mut Api<'_, '_>) -> Result<bool, Failure> {
        if self.stream.is_some() {
            return Ok(true);
        }
        let mut request = Request::new(Method::GET, self.path.as_str());
        request.body_limit = LONGEST_EVENT;
        let stream = api.context.open(&api.context.home(), request).await?;
        if stream.status == 404 {
            return Ok(false);
        }
        if !stream.has_events() {
            let answer = stream.into_answer().await?;
            let reason = match api.context.reason(&answer) {
                Reason::Status if answer.status == 200 => Reason::Protocol,
                reason => reason,
            };
            let what = format!(
                "instead of an event stream there is an answer {}",
                answer.status
            );
            return Err(Failure::new(reason, what));
        }
        self.stream = Some(EventStream::over(stream));
        Ok(true)
    }

    /// The next event with its data. `None` if the stream ended or the manager says goodbye: an
    /// end is not what anybody waits for, so it has to be opened again.
    pub(super) async fn next(&mut self) -> Result<Option<(String, Value)>, Failure> {
        let Some(stream) = &mut self.stream else {
            return Ok(None);
        };
        let ended = match stream.next().await {
            Ok(Some(Event { name, .. })) if name == "server_close" => None,
            Ok(Some(event)) => {
                // Data that is no JSON is no event of ours, and loses none that comes after it.
                let data = json::parse(event.data.as_bytes());
                let data = data.map_or(Value::Null, Json::into_value);
                return Ok(Some((event.name, data)));
            }
            Ok(None) => None,
            Err(error) => Some(Failure::from(error)),
        };
        self.stream = None;
        match ended {
            // A connection lost is opened again; what is our own fault is not.
            Some(failure) if matches!(failure.fault, Fault::Ours(Cause::Resources)) => Err(failure),
            _ => {
                sleep(PAUSE).await;
                Ok(None)
            }
        }
    }
}

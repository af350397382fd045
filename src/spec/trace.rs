//! How the target's logs and traces name a run: W3C Trace Context (`traceparent`).

use http::HeaderValue;

use crate::event::trace_id;

/// The trace that all requests of one run belong to.
#[derive(Debug, Clone)]
pub struct Trace {
    id: String,
    requests: u64,
    /// What names the last request in the target's own logs, if anything does.
    pub last_request: Option<String>,
}

impl Trace {
    /// The trace of a run.
    #[must_use]
    pub fn of_run(id: &str) -> Self {
        Self {
            id: trace_id(id),
            requests: 0,
            last_request: None,
        }
    }

    /// The `traceparent` of the next request: a span of its own in the run's trace.
    pub fn next_span(&mut self) -> Option<HeaderValue> {
        self.requests += 1;
        HeaderValue::try_from(format!("00-{}-{:016x}-01", self.id, self.requests)).ok()
    }
}

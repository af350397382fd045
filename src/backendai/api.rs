//! Calls to a manager: JSON in and out, refusals and GraphQL errors told from answers.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::identity::VERSION;
use crate::action::Reply;
use crate::client::Request;
use crate::outcome::{Failure, Fault, Reason};
use crate::spec::Context;

/// What stands for itself in a path or query, RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A value as part of a path or query.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// The calls of one step.
pub(super) struct Api<'a, 'c> {
    pub(super) context: &'a mut Context<'c>,
    /// Whether the target may have changed.
    pub(super) changed: bool,
    /// What was asked for was there before, and is not ours to remove.
    pub(super) is_lent: bool,
    /// The last answer to a call that may have changed something.
    pub(super) last: Option<Reply>,
}

/// Statuses that say the thing is not there.
const GONE: [u16; 2] = [404, 410];

impl<'a, 'c> Api<'a, 'c> {
    pub(super) fn new(context: &'a mut Context<'c>) -> Self {
        Self {
            context,
            changed: false,
            is_lent: false,
            last: None,
        }
    }

    /// The major version of the API that was agreed on.
    pub(super) async fn version(&mut self) -> Result<u32, Failure> {
        let mut request = Request::new(Method::GET, "/");
        self.context.dress(&mut request).await?;
        let version = request.headers.get(VERSION).and_then(|version| {
            let (major, _) = version.to_str().ok()?.strip_prefix('v')?.split_once('.')?;
            major.parse().ok()
        });
        Ok(version.unwrap_or_default())
    }

    /// Sends a request and waits for its answer, whatever that is.
    pub(super) async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Reply, Failure> {
        let mut request = Request::new(method, path);
        if let Some(body) = body {
            let json = HeaderValue::from_static("application/json");
            request.headers.insert(CONTENT_TYPE, json);
            request.body = body.to_string().into();
        }
        // The calls of one step follow each other at once.
        request.reuse = true;
        let begun = Instant::now();
        let answer = self.context.send(request).await?;
        let reason = self.context.reason(&answer);
        Ok(Reply::new(answer, begun.elapsed(), reason))
    }

    /// Asks for something that is there.
    pub(super) async fn get(&mut self, path: &str) -> Result<Value, Failure> {
        let reply = self.send(Method::GET, path, None).await?;
        accepted(&reply, &format!("GET {}", bare(path)))
    }

    /// Asks for something that may be gone.
    pub(super) async fn get_if_there(&mut self, path: &str) -> Result<Option<Value>, Failure> {
        let reply = self.send(Method::GET, path, None).await?;
        if GONE.contains(&reply.answer.status) {
            return Ok(None);
        }
        accepted(&reply, &format!("GET {}", bare(path))).map(Some)
    }

    /// Changes something. What a refusal proves is kept in `changed`.
    pub(super) async fn change(
        &mut self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Value, Failure> {
        let what = format!("{method} {}", bare(path));
        let changed = std::mem::replace(&mut self.changed, true);
        let reply = match self.send(method, path, Some(body)).await {
            Ok(reply) => reply,
            Err(failure) => {
                // A request that never left changed nothing.
                self.changed = changed || failure.effect != crate::outcome::Effect::Nothing;
                return Err(failure);
            }
        };
        if proves_nothing_made(&reply) {
            self.changed = changed;
        }
        let result = accepted(&reply, &what);
        self.last = Some(reply);
        result
    }

    /// Removes something. `false` if it was not there.
    pub(super) async fn remove(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<bool, Failure> {
        let what = format!("{method} {}", bare(path));
        let reply = self.send(method, path, body).await?;
        if GONE.contains(&reply.answer.status) {
            return Ok(false);
        }
        accepted(&reply, &what).map(|_| true)
    }

    /// Asks something of the GraphQL API, and returns the answer's `data`.
    pub(super) async fn query(&mut self, query: &str, variables: Value) -> Result<Value, Failure> {
        let body = json!({ "query": query, "variables": variables });
        let reply = self.send(Method::POST, GRAPHQL, Some(&body)).await?;
        answered(&reply)
    }

    /// Asks the GraphQL API for a list, page by page, to its end. The query takes `$limit` and
    /// `$offset`, and what it filters by as `$filter`.
    pub(super) async fn pages(
        &mut self,
        field: &str,
        query: &str,
        filter: &str,
    ) -> Result<Vec<Value>, Failure> {
        let protocol = |what: String| Failure::new(Reason::Protocol, what);
        let mut all = Vec::new();
        while all.len() < LONGEST {
            let variables = json!({ "filter": filter, "limit": PAGE, "offset": all.len() });
            let mut answer = self.query(query, variables).await?;
            let Value::Array(page) = answer[field]["items"].take() else {
                return Err(protocol(format!(
                    "the search {field} has no list in its answer"
                )));
            };
            let is_last = page.len() < PAGE;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
        Err(protocol(format!(
            "{field}: there are more than {LONGEST}, which is not read to its end"
        )))
    }

    /// Changes something by the GraphQL API: the mutation `field` has to say that it is `ok`.
    /// Returns what the mutation answered.
    pub(super) async fn mutate(
        &mut self,
        field: &str,
        query: &str,
        variables: Value,
    ) -> Result<Value, Failure> {
        let body = json!({ "query": query, "variables": variables });
        self.changed = true;
        let reply = self.send(Method::POST, GRAPHQL, Some(&body)).await?;
        let data = answered(&reply);
        self.last = Some(reply);
        let mut data = data?;
        let answer = data[field].take();
        if answer["ok"] == Value::Bool(false) {
            let what = format!(
                "{field} says: {}",
                crate::action::excerpt(&answer["msg"].to_string())
            );
            return Err(Failure::new(Reason::Assertion, what));
        }
        Ok(answer)
    }
}

/// How many a search tells at once.
const PAGE: usize = 100;

/// The longest list that is read.
const LONGEST: usize = 10_000;

/// So much of a refusal is searched for what it says.
const LONGEST_REFUSAL: usize = 64 << 10;

/// Whether a refusal is certain. One because the name is taken is not, with whatever status it
/// comes: names are ours alone, so it may answer a request that came twice and was carried out once.
fn proves_nothing_made(reply: &Reply) -> bool {
    let body = &reply.answer.body;
    let said = String::from_utf8_lossy(&body[..body.len().min(LONGEST_REFUSAL)]).to_lowercase();
    let is_taken = ["already exists", "already-exists"];
    crate::action::refusal_is_certain(reply.answer.status)
        && !is_taken.iter().any(|words| said.contains(words))
}

/// Attempts something again and again until it is done: what the target refuses now it may allow
/// later, when something else has ended.
pub(super) struct Patience {
    deadline: Instant,
    pause: Duration,
    refusal: Option<Failure>,
}

impl Patience {
    pub(super) fn until(deadline: Instant) -> Self {
        Self {
            deadline,
            pause: SHORTEST_PAUSE,
            refusal: None,
        }
    }

    /// What came of an attempt. If it is not done, waits until it may be attempted again; when the
    /// time is nearly over, the last refusal is told. A failure that is no refusal ends it at once.
    pub(super) async fn judge<T>(
        &mut self,
        attempt: Result<Option<T>, Failure>,
    ) -> Result<Option<T>, Failure> {
        match attempt {
            Ok(Some(done)) => return Ok(Some(done)),
            Ok(None) => {}
            Err(failure) if is_refusal(&failure) => self.refusal = Some(failure),
            Err(failure) => return Err(failure),
        }
        if Instant::now() + self.pause >= self.deadline {
            let late = || Failure::new(Reason::Timeout, "it is still being removed");
            return Err(self.refusal.take().unwrap_or_else(late));
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 3 / 2).min(LONGEST_PAUSE);
        Ok(None)
    }
}

/// Whether the target answered, and said no.
fn is_refusal(failure: &Failure) -> bool {
    let refusals = [Reason::Status, Reason::Assertion].map(Fault::Target);
    refusals.contains(&failure.fault)
}

/// Between two looks at something that changes.
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

pub(super) const GRAPHQL: &str = "/admin/gql";

/// The JSON of an answer that is a success; null if it has no body.
pub(super) fn accepted(reply: &Reply, what: &str) -> Result<Value, Failure> {
    let status = reply.answer.status;
    if !(200..300).contains(&status) {
        let short = format!("{what} is answered {status}");
        let what = format!("{short}; {}", reply.excerpt());
        return Err(Failure::new(reply.reason, what).in_short(short));
    }
    if reply.answer.body.is_empty() {
        return Ok(Value::Null);
    }
    reply.json(Reason::Protocol).cloned().map_err(|failure| {
        let message = format!("{what}: {}", failure.message);
        let short = format!("{what} is not answered with JSON");
        Failure { message, ..failure }.in_short(short)
    })
}

/// The `data` of a GraphQL answer. Errors come with status 200, too.
pub(super) fn answered(reply: &Reply) -> Result<Value, Failure> {
    let mut answer = accepted(reply, "the GraphQL call")?;
    let errors = answer["errors"]
        .as_array()
        .filter(|errors| !errors.is_empty());
    if let Some(errors) = errors {
        let texts: Vec<_> = errors
            .iter()
            .map(|error| error["message"].to_string())
            .collect();
        let what = format!(
            "GraphQL errors: {}",
            crate::action::excerpt(&texts.join("; "))
        );
        let mut codes = errors
            .iter()
            .filter_map(|error| error.pointer("/extensions/code")?.as_str());
        // Managers tell the code since 25.8.
        let reason = if codes.any(|code| code.ends_with("_forbidden")) {
            Reason::Auth
        } else {
            Reason::Assertion
        };
        return Err(Failure::new(reason, what).in_short("the GraphQL call is refused"));
    }
    Ok(answer["data"].take())
}

/// A path without its query, which may hold what a user gave.
fn bare(path: &str) -> &str {
    path.split('?').next().unwrap_or(path)
}

/// A text that an answer must have.
pub(super) fn text(answer: &Value, pointer: &str) -> Result<String, Failure> {
    let value = answer.pointer(pointer).and_then(Value::as_str);
    let value = value.filter(|text| !text.is_empty());
    value.map(str::to_owned).ok_or_else(|| {
        let what = format!("the answer has no text at {pointer}");
        Failure::new(Reason::Capture, what).in_our_words()
    })
}

/// An object without what has no value: older managers refuse null.
pub(super) fn filled(object: Value) -> Value {
    let Value::Object(entries) = object else {
        return object;
    };
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        _ => false,
    };
    let entries = entries.into_iter().filter(|(_, value)| !empty(value));
    Value::Object(entries.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Cause;

    fn no(reason: Reason, what: impl Into<String>) -> Result<Option<()>, Failure> {
        Err(Failure::new(reason, what.into()))
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_is_attempted_until_the_time_is_nearly_over() {
        let begun = Instant::now();
        let mut patience = Patience::until(begun + Duration::from_secs(10));
        let mut attempts = 0;
        let told = loop {
            attempts += 1;
            let refusal = no(Reason::Status, format!("mounted {attempts}"));
            match patience.judge(refusal).await {
                Ok(None) => {}
                ended => break ended.unwrap_err(),
            }
        };
        assert_eq!(told.message, format!("mounted {attempts}"));
        // A pause grows to two seconds, so that the last attempt is that near to the end.
        assert!(
            begun.elapsed() > Duration::from_secs(8) && begun.elapsed() < Duration::from_secs(10)
        );
        assert!((5..20).contains(&attempts));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_done_or_no_refusal_ends_it_at_once() {
        let begun = Instant::now();
        let mut patience = Patience::until(begun + Duration::from_secs(10));
        assert!(matches!(patience.judge(Ok(Some(7))).await, Ok(Some(7))));
        for reason in [
            Reason::Connect,
            Reason::Auth,
            Reason::Quota,
            Reason::Protocol,
        ] {
            assert!(patience.judge(no(reason, "")).await.is_err());
        }
        let ours: Result<Option<()>, _> = Err(Failure::new(Cause::Secret, ""));
        assert!(patience.judge(ours).await.is_err());
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_only_takes_its_time_is_told_so() {
        let mut patience = Patience::until(Instant::now() + Duration::from_millis(300));
        assert!(matches!(patience.judge(Ok(None::<()>)).await, Ok(None)));
        let late = patience.judge(Ok(None::<()>)).await.unwrap_err();
        assert_eq!(late.fault, Fault::Target(Reason::Timeout));
    }
}

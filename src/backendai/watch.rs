//! `backendai.await`: a session gets where it should. The event stream tells first; looking at the
//! session tells what the stream missed, and is all there is where the stream cannot be had.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::api::{Api, encoded};
use super::events::Events;
use super::session::GONE;
use super::thing::open;
use crate::action::{Built, Key, Keys, Shape};
use crate::outcome::{Failure, Reason};
use crate::spec::{Action, Context, Done, Work};
use crate::text::Fields;

/// Between two looks while the stream is open: it may have missed something before it was.
const LOOK_BESIDE: Duration = Duration::from_secs(5);

/// Between two looks where there is no stream.
const LOOK_ALONE: Duration = Duration::from_secs(1);

pub(super) const KEYS: &[Key] = &[
    Key::required("session", "the session's id, such as \"${session.id}\""),
    Key::optional("called", "the session's name; default ${run.name}"),
    Key::required(
        "until",
        "\"running\", \"terminated\", \"success\" or \"failure\"",
    ),
    Key::optional(
        "reason",
        "the reason that the event must give, such as \"task-timeout\"",
    ),
];

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Order {
    session: String,
    called: String,
    until: Until,
    reason: Option<String>,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Until {
    /// Its containers run.
    #[default]
    Running,
    /// It is gone, whatever its result.
    Terminated,
    /// Its batch command ended well.
    Success,
    /// Its batch command failed, or was ended.
    Failure,
}

/// What was seen of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Running,
    Succeeded(String),
    Failed(String),
    Ended(String),
    /// Still on its way. A state that nobody knows yet is on its way too.
    Underway(String),
}

struct Await {
    keys: Keys,
}

pub(super) fn build(fields: &mut Fields<'_, '_>, _: Shape<'_>) -> Option<Built> {
    let keys = Keys::read::<Order>(fields, KEYS)?;
    Some(Built {
        writes: vec![("seen_by".into(), false), ("reason".into(), false)],
        recorded: Vec::new(),
        work: Work::Act(Box::new(Await { keys })),
    })
}

impl Action for Await {
    fn perform<'a>(&'a self, context: &'a mut Context<'_>) -> BoxFuture<'a, Result<Done, Failure>> {
        async move {
            let name = Value::from(&*context.run.name);
            let order: Order = self.keys.render(context.scope, [("called", name)])?;
            let (seen, seen_by) = watch(&order, &mut Api::new(context)).await?;
            let reason = seen.reason();
            if let Some(expected) = &order.reason
                && reason != expected
            {
                let what = format!("the reason is `{reason}`, expected `{expected}`");
                return Err(Failure::new(Reason::Assertion, what));
            }
            Ok(Done {
                captures: vec![open("seen_by", seen_by), open("reason", reason)],
                made_nothing: false,
            })
        }
        .boxed()
    }
}

async fn watch(order: &Order, api: &mut Api<'_, '_>) -> Result<(Seen, &'static str), Failure> {
    let name = encoded(&order.called);
    let mut events = Events::at(format!("/events/session?sessionName={name}&scope=session"));
    loop {
        // Looking is the fallback: whether the manager is there at all shows then.
        let streams = events.open(api).await.unwrap_or(false);
        // After the stream is open, so that nothing falls between the two.
        let seen = look(&order.session, api).await?;
        if reached(order, &seen)? {
            return Ok((seen, "look"));
        }
        if let Seen::Underway(state) = &seen {
            api.context.note(format!("the session is {state}"));
        }
        if !streams {
            sleep(LOOK_ALONE).await;
            continue;
        }
        // No end of listening is the time to look again.
        if let Ok(heard) = timeout(LOOK_BESIDE, listen(order, &mut events)).await
            && let Some(seen) = heard?
        {
            return Ok((seen, "event"));
        }
    }
}

/// Listens until an event says that it got where it should; `None` if the stream ended first.
async fn listen(order: &Order, events: &mut Events) -> Result<Option<Seen>, Failure> {
    while let Some((event, data)) = events.next().await? {
        if data["sessionId"] != order.session.as_str() {
            continue;
        }
        let seen = of_event(&event, data["reason"].as_str().unwrap_or_default());
        if reached(order, &seen)? {
            return Ok(Some(seen));
        }
    }
    Ok(None)
}

/// Whether it got where it should, and why is known if that matters: a session has its result a
/// moment before its reason.
fn reached(order: &Order, seen: &Seen) -> Result<bool, Failure> {
    let is_told = order.reason.is_none() || !seen.reason().is_empty();
    judge(order.until, seen).map(|reached| reached && is_told)
}

/// Whether it got where it should; a failure if it cannot any more.
fn judge(until: Until, seen: &Seen) -> Result<bool, Failure> {
    let reached = match (until, seen) {
        (Until::Running, Seen::Running)
        | (Until::Terminated, Seen::Ended(_))
        | (Until::Success, Seen::Succeeded(_))
        | (Until::Failure, Seen::Failed(_)) => true,
        // A quick command may end before the manager has noticed that it began, and every result
        // is followed by the end.
        (_, Seen::Underway(_) | Seen::Running)
        | (Until::Running, Seen::Succeeded(_))
        | (Until::Terminated, Seen::Succeeded(_) | Seen::Failed(_)) => false,
        (wanted, seen) => {
            let wanted = format!("{wanted:?}").to_lowercase();
            let what = format!("the session is {}, waited for {wanted}", seen.describe());
            return Err(Failure::new(Reason::Assertion, what));
        }
    };
    Ok(reached)
}

impl Seen {
    /// Why it ended, if it has.
    fn reason(&self) -> &str {
        match self {
            Self::Succeeded(reason) | Self::Failed(reason) | Self::Ended(reason) => reason,
            Self::Running | Self::Underway(_) => "",
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Running => "running".to_owned(),
            Self::Succeeded(reason) => format!("done, its command succeeded ({reason})"),
            Self::Failed(reason) => format!("done, its command failed ({reason})"),
            Self::Ended(reason) => format!("gone ({reason})"),
            Self::Underway(state) => state.clone(),
        }
    }
}

fn of_event(event: &str, reason: &str) -> Seen {
    let reason = reason.to_owned();
    match event {
        "session_started" => Seen::Running,
        "session_success" => Seen::Succeeded(reason),
        "session_failure" => Seen::Failed(reason),
        "session_terminated" | "session_cancelled" => Seen::Ended(reason),
        other => Seen::Underway(other.trim_start_matches("session_").to_uppercase()),
    }
}

/// It tells of sessions that are gone, too, and with what result they ended.
const LOOK: &str = "query($id: UUID!) { compute_session(id: $id) { status status_info result } }";

async fn look(session: &str, api: &mut Api<'_, '_>) -> Result<Seen, Failure> {
    let data = api.query(LOOK, json!({ "id": session })).await?;
    let node = &data["compute_session"];
    let word = |key: &str| node[key].as_str().unwrap_or_default();
    let info = word("status_info").to_owned();
    Ok(match (word("result"), word("status")) {
        ("SUCCESS", _) => Seen::Succeeded(info),
        ("FAILURE", _) => Seen::Failed(info),
        (_, "RUNNING") => Seen::Running,
        (_, "") => Seen::Ended("the manager does not know it".to_owned()),
        (_, "ERROR") => Seen::Ended(format!("ERROR: {info}")),
        (_, status) if GONE.contains(&status) => Seen::Ended(info),
        (_, status) => Seen::Underway(status.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_that_is_not_the_wanted_one_is_told_at_once() {
        use Until::{Failure as Fail, Running, Success, Terminated};
        let check = |until, event, reason: &str| judge(until, &of_event(event, reason)).ok();
        for (until, event, judged) in [
            (Running, "session_scheduled", Some(false)),
            (Running, "session_started", Some(true)),
            (Running, "session_cancelled", None),
            (Running, "session_failure", None),
            (Terminated, "session_started", Some(false)),
            (Terminated, "session_success", Some(false)),
            (Terminated, "session_terminated", Some(true)),
            (Success, "session_started", Some(false)),
            (Success, "session_success", Some(true)),
            (Success, "session_failure", None),
            (Success, "session_terminated", None),
            (Fail, "session_failure", Some(true)),
            (Fail, "session_success", None),
            (Fail, "session_brand_new", Some(false)),
        ] {
            assert_eq!(check(until, event, "why"), judged, "{until:?} {event}");
        }
    }
}

//! `backendai.await`: a session gets where it should. The event stream tells first; looking at the
//! session tells what the stream missed, and is all there is where the stream cannot be had.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::api::{Api, encoded};
use super::deed::Deed;
use super::events::Events;
use super::session::GONE;
use super::thing::open;
use crate::action::Key;
use crate::action::kind::{Kind, TEXT};
use crate::outcome::{Failure, Reason};
use crate::spec::Capture;

/// Between two looks while the stream is open: it may have missed something before it was.
const LOOK_BESIDE: Duration = Duration::from_secs(5);

/// Between two looks where there is no stream.
const LOOK_ALONE: Duration = Duration::from_secs(1);

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Order {
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

const UNTIL: Kind = Kind::new(
    "`\"running\"`, `\"terminated\"`, `\"success\"` or `\"failure\"`",
    "'running'",
    "'asleep'",
);

/// What specs do with it.
pub(super) struct Await;

impl Deed for Await {
    const NAME: &'static str = "backendai.await";
    const KEYS: &'static [Key] = &[
        Key::required(
            "session",
            TEXT,
            "the session's id, such as \"${session.id}\"",
        ),
        Key::optional("called", TEXT, "the session's name").default("`${run.name}`"),
        Key::required("until", UNTIL, "what is waited for"),
        Key::optional(
            "reason",
            TEXT,
            "the reason that the event must give, such as \"task-timeout\"",
        ),
    ];
    const WRITES: &'static [&'static str] = &["seen_by", "reason"];
    type Order = Order;

    async fn perform(order: &Order, api: &mut Api<'_, '_>) -> Result<Vec<Capture>, Failure> {
        let (seen, seen_by) = watch(order, api).await?;
        let reason = seen.reason();
        if let Some(expected) = &order.reason
            && reason != expected
        {
            let what = format!("the reason is `{reason}`, expected `{expected}`");
            return Err(Failure::new(Reason::Assertion, what));
        }
        Ok(vec![open("seen_by", seen_by), open("reason", reason)])
    }
}

async fn watch(order: &Order, api: &mut Api<'_, '_>) -> Result<(Seen, &'static str), Failure> {
    let name = encoded(&order.called);
    let mut events = Events::at(format!("/events/session?sessionName={name}&scope=session"));
    loop {
        // Looking is the fallback: whether the manager is there at all shows then.
        let streams = events.open(api).await.unwrap_or(false);
        // After the stream is open, so that nothing falls between the two.
        let seen = look(order, api).await?;
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

async fn look(order: &Order, api: &mut Api<'_, '_>) -> Result<Seen, Failure> {
    let data = api.query(LOOK, json!({ "id": order.session })).await?;
    Ok(of_node(order.until, &data["compute_session"]))
}

/// What the manager's record of a session says to somebody who waits for this.
fn of_node(until: Until, node: &Value) -> Seen {
    let word = |key: &str| node[key].as_str().unwrap_or_default();
    let info = word("status_info").to_owned();
    let is_gone = GONE.contains(&word("status"));
    match (word("result"), word("status")) {
        // Who does not wait for a result must not have the end hidden by one.
        _ if is_gone && [Until::Terminated, Until::Running].contains(&until) => Seen::Ended(info),
        ("SUCCESS", _) => Seen::Succeeded(info),
        ("FAILURE", _) => Seen::Failed(info),
        (_, "RUNNING") => Seen::Running,
        (_, "") => Seen::Ended("the manager does not know it".to_owned()),
        (_, "ERROR") => Seen::Ended(format!("ERROR: {info}")),
        _ if is_gone => Seen::Ended(info),
        (_, status) => Seen::Underway(status.to_owned()),
    }
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

    #[test]
    fn a_result_does_not_hide_the_end() {
        let why = || "why".to_owned();
        for (until, words, seen) in [
            (Until::Terminated, "TERMINATED SUCCESS", Seen::Ended(why())),
            (Until::Terminated, "TERMINATED FAILURE", Seen::Ended(why())),
            (
                Until::Terminated,
                "TERMINATING FAILURE",
                Seen::Failed(why()),
            ),
            (Until::Running, "TERMINATED SUCCESS", Seen::Ended(why())),
            (Until::Running, "CANCELLED UNDEFINED", Seen::Ended(why())),
            (Until::Failure, "TERMINATED FAILURE", Seen::Failed(why())),
            (Until::Failure, "RUNNING UNDEFINED", Seen::Running),
        ] {
            let (status, result) = words.split_once(' ').unwrap();
            let node = json!({ "status": status, "status_info": "why", "result": result });
            assert_eq!(of_node(until, &node), seen, "{until:?} {words}");
        }
    }
}

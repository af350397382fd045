//! `backendai.task`: a background task of the manager comes to its end.

use serde::Deserialize;
use serde_json::Value;

use super::api::{Api, encoded};
use super::deed::Deed;
use super::events::Events;
use super::thing::open;
use crate::action::kind::TEXT;
use crate::action::{Key, excerpt};
use crate::outcome::{Failure, Reason};
use crate::spec::Capture;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Order {
    task: String,
}

/// What specs do with it.
pub(super) struct Task;

impl Deed for Task {
    const NAME: &'static str = "backendai.task";
    const KEYS: &'static [Key] = &[Key::required(
        "task",
        TEXT,
        "the task's id, such as \"${commit.task}\"",
    )];
    const WRITES: &'static [&'static str] = &["message"];
    type Order = Order;

    async fn perform(order: &Order, api: &mut Api<'_, '_>) -> Result<Vec<Capture>, Failure> {
        let message = follow(&order.task, api).await?;
        Ok(vec![open("message", message)])
    }
}

/// The last event of a task is kept for a while, so one who comes late or again hears it too. A
/// stream that ends without it says nothing of the task.
pub(super) async fn follow(task: &str, api: &mut Api<'_, '_>) -> Result<String, Failure> {
    let mut events = Events::at(format!("/events/background-task?task_id={}", encoded(task)));
    loop {
        if !events.open(api).await? {
            let what = "the manager knows no such background task";
            return Err(Failure::new(Reason::Assertion, what));
        }
        while let Some((event, data)) = events.next().await? {
            let message = data["message"].as_str().unwrap_or_default();
            match event.as_str() {
                "bgtask_done" => {
                    // Some tasks tell of what went wrong for a part of the work beside "done".
                    let errors = data["errors"]
                        .as_array()
                        .filter(|errors| !errors.is_empty());
                    if let Some(errors) = errors {
                        let errors = excerpt(&Value::from(errors.clone()).to_string());
                        let what = format!("the task is done with errors: {errors}");
                        return Err(Failure::new(Reason::Assertion, what));
                    }
                    return Ok(message.to_owned());
                }
                "bgtask_failed" | "bgtask_cancelled" | "bgtask_partial_success" => {
                    let what = format!("{event}: {}", excerpt(message));
                    return Err(Failure::new(Reason::Assertion, what));
                }
                _ => api
                    .context
                    .note(format!("the task says: {}", excerpt(message))),
            }
        }
    }
}

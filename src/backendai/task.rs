//! `backendai.task`: a background task of the manager comes to its end.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value;

use super::api::{Api, encoded};
use super::events::Events;
use super::thing::open;
use crate::action::{Built, Key, Keys, Shape, excerpt};
use crate::outcome::{Failure, Reason};
use crate::spec::{Action, Context, Done, Work};
use crate::text::Fields;

pub(super) const KEYS: &[Key] = &[Key::required(
    "task",
    "the task's id, such as \"${commit.task}\"",
)];

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Order {
    task: String,
}

struct Task {
    keys: Keys,
}

pub(super) fn build(fields: &mut Fields<'_, '_>, _: Shape<'_>) -> Option<Built> {
    let keys = Keys::read::<Order>(fields, KEYS)?;
    Some(Built {
        writes: vec![("message".into(), false)],
        recorded: Vec::new(),
        work: Work::Act(Box::new(Task { keys })),
    })
}

impl Action for Task {
    fn perform<'a>(&'a self, context: &'a mut Context<'_>) -> BoxFuture<'a, Result<Done, Failure>> {
        async move {
            let order: Order = self.keys.render(context.scope, [])?;
            let message = follow(&order.task, &mut Api::new(context)).await?;
            Ok(Done {
                captures: vec![open("message", message)],
                made_nothing: false,
            })
        }
        .boxed()
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

//! `backendai.logs`: every container of a session has a log.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::json;

use super::api::{Api, encoded, text};
use crate::action::{Built, Key, Keys, Shape};
use crate::outcome::{Failure, Reason};
use crate::spec::{Action, Context, Done, Work};
use crate::text::Fields;

pub(super) const KEYS: &[Key] = &[
    Key::required("session", "the session's id, such as \"${session.id}\""),
    Key::optional("containers", "how many containers it must have; default 1"),
];

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Order {
    session: String,
    containers: usize,
}

impl Default for Order {
    fn default() -> Self {
        Self {
            session: String::new(),
            containers: 1,
        }
    }
}

struct Logs {
    keys: Keys,
}

pub(super) fn build(fields: &mut Fields<'_, '_>, _: Shape<'_>) -> Option<Built> {
    let keys = Keys::read::<Order>(fields, KEYS)?;
    Some(Built {
        writes: Vec::new(),
        recorded: Vec::new(),
        work: Work::Act(Box::new(Logs { keys })),
    })
}

impl Action for Logs {
    fn perform<'a>(&'a self, context: &'a mut Context<'_>) -> BoxFuture<'a, Result<Done, Failure>> {
        async move {
            let order: Order = self.keys.render(context.scope, [])?;
            read(&order, &mut Api::new(context)).await?;
            Ok(Done::default())
        }
        .boxed()
    }
}

const CONTAINERS: &str = "query($id: UUID!) { compute_session(id: $id) { containers { id } } }";

async fn read(order: &Order, api: &mut Api<'_, '_>) -> Result<(), Failure> {
    let data = api
        .query(CONTAINERS, json!({ "id": order.session }))
        .await?;
    let kernels = data.pointer("/compute_session/containers");
    let kernels = kernels
        .and_then(|all| all.as_array().cloned())
        .unwrap_or_default();
    if kernels.len() != order.containers {
        let (there, expected) = (kernels.len(), order.containers);
        let what = format!("the session has {there} containers, expected {expected}");
        return Err(Failure::new(Reason::Assertion, what));
    }
    for kernel in &kernels {
        let kernel = text(kernel, "/id")?;
        let (session, container) = (encoded(&order.session), encoded(&kernel));
        let path = format!("/session/{session}/logs?kernel_id={container}");
        let answer = api.get(&path).await?;
        text(&answer, "/result/logs").map_err(|_| {
            let what = format!("the log of container {kernel} is empty");
            Failure::new(Reason::Assertion, what)
        })?;
    }
    Ok(())
}

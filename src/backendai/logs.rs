//! `backendai.logs`: every container of a session has a log.

use serde::Deserialize;
use serde_json::json;

use super::api::{Api, encoded, text};
use super::deed::Deed;
use crate::action::Key;
use crate::action::kind::{INTEGER, TEXT};
use crate::outcome::{Failure, Reason};
use crate::spec::Capture;

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Order {
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

/// What specs do with it.
pub(super) struct Logs;

impl Deed for Logs {
    const NAME: &'static str = "backendai.logs";
    const KEYS: &'static [Key] = &[
        Key::required(
            "session",
            TEXT,
            "the session's id, such as \"${session.id}\"",
        ),
        Key::optional("containers", INTEGER, "how many containers it must have").default("1"),
    ];
    const WRITES: &'static [&'static str] = &[];
    type Order = Order;

    async fn perform(order: &Order, api: &mut Api<'_, '_>) -> Result<Vec<Capture>, Failure> {
        read(order, api).await?;
        Ok(Vec::new())
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

//! Background tasks: they take their time, and a stream tells how they ended, also to those who
//! come late.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State as Here};
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use super::gate::{Caller, missing};
use super::hall::{Hall, Id, State, dashed};
use super::refusal::Refusal;
use super::stream::{self, Next};

/// So many tasks are remembered.
const KEPT: usize = 1000;

/// Something that takes a while.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) ends: Duration,
    /// Told at the end.
    message: &'static str,
}

impl State {
    /// Begins a task.
    pub(super) fn begin_task(&mut self, message: &'static str) -> Id {
        while self.tasks.len() >= KEPT {
            let oldest = self.tasks.iter().min_by_key(|(_, task)| task.ends);
            let Some(oldest) = oldest.map(|(id, _)| id.clone()) else {
                break;
            };
            self.tasks.remove(&oldest);
        }
        let id = self.new_id();
        let ends = self.now + self.pace.task;
        self.tasks.insert(id.clone(), Task { ends, message });
        id
    }

    /// The last event of a task, if it is over.
    fn task_end(&self, id: &Id) -> Option<Value> {
        let task = self.tasks.get(id).filter(|task| task.ends <= self.now)?;
        Some(json!({ "task_id": id, "message": task.message }))
    }
}

pub(super) fn routes() -> Router<Arc<Hall>> {
    Router::new().route("/events/background-task", get(events))
}

/// Of a task that nobody knows the stream is silent for ever, as the real one's is.
async fn events(
    Here(hall): Here<Arc<Hall>>,
    _caller: Caller,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Response, Refusal> {
    let id = query.get("task_id").ok_or_else(|| missing(&["task_id"]))?;
    let id = dashed(id);
    let mut told_start = false;
    Ok(stream::answer(hall, move |state| {
        if let Some(end) = state.task_end(&id) {
            let done = stream::event("bgtask_done", &end, "");
            return Next::End(done + &stream::event("server_close", &json!({}), ""));
        }
        let task = state.tasks.get(&id);
        if task.is_some() && !told_start {
            told_start = true;
            let data = json!({
                "task_id": id, "message": "Task started",
                "current_progress": 0.0, "total_progress": 0.0,
            });
            return Next::Tell(stream::event("bgtask_updated", &data, "retry: 5\r\n"));
        }
        Next::Wait(task.map(|task| task.ends))
    }))
}

//! The stream of what happens to sessions. There is no replay: it tells what comes after it was
//! opened.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Query, State as Here};
use axum::response::Response;
use serde_json::json;

use crate::demo::backendai::gate::Caller;
use crate::demo::backendai::hall::{Hall, Notice};
use crate::demo::backendai::refusal::Refusal;
use crate::demo::backendai::stream::{self, Next};

pub(super) async fn events(
    Here(hall): Here<Arc<Hall>>,
    caller: Caller,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Response, Refusal> {
    let name = query.get("sessionName").map_or("*", String::as_str);
    // A name is resolved when the stream is opened, and must be that of a live session.
    let (only, mut seen) = hall.look(|state| {
        let only = match name {
            "*" => None,
            name => Some(state.find_session(&caller, name, "READ: 1")?.id.clone()),
        };
        Ok::<_, Refusal>((only, state.noticed()))
    })?;
    let is_told = move |notice: &&Notice| match &only {
        Some(id) => notice.session == *id,
        None => caller.is_superadmin() || notice.owner == caller.access_key,
    };
    Ok(stream::answer(hall, move |state| {
        let told: String = state.notices(seen).filter(&is_told).map(written).collect();
        seen = state.noticed();
        if told.is_empty() {
            Next::Wait(state.next_due())
        } else {
            Next::Tell(told)
        }
    }))
}

fn written(notice: &Notice) -> String {
    let data = json!({
        "reason": notice.reason,
        "sessionName": notice.name,
        "ownerAccessKey": notice.owner,
        "sessionId": notice.session,
        "exitCode": null,
    });
    stream::event(&notice.event, &data, "")
}

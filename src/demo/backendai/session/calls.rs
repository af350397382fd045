//! What requests ask of sessions: `/session/…` and its streams.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State as Here};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Map, Value, json};

use super::create::{Created, name_taken};
use super::events::events;
use super::execute::{converse, execute};
use super::home::{download, files};
use super::{Session, Status};
use crate::demo::backendai::gate::{Caller, Sent};
use crate::demo::backendai::hall::{Hall, Id, State, dashed, is_id};
use crate::demo::backendai::refusal::{
    Refusal, internal, invalid, no_entity, no_object, no_session, not_permitted,
};
use crate::demo::backendai::{ARCHITECTURE, dates, told};

type Hallway = Here<Arc<Hall>>;
type Answer = Result<Response, Refusal>;

pub(in crate::demo::backendai) fn routes() -> Router<Arc<Hall>> {
    Router::new()
        .route("/session", post(create))
        .route("/session/_/create", post(create))
        .route("/session/_/match", get(matching))
        .route("/session/{key}", get(info).post(execute).delete(destroy))
        .route("/session/{key}/logs", get(logs))
        .route("/session/{key}/status-history", get(history))
        .route("/session/{key}/dependency-graph", get(graph))
        .route("/session/{key}/files", get(files))
        .route("/session/{key}/download", post(download).get(download))
        .route("/session/{key}/rename", post(rename))
        .route("/session/{key}/interrupt", post(interrupt))
        .route("/session/{key}/complete", post(complete))
        .route("/session/{key}/commit", get(commit_status).post(commit))
        .route("/session/{key}/imagify", post(imagify))
        .route("/stream/session/{key}/execute", get(converse))
        .route("/events/session", get(events))
}

impl State {
    /// A live session by its id, or one of the caller's by its name.
    pub(in crate::demo::backendai) fn find_session(
        &self,
        caller: &Caller,
        key: &str,
        permission: &str,
    ) -> Result<&Session, Refusal> {
        let found = self.any_session(caller, key, permission)?;
        if found.status().is_over() {
            return Err(no_session(&found.id));
        }
        Ok(found)
    }

    /// As [`State::find_session`], but an id also finds one that has ended.
    fn any_session(
        &self,
        caller: &Caller,
        key: &str,
        permission: &str,
    ) -> Result<&Session, Refusal> {
        if !is_id(key) {
            let named = self.live_session(&caller.user, key);
            return named.ok_or_else(|| no_entity("session_read_not-found", "SessionRow"));
        }
        let id = dashed(key);
        let found = self.sessions.get(&id).ok_or_else(|| no_session(&id))?;
        if found.owner.user != caller.user && !caller.is_superadmin() {
            return Err(not_permitted(&caller.user, permission, "session", &id));
        }
        Ok(found)
    }

    /// The id of a session in which something can be done.
    pub(super) fn running_session(&self, caller: &Caller, key: &str) -> Result<Id, Refusal> {
        let found = self.find_session(caller, key, "READ: 1")?;
        if found.status() < Status::Prepared {
            return Err(Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "agent-not-allocated",
                "Agent is not allocated for the kernel.",
                "agent_access_internal-error",
            )
            .said(format!(
                "Session {} main kernel has no agent allocated",
                found.id
            )));
        }
        Ok(found.id.clone())
    }

    /// As `GET /session/{key}` shows it.
    fn shown(&self, session: &Session) -> Value {
        let slots = format!(
            "{{'cpu': Decimal('{:.6}'), 'mem': Decimal('{}.000000')}}",
            session.cpu, session.memory
        );
        let written = |at: Duration| dates::written(self.calendar(at));
        let age = self.now.saturating_sub(session.created());
        json!({
            "age": u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            "domainName": "default",
            "groupId": session.project,
            "userId": session.owner.user,
            "lang": session.image,
            "image": session.image,
            "architecture": ARCHITECTURE,
            "registry": session.image.split('/').next(),
            "tag": "",
            "containerId": null,
            "occupiedSlots": slots,
            "occupyingSlots": slots,
            "requestedSlots": slots,
            "occupiedShares": "{}",
            "environ": format!("{:?}", session.environ).replace('"', "'"),
            "resourceOpts": "{'main1': {'shmem': 67108864}}",
            "status": session.status().word(),
            "statusInfo": session.info.unwrap_or("None"),
            "statusData": null,
            "creationTime": written(session.created()),
            "terminationTime": session.ended().map(written),
            "numQueriesExecuted": session.queries.len(),
            "lastStat": null,
            "idleChecks": { "session_lifetime": {
                "remaining": null, "remaining_time_type": "expire_after", "extra": null,
            } },
        })
    }

    /// A session and what it waits for.
    fn graph(&self, session: &Session) -> Value {
        let before = session
            .depends_on
            .iter()
            .filter_map(|id| self.sessions.get(id));
        let changed = match session.status() {
            Status::Pending => "None".into(),
            _ => dates::printed(self.calendar(session.since())),
        };
        json!({
            "session_id": session.id,
            "session_name": session.name,
            "status": session.status().word(),
            "status_changed": changed,
            "depends_on": before.map(|before| self.graph(before)).collect::<Value>(),
        })
    }

    /// The session and all that wait for it, those first.
    fn with_dependents(&self, id: &Id) -> Vec<Id> {
        let waiting = self
            .sessions
            .values()
            .filter(|session| session.depends_on.contains(id));
        let mut all: Vec<Id> = waiting
            .flat_map(|session| self.with_dependents(&session.id))
            .collect();
        all.push(id.clone());
        all
    }
}

fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// Answers at once, or waits until the session runs.
async fn create(Here(hall): Hallway, caller: Caller, sent: Sent) -> Answer {
    let created = hall.enter(|state| state.create_session(&caller, &sent))?;
    answer_created(&hall, created, &sent).await
}

pub(in crate::demo::backendai) async fn answer_created(
    hall: &Hall,
    created: Created,
    sent: &Sent,
) -> Answer {
    let (id, is_new) = match created {
        Created::New(id) => (id, true),
        Created::Known(id) => (id, false),
    };
    let waits = is_new && !sent.flag(&["enqueue_only", "enqueueOnly"], false);
    let patience = sent
        .number(&["max_wait_seconds", "maxWaitSeconds"])
        .filter(|limit| *limit > 0);
    let until = patience.map(|limit| hall.look(|state| state.now) + Duration::from_secs(limit));
    let status = if waits {
        wait_for_start(hall, &id, until).await?
    } else {
        hall.look(|state| {
            state
                .sessions
                .get(&id)
                .map(|session| session.status().word())
        })
        .ok_or_else(|| no_session(&id))?
    };
    let name = hall.look(|state| state.sessions.get(&id).map(|session| session.name.clone()));
    let mut answer = json!({
        "sessionId": id, "sessionName": name, "status": status, "servicePorts": [], "created": is_new,
    });
    if !is_new {
        answer["service_ports"] = Value::Null;
        answer["servicePorts"] = Value::Null;
    }
    Ok(told(StatusCode::CREATED, &answer))
}

/// The state that the request is answered with; a session that nobody waits for any longer stays.
async fn wait_for_start(
    hall: &Hall,
    id: &Id,
    until: Option<Duration>,
) -> Result<&'static str, Refusal> {
    let mut changed = hall.listen();
    loop {
        let (status, now, next) = hall.look(|state| {
            let status = state.sessions.get(id).map(Session::status);
            (status, state.now, state.next_due())
        });
        match status {
            None | Some(Status::Cancelled) => return Err(no_session(id)),
            Some(status) if status >= Status::Running => return Ok(status.word()),
            Some(_) if until.is_some_and(|until| until <= now) => return Ok("TIMEOUT"),
            Some(_) => {}
        }
        let wake = [until, next].into_iter().flatten().min();
        let wake = wake.unwrap_or(now + Duration::from_secs(60));
        tokio::select! {
            _ = changed.changed() => {}
            () = hall.until(wake) => {}
            () = hall.closed() => return Err(internal()),
        }
    }
}

async fn info(Here(hall): Hallway, Path(key): Path<String>, caller: Caller) -> Answer {
    let shown = hall.look(|state| {
        let found = state.find_session(&caller, &key, "READ: 1")?;
        Ok::<_, Refusal>(state.shown(found))
    })?;
    Ok(told(StatusCode::OK, &shown))
}

/// Exact names only; those that have ended too.
async fn matching(
    Here(hall): Hallway,
    caller: Caller,
    Query(query): Query<HashMap<String, String>>,
) -> Answer {
    let name = query.get("id").cloned().unwrap_or_default();
    let matches: Value = hall.look(|state| {
        let all = state.sessions.values();
        let found = all.filter(|found| found.name == name && found.owner.user == caller.user);
        found
            .map(|found| json!({ "id": found.id, "name": found.name, "status": found.status().word() }))
            .collect()
    });
    Ok(told(StatusCode::OK, &json!({ "matches": matches })))
}

async fn destroy(
    Here(hall): Hallway,
    Path(key): Path<String>,
    caller: Caller,
    Query(query): Query<HashMap<String, String>>,
) -> Answer {
    let is_set = |key| query.get(key).is_some_and(|text| text == "true");
    let (recursive, forced) = (is_set("recursive"), is_set("forced"));
    let how = hall.enter(|state| {
        let id = state
            .any_session(&caller, &key, "SOFT_DELETE: 8")?
            .id
            .clone();
        let all = if recursive {
            state.with_dependents(&id)
        } else {
            vec![id]
        };
        let mut how = None;
        for id in all {
            how = state.destroy(&id, forced).or(how);
        }
        Ok::<_, Refusal>(how)
    })?;
    let stats = how.map_or_else(|| json!({}), |how| json!({ "status": how }));
    Ok(told(StatusCode::OK, &json!({ "stats": stats })))
}

/// There are no containers, so the log says that.
async fn logs(
    Here(hall): Hallway,
    Path(key): Path<String>,
    caller: Caller,
    Query(query): Query<HashMap<String, String>>,
) -> Answer {
    hall.look(|state| {
        let found = state.any_session(&caller, &key, "READ: 1")?;
        let kernel = query.get("kernel_id").map(|text| dashed(text));
        if let Some(kernel) = kernel.filter(|id| !found.kernels.iter().any(|known| known.id == *id))
        {
            let why = format!(
                "Session has no such kernel (sid:{}, kid:{kernel}))",
                found.id
            );
            return Err(no_object("No such kernel.", "session-kernel_read_not-found").said(why));
        }
        match found.status() {
            status if status.is_over() => Err(internal()),
            status if status < Status::Prepared => {
                let why = "Kernel has not been assigned to an agent.";
                Err(no_object("No such agent.", "agent_read_not-found")
                    .said(why)
                    .with(json!({ "kernel_id": null })))
            }
            _ => Ok(()),
        }
    })?;
    let logs = json!({ "logs": "a container of the stand-in" });
    Ok(told(StatusCode::OK, &json!({ "result": logs })))
}

async fn history(Here(hall): Hallway, Path(key): Path<String>, caller: Caller) -> Answer {
    let history = hall.look(|state| {
        let found = state.find_session(&caller, &key, "READ: 1")?;
        Ok::<_, Refusal>(state.history(found))
    })?;
    Ok(told(StatusCode::OK, &Value::Object(history)))
}

impl State {
    /// When a session came into which state.
    pub(in crate::demo::backendai) fn history(&self, session: &Session) -> Map<String, Value> {
        let all = session.history.iter();
        all.map(|(status, at)| {
            (
                status.word().into(),
                dates::written(self.calendar(*at)).into(),
            )
        })
        .collect()
    }
}

async fn graph(Here(hall): Hallway, Path(key): Path<String>, caller: Caller) -> Answer {
    let graph = hall.look(|state| {
        let found = state.any_session(&caller, &key, "READ: 1")?;
        Ok::<_, Refusal>(state.graph(found))
    })?;
    Ok(told(StatusCode::OK, &graph))
}

async fn rename(
    Here(hall): Hallway,
    Path(key): Path<String>,
    caller: Caller,
    sent: Sent,
) -> Answer {
    let name = sent.text(&["session_name", "name"])?;
    hall.enter(|state| {
        let found = state.find_session(&caller, &key, "UPDATE: 2")?;
        if state.live_session(&found.owner.user, name).is_some() {
            return Err(name_taken().said(format!("Session with name '{name}' already exists")));
        }
        if found.status() != Status::Running {
            return Err(invalid("Can't change name of not running session"));
        }
        let id = found.id.clone();
        if let Some(session) = state.sessions.get_mut(&id) {
            name.clone_into(&mut session.name);
        }
        Ok(())
    })?;
    Ok(no_content())
}

async fn interrupt(Here(hall): Hallway, Path(key): Path<String>, caller: Caller) -> Answer {
    hall.enter(|state| {
        let id = state.running_session(&caller, &key)?;
        let now = state.now;
        if let Some(session) = state.sessions.get_mut(&id) {
            session
                .queries
                .values_mut()
                .for_each(|query| query.interrupt(now));
        }
        Ok::<_, Refusal>(())
    })?;
    Ok(no_content())
}

async fn complete(
    Here(hall): Hallway,
    Path(key): Path<String>,
    caller: Caller,
    _sent: Sent,
) -> Answer {
    hall.look(|state| state.running_session(&caller, &key))?;
    let result = json!({ "status": "finished", "error": null, "suggestions": [] });
    Ok(told(StatusCode::OK, &json!({ "result": result })))
}

fn main_kernel(session: &Session) -> Option<&Id> {
    session.kernels.first().map(|kernel| &kernel.id)
}

async fn commit_status(Here(hall): Hallway, Path(key): Path<String>, caller: Caller) -> Answer {
    let kernel = hall.look(|state| {
        let found = state.find_session(&caller, &key, "READ: 1")?;
        Ok::<_, Refusal>(main_kernel(found).cloned())
    })?;
    Ok(told(
        StatusCode::OK,
        &json!({ "status": "ready", "kernel": kernel }),
    ))
}

async fn commit(Here(hall): Hallway, Path(key): Path<String>, caller: Caller) -> Answer {
    let committed = hall.enter(|state| {
        let id = state.running_session(&caller, &key)?;
        let found = state.sessions.get(&id).ok_or_else(|| no_session(&id))?;
        let when = dates::written(state.calendar(state.now));
        let when = when
            .get(..19)
            .unwrap_or_default()
            .replacen(':', "H", 1)
            .replacen(':', "M", 1);
        let owner = found.owner.email.replace('@', "_");
        let path = format!("{owner}/{when}S_{}_python.tar.gz", found.name);
        let kernel = main_kernel(found).cloned();
        let task = state.begin_task("None");
        Ok::<_, Refusal>(json!({ "bgtask_id": task, "kernel": kernel, "path": path }))
    })?;
    Ok(told(StatusCode::CREATED, &committed))
}

async fn imagify(
    Here(hall): Hallway,
    Path(key): Path<String>,
    caller: Caller,
    sent: Sent,
) -> Answer {
    let name = sent.text(&["image_name", "imageName"])?;
    let task = hall.enter(|state| {
        let found = state.find_session(&caller, &key, "READ: 1")?.clone();
        state.imagify(&found, name)
    })?;
    Ok(told(StatusCode::OK, &json!({ "task_id": task })))
}

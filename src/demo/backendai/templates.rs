//! Session templates, and sessions made from them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State as Here};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Map, Value, json};

use super::accounts::{DOMAIN, PROJECT};
use super::books::Change;
use super::gate::{Caller, Sent};
use super::hall::{Hall, Id, State, dashed};
use super::refusal::{Refusal, internal, no_entity, no_object, not_permitted, schema};
use super::session::answer_created;
use super::{dates, told};

type Hallway = Here<Arc<Hall>>;
type Answer = Result<Response, Refusal>;

#[derive(Debug, Clone)]
pub(super) struct Template {
    pub(super) id: Id,
    pub(super) name: String,
    owner: Caller,
    project: Id,
    content: Value,
    created: Duration,
}

pub(super) fn routes() -> Router<Arc<Hall>> {
    Router::new()
        .route("/template/session", get(list).post(create))
        .route("/template/session/{id}", get(info).delete(remove))
        .route("/session/_/create-from-template", post(create_session))
}

fn no_template() -> Refusal {
    no_object(
        "No such session template.",
        "session-template_read_not-found",
    )
}

impl State {
    fn template(&self, caller: &Caller, id: &str, permission: &str) -> Result<&Template, Refusal> {
        let found = self.templates.get(&dashed(id)).ok_or_else(no_template)?;
        if found.owner.user == caller.user || caller.is_superadmin() {
            return Ok(found);
        }
        Err(not_permitted(
            &caller.user,
            permission,
            "session_template",
            &found.id,
        ))
    }
}

/// Several may come in one payload, and of one name there may be several.
async fn create(Here(hall): Hallway, caller: Caller, sent: Sent) -> Answer {
    let payload = sent.text(&["payload"])?;
    let all = match serde_json::from_str(payload) {
        Ok(Value::Array(all)) => all,
        Ok(one @ Value::Object(_)) => vec![one],
        Ok(_) | Err(_) => return Err(internal()),
    };
    if all.iter().any(|one| !one["template"].is_object()) {
        return Err(internal());
    }
    let made: Value = hall.enter(|state| {
        let project = sent.maybe(&["group"]).unwrap_or(PROJECT);
        let project = state.accounts.joined(&caller.user, project)?.id.clone();
        let made = all.into_iter().map(|one| {
            let mut content = one["template"].clone();
            let unset = content["spec"].get("agent_list").is_none();
            if unset && content["spec"].is_object() {
                content["spec"]["agent_list"] = Value::Null;
            }
            let name = one["name"]
                .as_str()
                .or(content["metadata"]["name"].as_str());
            let template = Template {
                id: state.new_id(),
                name: name.unwrap_or_default().to_owned(),
                owner: caller.clone(),
                project: project.clone(),
                content,
                created: state.now,
            };
            let id = template.id.clone();
            state.note(Change::Made, "template", &template.name, &id);
            state.templates.insert(id.clone(), template);
            json!({ "id": id.replace('-', ""), "user": caller.user })
        });
        Ok::<_, Refusal>(made.collect())
    })?;
    Ok(told(StatusCode::OK, &made))
}

async fn list(Here(hall): Hallway, caller: Caller) -> Response {
    let shown: Value = hall.look(|state| {
        let theirs = state
            .templates
            .values()
            .filter(|found| found.owner.user == caller.user);
        let shown = theirs.map(|found| {
            let project = state.accounts.projects.get(&found.project);
            let created = dates::written(state.calendar(found.created)).replace("+00:00", "Z");
            json!({
                "name": found.name,
                "id": found.id.replace('-', ""),
                "created_at": created,
                "is_owner": true,
                "user": found.owner.user,
                "group": found.project,
                "user_email": found.owner.email,
                "group_name": project.map(|project| &*project.name),
                "domain_name": DOMAIN,
                "type": "task",
                "template": found.content,
            })
        });
        shown.collect()
    });
    told(StatusCode::OK, &shown)
}

async fn info(Here(hall): Hallway, Path(id): Path<String>, caller: Caller) -> Answer {
    let shown = hall.look(|state| {
        let found = state.template(&caller, &id, "READ: 1")?;
        Ok::<_, Refusal>(json!({
            "template": found.content,
            "name": found.name,
            "user_uuid": found.owner.user,
            "group_id": found.project,
            "domain_name": DOMAIN,
        }))
    })?;
    Ok(told(StatusCode::OK, &shown))
}

async fn remove(Here(hall): Hallway, Path(id): Path<String>, caller: Caller) -> Answer {
    hall.enter(|state| {
        let found = state.template(&caller, &id, "SOFT_DELETE: 8")?.clone();
        state.templates.remove(&found.id);
        state.note(Change::Removed, "template", &found.name, &found.id);
        Ok::<_, Refusal>(())
    })?;
    Ok(told(StatusCode::OK, &json!({ "success": true })))
}

/// As line 26 does it, this makes the session and then says that it failed; a setting of the
/// stand-in keeps it from saying so.
async fn create_session(Here(hall): Hallway, caller: Caller, sent: Sent) -> Answer {
    let id = sent.text(&["template_id", "templateId"])?.to_owned();
    if sent.any(&["group", "groupName", "group_name"]).is_none() {
        return Err(no_entity("project_read_not-found", "ProjectRow"));
    }
    let (created, sent, fails) = hall.enter(|state| {
        let template = state.template(&caller, &id, "READ: 1")?;
        let sent = filled(&template.content, &sent);
        if sent.maybe(&["session_name", "name"]).is_none() {
            return Err(schema("", "").said("Error while validating template"));
        }
        let created = state.create_session(&caller, &sent)?;
        Ok((created, sent, state.templates_fail))
    })?;
    if fails {
        return Err(internal());
    }
    answer_created(&hall, created, &sent).await
}

/// The request with what the template says where it says nothing itself.
fn filled(template: &Value, sent: &Sent) -> Sent {
    let spec = &template["spec"];
    let mut filled: Map<String, Value> = sent.0.as_object().cloned().unwrap_or_default();
    let mut fill = |key: &str, others: &[&str], value: &Value| {
        let is_said =
            filled.contains_key(key) || others.iter().any(|key| filled.contains_key(*key));
        if !is_said && !value.is_null() {
            filled.insert(key.to_owned(), value.clone());
        }
    };
    fill("image", &["lang"], &spec["kernel"]["image"]);
    fill("architecture", &["arch"], &spec["kernel"]["architecture"]);
    fill(
        "type",
        &["session_type", "sessionType"],
        &spec["session_type"],
    );
    fill("cluster_size", &["clusterSize"], &spec["cluster_size"]);
    let mut config = filled
        .get("config")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    for (key, value) in [
        ("resources", &spec["resources"]),
        ("scaling_group", &spec["scaling_group"]),
        ("environ", &spec["kernel"]["environ"]),
    ] {
        if !value.is_null() {
            config.entry(key).or_insert_with(|| value.clone());
        }
    }
    filled.insert("config".into(), config.into());
    Sent(filled.into())
}

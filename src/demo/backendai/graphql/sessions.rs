//! Root fields about sessions. They also tell of those that have ended.

use base64::Engine as _;
use serde_json::{Value, json};

use super::{Answer, Field, connection, edges, given, page};
use crate::demo::backendai::gate::Caller;
use crate::demo::backendai::hall::{State, dashed, is_id};
use crate::demo::backendai::session::{Kernel, Session, Status};
use crate::demo::backendai::{ARCHITECTURE, SCALING_GROUP, dates};

pub(super) fn look_up(state: &State, caller: &Caller, field: &Field) -> Answer {
    let asked = given(field);
    let seen = |found: &&Session| caller.is_superadmin() || found.owner.user == caller.user;
    let one = |id: &str| state.sessions.get(&dashed(id)).filter(seen);
    let all = || state.sessions.values().filter(seen);
    let found = match &*field.name {
        "compute_session" => {
            let id = asked.maybe(&["id"]).unwrap_or_default();
            one(id).map_or(Value::Null, |found| state.legacy_session(found))
        }
        "compute_session_list" => {
            let status = asked.maybe(&["status"]);
            let fits = |found: &&Session| {
                let word = found.status().word();
                status.is_none_or(|all| all.split(',').any(|status| status.trim() == word))
            };
            let shown = all().filter(fits).map(|found| state.legacy_session(found));
            return Some(page(&asked, shown));
        }
        "compute_session_node" => {
            let id = row_id(asked.maybe(&["id"]).unwrap_or_default());
            one(&id).map_or(Value::Null, |found| state.session_node(found))
        }
        "compute_session_nodes" => {
            let project = asked.maybe(&["project_id"]).map(dashed);
            let fits = |found: &&Session| {
                project
                    .as_ref()
                    .is_none_or(|project| found.project == *project)
            };
            let shown = all().filter(fits).map(|found| state.session_node(found));
            return Some(connection(&asked, shown));
        }
        _ => return None,
    };
    Some(Ok(found))
}

/// The id in a global one, which is the base64 of `KIND:ID`.
pub(super) fn row_id(text: &str) -> String {
    if is_id(text) {
        return dashed(text);
    }
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap_or_default();
    let decoded = String::from_utf8(decoded).unwrap_or_default();
    dashed(decoded.split_once(':').map_or("", |(_, id)| id))
}

/// A global id.
pub(super) fn global_id(kind: &str, id: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(format!("{kind}:{id}"))
}

/// A kernel is where its session is, but is not terminated before.
fn kernel_status(session: &Session) -> &'static str {
    match session.status() {
        Status::Scheduled => "SCHEDULED",
        other => other.word(),
    }
}

impl State {
    fn legacy_session(&self, session: &Session) -> Value {
        let written = |at| dates::written(self.calendar(at));
        let container = |kernel: &Kernel| {
            json!({
                "id": kernel.id,
                "idx": kernel.number(),
                "role": "COMPUTE",
                "session_id": session.id,
                "cluster_idx": kernel.number(),
                "cluster_role": kernel.role(),
                "cluster_hostname": format!("{}{}", kernel.role(), kernel.number()),
                "image": session.image,
                "status": kernel_status(session),
                "status_info": session.info,
            })
        };
        json!({
            "id": session.id,
            "session_id": session.id,
            "tag": "",
            "name": session.name,
            "type": session.kind.word().to_uppercase(),
            "image": session.image,
            "architecture": ARCHITECTURE,
            "cluster_mode": session.cluster_mode,
            "cluster_size": session.kernels.len(),
            "domain_name": "default",
            "group_id": session.project,
            "group_name": self.accounts.projects.get(&session.project).map(|found| &*found.name),
            "user_id": session.owner.user,
            "user_email": session.owner.email,
            "access_key": session.owner.access_key,
            "status": session.status().word(),
            "status_changed": written(session.since()),
            "status_info": session.info,
            "status_data": null,
            "created_at": written(session.created()),
            "terminated_at": session.ended().map(written),
            "startup_command": session.command,
            "result": session.result,
            "scaling_group": SCALING_GROUP,
            "mounts": session.mounts.iter().map(|mount| &*mount.name).collect::<Vec<_>>(),
            "vfolder_mounts": session.mounts.iter().map(|mount| &*mount.folder).collect::<Vec<_>>(),
            "containers": session.kernels.iter().map(container).collect::<Value>(),
        })
    }

    fn session_node(&self, session: &Session) -> Value {
        let written = |at| dates::written(self.calendar(at));
        let kernel = |kernel: &Kernel| {
            json!({
                "id": global_id("KernelNode", &kernel.id),
                "row_id": kernel.id,
                "session_id": session.id,
                "cluster_idx": kernel.number(),
                "cluster_role": kernel.role(),
                "cluster_hostname": format!("{}{}", kernel.role(), kernel.number()),
                "status": kernel_status(session),
                "status_info": session.info,
            })
        };
        let kernels = session.kernels.iter().map(kernel).collect();
        json!({
            "id": global_id("ComputeSessionNode", &session.id),
            "row_id": session.id,
            "tag": "",
            "name": session.name,
            "type": session.kind.word(),
            "cluster_mode": session.cluster_mode,
            "cluster_size": session.kernels.len(),
            "domain_name": "default",
            "project_id": session.project,
            "user_id": session.owner.user,
            "access_key": session.owner.access_key,
            "status": session.status().word(),
            "status_info": session.info,
            "status_data": null,
            "status_history": Value::Object(self.history(session)).to_string(),
            "created_at": written(session.created()),
            "terminated_at": session.ended().map(written),
            "startup_command": session.command,
            "result": session.result,
            "scaling_group": SCALING_GROUP,
            "vfolder_mounts": session.mounts.iter().map(|mount| &*mount.folder).collect::<Vec<_>>(),
            "kernel_nodes": edges(kernels, None),
        })
    }
}

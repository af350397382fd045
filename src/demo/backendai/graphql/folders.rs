//! Root fields about folders and model services. Of folders they also tell what the trash has
//! swallowed, until it is purged.

use serde_json::{Value, json};

use super::sessions::{global_id, row_id};
use super::{Answer, Field, connection, given, page};
use crate::demo::backendai::folder::{Folder, Owner};
use crate::demo::backendai::gate::Caller;
use crate::demo::backendai::hall::State;
use crate::demo::backendai::refusal::no_object;
use crate::demo::backendai::services::Service;
use crate::demo::backendai::{HOST, dates};

pub(super) fn look_up(state: &State, caller: &Caller, field: &Field) -> Answer {
    let asked = given(field);
    let is_seen = |folder: &&Folder| state.may_see(caller, folder);
    let folders = || state.folders.values().filter(is_seen);
    let found = match &*field.name {
        "vfolder_node" => {
            let id = row_id(asked.maybe(&["id"]).unwrap_or_default());
            let found = state.folders.get(&id).filter(is_seen);
            found.map_or(Value::Null, |found| state.folder_node(found))
        }
        "vfolder_nodes" => {
            return Some(connection(
                &asked,
                folders().map(|found| state.folder_node(found)),
            ));
        }
        "vfolder_list" => {
            let shown = folders().map(|found| {
                let mut shown = state.folder_node(found);
                shown["id"] = shown["row_id"].clone();
                shown
            });
            return Some(page(&asked, shown));
        }
        "endpoint" => {
            let id = asked.maybe(&["endpoint_id"]).unwrap_or_default();
            let Ok(found) = state.service(caller, id) else {
                let refusal = no_object("No such endpoint.", "deployment_read_not-found");
                return Some(Err(refusal));
            };
            state.endpoint(found)
        }
        "endpoint_list" => {
            let theirs = state.services.values();
            let theirs =
                theirs.filter(|found| caller.is_superadmin() || found.owner.user == caller.user);
            return Some(page(&asked, theirs.map(|found| state.endpoint(found))));
        }
        _ => return None,
    };
    Some(Ok(found))
}

impl State {
    fn folder_node(&self, folder: &Folder) -> Value {
        let (kind, user, project, scope) = match &folder.owner {
            Owner::User(user) => ("user", Some(user), None, format!("user:{user}")),
            Owner::Project(project) => ("group", None, Some(project), format!("project:{project}")),
        };
        json!({
            "id": global_id("VirtualFolderNode", &folder.id),
            "row_id": folder.id,
            "name": folder.name,
            "status": folder.stage.word(),
            "host": HOST,
            "quota_scope_id": scope,
            "user": user,
            "group": project,
            "creator": folder.creator,
            "usage_mode": folder.usage_mode,
            "permission": folder.permission,
            "ownership_type": kind,
            "cloneable": folder.cloneable,
            "created_at": dates::written(self.calendar(folder.created)),
        })
    }

    fn endpoint(&self, service: &Service) -> Value {
        let stage = match (service.destroying, self.is_destroyed(service)) {
            (_, true) => "DESTROYED",
            (true, false) => "DESTROYING",
            (false, false) => "CREATED",
        };
        let healthy = u64::try_from(self.healthy_count(service)).unwrap_or(u64::MAX);
        let status = match healthy {
            0 if service.destroying => "DEGRADED",
            0 => "PROVISIONING",
            some if some < service.wanted => "DEGRADED",
            _ => "HEALTHY",
        };
        json!({
            "endpoint_id": service.id,
            "name": service.name,
            "status": status,
            "lifecycle_stage": format!("EndpointLifecycle.{stage}"),
            "replicas": service.wanted,
            "desired_session_count": service.wanted,
            "url": self.service_address(service).unwrap_or_default(),
            "project": service.project,
            "model": service.model,
            "open_to_public": service.is_public,
            "routings": self.routings(service),
            "created_at": dates::written(self.calendar(service.created)),
        })
    }
}

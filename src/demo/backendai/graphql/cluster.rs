//! Root fields about what the cluster has: its image, agents, policies and scaling group.

use serde_json::{Value, json};

use super::sessions::row_id;
use super::{Answer, Field, given, page};
use crate::demo::backendai::accounts::DOMAIN;
use crate::demo::backendai::gate::Caller;
use crate::demo::backendai::hall::State;
use crate::demo::backendai::images::Image;
use crate::demo::backendai::refusal::{no_entity, no_object, no_privilege};
use crate::demo::backendai::session::{LEAST_MEMORY, MOST_KERNELS};
use crate::demo::backendai::{AGENTS, ARCHITECTURE, HOST, IMAGE, MOST_REPLICAS, SCALING_GROUP};

pub(super) fn look_up(state: &State, caller: &Caller, field: &Field) -> Answer {
    let asked = given(field);
    let name = asked.maybe(&["name"]);
    let found = match &*field.name {
        "image" => {
            let known = asked.maybe(&["reference"]) == Some(IMAGE)
                && asked.maybe(&["architecture"]).unwrap_or(ARCHITECTURE) == ARCHITECTURE;
            if !known {
                let refusal = no_object("No such environment image.", "image_read_not-found");
                return Some(Err(refusal));
            }
            image()
        }
        "images" => json!([image()]),
        "customized_images" => state.customized_images(caller).map(customized).collect(),
        "agents" | "agent_list" if !caller.is_superadmin() => {
            return Some(Err(no_privilege().said("superadmin privilege required")));
        }
        "agents" => agents(state.release()).into(),
        "agent_list" | "agent_summary_list" => {
            return Some(page(&asked, agents(state.release()).into_iter()));
        }
        "scaling_groups" | "scaling_groups_for_domain" => json!([scaling_group()]),
        "scaling_group" if name == Some(SCALING_GROUP) => scaling_group(),
        "scaling_group" => Value::Null,
        "domain" => json!({ "name": DOMAIN, "description": "", "is_active": true }),
        "keypair_resource_policy" => key_policy(),
        "user_resource_policy" if name.is_none_or(|name| name == "default") => json!({
            "id": "default",
            "name": "default",
            "max_vfolder_count": 0,
            "max_quota_scope_size": -1,
            "max_session_count_per_model_session": MOST_REPLICAS,
            "max_customized_image_count": 3,
        }),
        "user_resource_policy" => {
            let code = "user-resource-policy_read_not-found";
            return Some(Err(no_entity(code, "UserResourcePolicyRow")));
        }
        "project_resource_policy" => {
            json!({ "id": "default", "name": "default", "max_vfolder_count": 0, "max_quota_scope_size": -1 })
        }
        _ => return None,
    };
    Some(Ok(found))
}

pub(super) fn change(state: &mut State, field: &Field) -> Answer {
    let asked = given(field);
    let id = || asked.text(&["image_id"]).map(row_id);
    let changed = match &*field.name {
        "untag_image_from_registry" => id().and_then(|id| state.untag_image(&id)),
        "forget_image_by_id" => id().and_then(|id| state.forget_image(&id)),
        _ => return None,
    };
    Some(changed.map(|()| json!({ "ok": true, "msg": "" })))
}

/// An image that was made from a session.
fn customized(made: &Image) -> Value {
    let mut shown = image();
    shown["id"] = made.id.clone().into();
    let labels = [
        ("ai.backend.customized-image.name", made.name.clone()),
        (
            "ai.backend.customized-image.owner",
            format!("user:{}", made.owner),
        ),
        ("ai.backend.customized-image.id", made.id.clone()),
    ];
    if let Some(all) = shown["labels"].as_array_mut() {
        all.extend(labels.map(|(key, value)| json!({ "key": key, "value": value })));
    }
    shown
}

fn image() -> Value {
    let (registry, rest) = IMAGE.split_once('/').unwrap_or(("", IMAGE));
    let (name, tag) = rest.split_once(':').unwrap_or((rest, "latest"));
    let least = format!("{}m", LEAST_MEMORY >> 20);
    let label =
        |key: &str, value: &str| json!({ "key": format!("ai.backend.{key}"), "value": value });
    json!({
        "id": "5a1f0c7e-0000-4000-8000-000000000001",
        "name": name,
        "humanized_name": name,
        "tag": tag,
        "registry": registry,
        "architecture": ARCHITECTURE,
        "is_local": false,
        "digest": "",
        "labels": [
            label("kernelspec", "1"),
            label("role", "COMPUTE"),
            label("runtime-type", "python"),
            label("features", "batch query uid-match user-input"),
            label("resource.min.cpu", "1"),
            label("resource.min.mem", &least),
        ],
        "resource_limits": [
            { "key": "cpu", "min": "1", "max": "Infinity" },
            { "key": "mem", "min": LEAST_MEMORY.to_string(), "max": "Infinity" },
        ],
        "aliases": ["python"],
        "supported_accelerators": [],
        "installed": true,
    })
}

fn agents(release: &str) -> Vec<Value> {
    // What tells one that runs containers from one that only pretends.
    let plugin = json!({ "version": release, "machine": ARCHITECTURE, "os_type": "linux", "agent_version": release });
    let plugins = json!({ "cpu": plugin, "mem": plugin });
    let live = json!({ "node": { "cpu_util": { "current": "0" } }, "devices": {} });
    let agent = |number| {
        json!({
            "id": format!("i-stand-in-{number}"),
            "status": "ALIVE",
            "region": "local",
            "scaling_group": SCALING_GROUP,
            "schedulable": true,
            "available_slots": "{\"cpu\": \"64\", \"mem\": \"274877906944\"}",
            "occupied_slots": "{\"cpu\": \"0\", \"mem\": \"0\"}",
            "addr": "tcp://127.0.0.1:6001",
            "architecture": ARCHITECTURE,
            "version": release,
            "compute_plugins": plugins.to_string(),
            "live_stat": live.to_string(),
            "container_count": 0,
        })
    };
    (1..=AGENTS).map(agent).collect()
}

fn scaling_group() -> Value {
    json!({
        "name": SCALING_GROUP,
        "description": "",
        "is_active": true,
        "is_public": true,
        "wsproxy_addr": "http://127.0.0.1:5050",
        "driver": "static",
        "driver_opts": "{}",
        "scheduler": "fifo",
        "scheduler_opts": "{}",
        "use_host_network": false,
    })
}

fn key_policy() -> Value {
    let permissions = json!({ HOST: [
        "create-vfolder", "modify-vfolder", "delete-vfolder", "mount-in-session", "upload-file",
        "download-file", "invite-others", "set-user-specific-permission",
    ] });
    json!({
        "name": "default",
        "default_for_unspecified": "UNLIMITED",
        "total_resource_slots": "{}",
        "max_concurrent_sessions": 100,
        "max_containers_per_session": MOST_KERNELS,
        "idle_timeout": 3600,
        "max_session_lifetime": 0,
        "allowed_vfolder_hosts": permissions.to_string(),
    })
}

//! Root fields about users, their key pairs and projects.

use serde_json::{Value, json};

use super::sessions::global_id;
use super::{Answer, Field, connection, given, page};
use crate::demo::backendai::HOST;
use crate::demo::backendai::accounts::{DOMAIN, KeyPair, NewUser, Project, User};
use crate::demo::backendai::gate::{Caller, Sent, missing};
use crate::demo::backendai::hall::{Id, State, dashed};
use crate::demo::backendai::refusal::{Refusal, no_privilege, schema};

pub(super) fn look_up(state: &State, caller: &Caller, field: &Field) -> Answer {
    let asked = given(field);
    if let Some(found) = projects(state, &field.name, &asked) {
        return Some(Ok(found));
    }
    let accounts = &state.accounts;
    let found = match &*field.name {
        "group_nodes" => {
            let nodes = accounts.projects.values().map(|found| {
                let mut shown = shown_project(found);
                shown["row_id"] = shown["id"].clone();
                shown["id"] = global_id("GroupNode", &found.id).into();
                shown
            });
            return Some(connection(&asked, nodes));
        }
        "user" => {
            let email = asked.maybe(&["email"]).unwrap_or(&caller.email);
            if email != caller.email && !caller.is_superadmin() {
                return Some(Err(no_privilege()));
            }
            accounts
                .user(email)
                .map_or(Value::Null, |found| state.shown_user(found))
        }
        "user_from_uuid" => {
            let id = dashed(asked.maybe(&["user_id"]).unwrap_or(&caller.user));
            if id != caller.user && !caller.is_superadmin() {
                return Some(Err(no_privilege()));
            }
            accounts
                .users
                .get(&id)
                .map_or(Value::Null, |found| state.shown_user(found))
        }
        "users" | "user_list" | "keypairs" if !caller.is_superadmin() => {
            return Some(Err(no_privilege()));
        }
        "users" => accounts
            .users
            .values()
            .map(|found| state.shown_user(found))
            .collect(),
        "user_list" => {
            let all = accounts.users.values().map(|found| state.shown_user(found));
            return Some(page(&asked, all));
        }
        "keypair" => accounts
            .key(&caller.access_key)
            .map_or(Value::Null, |key| state.shown_key(key)),
        "keypairs" => {
            let email = asked.maybe(&["email"]);
            let of = email.map(|email| accounts.user(email).map(|user| user.id.clone()));
            let fits = |key: &&KeyPair| of.as_ref().is_none_or(|of| of.as_ref() == Some(&key.user));
            let found = accounts.keys.iter().filter(fits);
            found.map(|key| state.shown_key(key)).collect()
        }
        _ => return None,
    };
    Some(Ok(found))
}

fn projects(state: &State, field: &str, asked: &Sent) -> Option<Value> {
    let accounts = &state.accounts;
    Some(match field {
        "groups_by_name" => {
            let name = asked.maybe(&["name"]).unwrap_or_default();
            let found = accounts.project(name).filter(|_| in_domain(asked));
            found.into_iter().map(shown_project).collect()
        }
        "groups" => {
            let wanted = asked.texts(&["type"]);
            let active = asked.any(&["is_active"]).and_then(Value::as_bool);
            let fits = |found: &&Project| {
                let kind = found.kind.word();
                let kind_fits = if wanted.is_empty() {
                    kind == "GENERAL"
                } else {
                    wanted.iter().any(|wanted| wanted.to_uppercase() == kind)
                };
                kind_fits && active.is_none_or(|active| active == found.active) && in_domain(asked)
            };
            let found = accounts.projects.values().filter(fits);
            found.map(shown_project).collect()
        }
        "group" => {
            let id = dashed(asked.maybe(&["id"]).unwrap_or_default());
            accounts
                .projects
                .get(&id)
                .map_or(Value::Null, shown_project)
        }
        _ => return None,
    })
}

fn in_domain(asked: &Sent) -> bool {
    asked.maybe(&["domain_name"]).unwrap_or(DOMAIN) == DOMAIN
}

pub(super) fn change(state: &mut State, caller: &Caller, field: &Field) -> Answer {
    if !caller.is_superadmin() {
        let why = format!("no permission to execute {}", field.name);
        return Some(Ok(json!({ "ok": false, "msg": why })));
    }
    let asked = given(field);
    Some(match &*field.name {
        "create_group" => create_project(state, &asked),
        "modify_group" => modify_project(state, &asked),
        "delete_group" => asked
            .id(&["gid"])
            .and_then(|id| state.delete_project(&id))
            .map(|()| done()),
        "purge_group" => asked
            .id(&["gid"])
            .and_then(|id| state.purge_project(&id))
            .map(|()| done()),
        "create_user" => create_user(state, &asked),
        "delete_user" => asked
            .text(&["email"])
            .and_then(|email| state.delete_user(email))
            .map(|()| done()),
        "purge_user" => asked
            .text(&["email"])
            .and_then(|email| state.purge_user(email))
            .map(|()| done()),
        _ => return None,
    })
}

fn done() -> Value {
    json!({ "ok": true, "msg": "success" })
}

fn create_project(state: &mut State, asked: &Sent) -> Result<Value, Refusal> {
    let name = asked.text(&["name"])?;
    if name.trim().is_empty() || name.len() > 64 {
        let why = "Group name cannot be empty or whitespace and must not exceed 64 characters.";
        return Err(schema("", "").said(why));
    }
    let domain = asked.0["props"]["domain_name"].as_str().unwrap_or(DOMAIN);
    let hosts = asked.0["props"]["allowed_vfolder_hosts"].to_string();
    let id = state.create_project(name, domain, hosts.contains(HOST))?;
    let mut answer = done();
    answer["group"] = state
        .accounts
        .projects
        .get(&id)
        .map_or(Value::Null, shown_project);
    Ok(answer)
}

fn modify_project(state: &mut State, asked: &Sent) -> Result<Value, Refusal> {
    let id = asked.id(&["gid"])?;
    let props = Sent(asked.0["props"].clone());
    let users: Vec<Id> = props
        .texts(&["user_uuids"])
        .iter()
        .map(|text| dashed(text))
        .collect();
    match props.maybe(&["user_update_mode"]) {
        None => state.change_members(&id, &[], true)?,
        Some("add") => state.change_members(&id, &users, true)?,
        Some("remove") => state.change_members(&id, &users, false)?,
        Some(_) => {
            return Err(Refusal::new(
                axum::http::StatusCode::BAD_REQUEST,
                "invalid-user-update-mode",
                "Invalid user update mode.",
                "group_update_invalid-parameters",
            )
            .said("invalid user_update_mode"));
        }
    }
    let mut answer = done();
    answer["group"] = json!({ "id": id });
    Ok(answer)
}

fn create_user(state: &mut State, asked: &Sent) -> Result<Value, Refusal> {
    let props = Sent(asked.0["props"].clone());
    if props.any(&["need_password_change"]).is_none() {
        return Err(missing(&["need_password_change"]));
    }
    let new = NewUser {
        email: asked.text(&["email"])?.to_owned(),
        username: props.text(&["username"])?.to_owned(),
        password: props.text(&["password"])?.to_owned(),
        projects: props
            .texts(&["group_ids"])
            .iter()
            .map(|text| dashed(text))
            .collect(),
    };
    let (user, key) = state.create_user(new)?;
    let mut answer = done();
    answer["user"] = state
        .accounts
        .users
        .get(&user)
        .map_or(Value::Null, |found| state.shown_user(found));
    answer["keypair"] = state.shown_key(&key);
    Ok(answer)
}

impl State {
    fn shown_user(&self, user: &User) -> Value {
        let projects = self.accounts.projects_of(&user.id);
        let key = self.accounts.keys_of(&user.id).next();
        json!({
            "id": user.id,
            "uuid": user.id,
            "username": user.username,
            "email": user.email,
            "full_name": user.username,
            "need_password_change": false,
            "description": "",
            "is_active": !user.deleted,
            "status": if user.deleted { "deleted" } else { "active" },
            "domain_name": DOMAIN,
            "role": user.role.word(),
            "resource_policy": "default",
            "groups": projects.map(shown_project).collect::<Value>(),
            "main_access_key": key.map(|key| &*key.access_key),
        })
    }

    fn shown_key(&self, key: &KeyPair) -> Value {
        let user = self.accounts.users.get(&key.user);
        json!({
            "id": key.access_key,
            "access_key": key.access_key,
            "secret_key": key.secret_key,
            "user_id": user.map(|user| &*user.email),
            "is_active": true,
            "is_admin": user.is_some_and(|user| user.role.word() == "superadmin"),
            "resource_policy": "default",
            "rate_limit": 30_000,
            "concurrency_used": 0,
        })
    }
}

/// The project's name in a registry.
fn registry(project: &Project) -> String {
    if project.has_registry {
        json!({ "registry": "registry.invalid", "project": "made" }).to_string()
    } else {
        "{}".into()
    }
}

fn shown_project(project: &Project) -> Value {
    let hosts = if project.has_storage {
        json!({ HOST: [] })
    } else {
        json!({})
    };
    json!({
        "id": project.id,
        "name": project.name,
        "description": "",
        "is_active": project.active,
        "domain_name": DOMAIN,
        "type": project.kind.word(),
        "resource_policy": "default",
        "total_resource_slots": "{}",
        "allowed_vfolder_hosts": hosts.to_string(),
        "container_registry": registry(project),
        "scaling_groups": [],
    })
}

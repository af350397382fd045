//! Letting others into folders: sharing those of projects, inviting to those of users.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State as Here};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{delete, get, post};
use serde_json::{Value, json};

use super::{Folder, Owner, Stage, no_folder};
use crate::demo::backendai::gate::{Caller, Sent};
use crate::demo::backendai::hall::{Hall, Id, State, dashed};
use crate::demo::backendai::refusal::{Refusal, no_project, not_permitted};
use crate::demo::backendai::{dates, told};

type Hallway = Here<Arc<Hall>>;
type Answer = Result<Response, Refusal>;

/// An invitation that was not answered yet.
#[derive(Debug, Clone)]
pub(in crate::demo::backendai) struct Invitation {
    pub(in crate::demo::backendai) folder: Id,
    /// E-mail addresses; nobody need have the invitee's.
    inviter: String,
    pub(in crate::demo::backendai) invitee: String,
    permission: String,
    created: Duration,
}

pub(super) fn routes() -> Router<Arc<Hall>> {
    Router::new()
        .route("/folders/_/shared", get(shared).post(change_share))
        .route("/folders/{key}/share", post(share))
        .route("/folders/{key}/unshare", post(unshare).delete(unshare))
        .route("/folders/{key}/invite", post(invite))
        .route("/folders/{key}/leave", post(leave))
        .route("/folders/invitations/list", get(received))
        .route("/folders/invitations/list-sent", get(sent_by))
        .route("/folders/invitations/accept", post(accept))
        .route("/folders/invitations/delete", delete(reject).post(reject))
}

impl State {
    /// The ids of users; all must be known.
    fn users_of(&self, emails: &[String]) -> Result<Vec<Id>, Refusal> {
        let one = |email: &String| {
            let user = self.accounts.user(email).map(|user| user.id.clone());
            user.ok_or_else(|| {
                Refusal::new(
                    StatusCode::NOT_FOUND,
                    "user-not-found",
                    "The user does not exist.",
                    "user_read_not-found",
                )
            })
        };
        emails.iter().map(one).collect()
    }

    fn project_folder(&mut self, caller: &Caller, key: &str) -> Result<&mut Folder, Refusal> {
        let folder = self.folder_to_change(caller, key)?;
        match folder.owner {
            Owner::Project(_) => Ok(folder),
            Owner::User(_) => Err(no_folder().said("Only project folders are directly sharable.")),
        }
    }
}

async fn share(Here(hall): Hallway, Path(key): Path<String>, caller: Caller, sent: Sent) -> Answer {
    let permission = sent.maybe(&["permission"]).unwrap_or("rw");
    let emails = sent.texts(&["emails", "user_ids"]);
    hall.enter(|state| {
        let users = state.users_of(&emails)?;
        let folder = state.project_folder(&caller, &key)?;
        let granted = users.into_iter().map(|user| (user, permission.to_owned()));
        folder.grants.extend(granted);
        Ok::<_, Refusal>(())
    })?;
    Ok(told(
        StatusCode::CREATED,
        &json!({ "shared_emails": emails }),
    ))
}

async fn unshare(
    Here(hall): Hallway,
    Path(key): Path<String>,
    caller: Caller,
    sent: Sent,
) -> Answer {
    let emails = sent.texts(&["emails", "user_ids"]);
    hall.enter(|state| {
        let users = state.users_of(&emails)?;
        let folder = state.project_folder(&caller, &key)?;
        folder.grants.retain(|user, _| !users.contains(user));
        Ok::<_, Refusal>(())
    })?;
    Ok(told(StatusCode::OK, &json!({ "unshared_emails": emails })))
}

/// Who was let into what.
async fn shared(
    Here(hall): Hallway,
    caller: Caller,
    Query(query): Query<HashMap<String, String>>,
) -> Answer {
    let only = query.get("vfolder_id").map(|id| dashed(id));
    let shared: Value = hall.look(|state| {
        let seen = state
            .folders
            .values()
            .filter(|folder| only.as_ref().is_none_or(|only| folder.id == *only))
            .filter(|folder| state.own_or_granted(&caller, folder).is_some());
        let granted =
            seen.flat_map(|folder| folder.grants.iter().map(move |grant| (folder, grant)));
        granted
            .map(|(folder, (user, permission))| {
                let email = state.accounts.users.get(user).map(|user| &user.email);
                let (owner, kind) = match &folder.owner {
                    Owner::User(user) => (user, "user"),
                    Owner::Project(project) => (project, "project"),
                };
                json!({
                    "vfolder_id": folder.id,
                    "vfolder_name": folder.name,
                    "status": folder.stage.word(),
                    "owner": owner,
                    "type": kind,
                    "shared_to": { "uuid": user, "email": email },
                    "perm": permission,
                })
            })
            .collect()
    });
    Ok(told(StatusCode::OK, &json!({ "shared": shared })))
}

/// Gives somebody who was let in another permission, or none; a folder that nobody knows is no error.
async fn change_share(Here(hall): Hallway, caller: Caller, sent: Sent) -> Answer {
    let folder = sent.id(&["vfolder", "vfolder_id"])?;
    let user = sent.id(&["user", "user_id"])?;
    let permission = sent.maybe(&["perm", "permission"]);
    hall.enter(|state| {
        if !state.accounts.users.contains_key(&user) {
            let why = format!("User '{user}' has no personal project.");
            return Err(no_project(why));
        }
        if !state.folders.contains_key(&folder) {
            return Ok(());
        }
        let grants = &mut state.folder_to_change(&caller, &folder)?.grants;
        match (permission, grants.get_mut(&user)) {
            (Some(permission), Some(granted)) => permission.clone_into(granted),
            (None, _) => drop(grants.remove(&user)),
            (Some(_), None) => {}
        }
        Ok(())
    })?;
    let msg = "shared vfolder permission updated";
    Ok(told(StatusCode::OK, &json!({ "msg": msg })))
}

/// An address that was invited before is passed over; one that is in already is refused.
async fn invite(
    Here(hall): Hallway,
    Path(key): Path<String>,
    caller: Caller,
    sent: Sent,
) -> Answer {
    let permission = sent.maybe(&["perm", "permission"]).unwrap_or("rw");
    let emails = sent.texts(&["user_ids", "emails", "userIDs"]);
    let invited = hall.enter(|state| {
        let folder = state.folder_to_change(&caller, &key)?;
        let (id, grants, owner) = (
            folder.id.clone(),
            folder.grants.clone(),
            folder.owner.clone(),
        );
        let mut invited = Vec::new();
        for email in emails {
            let user = state.accounts.user(&email).map(|user| &user.id);
            let is_in = |user: &Id| grants.contains_key(user) || owner == Owner::User(user.clone());
            if user.is_some_and(is_in) {
                return Err(Refusal::new(
                    StatusCode::CONFLICT,
                    "vfolder-grant-already-exists",
                    "Virtual folder grant already exists.",
                    "vfolder_update_already-exists",
                )
                .said("Invitation to this VFolder already sent out to target user"));
            }
            let mut pending = state.invitations.values();
            if pending.any(|known| known.folder == id && known.invitee == email) {
                continue;
            }
            let invitation = Invitation {
                folder: id.clone(),
                inviter: caller.email.clone(),
                invitee: email.clone(),
                permission: permission.to_owned(),
                created: state.now,
            };
            let number = state.new_id();
            state.invitations.insert(number, invitation);
            invited.push(email);
        }
        Ok(invited)
    })?;
    Ok(told(
        StatusCode::CREATED,
        &json!({ "invited_ids": invited }),
    ))
}

/// The invitee is not allowed what this needs; for the owner there is nothing to leave.
async fn leave(Here(hall): Hallway, Path(key): Path<String>, caller: Caller) -> Answer {
    hall.enter(|state| {
        let (folder, access) = state.find_folder(&caller, &key, "HARD_DELETE: 16")?;
        if access.is_owner {
            return Ok(());
        }
        Err(not_permitted(
            &caller.user,
            "HARD_DELETE: 16",
            "vfolder",
            &folder.id,
        ))
    })?;
    Ok(told(
        StatusCode::OK,
        &json!({ "msg": "left the shared vfolder" }),
    ))
}

/// The list for an invitee has two fields that are always empty, as the real one's has.
async fn received(Here(hall): Hallway, caller: Caller) -> Response {
    listed(&hall, |found| found.invitee == caller.email, |_| ("", ""))
}

async fn sent_by(Here(hall): Hallway, caller: Caller) -> Response {
    listed(
        &hall,
        |found| found.inviter == caller.email,
        |found| (&found.invitee, "pending"),
    )
}

fn listed(
    hall: &Hall,
    is_listed: impl Fn(&Invitation) -> bool,
    filled: impl Fn(&Invitation) -> (&str, &'static str),
) -> Response {
    let shown: Value = hall.look(|state| {
        let all = state
            .invitations
            .iter()
            .filter(|(_, found)| is_listed(found));
        let open = all.filter_map(|(id, found)| {
            let folder = state.folders.get(&found.folder)?;
            let created = dates::written(state.calendar(found.created));
            let (invitee, status) = filled(found);
            (folder.stage == Stage::Ready).then(|| {
                json!({
                    "id": id,
                    "inviter": found.inviter,
                    "invitee": invitee,
                    "perm": found.permission,
                    "state": status,
                    "created_at": created,
                    "modified_at": created,
                    "vfolder_id": folder.id,
                    "vfolder_name": folder.name,
                })
            })
        });
        open.collect()
    });
    told(StatusCode::OK, &json!({ "invitations": shown }))
}

fn no_invitation() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "vfolder-invitation-not-found",
        "Virtual folder invitation not found.",
        "entity-share_read_not-found",
    )
}

/// Whoever accepts, it is the invitee who is let in.
async fn accept(Here(hall): Hallway, _caller: Caller, sent: Sent) -> Answer {
    let id = sent.id(&["inv_id"])?;
    hall.enter(|state| {
        let found = state.invitations.get(&id).ok_or_else(no_invitation)?;
        let user = state.users_of(std::slice::from_ref(&found.invitee))?.pop();
        let found = state.invitations.remove(&id).ok_or_else(no_invitation)?;
        if let Some((folder, user)) = state.folders.get_mut(&found.folder).zip(user) {
            folder.grants.insert(user, found.permission);
        }
        Ok::<_, Refusal>(())
    })?;
    Ok(told(StatusCode::OK, &json!({ "msg": "" })))
}

async fn reject(Here(hall): Hallway, caller: Caller, sent: Sent) -> Answer {
    let id = sent.id(&["inv_id"])?;
    hall.enter(|state| {
        let found = state.invitations.get(&id).ok_or_else(no_invitation)?;
        if caller.email != found.invitee && caller.email != found.inviter {
            let title = "Forbidden operation.";
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "forbidden",
                title,
                "vfolder_access_forbidden",
            )
            .said("Cannot change other user's invitation"));
        }
        state.invitations.remove(&id);
        Ok(())
    })?;
    Ok(told(StatusCode::OK, &json!({ "msg": "" })))
}

//! Virtual folders: whose they are, who may see them, and their way through the trash. Their files
//! are in `tree`, how files come and go in `storage`, who is let in in `sharing`, the rest in `calls`.

mod calls;
mod sharing;
mod storage;
mod tree;
mod zip;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::accounts::ProjectKind;
use super::books::Change;
use super::gate::{Caller, Sent};
use super::hall::{Id, State, dashed, is_id};
use super::refusal::{Refusal, invalid, no_object, no_project, not_permitted};
use super::{HOST, dates};

pub(super) use sharing::Invitation;
pub(super) use storage::{Passes, routes as storage_routes};
pub(super) use tree::{Node, Tree};

/// All calls about folders.
pub(super) fn routes() -> axum::Router<std::sync::Arc<super::hall::Hall>> {
    calls::routes()
        .merge(sharing::routes())
        .merge(storage::signed_routes())
}

/// So many folders are remembered of which only files are left.
const KEPT_ORPHANS: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Ready,
    /// In the trash.
    DeletePending,
    /// Its files are gone; what is written about it stays until it is purged.
    DeleteComplete,
}

impl Stage {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::DeletePending => "delete-pending",
            Self::DeleteComplete => "delete-complete",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    User(Id),
    Project(Id),
}

#[derive(Debug, Clone)]
pub(super) struct Folder {
    pub(super) id: Id,
    pub(super) name: String,
    pub(super) owner: Owner,
    /// An e-mail address.
    pub(super) creator: String,
    pub(super) permission: String,
    pub(super) usage_mode: String,
    pub(super) cloneable: bool,
    pub(super) stage: Stage,
    /// Since the opening.
    pub(super) created: Duration,
    /// Who was let in, and with which permission.
    pub(super) grants: BTreeMap<Id, String>,
    /// Gone when its files are.
    pub(super) tree: Option<Tree>,
}

/// What a caller may do with a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Access {
    permission: String,
    is_owner: bool,
}

pub(super) fn no_folder() -> Refusal {
    no_object("No such virtual folder.", "vfolder_read_not-found")
}

/// An id as folders show it.
fn hex(id: &Id) -> String {
    id.replace('-', "")
}

fn not_on_host(host: &str) -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "storage-permission-not-allowed",
        "The specified storage permission is not allowed.",
        "storage_access_forbidden",
    )
    .said(format!(
        "`create-vfolder` Not allowed in vfolder host(`{host}`)"
    ))
}

fn not_purgable(folder: &Folder) -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "vfolder-filter-status-failed",
        "Virtual folder status filtering has failed.",
        "vfolder_read_bad-request",
    )
    .said(format!(
        "Cannot purge the vfolder(id: {}). Its status ({}) is not purgable. Soft-delete it first or set force=True.",
        folder.id,
        folder.stage.word()
    ))
}

impl State {
    /// Why `caller` may touch a folder, if they may.
    fn access(&self, caller: &Caller, folder: &Folder) -> Option<Access> {
        let access = |permission: &String, is_owner| Access {
            permission: permission.clone(),
            is_owner,
        };
        if let Some(granted) = folder.grants.get(&caller.user) {
            return Some(access(granted, matches!(folder.owner, Owner::Project(_))));
        }
        let is_in = match &folder.owner {
            Owner::User(user) => *user == caller.user,
            Owner::Project(project) => {
                let project = self.accounts.projects.get(project);
                project.is_some_and(|project| project.members.contains(&caller.user))
            }
        };
        (is_in || caller.is_superadmin()).then(|| access(&folder.permission, true))
    }

    /// A folder by its id, or one of the caller's by its name; also one in the trash.
    fn find_folder(
        &self,
        caller: &Caller,
        key: &str,
        permission: &str,
    ) -> Result<(&Folder, Access), Refusal> {
        if !is_id(key) {
            let mut named = self.folders.values().filter(|folder| folder.name == key);
            let found = named.find_map(|folder| {
                let is_there = folder.stage != Stage::DeleteComplete;
                let access = self.own_or_granted(caller, folder);
                access.filter(|_| is_there).map(|access| (folder, access))
            });
            return found.ok_or_else(|| no_folder().with(json!(key)));
        }
        let id = dashed(key);
        let folder = self.folders.get(&id);
        let folder = folder.ok_or_else(|| no_folder().with(json!(id)))?;
        match self.access(caller, folder) {
            Some(access) => Ok((folder, access)),
            None => Err(not_permitted(&caller.user, permission, "vfolder", &id)),
        }
    }

    /// As [`State::access`], but a superadmin's power over everything does not count.
    fn own_or_granted(&self, caller: &Caller, folder: &Folder) -> Option<Access> {
        let plain = Caller {
            role: super::accounts::Role::User,
            ..caller.clone()
        };
        self.access(&plain, folder)
    }

    /// Whether a caller may see a folder.
    pub(super) fn may_see(&self, caller: &Caller, folder: &Folder) -> bool {
        self.access(caller, folder).is_some()
    }

    /// As [`State::find_folder`], to be changed; its files must be there.
    fn folder_to_change(&mut self, caller: &Caller, key: &str) -> Result<&mut Folder, Refusal> {
        let (found, access) = self.find_folder(caller, key, "UPDATE: 2")?;
        let id = found.id.clone();
        if access.permission == "ro" && !access.is_owner {
            return Err(not_permitted(&caller.user, "UPDATE: 2", "vfolder", &id));
        }
        self.folders.get_mut(&id).ok_or_else(no_folder)
    }

    /// A folder that the caller may put into a session. A name is looked up before that is asked.
    pub(super) fn mountable(&self, caller: &Caller, key: &str) -> Result<&Folder, Refusal> {
        match self.find_folder(caller, key, "READ: 1") {
            Ok((folder, _)) if folder.stage == Stage::Ready => Ok(folder),
            Err(_) if !is_id(key) => Err(no_folder().with(json!([key]))),
            _ => Err(no_folder().said("There is no accessible vfolders at all.")),
        }
    }

    /// Whether the owner has a folder of this name.
    fn has_folder(&self, owner: &Owner, name: &str) -> bool {
        self.folders.values().any(|known| {
            known.name == name && known.owner == *owner && known.stage != Stage::DeleteComplete
        })
    }

    fn create_folder(&mut self, caller: &Caller, sent: &Sent) -> Result<&Folder, Refusal> {
        let name = sent.text(&["name"])?;
        let host = sent.maybe(&["host", "folder_host"]).unwrap_or(HOST);
        if host != HOST {
            return Err(not_on_host(host));
        }
        let keys = &["group", "groupId", "group_id"];
        let owner = match sent.any(keys) {
            None => Owner::User(caller.user.clone()),
            Some(_) => Owner::Project(self.folder_project(&sent.id(keys)?)?),
        };
        if self.has_folder(&owner, name) {
            return Err(invalid(format!(
                "The virtual folder already exists with the same name. (VFolder with the given name already exists. ({name}))"
            )));
        }
        let folder = Folder {
            id: self.new_id(),
            name: name.to_owned(),
            owner,
            creator: caller.email.clone(),
            permission: sent.maybe(&["permission"]).unwrap_or("rw").to_owned(),
            usage_mode: sent.maybe(&["usage_mode"]).unwrap_or("general").to_owned(),
            cloneable: sent.flag(&["cloneable"], false),
            stage: Stage::Ready,
            created: self.now,
            grants: BTreeMap::new(),
            tree: Some(Tree::default()),
        };
        Ok(self.add_folder(folder))
    }

    fn add_folder(&mut self, folder: Folder) -> &Folder {
        self.note(Change::Made, "folder", &folder.name, &folder.id);
        self.folders.entry(folder.id.clone()).or_insert(folder)
    }

    fn folder_project(&self, id: &Id) -> Result<Id, Refusal> {
        let project = self.accounts.projects.get(id);
        let project = project.ok_or_else(|| no_project(format!("Project with {id} not found.")))?;
        if project.has_storage {
            return Ok(project.id.clone());
        }
        Err(not_on_host(HOST))
    }

    /// Moves a folder into the trash, also one that is beyond it, as the real one does.
    fn trash(&mut self, caller: &Caller, id: &Id) -> Result<(), Refusal> {
        let folder = self
            .folder_to_delete(caller, id, "SOFT_DELETE: 8")?
            .id
            .clone();
        let holds = |mount: &super::session::Mount| mount.folder == folder;
        let sessions: Vec<_> = self
            .sessions
            .values()
            .filter(|session| !session.status().is_over() && session.mounts.iter().any(holds))
            .map(|session| session.id.clone())
            .collect();
        if !sessions.is_empty() {
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "vfolder-deletion-not-allowed",
                "Virtual folder deletion is not allowed.",
                "vfolder_soft-delete_bad-request",
            )
            .said(format!(
                "Cannot delete the vfolder. The vfolder(id: {folder}) is mounted on sessions(ids: {sessions:?})."
            )));
        }
        self.set_stage(&folder, Stage::DeletePending);
        Ok(())
    }

    /// A folder whose way through the trash the caller may decide.
    fn folder_to_delete(&self, caller: &Caller, id: &Id, what: &str) -> Result<&Folder, Refusal> {
        if !self.folders.contains_key(id) {
            return Err(no_folder());
        }
        let (found, access) = self.find_folder(caller, id, what)?;
        if access.is_owner {
            return Ok(found);
        }
        Err(not_permitted(&caller.user, what, "vfolder", id))
    }

    fn set_stage(&mut self, id: &Id, stage: Stage) {
        if let Some(folder) = self.folders.get_mut(id) {
            folder.stage = stage;
        }
    }

    fn restore(&mut self, caller: &Caller, id: &Id) -> Result<(), Refusal> {
        let folder = self
            .folder_to_delete(caller, id, "SOFT_DELETE: 8")?
            .id
            .clone();
        self.set_stage(&folder, Stage::Ready);
        Ok(())
    }

    /// Removes the files of a folder in the trash.
    fn delete_from_trash(&mut self, caller: &Caller, id: &Id) -> Result<(), Refusal> {
        let folder = self.folder_to_delete(caller, id, "HARD_DELETE: 16")?;
        if folder.stage == Stage::Ready {
            return Err(not_purgable(folder));
        }
        let id = folder.id.clone();
        self.remove_files(&id);
        Ok(())
    }

    fn remove_files(&mut self, id: &Id) {
        self.set_stage(id, Stage::DeleteComplete);
        if let Some(folder) = self.folders.get_mut(id) {
            folder.tree = None;
        }
    }

    /// Forgets a folder that was deleted. One that was not taken out of the trash first leaves its
    /// files behind, as the real one's does.
    fn purge(&mut self, caller: &Caller, id: &Id) -> Result<(), Refusal> {
        if !caller.is_superadmin() {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "insufficient-privilege",
                "Insufficient privilege.",
                "user_auth_forbidden",
            )
            .said("You are not allowed to purge vfolders"));
        }
        let folder = self
            .folders
            .get(id)
            .ok_or_else(|| no_folder().with(json!(id)))?;
        if folder.stage == Stage::Ready {
            return Err(not_purgable(folder));
        }
        if let Some(folder) = self.folders.remove(id) {
            self.note(Change::Removed, "folder", &folder.name, &folder.id);
            if folder.tree.is_some() {
                self.orphans.push((folder.id, folder.name));
                let surplus = self.orphans.len().saturating_sub(KEPT_ORPHANS);
                self.orphans.drain(..surplus);
            }
        }
        self.invitations
            .retain(|_, invitation| invitation.folder != *id);
        Ok(())
    }

    /// Deletes the files of all folders of a user or a project; what is written about them stays
    /// under another name.
    pub(super) fn delete_folders_of(&mut self, owner: &Owner) {
        let when = dates::written(self.calendar(self.now));
        let when = format!(
            "{}+0000",
            when.get(..19).unwrap_or_default().replace(':', "")
        );
        let theirs = self
            .folders
            .values_mut()
            .filter(|folder| folder.owner == *owner);
        for folder in theirs.filter(|folder| folder.stage != Stage::DeleteComplete) {
            folder.stage = Stage::DeleteComplete;
            folder.tree = None;
            folder.name = format!("{}_deleted_{when}", folder.name);
        }
    }

    /// The project that a user's own folders are counted to.
    fn personal_project(&self, user: &Id) -> Option<&Id> {
        let mut projects = self.accounts.projects_of(user);
        projects
            .find(|project| project.kind == ProjectKind::Personal)
            .map(|project| &project.id)
    }

    /// As `GET /folders` lists it; an answer to its creation lacks some.
    fn listed(&self, folder: &Folder, access: &Access, is_new: bool) -> Value {
        let (kind, user, project, scope) = self.owner_shown(folder);
        let created = if is_new {
            String::new()
        } else {
            dates::printed(self.calendar(folder.created))
        };
        json!({
            "id": hex(&folder.id),
            "name": folder.name,
            "quota_scope_id": scope,
            "host": HOST,
            "usage_mode": folder.usage_mode,
            "created_at": created,
            "permission": access.permission,
            "creator": folder.creator,
            "ownership_type": kind,
            "user": user,
            "group": if is_new && kind == "user" { None } else { project },
            "cloneable": folder.cloneable,
            "status": folder.stage.word(),
            "is_owner": access.is_owner,
            "max_size": 0,
            "user_email": "",
            "group_name": "",
            "type": "",
            "max_files": 0,
            "cur_size": 0,
        })
    }

    /// As `GET /folders/{f}` shows it.
    fn detailed(&self, folder: &Folder, access: &Access) -> Value {
        let (kind, user, project, scope) = self.owner_shown(folder);
        let created = dates::printed(self.calendar(folder.created));
        let (files, bytes) = folder.tree.as_ref().map(Tree::size).unwrap_or_default();
        json!({
            "name": folder.name,
            "id": hex(&folder.id),
            "quota_scope_id": scope,
            "host": HOST,
            "status": folder.stage.word(),
            "numFiles": files,
            "used_bytes": bytes,
            "created_at": created,
            "last_used": created,
            "user": user,
            "group": project,
            "type": kind,
            "is_owner": access.is_owner,
            "permission": access.permission,
            "usage_mode": folder.usage_mode,
            "cloneable": folder.cloneable,
        })
    }

    fn owner_shown<'a>(
        &'a self,
        folder: &'a Folder,
    ) -> (&'static str, Option<&'a Id>, Option<&'a Id>, String) {
        match &folder.owner {
            Owner::User(user) => {
                let personal = self.personal_project(user);
                ("user", Some(user), personal, format!("user:{user}"))
            }
            Owner::Project(project) => ("group", None, Some(project), format!("project:{project}")),
        }
    }
}

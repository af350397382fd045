//! What requests ask of folders and their files: `/folders/…`.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State as Here};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use serde_json::{Map, Value, json};

use super::tree::{Node, Unstorable};
use super::{Folder, Owner, Stage, Tree, no_folder};
use crate::demo::backendai::gate::{Caller, Sent};
use crate::demo::backendai::hall::{Hall, Id, State, dashed};
use crate::demo::backendai::refusal::{Refusal, not_permitted};
use crate::demo::backendai::{HOST, dates, told};

type Hallway = Here<Arc<Hall>>;
type Answer = Result<Response, Refusal>;

pub(super) fn routes() -> Router<Arc<Hall>> {
    Router::new()
        .route("/folders", get(list).post(create).delete(trash))
        .route("/folders/_/hosts", get(hosts))
        .route("/folders/_/allowed-types", get(allowed_types))
        .route("/folders/_/id", get(id_of))
        .route("/folders/restore-from-trash-bin", post(restore))
        .route("/folders/delete-from-trash-bin", post(delete_from_trash))
        .route("/folders/purge", post(purge))
        .route("/folders/{key}", get(info))
        .route("/folders/{key}/force", delete(force))
        .route("/folders/{key}/rename", post(rename))
        .route("/folders/{key}/update-options", post(update_options))
        .route("/folders/{key}/mkdir", post(make_directory))
        .route("/folders/{key}/files", get(files))
        .route("/folders/{key}/rename-file", post(rename_file))
        .route("/folders/{key}/move-file", post(move_file))
        .route(
            "/folders/{key}/delete-files",
            post(delete_files).delete(delete_files),
        )
        .route("/folders/{key}/clone", post(clone))
}

fn done() -> Response {
    told(StatusCode::OK, &json!({ "msg": "" }))
}

/// Nothing, and yet it has a type.
fn no_content() -> Response {
    let json = [(CONTENT_TYPE, "application/json; charset=utf-8")];
    (StatusCode::NO_CONTENT, json).into_response()
}

fn failed(title: &'static str, code: &'static str, msg: &str) -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "vfolder-operation-failed",
        title,
        code,
    )
    .said(msg)
}

impl From<Unstorable> for Refusal {
    fn from(why: Unstorable) -> Self {
        match why {
            Unstorable::Missing => failed(
                "Virtual folder operation has failed due to bad request.",
                "vfolder_generic_bad-request",
                "Bad request to storage proxy",
            ),
            Unstorable::Exists | Unstorable::Outside => failed(
                "Virtual folder operation has failed.",
                "vfolder_generic_internal-error",
                "Unexpected error 422 from storage proxy",
            ),
        }
    }
}

/// The files of a folder whose files are still there.
pub(super) fn tree_of(folder: &mut Folder) -> Result<&mut Tree, Refusal> {
    folder.tree.as_mut().ok_or_else(gone)
}

fn gone() -> Refusal {
    no_folder().said("Requested resource not found")
}

async fn hosts(_caller: Caller) -> Response {
    let volume = json!({
        "backend": "vfs", "capabilities": ["vfolder"], "usage": { "percentage": 50.0 },
        "sftp_scaling_groups": [],
    });
    let hosts = json!({ "default": HOST, "allowed": [HOST], "volume_info": { HOST: volume } });
    told(StatusCode::OK, &hosts)
}

async fn allowed_types(_caller: Caller) -> Response {
    told(StatusCode::OK, &json!(["group", "user"]))
}

async fn create(Here(hall): Hallway, caller: Caller, sent: Sent) -> Answer {
    let shown = hall.enter(|state| {
        let id = state.create_folder(&caller, &sent)?.id.clone();
        let (folder, access) = state.find_folder(&caller, &id, "READ: 1")?;
        Ok::<_, Refusal>(state.listed(folder, &access, true))
    })?;
    Ok(told(StatusCode::CREATED, &shown))
}

/// The caller's own and those they were let into; a project's only if it is asked for.
async fn list(
    Here(hall): Hallway,
    caller: Caller,
    Query(query): Query<HashMap<String, String>>,
) -> Answer {
    let project = query.get("group_id").map(|text| dashed(text));
    let shown: Value = hall.look(|state| {
        let is_listed = |folder: &&Folder| {
            let is_theirs = match &folder.owner {
                Owner::User(user) => *user == caller.user,
                Owner::Project(id) => project.as_ref() == Some(id),
            };
            let is_listed = is_theirs || folder.grants.contains_key(&caller.user);
            is_listed && folder.stage != Stage::DeleteComplete
        };
        let found = state.folders.values().filter(is_listed);
        found
            .filter_map(|folder| {
                let access = state.access(&caller, folder)?;
                Some(state.listed(folder, &access, false))
            })
            .collect()
    });
    Ok(told(StatusCode::OK, &shown))
}

async fn info(Here(hall): Hallway, Path(key): Path<String>, caller: Caller) -> Answer {
    let shown = hall.look(|state| {
        let (folder, access) = state.find_folder(&caller, &key, "READ: 1")?;
        if folder.tree.is_none() {
            return Err(gone());
        }
        Ok(state.detailed(folder, &access))
    })?;
    Ok(told(StatusCode::OK, &shown))
}

/// Wants a body although it is a GET.
async fn id_of(Here(hall): Hallway, caller: Caller, sent: Sent) -> Answer {
    let name = sent.text(&["name", "vfolder_name"])?;
    let id = hall.look(|state| {
        let found = state.find_folder(&caller, name, "READ: 1")?;
        Ok::<_, Refusal>(found.0.id.clone())
    })?;
    Ok(told(StatusCode::OK, &json!({ "id": id, "name": name })))
}

/// The id in the body of a call about the trash.
fn asked_id(sent: &Sent) -> Result<Id, Refusal> {
    sent.id(&["id", "vfolder_id", "vfolderId"])
}

async fn trash(Here(hall): Hallway, caller: Caller, sent: Sent) -> Answer {
    let id = asked_id(&sent)?;
    hall.enter(|state| state.trash(&caller, &id))?;
    Ok(no_content())
}

async fn restore(Here(hall): Hallway, caller: Caller, sent: Sent) -> Answer {
    let id = asked_id(&sent)?;
    hall.enter(|state| state.restore(&caller, &id))?;
    Ok(no_content())
}

async fn delete_from_trash(Here(hall): Hallway, caller: Caller, sent: Sent) -> Answer {
    let id = asked_id(&sent)?;
    hall.enter(|state| state.delete_from_trash(&caller, &id))?;
    Ok(no_content())
}

async fn purge(Here(hall): Hallway, caller: Caller, sent: Sent) -> Answer {
    let id = asked_id(&sent)?;
    hall.enter(|state| state.purge(&caller, &id))?;
    Ok(no_content())
}

/// Removes the files at once, even under a session.
async fn force(Here(hall): Hallway, Path(key): Path<String>, caller: Caller) -> Answer {
    hall.enter(|state| {
        let (folder, access) = state.find_folder(&caller, &key, "HARD_DELETE: 16")?;
        let id = folder.id.clone();
        if !access.is_owner {
            return Err(not_permitted(
                &caller.user,
                "HARD_DELETE: 16",
                "vfolder",
                &id,
            ));
        }
        state.remove_files(&id);
        Ok::<_, Refusal>(())
    })?;
    Ok(no_content())
}

async fn rename(
    Here(hall): Hallway,
    Path(key): Path<String>,
    caller: Caller,
    sent: Sent,
) -> Answer {
    let name = sent.text(&["new_name", "newName"])?;
    hall.enter(|state| {
        let folder = state.folder_to_change(&caller, &key)?;
        let (id, owner) = (folder.id.clone(), folder.owner.clone());
        if state.has_folder(&owner, name) {
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "vfolder-invalid-parameter",
                "Invalid parameter for virtual folder operation.",
                "vfolder_access_invalid-parameters",
            )
            .said("One of your accessible vfolders already has the name you requested."));
        }
        let folder = state.folders.get_mut(&id).ok_or_else(no_folder)?;
        name.clone_into(&mut folder.name);
        Ok(())
    })?;
    Ok(done())
}

async fn update_options(
    Here(hall): Hallway,
    Path(key): Path<String>,
    caller: Caller,
    sent: Sent,
) -> Answer {
    hall.enter(|state| {
        let folder = state.folder_to_change(&caller, &key)?;
        folder.cloneable = sent.flag(&["cloneable"], folder.cloneable);
        if let Some(permission) = sent.maybe(&["permission"]) {
            permission.clone_into(&mut folder.permission);
        }
        Ok::<_, Refusal>(())
    })?;
    Ok(done())
}

/// If one of several was made, that is a success.
async fn make_directory(
    Here(hall): Hallway,
    Path(key): Path<String>,
    caller: Caller,
    sent: Sent,
) -> Answer {
    let paths = sent.texts(&["path"]);
    let may_exist = sent.flag(&["exist_ok"], false);
    let (made, failed) = hall.enter(|state| {
        let now = state.now;
        let tree = tree_of(state.folder_to_change(&caller, &key)?)?;
        let (mut made, mut failed) = (Vec::new(), Vec::new());
        for path in paths {
            match tree.make_directory(&path, may_exist, now) {
                Ok(()) => made.push(json!({ "msg": null, "item": path })),
                Err(_) => failed.push(json!({
                    "msg": "FileExistsError(17, 'File exists')", "item": path,
                })),
            }
        }
        Ok::<_, Refusal>((made, failed))
    })?;
    if made.is_empty() {
        return Err(Unstorable::Exists.into());
    }
    let results = json!({ "success": made, "failed": failed });
    Ok(told(StatusCode::OK, &json!({ "results": results })))
}

async fn files(
    Here(hall): Hallway,
    Path(key): Path<String>,
    caller: Caller,
    Query(query): Query<HashMap<String, String>>,
) -> Answer {
    let path = query.get("path").map_or("", String::as_str);
    let items = hall.look(|state| {
        let (folder, _) = state.find_folder(&caller, &key, "READ: 1")?;
        let tree = folder.tree.as_ref().ok_or_else(gone)?;
        let listed = tree.list(path).map_err(|_| Unstorable::Missing)?;
        let items = listed
            .into_iter()
            .map(|(name, node)| state.item(name, node));
        Ok::<_, Refusal>(items.collect::<Value>())
    })?;
    Ok(told(StatusCode::OK, &json!({ "items": items })))
}

impl State {
    fn item(&self, name: &str, node: &Node) -> Value {
        let (kind, mode, size) = match &node.content {
            Some(content) => ("FILE", 0o100_644, content.len()),
            None => ("DIRECTORY", 0o040_755, 4096),
        };
        json!({
            "name": name,
            "type": kind,
            "size": size,
            "mode": mode,
            "created": dates::written(self.calendar(node.created)),
            "modified": dates::written(self.calendar(node.modified)),
        })
    }
}

async fn rename_file(
    Here(hall): Hallway,
    Path(key): Path<String>,
    caller: Caller,
    sent: Sent,
) -> Answer {
    let from = sent.text(&["target_path"])?;
    let name = sent.text(&["new_name"])?;
    let to = from
        .rsplit_once('/')
        .map_or_else(|| name.to_owned(), |(above, _)| format!("{above}/{name}"));
    move_in(&hall, &key, &caller, from, &to)
}

async fn move_file(
    Here(hall): Hallway,
    Path(key): Path<String>,
    caller: Caller,
    sent: Sent,
) -> Answer {
    move_in(
        &hall,
        &key,
        &caller,
        sent.text(&["src"])?,
        sent.text(&["dst"])?,
    )
}

fn move_in(hall: &Hall, key: &str, caller: &Caller, from: &str, to: &str) -> Answer {
    hall.enter(|state| {
        let now = state.now;
        let tree = tree_of(state.folder_to_change(caller, key)?)?;
        tree.move_to(from, to, now)
            .map_err(|_| Unstorable::Missing)?;
        Ok::<_, Refusal>(())
    })?;
    Ok(done())
}

/// What is not there, or is a directory where none is wanted, is passed over.
async fn delete_files(
    Here(hall): Hallway,
    Path(key): Path<String>,
    caller: Caller,
    sent: Sent,
) -> Answer {
    let recursive = sent.flag(&["recursive"], false);
    hall.enter(|state| {
        let tree = tree_of(state.folder_to_change(&caller, &key)?)?;
        for path in sent.texts(&["files"]) {
            tree.remove(&path, recursive)?;
        }
        Ok::<_, Refusal>(())
    })?;
    Ok(done())
}

/// What is told of a copy.
const CLONED: [&str; 10] = [
    "id",
    "name",
    "host",
    "usage_mode",
    "permission",
    "creator",
    "ownership_type",
    "user",
    "group",
    "cloneable",
];

/// The copy is the caller's own. It is there at once; the task takes its time all the same.
async fn clone(Here(hall): Hallway, Path(key): Path<String>, caller: Caller, sent: Sent) -> Answer {
    let name = sent.text(&["target_name"])?;
    let shown = hall.enter(|state| {
        let (source, _) = state.find_folder(&caller, &key, "READ: 1")?;
        let source = source.clone();
        if !source.cloneable {
            let title = "Forbidden operation.";
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "forbidden",
                title,
                "vfolder_access_forbidden",
            )
            .said("The source vfolder is not permitted to be cloned."));
        }
        let owner = Owner::User(caller.user.clone());
        if state.has_folder(&owner, name) {
            return Err(Refusal::new(
                StatusCode::CONFLICT,
                "vfolder-already-exists",
                "The virtual folder already exists with the same name.",
                "vfolder_create_already-exists",
            )
            .said(format!(
                "VFolder with the given name already exists. ({name})"
            )));
        }
        let copy = Folder {
            id: state.new_id(),
            name: name.to_owned(),
            owner,
            creator: caller.email.clone(),
            permission: sent.maybe(&["permission"]).unwrap_or("rw").to_owned(),
            usage_mode: sent.maybe(&["usage_mode"]).unwrap_or("general").to_owned(),
            cloneable: sent.flag(&["cloneable"], false),
            created: state.now,
            grants: std::collections::BTreeMap::new(),
            ..source
        };
        let id = state.add_folder(copy).id.clone();
        let (folder, access) = state.find_folder(&caller, &id, "READ: 1")?;
        let listed = state.listed(folder, &access, true);
        let mut shown: Map<_, _> = CLONED
            .iter()
            .map(|key| ((*key).into(), listed[*key].clone()))
            .collect();
        let task = state.begin_task("Task completed successfully");
        shown.insert("bgtask_id".into(), task.into());
        Ok(Value::Object(shown))
    })?;
    Ok(told(StatusCode::CREATED, &shown))
}

//! Folders: the way through the trash, uploads and downloads, who is let in, and folders in sessions.

use super::*;

impl Site {
    async fn folder(&self, name: &str, more: Value) -> String {
        let mut body = json!({ "name": name });
        if let Value::Object(more) = more {
            body.as_object_mut().unwrap().extend(more);
        }
        let told = self.ask("POST /folders", body).await;
        assert_eq!(told.status, 201, "{:?}", told.json);
        told.json["id"].as_str().unwrap().to_owned()
    }

    async fn project(&self, name: &str) -> String {
        let query = "query($name: String!) { groups_by_name(name: $name) { id } }";
        let found = self.graphql(query, json!({ "name": name })).await.unwrap();
        found[0]["id"].as_str().unwrap().to_owned()
    }

    /// A piece of an upload: the status and how far it has come.
    async fn append(&self, token: &str, offset: &str, piece: &'static str) -> (u16, String) {
        let request = Request::patch(format!("/storage/upload?token={token}"))
            .header("Tus-Resumable", "1.0.0")
            .header("Upload-Offset", offset)
            .body(Body::from(piece));
        let told = self.answer(request.unwrap()).await;
        let offset = told
            .headers
            .get("upload-offset")
            .map(|value| value.to_str().unwrap());
        (told.status, offset.unwrap_or_default().to_owned())
    }

    async fn upload(&self, folder: &str, path: &str, content: &'static str) {
        let body = json!({ "path": path, "size": content.len() });
        let told = self
            .ask(&format!("POST /folders/{folder}/request-upload"), body)
            .await;
        let token = told.json["token"].as_str().unwrap();
        assert_eq!(self.append(token, "0", content).await.0, 204);
    }

    async fn files(&self, folder: &str, path: &str) -> Vec<String> {
        let told = self
            .get(&format!("/folders/{folder}/files?path={path}"))
            .await;
        let items = told.json["items"].as_array().unwrap().iter();
        items
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect()
    }
}

const ACCEPT: &str = "POST /folders/invitations/accept";
const REJECT: &str = "DELETE /folders/invitations/delete";
const TRASH: &str = "DELETE /folders";
const RESTORE: &str = "POST /folders/restore-from-trash-bin";
const DELETE: &str = "POST /folders/delete-from-trash-bin";
const PURGE: &str = "POST /folders/purge";

/// Which calls lead where, oddities included.
#[tokio::test(start_paused = true)]
async fn folders_go_through_the_trash() {
    let site = Site::open();
    let node = "query($id: String!) { vfolder_node(id: $id) { status } }";
    let state = async |id: &str| {
        let found = site.graphql(node, json!({ "id": id })).await.unwrap();
        found["status"].as_str().unwrap_or("gone").to_owned()
    };
    let id = site.folder("a", Value::Null).await;
    for (call, status, then) in [
        (DELETE, 400, "ready"),
        (PURGE, 400, "ready"),
        (TRASH, 204, "delete-pending"),
        (TRASH, 204, "delete-pending"),
        (RESTORE, 204, "ready"),
        (TRASH, 204, "delete-pending"),
        (DELETE, 204, "delete-complete"),
        (DELETE, 204, "delete-complete"),
        (RESTORE, 204, "ready"),
        (PURGE, 400, "ready"),
        (TRASH, 204, "delete-pending"),
        (DELETE, 204, "delete-complete"),
        (PURGE, 204, "gone"),
        (PURGE, 404, "gone"),
        (TRASH, 404, "gone"),
    ] {
        let told = site.ask(call, json!({ "id": id })).await;
        assert_eq!((told.status, &*state(&id).await), (status, then), "{call}");
    }
    assert_eq!(site.alive(), []);

    let early = site.folder("b", Value::Null).await;
    for call in [TRASH, PURGE] {
        assert_eq!(site.ask(call, json!({ "id": early })).await.status, 204);
    }
    // Purged before its files were removed: they stay, and nobody can reach them.
    assert_eq!(site.alive(), [("files", "b".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn names_are_taken_until_the_files_are_gone() {
    let site = Site::open();
    let id = site.folder("a", Value::Null).await;
    let again = async || site.ask("POST /folders", json!({ "name": "a" })).await;
    for call in [TRASH, DELETE] {
        let told = again().await;
        assert_eq!(
            (told.status, told.code()),
            (400, "api_generic_invalid-parameters")
        );
        site.ask(call, json!({ "id": id })).await;
    }
    assert_eq!(site.get(&format!("/folders/{id}")).await.status, 404);
    assert_eq!(again().await.status, 201);
    assert_eq!(site.get("/folders/a").await.status, 200);
    let listed = site.get("/folders").await.json;
    assert_eq!(listed.as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn uploads_are_resumed_where_they_stopped() {
    let site = Site::open();
    let folder = site.folder("a", Value::Null).await;
    let body = json!({ "path": "deep/file.txt", "size": 10 });
    let told = site
        .ask(&format!("POST /folders/{folder}/request-upload"), body)
        .await;
    let token = told.json["token"].as_str().unwrap().to_owned();
    assert_eq!(told.json["url"], format!("http://{HOST}/storage/upload"));
    let offset = async || {
        let request = Request::head(format!("/storage/upload?token={token}"));
        let told = site.answer(request.body(Body::empty()).unwrap()).await;
        let offset = told
            .headers
            .get("upload-offset")
            .map(|value| value.to_str().unwrap().to_owned());
        (told.status, offset.unwrap_or_default())
    };
    assert_eq!(offset().await, (200, "0".into()));
    assert_eq!(site.append(&token, "0", "hello").await, (204, "5".into()));
    assert_eq!(site.append(&token, "0", "hello").await.0, 409);
    assert_eq!(site.append(&token, "7", "hello").await.0, 409);
    assert_eq!(site.append(&token, "", "hello").await.0, 400);
    assert_eq!(offset().await, (200, "5".into()));
    assert_eq!(site.files(&folder, "").await, [".upload"]);
    assert_eq!(site.append(&token, "5", "world").await, (204, "10".into()));
    assert_eq!(offset().await.0, 404);
    assert_eq!(site.append(&token, "10", "!").await.0, 404);
    assert_eq!(site.append("guess", "0", "!").await.0, 400);
    assert_eq!(site.files(&folder, "deep").await, ["file.txt"]);
    assert_eq!(site.files(&folder, "").await, ["deep"]);
}

#[tokio::test(start_paused = true)]
async fn files_are_downloaded_whole_or_in_part() {
    let site = Site::open();
    let folder = site.folder("a", Value::Null).await;
    site.upload(&folder, "file.txt", "0123456789").await;
    let call = format!("POST /folders/{folder}/request-download");
    for (path, range, status, content) in [
        ("file.txt", "", 200, "0123456789"),
        ("file.txt", "bytes=2-4", 206, "234"),
        ("file.txt", "bytes=8-", 206, "89"),
        ("file.txt", "bytes=50-", 416, ""),
    ] {
        let told = site.ask(&call, json!({ "path": path })).await;
        let token = told.json["token"].as_str().unwrap();
        let request = Request::get(format!("/storage/download?token={token}"));
        let request = request.header("Range", range).body(Body::empty()).unwrap();
        let told = site.answer(request).await;
        assert_eq!(
            (told.status, &*told.body),
            (status, content.as_bytes()),
            "{range}"
        );
    }
    let told = site.ask(&call, json!({ "path": "none" })).await;
    let token = told.json["token"].as_str().unwrap();
    let request = Request::get(format!("/storage/download?token={token}"));
    assert_eq!(
        site.answer(request.body(Body::empty()).unwrap())
            .await
            .status,
        404
    );
}

#[tokio::test(start_paused = true)]
async fn a_clone_has_the_same_files() {
    let site = Site::open();
    let folder = site.folder("a", json!({ "cloneable": true })).await;
    site.upload(&folder, "nested/x.txt", "x").await;
    let clone = format!("POST /folders/{folder}/clone");
    let told = site.ask(&clone, json!({ "target_name": "b" })).await;
    assert_eq!(
        (told.status, told.json["bgtask_id"].is_string()),
        (201, true)
    );
    let copy = told.json["id"].as_str().unwrap().to_owned();
    assert_eq!(site.files(&copy, "nested").await, ["x.txt"]);
    let taken = site.ask(&clone, json!({ "target_name": "b" })).await;
    assert_eq!(
        (taken.status, taken.code()),
        (409, "vfolder_create_already-exists")
    );
    let refused = site
        .ask(
            &format!("POST /folders/{copy}/clone"),
            json!({ "target_name": "c" }),
        )
        .await;
    assert_eq!(
        (refused.status, refused.code()),
        (403, "vfolder_access_forbidden")
    );
}

#[tokio::test(start_paused = true)]
async fn invitations_are_answered_once() {
    let site = Site::open();
    let (email, guest) = site.user("guest").await;
    let folder = site.folder("a", Value::Null).await;
    let invite = format!("POST /folders/{folder}/invite");
    let body = json!({ "perm": "rw", "user_ids": [email] });
    let see = async || {
        site.ask_as(&guest, &format!("GET /folders/{folder}"), Value::Null)
            .await
    };
    let pending = async || {
        let told = site
            .ask_as(&guest, "GET /folders/invitations/list", Value::Null)
            .await;
        let invitations = told.json["invitations"].as_array().unwrap().clone();
        invitations.first().map(|first| first["id"].clone())
    };
    assert_eq!(
        site.ask(&invite, body.clone()).await.json,
        json!({ "invited_ids": [email] })
    );
    assert_eq!(
        site.ask(&invite, body.clone()).await.json,
        json!({ "invited_ids": [] })
    );
    assert_eq!(
        (see().await.status, see().await.code()),
        (403, "permission_access_forbidden")
    );
    let id = json!({ "inv_id": pending().await });
    assert_eq!(site.ask_as(&guest, REJECT, id.clone()).await.status, 200);
    for call in [REJECT, ACCEPT] {
        let told = site.ask_as(&guest, call, id.clone()).await;
        assert_eq!(
            (told.status, told.code()),
            (404, "entity-share_read_not-found")
        );
    }
    assert_eq!(see().await.status, 403);

    let body = json!({ "perm": "ro", "user_ids": [email] });
    site.ask(&invite, body.clone()).await;
    let id = json!({ "inv_id": pending().await });
    assert_eq!(site.ask_as(&guest, ACCEPT, id.clone()).await.status, 200);
    assert_eq!(site.ask_as(&guest, ACCEPT, id).await.status, 404);
    let seen = see().await.json;
    assert_eq!(
        (&seen["permission"], &seen["is_owner"]),
        (&json!("ro"), &json!(false))
    );
    let again = site.ask(&invite, body).await;
    assert_eq!(
        (again.status, again.code()),
        (409, "vfolder_update_already-exists")
    );
    for call in [
        format!("POST /folders/{folder}/mkdir"),
        format!("POST /folders/{folder}/leave"),
        TRASH.into(),
    ] {
        let told = site
            .ask_as(&guest, &call, json!({ "path": "x", "id": folder }))
            .await;
        assert_eq!(
            (told.status, told.code()),
            (403, "permission_access_forbidden"),
            "{call}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_shared_folder_shows_the_guest_another_permission() {
    let site = Site::open();
    let (email, guest) = site.user("guest").await;
    let folder = site
        .folder("a", json!({ "group": site.project("default").await }))
        .await;
    let own = site.folder("b", Value::Null).await;
    let seen = async |keys: &Keys| {
        let told = site
            .ask_as(keys, &format!("GET /folders/{folder}"), Value::Null)
            .await;
        told.json["permission"].as_str().unwrap().to_owned()
    };
    let body = json!({ "permission": "ro", "emails": [email] });
    let refused = site
        .ask(&format!("POST /folders/{own}/share"), body.clone())
        .await;
    assert_eq!(
        (refused.status, refused.code()),
        (404, "vfolder_read_not-found")
    );
    assert_eq!(
        site.ask(&format!("POST /folders/{folder}/share"), body.clone())
            .await
            .status,
        201
    );
    assert_eq!(
        (&*seen(&site.operator).await, &*seen(&guest).await),
        ("rw", "ro")
    );
    assert_eq!(
        site.ask(&format!("DELETE /folders/{folder}/unshare"), body)
            .await
            .status,
        200
    );
    assert_eq!(seen(&guest).await, "rw");
}

#[tokio::test(start_paused = true)]
async fn a_mounted_folder_shows_its_files_and_cannot_be_trashed() {
    let site = Site::open();
    let folder = site.folder("data", Value::Null).await;
    site.upload(&folder, "file.txt", "hello").await;
    let more = json!({ "bootstrap_script": "touch test-abc", "config": { "mounts": ["data"] } });
    let id = site.enqueue("a", more).await;
    pass(STATE * 5).await;
    let names = async |path: &str| {
        let told = site.get(&format!("/session/{id}/files?path={path}")).await;
        let files: Value = serde_json::from_str(told.json["files"].as_str().unwrap()).unwrap();
        let names = files
            .as_array()
            .unwrap()
            .iter()
            .map(|file| file["filename"].clone());
        names.collect::<Value>()
    };
    assert_eq!(names(".").await, json!(["test-abc", "data"]));
    assert_eq!(names("data").await, json!(["file.txt"]));
    let told = site
        .ask(
            &format!("POST /session/{id}/download?files=data/file.txt"),
            Value::Null,
        )
        .await;
    assert!(String::from_utf8_lossy(&told.body).contains("hello"));
    let refused = site.ask(TRASH, json!({ "id": folder })).await;
    assert_eq!(
        (refused.status, refused.code()),
        (400, "vfolder_soft-delete_bad-request")
    );
    site.ask(&format!("DELETE /session/{id}?forced=true"), Value::Null)
        .await;
    assert_eq!(site.ask(TRASH, json!({ "id": folder })).await.status, 204);
}

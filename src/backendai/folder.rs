//! `backendai.folder`: a storage folder, its own or cloned from another, and its removal.
//!
//! A folder is removed in the one order that leaves nothing: to the trash, out of the trash (only
//! this removes its files), and, when the storage has said so, its record. A purge right after the
//! trash would be allowed, and leave the files without an owner.

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::api::{Api, Patience, accepted, encoded, filled, text};
use super::thing::{Ids, Thing, called, deleted, id, open};
use crate::action::Key;
use crate::action::kind::{FLAG, TEXT};
use crate::outcome::{Failure, Reason};
use crate::spec::{Capture, Deleted};

/// The kind of thing.
pub(super) struct Folder;

/// What a folder is made from.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Order {
    called: String,
    host: Option<String>,
    usage_mode: Option<String>,
    permission: Option<String>,
    cloneable: Option<bool>,
    group: Option<String>,
    clone_of: Option<String>,
}

/// What finds a folder again.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    name: String,
    /// The project whose folder it is.
    group: Option<String>,
}

impl Order {
    fn body(&self, group: Option<&str>) -> Value {
        filled(json!({
            "name": self.called,
            "host": self.host,
            "usage_mode": self.usage_mode,
            "permission": self.permission,
            "cloneable": self.cloneable,
            "group": group,
        }))
    }

    fn clone_body(&self, host: &str) -> Value {
        filled(json!({
            "target_name": self.called,
            "target_host": host,
            "usage_mode": self.usage_mode,
            "permission": self.permission,
            "cloneable": self.cloneable,
        }))
    }
}

impl Thing for Folder {
    const KIND: &'static str = "backendai.folder";
    const KEYS: &'static [Key] = &[
        called("its name; holds ${run.name}"),
        Key::optional(
            "host",
            TEXT,
            "where it is stored, such as \"local:volume1\"",
        )
        .default("the cluster's; for a clone, where its source is"),
        Key::optional("usage_mode", TEXT, "\"general\", \"model\" or \"data\"")
            .default("`\"general\"`"),
        Key::optional("permission", TEXT, "\"ro\", \"rw\" or \"wd\"").default("`\"rw\"`"),
        Key::optional("cloneable", FLAG, "whether it may be cloned").default("false"),
        Key::optional(
            "group",
            TEXT,
            "the id of a project that owns it, instead of us",
        )
        .recorded(),
        Key::optional(
            "clone_of",
            TEXT,
            "the id of a folder: it is made as a clone of that one",
        ),
    ];
    const WRITES: &'static [(&'static str, bool)] =
        &[("id", false), ("name", false), ("task", false)];
    type Order = Order;
    type Mark = Mark;

    fn mark(order: &Order) -> Mark {
        Mark {
            name: order.called.clone(),
            group: order.group.clone(),
        }
    }

    async fn make(order: &Order, api: &mut Api<'_, '_>) -> Result<Vec<Capture>, Failure> {
        let answer = match &order.clone_of {
            None => {
                let group = match &order.group {
                    Some(id) => Some(project(id, api).await?),
                    None => None,
                };
                let body = order.body(group.as_deref());
                api.change(Method::POST, "/folders", &body).await?
            }
            Some(source) => {
                let path = format!("/folders/{}", encoded(source));
                // Managers before 26 have no default for it.
                let host = match &order.host {
                    Some(host) => host.clone(),
                    None => text(&api.get(&path).await?, "/host")?,
                };
                let (path, body) = (format!("{path}/clone"), order.clone_body(&host));
                api.change(Method::POST, &path, &body).await?
            }
        };
        let mut captures = vec![
            open("id", plain_id(&text(&answer, "/id")?)),
            open("name", order.called.as_str()),
        ];
        if order.clone_of.is_some() {
            captures.push(open("task", text(&answer, "/bgtask_id")?));
        }
        Ok(captures)
    }

    async fn find(mark: &Mark, api: &mut Api<'_, '_>) -> Result<Vec<Ids>, Failure> {
        let filter = format!("name like {}", quoted(&format!("{}%", mark.name)));
        let mut found = look(&filter, api).await?;
        if let Some(group) = &mark.group {
            for folder in of_project(group, api).await? {
                if found.iter().all(|known| known.id != folder.id) {
                    found.push(folder);
                }
            }
        }
        let ours = found.into_iter().filter(|folder| folder.name == mark.name);
        Ok(ours.map(|folder| folder.ids()).collect())
    }

    async fn remove(_: &Mark, ids: &Ids, api: &mut Api<'_, '_>) -> Result<Deleted, Failure> {
        clear(&id(ids)?, api).await
    }

    async fn list(
        prefix: &str,
        api: &mut Api<'_, '_>,
    ) -> Result<Vec<(String, Mark, Ids)>, Failure> {
        let filter = format!("name like {}", quoted(&format!("{prefix}%")));
        let listed = look(&filter, api).await?.into_iter().map(|folder| {
            let mark = Mark {
                name: folder.name.clone(),
                group: None,
            };
            let ids = folder.ids();
            (folder.name, mark, ids)
        });
        Ok(listed.collect())
    }
}

const PROJECT: &str = "query ($id: UUID!) { group(id: $id) { name } }";

/// How the manager wants a project to be called: by its id since 26.3, by its name before.
async fn project(id: &str, api: &mut Api<'_, '_>) -> Result<String, Failure> {
    if api.version().await? >= 9 {
        return Ok(id.to_owned());
    }
    let answer = api.query(PROJECT, json!({ "id": id })).await?;
    text(&answer, "/group/name")
}

/// A folder as a search shows it.
struct Found {
    id: String,
    /// The name that it was given.
    name: String,
    status: String,
}

impl Found {
    fn read(item: &Value) -> Result<Self, Failure> {
        Ok(Self {
            id: plain_id(&text(item, "/id")?),
            name: given_name(&text(item, "/name")?).to_owned(),
            status: text(item, "/status")?,
        })
    }

    fn ids(&self) -> Ids {
        [("id".to_owned(), self.id.as_str().into())].into()
    }
}

const SEARCH: &str = "query ($filter: String, $limit: Int!, $offset: Int!) { \
    vfolder_list(filter: $filter, limit: $limit, offset: $offset) { items { id name status } } }";

/// The folders, in whatever state, for which a condition holds. Other searches leave out those
/// whose files are gone.
async fn look(filter: &str, api: &mut Api<'_, '_>) -> Result<Vec<Found>, Failure> {
    let items = api.pages("vfolder_list", SEARCH, filter).await?;
    items.iter().map(Found::read).collect()
}

/// The folders of a project: the search shows them to administrators only.
async fn of_project(group: &str, api: &mut Api<'_, '_>) -> Result<Vec<Found>, Failure> {
    let path = format!("/folders?group_id={}", encoded(group));
    let Some(answer) = api.get_if_there(&path).await? else {
        // The project is gone, and its folders with it.
        return Ok(Vec::new());
    };
    let Some(items) = answer.as_array() else {
        let what = "the list of a project's folders is no list";
        return Err(Failure::new(Reason::Protocol, what));
    };
    items.iter().map(Found::read).collect()
}

/// The folder that has this id, as far as anything tells of it.
async fn with_id(id: &str, api: &mut Api<'_, '_>) -> Result<Option<Found>, Failure> {
    let filter = format!("id == {}", quoted(&dashed(id)));
    if let Some(found) = look(&filter, api).await?.pop() {
        return Ok(Some(found));
    }
    let path = format!("/folders/{}", encoded(id));
    let folder = api.get_if_there(&path).await?;
    folder.as_ref().map(Found::read).transpose()
}

/// Removes a folder, from whatever state it is in, and waits until nothing tells of it.
pub(super) async fn clear(id: &str, api: &mut Api<'_, '_>) -> Result<Deleted, Failure> {
    let mut was_there = false;
    let mut patience = Patience::until(api.context.deadline);
    let half = api.context.deadline - (api.context.deadline - Instant::now()) / 2;
    loop {
        let attempt = advance(id, half, &mut was_there, api).await;
        if let Some(deleted) = patience.judge(attempt).await? {
            return Ok(deleted);
        }
    }
}

/// Takes every step towards the removal that can be taken now.
async fn advance(
    id: &str,
    half: Instant,
    was_there: &mut bool,
    api: &mut Api<'_, '_>,
) -> Result<Option<Deleted>, Failure> {
    let body = json!({ "id": id });
    let mut before = String::new();
    loop {
        let Some(folder) = with_id(id, api).await? else {
            return Ok(Some(deleted(*was_there)));
        };
        *was_there = true;
        if folder.status == before {
            // The step was accepted, and takes its time.
            return Ok(None);
        }
        match folder.status.as_str() {
            "delete-ongoing" if Instant::now() < half => return Ok(None),
            // A manager whose storage was away meanwhile never comes back to it by itself.
            "delete-ongoing" => {
                let path = format!("/folders/{}/force", encoded(id));
                api.remove(Method::DELETE, &path, None).await?;
            }
            "delete-complete" => {
                let reply = api
                    .send(Method::POST, "/folders/purge", Some(&body))
                    .await?;
                if reply.answer.status == 403 {
                    // Only administrators purge records. The files are gone.
                    return Ok(Some(Deleted::AllButItsRecord));
                }
                accepted(&reply, "POST /folders/purge")?;
            }
            "delete-pending" => {
                let path = "/folders/delete-from-trash-bin";
                api.remove(Method::POST, path, Some(&body)).await?;
            }
            "delete-error" => {
                let path = format!("/folders/{}/force", encoded(id));
                if !api.remove(Method::DELETE, &path, None).await? {
                    let what = "the storage could not remove the folder's files (delete-error)";
                    return Err(Failure::new(Reason::Status, what));
                }
            }
            // Refused as long as a session has it mounted, or it is being cloned.
            _ => {
                api.remove(Method::DELETE, "/folders", Some(&body)).await?;
            }
        }
        before = folder.status;
    }
}

/// A text in the language of filters.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A folder's id as paths have it: without dashes, as some answers do not.
fn plain_id(id: &str) -> String {
    id.replace('-', "")
}

/// A folder's id as filters have it.
fn dashed(id: &str) -> String {
    Uuid::try_parse(id).map_or_else(|_| id.to_owned(), |id| id.to_string())
}

/// The name that a folder was given: some managers write behind it when they removed the files.
fn given_name(name: &str) -> &str {
    match name.rsplit_once("_deleted_") {
        Some((given, when)) if when.starts_with(|first: char| first.is_ascii_digit()) => given,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_folder_is_known_by_the_name_it_was_given() {
        for (shown, given) in [
            ("lab-1-a", "lab-1-a"),
            ("lab-1-a_deleted_2026-11-22T194818+0000", "lab-1-a"),
            ("lab-1-a_deleted_by_me", "lab-1-a_deleted_by_me"),
            ("a_deleted_2_deleted_2026-11-22T194818+0000", "a_deleted_2"),
        ] {
            assert_eq!(given_name(shown), given);
        }
    }

    #[test]
    fn ids_are_the_same_however_they_are_written() {
        let dashes = "01a204d4-b1c3-76e5-8735-3b7b690ce1df";
        assert_eq!(dashed(&plain_id(dashes)), dashes);
        assert_eq!(dashed(dashes), dashes);
    }
}

//! `backendai.session`: a compute session, enqueued and not waited for.
//!
//! How it fares is watched by `backendai.await`, so that enqueueing and starting are timed apart.

use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use super::api::{Api, accepted, encoded, filled, text};
use super::folder::quoted;
use super::thing::{Ids, Named, Thing, called, deleted, id, open};
use crate::action::Key;
use crate::action::kind::{ANY, INTEGER, MAP, TEXT, TEXTS};
use crate::outcome::{Failure, Reason};
use crate::spec::{Capture, Deleted};

/// The states of a session that is gone. ERROR is none of them: its containers may still be there.
pub(super) const GONE: [&str; 2] = ["TERMINATED", "CANCELLED"];

/// The kind of thing.
pub(super) struct Session;

/// What a session is made from.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Order {
    called: String,
    r#type: Option<String>,
    image: Option<String>,
    architecture: Option<String>,
    template: Option<String>,
    group: Option<String>,
    domain: Option<String>,
    scaling_group: Option<String>,
    cluster_mode: Option<String>,
    cluster_size: Option<u32>,
    resources: Map<String, Value>,
    resource_opts: Map<String, Value>,
    environ: Map<String, Value>,
    mounts: Vec<String>,
    mount_ids: Vec<String>,
    startup_command: Option<String>,
    bootstrap_script: Option<String>,
    batch_timeout: Option<Value>,
    dependencies: Vec<String>,
    max_wait: Option<u32>,
    expect_status: Option<String>,
}

impl Order {
    /// The body of the request. Everything that would let the manager give us somebody else's
    /// session, or take ours away for another, is switched off.
    fn body(&self, version: u32) -> Value {
        // Before version 9 the manager refuses what it does not know.
        let known = |value: Value| if version < 9 { Value::Null } else { value };
        let (mounts, mount_map) = placed(&self.mounts);
        let (mount_ids, mount_id_map) = placed(&self.mount_ids);
        let config = json!({
            "resources": self.resources,
            "resource_opts": self.resource_opts,
            "environ": self.environ,
            "scaling_group": self.scaling_group,
            "mounts": mounts,
            "mount_map": mount_map,
            "mount_ids": mount_ids,
            "mount_id_map": mount_id_map,
        });
        let body = json!({
            "name": self.called,
            "type": self.r#type,
            "image": self.image,
            "architecture": self.architecture,
            "template_id": self.template,
            "group": self.group,
            "domain": self.domain,
            "cluster_mode": self.cluster_mode,
            "cluster_size": self.cluster_size,
            "startupCommand": self.startup_command,
            "bootstrap_script": self.bootstrap_script,
            "batch_timeout": known(json!(self.batch_timeout)),
            "dependencies": self.dependencies,
            "enqueueOnly": self.max_wait.is_none(),
            "maxWaitSeconds": self.max_wait,
            "reuseIfExists": false,
            "is_preemptible": known(json!(false)),
            "config": filled(config),
        });
        filled(body)
    }
}

/// What is mounted, and where, if that is said: `FOLDER:/path`.
fn placed(mounts: &[String]) -> (Vec<&str>, Map<String, Value>) {
    let mut folders = Vec::new();
    let mut paths = Map::new();
    for mount in mounts {
        match mount.split_once(":/") {
            Some((folder, path)) => {
                folders.push(folder);
                paths.insert(folder.to_owned(), format!("/{path}").into());
            }
            None => folders.push(mount),
        }
    }
    (folders, paths)
}

impl Thing for Session {
    const KIND: &'static str = "backendai.session";
    const KEYS: &'static [Key] = &[
        called("its name; holds ${run.name}"),
        Key::optional("type", TEXT, "\"interactive\" or \"batch\"").default("`\"interactive\"`"),
        Key::optional("image", TEXT, "the canonical name of its image"),
        Key::optional("architecture", TEXT, "of the image, such as \"x86_64\""),
        Key::optional(
            "template",
            TEXT,
            "the id of a session template, instead of an image",
        ),
        Key::optional("group", TEXT, "the project's name"),
        Key::optional("domain", TEXT, "the domain's name"),
        Key::optional("scaling_group", TEXT, "the resource group's name"),
        Key::optional("cluster_mode", TEXT, "\"single-node\" or \"multi-node\""),
        Key::optional("cluster_size", INTEGER, "how many containers, such as 2"),
        Key::optional(
            "resources",
            MAP,
            "slots, such as { cpu = \"1\", mem = \"512m\" }",
        ),
        Key::optional("resource_opts", MAP, "such as { shmem = \"64m\" }"),
        Key::optional("environ", MAP, "environment variables"),
        Key::optional(
            "mounts",
            TEXTS,
            "names of folders to mount: \"NAME\" or \"NAME:/path\"",
        ),
        Key::optional(
            "mount_ids",
            TEXTS,
            "ids of folders to mount: \"ID\" or \"ID:/path\"",
        ),
        Key::optional("startup_command", TEXT, "what a batch session runs"),
        Key::optional(
            "bootstrap_script",
            TEXT,
            "what runs before the session starts",
        ),
        Key::optional(
            "batch_timeout",
            ANY,
            "when a batch session is ended, such as \"3s\"",
        ),
        Key::optional(
            "dependencies",
            TEXTS,
            "ids of sessions that must succeed before",
        ),
        Key::optional(
            "max_wait",
            INTEGER,
            "seconds to wait for the start in the call itself",
        )
        .default("none"),
        Key::optional(
            "expect_status",
            TEXT,
            "the status that the answer must have, such as \"PENDING\"",
        ),
    ];
    const WRITES: &'static [(&'static str, bool)] =
        &[("id", false), ("name", false), ("status", false)];
    type Order = Order;
    type Mark = Named;

    fn mark(order: &Order) -> Named {
        Named::by(&order.called)
    }

    async fn make(order: &Order, api: &mut Api<'_, '_>) -> Result<Vec<Capture>, Failure> {
        let path = match order.template {
            None => "/session",
            Some(_) => "/session/_/create-from-template",
        };
        let version = api.version().await?;
        let answer = api.change(Method::POST, path, &order.body(version)).await?;
        if answer["created"] == Value::Bool(false) {
            let what = "the session is another one's of the same name, though reuse is off";
            return Err(Failure::new(Reason::Assertion, what));
        }
        let id = text(&answer, "/sessionId")?;
        let status = text(&answer, "/status")?;
        if let Some(expected) = &order.expect_status
            && *expected != status
        {
            let what = format!("the session is {status}, expected {expected}");
            return Err(Failure::new(Reason::Assertion, what));
        }
        Ok(vec![
            open("id", id),
            open("name", order.called.as_str()),
            open("status", status),
        ])
    }

    async fn find(mark: &Named, api: &mut Api<'_, '_>) -> Result<Vec<Ids>, Failure> {
        let path = format!("/session/_/match?id={}", encoded(&mark.name));
        let answer = api.get(&path).await?;
        let Some(matches) = answer["matches"].as_array() else {
            let what = "the search for a session has no list in its answer";
            return Err(Failure::new(Reason::Protocol, what));
        };
        let alive = matches.iter().filter(|session| {
            session["name"] == mark.name.as_str()
                && session["status"]
                    .as_str()
                    .is_none_or(|status| !GONE.contains(&status))
        });
        alive.map(ids).collect()
    }

    async fn list(
        prefix: &str,
        api: &mut Api<'_, '_>,
    ) -> Result<Vec<(String, Named, Ids)>, Failure> {
        let name = quoted(&format!("{prefix}%"));
        let filter =
            format!(r#"name like {name} & status != "TERMINATED" & status != "CANCELLED""#);
        let mut listed = Vec::new();
        for item in api.pages("compute_session_list", ALIVE, &filter).await? {
            let name = text(&item, "/name")?;
            let id = text(&item, "/session_id")?;
            let mark = Named::by(&name);
            listed.push((name, mark, [("id".to_owned(), id.into())].into()));
        }
        Ok(listed)
    }

    /// A destroyed session is only marked: it is gone when its containers are. One that lingers is
    /// destroyed by force when half of the time is over; before, some managers refuse to destroy
    /// what is just starting or ending.
    async fn remove(_: &Named, ids: &Ids, api: &mut Api<'_, '_>) -> Result<Deleted, Failure> {
        let path = format!("/session/{}", encoded(&id(ids)?));
        let left = api.context.deadline - Instant::now();
        let half = api.context.deadline - left / 2;
        let (mut was_there, mut asked) = (false, false);
        while let Some(session) = api.get_if_there(&path).await? {
            let status = session["status"].as_str().unwrap_or_default();
            if GONE.contains(&status) {
                break;
            }
            was_there = true;
            api.context.note(format!("the session is {status}"));
            let force = status == "ERROR" || Instant::now() >= half;
            if !asked || force {
                asked = destroy(&path, force, api).await?;
            }
            sleep(LOOK).await;
        }
        Ok(deleted(was_there))
    }
}

/// Asks once; `false` if the manager would not do it now.
async fn destroy(path: &str, force: bool, api: &mut Api<'_, '_>) -> Result<bool, Failure> {
    let path = format!("{path}?forced={force}");
    let reply = api.send(Method::DELETE, &path, None).await?;
    if [403, 404].contains(&reply.answer.status) {
        return Ok(false);
    }
    accepted(&reply, "DELETE /session").map(|_| true)
}

const ALIVE: &str = "query($filter: String, $limit: Int!, $offset: Int!) {
    compute_session_list(limit: $limit, offset: $offset, filter: $filter) { items { session_id name } } }";

/// Between two looks at a session that is being destroyed.
const LOOK: std::time::Duration = std::time::Duration::from_millis(500);

fn ids(session: &Value) -> Result<Ids, Failure> {
    Ok([("id".to_owned(), text(session, "/id")?.into())].into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_may_say_where() {
        let mounts = ["data", "model:/models", "odd:name", "own:/home/work/own:1"];
        let mounts = mounts.map(str::to_owned);
        let (folders, paths) = placed(&mounts);
        assert_eq!(folders, ["data", "model", "odd:name", "own"]);
        let there = json!({ "model": "/models", "own": "/home/work/own:1" });
        assert_eq!(Value::Object(paths), there);
    }
}

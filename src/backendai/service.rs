//! `backendai.service`: a model service, made and not waited for; and `backendai.replicas`, which
//! waits until as many of its sessions run as should.

use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::api::{Api, encoded, text};
use super::deed::Deed;
use super::thing::{Ids, Named, Thing, called, deleted, id, open};
use crate::action::Key;
use crate::action::kind::{FLAG, INTEGER, MAP, TEXT};
use crate::outcome::{Failure, Reason};
use crate::spec::{Capture, Deleted};

/// The kind of thing.
pub(super) struct Service;

/// What a service is made from.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Order {
    called: String,
    model: String,
    image: String,
    architecture: Option<String>,
    group: Option<String>,
    domain: Option<String>,
    scaling_group: String,
    cluster_mode: Option<String>,
    cluster_size: Option<u32>,
    replicas: Option<u32>,
    resources: Map<String, Value>,
    runtime_variant: Option<String>,
    public: bool,
    mount_destination: Option<String>,
    definition_path: Option<String>,
}

impl Order {
    fn body(&self) -> Value {
        let replicas = self.replicas.unwrap_or(1);
        json!({
            "name": self.called,
            // The second name is 23.09's.
            "replicas": replicas,
            "desired_session_count": replicas,
            "image": self.image,
            "architecture": self.architecture.as_deref().unwrap_or("x86_64"),
            "group": self.group.as_deref().unwrap_or("default"),
            "domain": self.domain.as_deref().unwrap_or("default"),
            "cluster_mode": self.cluster_mode.as_deref().unwrap_or("single-node"),
            "cluster_size": self.cluster_size.unwrap_or(1),
            "runtime_variant": self.runtime_variant.as_deref().unwrap_or("custom"),
            "open_to_public": self.public,
            "config": {
                "model": self.model,
                "model_mount_destination": self.mount_destination.as_deref().unwrap_or("/models"),
                "model_definition_path":
                    self.definition_path.as_deref().unwrap_or("./model-definition.yaml"),
                "scaling_group": self.scaling_group,
                "resources": self.resources,
                "resource_opts": {},
                "extra_mounts": {},
                "environ": {},
            },
        })
    }
}

impl Thing for Service {
    const KIND: &'static str = "backendai.service";
    const KEYS: &'static [Key] = &[
        called("its name; holds ${run.name}"),
        Key::required("model", TEXT, "name or id of the folder that has the model"),
        Key::required("image", TEXT, "the canonical name of the image"),
        Key::optional("architecture", TEXT, "of the image").default("`\"x86_64\"`"),
        Key::optional("group", TEXT, "the project's name").default("`\"default\"`"),
        Key::optional("domain", TEXT, "the domain's name").default("`\"default\"`"),
        Key::required("scaling_group", TEXT, "the resource group's name"),
        Key::optional("cluster_mode", TEXT, "\"single-node\" or \"multi-node\"")
            .default("`\"single-node\"`"),
        Key::optional("cluster_size", INTEGER, "containers of each session").default("1"),
        Key::optional("replicas", INTEGER, "how many sessions").default("1"),
        Key::optional(
            "resources",
            MAP,
            "slots, such as { cpu = \"1\", mem = \"512m\" }",
        ),
        Key::optional("runtime_variant", TEXT, "what serves the model").default("`\"custom\"`"),
        Key::optional("public", FLAG, "whether it answers without a token").default("false"),
        Key::optional("mount_destination", TEXT, "where the model is mounted")
            .default("`\"/models\"`"),
        Key::optional(
            "definition_path",
            TEXT,
            "where the definition of the model is",
        )
        .default("`\"./model-definition.yaml\"`"),
    ];
    const WRITES: &'static [(&'static str, bool)] = &[("id", false), ("name", false)];
    type Order = Order;
    type Mark = Named;

    fn mark(order: &Order) -> Named {
        Named::by(&order.called)
    }

    async fn make(order: &Order, api: &mut Api<'_, '_>) -> Result<Vec<Capture>, Failure> {
        let answer = api.change(Method::POST, "/services", &order.body()).await?;
        let id = text(&answer, "/endpoint_id")?;
        Ok(vec![open("id", id), open("name", order.called.as_str())])
    }

    async fn find(mark: &Named, api: &mut Api<'_, '_>) -> Result<Vec<Ids>, Failure> {
        let alive = alive(api).await?;
        let ours = alive.into_iter().filter(|(name, _)| *name == mark.name);
        Ok(ours.map(|(_, id)| named(id)).collect())
    }

    /// A deleted service is only marked: it is gone when its sessions are.
    async fn remove(_: &Named, ids: &Ids, api: &mut Api<'_, '_>) -> Result<Deleted, Failure> {
        let id = id(ids)?;
        let path = format!("/services/{}", encoded(&id));
        let was_there = api.remove(Method::DELETE, &path, None).await?;
        loop {
            let left = alive(api).await?.into_iter().any(|(_, other)| other == id);
            if !left && sessions(&id, api).await?.is_empty() {
                return Ok(deleted(was_there));
            }
            api.context.note("the service still has sessions");
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn list(
        prefix: &str,
        api: &mut Api<'_, '_>,
    ) -> Result<Vec<(String, Named, Ids)>, Failure> {
        let alive = alive(api).await?.into_iter();
        let ours = alive.filter(|(name, _)| name.starts_with(prefix));
        Ok(ours
            .map(|(name, id)| (name.clone(), Named { name }, named(id)))
            .collect())
    }
}

/// Between two looks at a service that changes.
const LOOK: std::time::Duration = std::time::Duration::from_secs(1);

fn named(id: String) -> Ids {
    [("id".to_owned(), id.into())].into()
}

/// How many services are listed: more than anybody has.
const ALIVE: &str = "query { endpoint_list(limit: 1000, offset: 0) {
    items { endpoint_id name lifecycle_stage } } }";

/// Name and id of every service that is not gone.
async fn alive(api: &mut Api<'_, '_>) -> Result<Vec<(String, String)>, Failure> {
    let data = api.query(ALIVE, json!({})).await?;
    let items = data
        .pointer("/endpoint_list/items")
        .and_then(Value::as_array);
    let items = items
        .ok_or_else(|| Failure::new(Reason::Protocol, "the list of model services is no list"))?;
    let alive = items.iter().filter(|item| {
        let stage = item["lifecycle_stage"].as_str().unwrap_or_default();
        // Told as `EndpointLifecycle.DESTROYED` by some releases.
        !stage.to_uppercase().ends_with("DESTROYED")
    });
    alive
        .map(|item| Ok((text(item, "/name")?, text(item, "/endpoint_id")?)))
        .collect()
}

const ROUTES: &str = "query($id: UUID!) { endpoint(endpoint_id: $id) {
    routings { session status } } }";

/// The sessions of a service, with their states.
async fn sessions(id: &str, api: &mut Api<'_, '_>) -> Result<Vec<(String, String)>, Failure> {
    let data = api.query(ROUTES, json!({ "id": id })).await?;
    let routes = data.pointer("/endpoint/routings").and_then(Value::as_array);
    let mut sessions = Vec::new();
    for route in routes.into_iter().flatten() {
        let Some(session) = route["session"].as_str() else {
            continue;
        };
        let path = format!("/session/{}", encoded(session));
        if let Some(info) = api.get_if_there(&path).await? {
            let status = info["status"].as_str().unwrap_or_default();
            if !super::session::GONE.contains(&status) {
                sessions.push((session.to_owned(), status.to_owned()));
            }
        }
    }
    Ok(sessions)
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ReplicasOrder {
    service: String,
    count: usize,
}

/// What specs do with it.
pub(super) struct Replicas;

impl Deed for Replicas {
    const NAME: &'static str = "backendai.replicas";
    const KEYS: &'static [Key] = &[
        Key::required(
            "service",
            TEXT,
            "the service's id, such as \"${service.id}\"",
        ),
        Key::required("count", INTEGER, "how many of its sessions must run"),
    ];
    const WRITES: &'static [&'static str] = &["url"];
    type Order = ReplicasOrder;

    async fn perform(
        order: &ReplicasOrder,
        api: &mut Api<'_, '_>,
    ) -> Result<Vec<Capture>, Failure> {
        let path = format!("/services/{}", encoded(&order.service));
        loop {
            let sessions = sessions(&order.service, api).await?;
            let running = sessions.iter().filter(|(_, status)| status == "RUNNING");
            let running = running.count();
            if running == order.count && sessions.len() == order.count {
                let service = api.get(&path).await?;
                return settled(&service, order.count);
            }
            let (there, count) = (sessions.len(), order.count);
            api.context
                .note(format!("{running} of {there} sessions run, not {count}"));
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// What the service says of itself once its sessions run.
fn settled(service: &Value, count: usize) -> Result<Vec<Capture>, Failure> {
    let told = &service["replicas"];
    if !told.is_null() && *told != count {
        let what = format!("{count} sessions run, but the service tells of {told} replicas");
        return Err(Failure::new(Reason::Assertion, what));
    }
    Ok(vec![open("url", text(service, "/service_endpoint")?)])
}

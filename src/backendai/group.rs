//! `backendai.group`: a project, purged at the end together with what ended in it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::api::{Api, Patience, filled, text};
use super::thing::{Ids, Thing, called, deleted, id, open};
use crate::action::Key;
use crate::action::kind::{MAP, TEXT};
use crate::outcome::{Failure, Reason};
use crate::spec::{Capture, Deleted};

/// The kind of thing.
pub(super) struct Group;

/// What a project is made from.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Order {
    called: String,
    domain: Option<String>,
    resource_policy: Option<String>,
    resources: Map<String, Value>,
    hosts: Map<String, Value>,
}

/// What finds a project again.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    name: String,
    domain: String,
}

const CREATE: &str = "mutation ($name: String!, $props: GroupInput!) { \
    create_group(name: $name, props: $props) { ok msg group { id } } }";
const SEARCH: &str = "query ($name: String!, $domain: String) { \
    groups_by_name(name: $name, domain_name: $domain) { id name } }";
const LOOK: &str = "query ($id: UUID!) { group(id: $id) { id } }";
const LIST: &str = "query { groups { id name domain_name } }";
const PURGE: &str = "mutation ($id: UUID!) { purge_group(gid: $id) { ok msg } }";

impl Order {
    fn domain(&self) -> &str {
        self.domain.as_deref().unwrap_or("default")
    }

    /// Two of the values are JSON in a text.
    fn props(&self) -> Value {
        let json = |map: &Map<String, Value>| {
            (!map.is_empty()).then(|| Value::Object(map.clone()).to_string())
        };
        filled(json!({
            "description": "made by testerd, and removed by it",
            "is_active": true,
            "domain_name": self.domain(),
            "resource_policy": self.resource_policy,
            "total_resource_slots": json(&self.resources),
            "allowed_vfolder_hosts": json(&self.hosts),
        }))
    }
}

impl Thing for Group {
    const KIND: &'static str = "backendai.group";
    const KEYS: &'static [Key] = &[
        called("its name; holds ${run.name}"),
        Key::optional("domain", TEXT, "the domain's name")
            .default("`\"default\"`")
            .recorded(),
        Key::optional("resource_policy", TEXT, "the name of its resource policy"),
        Key::optional("resources", MAP, "what it may use, such as { cpu = \"4\" }"),
        Key::optional(
            "hosts",
            MAP,
            "where it may have folders, such as { \"local:volume1\" = [\"create-vfolder\"] }",
        ),
    ];
    const WRITES: &'static [(&'static str, bool)] = &[("id", false), ("name", false)];
    type Order = Order;
    type Mark = Mark;

    fn mark(order: &Order) -> Mark {
        Mark {
            name: order.called.clone(),
            domain: order.domain().to_owned(),
        }
    }

    async fn make(order: &Order, api: &mut Api<'_, '_>) -> Result<Vec<Capture>, Failure> {
        let variables = json!({ "name": order.called, "props": order.props() });
        let made = api.mutate("create_group", CREATE, variables).await?;
        Ok(vec![
            open("id", text(&made, "/group/id")?),
            open("name", order.called.as_str()),
        ])
    }

    async fn find(mark: &Mark, api: &mut Api<'_, '_>) -> Result<Vec<Ids>, Failure> {
        let variables = json!({ "name": mark.name, "domain": mark.domain });
        let answer = api.query(SEARCH, variables).await?;
        let found = listed(&answer["groups_by_name"])?;
        let ours = found
            .iter()
            .filter(|group| group["name"] == mark.name.as_str());
        ours.map(ids).collect()
    }

    /// Refused as long as a session in it has not ended.
    async fn remove(_: &Mark, ids: &Ids, api: &mut Api<'_, '_>) -> Result<Deleted, Failure> {
        let id = id(ids)?;
        let mut was_there = false;
        let mut patience = Patience::until(api.context.deadline);
        loop {
            let attempt = advance(&id, &mut was_there, api).await;
            if let Some(was_there) = patience.judge(attempt).await? {
                return Ok(deleted(was_there));
            }
        }
    }

    async fn list(
        prefix: &str,
        api: &mut Api<'_, '_>,
    ) -> Result<Vec<(String, Mark, Ids)>, Failure> {
        let answer = api.query(LIST, json!({})).await?;
        let mut ours = Vec::new();
        for group in listed(&answer["groups"])? {
            let name = text(group, "/name")?;
            if name.starts_with(prefix) {
                let mark = Mark {
                    name: name.clone(),
                    domain: text(group, "/domain_name")?,
                };
                ours.push((name, mark, ids(group)?));
            }
        }
        Ok(ours)
    }
}

/// Takes every step towards the removal that can be taken now.
async fn advance(
    id: &str,
    was_there: &mut bool,
    api: &mut Api<'_, '_>,
) -> Result<Option<bool>, Failure> {
    let variables = json!({ "id": id });
    let is_there = !api.query(LOOK, variables.clone()).await?["group"].is_null();
    if !is_there {
        return Ok(Some(*was_there));
    }
    *was_there = true;
    api.mutate("purge_group", PURGE, variables.clone()).await?;
    let is_gone = api.query(LOOK, variables).await?["group"].is_null();
    Ok(is_gone.then_some(true))
}

fn listed(groups: &Value) -> Result<&Vec<Value>, Failure> {
    groups.as_array().ok_or_else(|| {
        let what = "the search for projects has no list in its answer";
        Failure::new(Reason::Protocol, what)
    })
}

fn ids(group: &Value) -> Result<Ids, Failure> {
    Ok([("id".to_owned(), text(group, "/id")?.into())].into())
}

//! `backendai.template`: a template that sessions are made from.

use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::api::{Api, encoded, text};
use super::thing::{Ids, Named, Thing, called, deleted, id, open};
use crate::action::Key;
use crate::action::kind::{MAP, TEXT};
use crate::outcome::{Failure, Reason};
use crate::spec::{Capture, Deleted};

/// The kind of thing.
pub(super) struct Template;

/// What a template is made from.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Order {
    called: String,
    r#type: Option<String>,
    image: String,
    architecture: Option<String>,
    group: String,
    domain: String,
    scaling_group: String,
    resources: Map<String, Value>,
}

impl Order {
    /// The manager takes the template as a text in JSON, inside JSON.
    fn body(&self) -> Value {
        let template = json!([{
            "is_active": true,
            "type": "TASK",
            "name": self.called,
            "template": {
                "api_version": "6",
                "kind": "task_template",
                "metadata": { "name": self.called, "tag": "latest" },
                "spec": {
                    "session_type": self.r#type.as_deref().unwrap_or("interactive"),
                    "kernel": {
                        "image": self.image,
                        "architecture": self.architecture.as_deref().unwrap_or("x86_64"),
                        "environ": {},
                        "run": null,
                        "git": null,
                    },
                    "scaling_group": self.scaling_group,
                    "mounts": {},
                    "resources": self.resources,
                },
            },
        }]);
        json!({ "payload": template.to_string(), "group": self.group, "domain": self.domain })
    }
}

impl Thing for Template {
    const KIND: &'static str = "backendai.template";
    const KEYS: &'static [Key] = &[
        called("its name; holds ${run.name}"),
        Key::optional(
            "type",
            TEXT,
            "of its sessions: \"interactive\" or \"batch\"",
        )
        .default("`\"interactive\"`"),
        Key::required("image", TEXT, "the canonical name of the image"),
        Key::optional("architecture", TEXT, "of the image").default("`\"x86_64\"`"),
        Key::required("group", TEXT, "the project's name"),
        Key::required("domain", TEXT, "the domain's name"),
        Key::required("scaling_group", TEXT, "the resource group's name"),
        Key::optional(
            "resources",
            MAP,
            "slots, such as { cpu = \"1\", mem = \"512m\" }",
        ),
    ];
    const WRITES: &'static [(&'static str, bool)] = &[("id", false)];
    type Order = Order;
    type Mark = Named;

    fn mark(order: &Order) -> Named {
        Named::by(&order.called)
    }

    async fn make(order: &Order, api: &mut Api<'_, '_>) -> Result<Vec<Capture>, Failure> {
        let answer = api
            .change(Method::POST, "/template/session", &order.body())
            .await?;
        Ok(vec![open("id", text(&answer, "/0/id")?)])
    }

    async fn find(mark: &Named, api: &mut Api<'_, '_>) -> Result<Vec<Ids>, Failure> {
        let listed = all(api).await?;
        let ours = listed
            .iter()
            .filter(|one| one["name"] == mark.name.as_str());
        ours.map(ids).collect()
    }

    async fn remove(_: &Named, ids: &Ids, api: &mut Api<'_, '_>) -> Result<Deleted, Failure> {
        let path = format!("/template/session/{}", encoded(&id(ids)?));
        api.remove(Method::DELETE, &path, None).await.map(deleted)
    }

    async fn list(
        prefix: &str,
        api: &mut Api<'_, '_>,
    ) -> Result<Vec<(String, Named, Ids)>, Failure> {
        let listed = all(api).await?;
        let named = listed.iter().filter_map(|one| {
            let name = one["name"]
                .as_str()
                .filter(|name| name.starts_with(prefix))?;
            Some((name.to_owned(), one))
        });
        named
            .map(|(name, one)| Ok((name.clone(), Named { name }, ids(one)?)))
            .collect()
    }
}

async fn all(api: &mut Api<'_, '_>) -> Result<Vec<Value>, Failure> {
    match api.get("/template/session").await? {
        Value::Array(listed) => Ok(listed),
        _ => Err(Failure::new(
            Reason::Protocol,
            "the list of templates is no list",
        )),
    }
}

fn ids(one: &Value) -> Result<Ids, Failure> {
    Ok([("id".to_owned(), text(one, "/id")?.into())].into())
}

//! `backendai.image`: a session becomes an image in the project's registry ("imagify").
//!
//! The cluster of our tests has no registry; this is held against the stand-in only.

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{Api, encoded, text};
use super::task::follow;
use super::thing::{Ids, Named, Thing, called, id, open};
use crate::action::Key;
use crate::action::kind::TEXT;
use crate::outcome::Failure;
use crate::spec::{Capture, Deleted};

/// The kind of thing.
pub(super) struct Image;

/// What an image is made from.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Order {
    called: String,
    session: String,
}

impl Thing for Image {
    const KIND: &'static str = "backendai.image";
    const KEYS: &'static [Key] = &[
        called("its name; holds ${run.name}"),
        Key::required(
            "session",
            TEXT,
            "the session's id, such as \"${session.id}\"",
        ),
    ];
    const WRITES: &'static [(&'static str, bool)] = &[("id", false)];
    type Order = Order;
    type Mark = Named;

    fn mark(order: &Order) -> Named {
        Named::by(&order.called)
    }

    async fn make(order: &Order, api: &mut Api<'_, '_>) -> Result<Vec<Capture>, Failure> {
        // Read from the query until 26.4.1, from the body since.
        let (session, name) = (encoded(&order.session), encoded(&order.called));
        let path = format!("/session/{session}/imagify?image_name={name}&image_visibility=user");
        let body = json!({ "image_name": order.called, "image_visibility": "user" });
        let answer = api.change(Method::POST, &path, &body).await?;
        follow(&text(&answer, "/task_id")?, api).await?;
        let found = Self::find(&Self::mark(order), api).await?;
        let id = id(&found.into_iter().next().unwrap_or_default())?;
        Ok(vec![open("id", id)])
    }

    async fn find(mark: &Named, api: &mut Api<'_, '_>) -> Result<Vec<Ids>, Failure> {
        let data = api.query(CUSTOMIZED, json!({})).await?;
        let images = data["customized_images"].as_array();
        let ours = images.into_iter().flatten().filter(|image| {
            let mut labels = image["labels"].as_array().into_iter().flatten();
            labels.any(|label| label["key"] == NAME_LABEL && label["value"] == mark.name.as_str())
        });
        let ids = |image: &Value| Ok([("id".to_owned(), text(image, "/id")?.into())].into());
        ours.map(ids).collect()
    }

    async fn remove(mark: &Named, ids: &Ids, api: &mut Api<'_, '_>) -> Result<Deleted, Failure> {
        if Self::find(mark, api).await?.is_empty() {
            return Ok(Deleted::NotThere);
        }
        let image = json!({ "id": id(ids)? });
        api.mutate("untag_image_from_registry", UNTAG, image.clone())
            .await?;
        api.mutate("forget_image_by_id", FORGET, image).await?;
        Ok(Deleted::Accepted)
    }
}

/// Which label holds the name that an image was given.
const NAME_LABEL: &str = "ai.backend.customized-image.name";

const CUSTOMIZED: &str = "query { customized_images { id labels { key value } } }";
const UNTAG: &str =
    "mutation($id: String!) { untag_image_from_registry(image_id: $id) { ok msg } }";
const FORGET: &str = "mutation($id: String!) { forget_image_by_id(image_id: $id) { ok msg } }";

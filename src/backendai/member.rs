//! `backendai.member`: a user in a project, who was not in it before and is taken out of it again.
//!
//! The manager adds and removes one member by itself (`user_update_mode`), so nothing is read,
//! changed and written back, and runs beside each other do not undo each other's work.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::{Api, text};
use super::thing::{Ids, Thing, open};
use crate::action::Key;
use crate::action::kind::TEXT;
use crate::outcome::{Failure, Reason};
use crate::spec::{Capture, Deleted};

/// The kind of thing.
pub(super) struct Member;

/// Who becomes a member of what.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Order {
    group: String,
    user: Option<String>,
}

/// Who is a member of what.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    group: String,
    /// We ourselves if it is left out.
    user: Option<String>,
}

const OURSELVES: &str = "query { user { uuid } }";
const LOOK: &str = "query ($user: ID) { user_from_uuid(user_id: $user) { groups { id } } }";
const MODIFY: &str = "mutation ($group: UUID!, $props: ModifyGroupInput!) { \
    modify_group(gid: $group, props: $props) { ok msg } }";

impl Thing for Member {
    const KIND: &'static str = "backendai.member";
    const KEYS: &'static [Key] = &[
        Key::required("group", TEXT, "the id of the project").recorded(),
        Key::optional("user", TEXT, "the id of the user")
            .default("we ourselves")
            .recorded(),
    ];
    const WRITES: &'static [(&'static str, bool)] = &[("user", false)];
    type Order = Order;
    type Mark = Mark;

    fn mark(order: &Order) -> Mark {
        Mark {
            group: order.group.clone(),
            user: order.user.clone(),
        }
    }

    async fn make(order: &Order, api: &mut Api<'_, '_>) -> Result<Vec<Capture>, Failure> {
        let mark = Self::mark(order);
        let user = user(&mark, api).await?;
        if is_member(&mark.group, &user, api).await? {
            let what = "the user is a member of the project already, and would not be afterwards";
            return Err(Failure::new(Reason::Assertion, what));
        }
        modify("add", &mark.group, &user, api).await?;
        Ok(vec![open("user", user)])
    }

    async fn find(mark: &Mark, api: &mut Api<'_, '_>) -> Result<Vec<Ids>, Failure> {
        let user = user(mark, api).await?;
        let found = is_member(&mark.group, &user, api).await?;
        let ids = || [("user".to_owned(), Value::from(user))].into();
        Ok(found.then(ids).into_iter().collect())
    }

    async fn remove(mark: &Mark, ids: &Ids, api: &mut Api<'_, '_>) -> Result<Deleted, Failure> {
        let user = match ids.get("user").and_then(Value::as_str) {
            Some(user) => user.to_owned(),
            None => user(mark, api).await?,
        };
        if !is_member(&mark.group, &user, api).await? {
            return Ok(Deleted::NotThere);
        }
        modify("remove", &mark.group, &user, api).await?;
        if is_member(&mark.group, &user, api).await? {
            let what = "the user is still a member of the project";
            return Err(Failure::new(Reason::Assertion, what));
        }
        Ok(Deleted::Accepted)
    }
}

async fn user(mark: &Mark, api: &mut Api<'_, '_>) -> Result<String, Failure> {
    match &mark.user {
        Some(user) => Ok(user.clone()),
        None => text(&api.query(OURSELVES, json!({})).await?, "/user/uuid"),
    }
}

/// Neither a project nor a user that is gone has members.
async fn is_member(group: &str, user: &str, api: &mut Api<'_, '_>) -> Result<bool, Failure> {
    let answer = api.query(LOOK, json!({ "user": user })).await?;
    let groups = answer["user_from_uuid"]["groups"].as_array();
    Ok(groups
        .into_iter()
        .flatten()
        .any(|found| found["id"] == group))
}

async fn modify(
    mode: &str,
    group: &str,
    user: &str,
    api: &mut Api<'_, '_>,
) -> Result<Value, Failure> {
    let props = json!({ "user_update_mode": mode, "user_uuids": [user] });
    let variables = json!({ "group": group, "props": props });
    api.mutate("modify_group", MODIFY, variables).await
}

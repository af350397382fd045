//! `backendai.user`: a user with a key pair of their own, to act as: `as = "${user.keys}"`.
//!
//! Some managers (26.9) keep a project of every user that ever was, and no call removes it. A
//! target that has the secrets `guest_access_key` and `guest_secret_key` therefore lends that user
//! instead: nobody is made, and nobody removed.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::api::{Api, Patience, filled, text};
use super::folder::{self, quoted};
use super::thing::{Ids, Thing, called, deleted, id, open};
use crate::action::Key;
use crate::action::kind::{TEXT, TEXTS};
use crate::outcome::Failure;
use crate::secret::Redactor;
use crate::spec::{Capture, Deleted};
use crate::text::Lookup;

/// A domain that belongs to nobody, for ever (RFC 2606): no mail about a test reaches anyone.
const MAIL_DOMAIN: &str = "example.invalid";

/// The kind of thing.
pub(super) struct User;

/// What a user is made from.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Order {
    called: String,
    domain: Option<String>,
    groups: Vec<String>,
    resource_policy: Option<String>,
}

/// What finds a user again.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    email: String,
}

const CREATE: &str = "mutation ($email: String!, $props: UserInput!) { \
    create_user(email: $email, props: $props) { ok msg user { uuid } } }";
const KEY_PAIRS: &str = "query ($email: String!) { \
    keypairs(email: $email, is_active: true) { access_key secret_key } }";
const SEARCH: &str = "query ($filter: String, $limit: Int!, $offset: Int!) { \
    user_list(limit: $limit, offset: $offset, filter: $filter) { items { uuid email status } } }";
const FOLDERS: &str = "query ($filter: String, $limit: Int!, $offset: Int!) { \
    vfolder_list(limit: $limit, offset: $offset, filter: $filter) { items { id } } }";
const DELETE: &str = "mutation ($email: String!) { delete_user(email: $email) { ok msg } }";
// Without `purge_shared_vfolders` shared folders would become ours.
const PURGE: &str = "mutation ($email: String!) { \
    purge_user(email: $email, props: { purge_shared_vfolders: true }) { ok msg } }";

impl Order {
    fn email(&self) -> String {
        format!("{}@{MAIL_DOMAIN}", self.called)
    }

    fn props(&self, password: &str) -> Value {
        filled(json!({
            "username": self.called,
            "password": password,
            "need_password_change": false,
            "full_name": self.called,
            "description": "made by testerd, and removed by it",
            "domain_name": self.domain.as_deref().unwrap_or("default"),
            "role": "user",
            "status": "active",
            "group_ids": self.groups,
            "resource_policy": self.resource_policy,
        }))
    }
}

impl Thing for User {
    const KIND: &'static str = "backendai.user";
    const KEYS: &'static [Key] = &[
        called("its name, before the @; holds ${run.name}"),
        Key::optional("domain", TEXT, "the domain's name").default("`\"default\"`"),
        Key::optional("groups", TEXTS, "ids of projects to be a member of"),
        Key::optional("resource_policy", TEXT, "the name of its resource policy"),
    ];
    const WRITES: &'static [(&'static str, bool)] =
        &[("id", false), ("email", false), ("keys", true)];
    type Order = Order;
    type Mark = Mark;

    fn mark(order: &Order) -> Mark {
        Mark {
            email: order.email(),
        }
    }

    async fn make(order: &Order, api: &mut Api<'_, '_>) -> Result<Vec<Capture>, Failure> {
        if let Some(keys) = guest(api) {
            return lend(keys, api).await;
        }
        let email = order.email();
        // Nobody ever logs in with it: all four kinds of characters, for every password policy.
        let password = format!("Aa-{}", Uuid::new_v4().simple());
        let variables = json!({ "email": email, "props": order.props(&password) });
        let made = api.mutate("create_user", CREATE, variables).await;
        let made = made.map_err(|failure| {
            // A refusal may show what it refuses, but no keys: there are none.
            let mut redactor = Redactor::default();
            redactor.learn(&password);
            failure.searched(&redactor)
        })?;
        let id = text(&made, "/user/uuid")?;
        let answer = api.query(KEY_PAIRS, json!({ "email": email })).await?;
        let keys = json!({
            "access_key": text(&answer, "/keypairs/0/access_key")?,
            "secret_key": text(&answer, "/keypairs/0/secret_key")?,
        });
        Ok(captures(id, email, keys))
    }

    async fn find(mark: &Mark, api: &mut Api<'_, '_>) -> Result<Vec<Ids>, Failure> {
        let found = look(&mark.email, api).await?;
        Ok(found.into_iter().map(|user| user.ids(mark)).collect())
    }

    /// A user is purged when no session of theirs runs any more, and after their folders: they
    /// would be left behind as records.
    async fn remove(mark: &Mark, ids: &Ids, api: &mut Api<'_, '_>) -> Result<Deleted, Failure> {
        let owner = id(ids)?;
        let mut was_there = false;
        let mut patience = Patience::until(api.context.deadline);
        loop {
            let attempt = advance(mark, &owner, &mut was_there, api).await;
            if let Some(was_there) = patience.judge(attempt).await? {
                return Ok(deleted(was_there));
            }
        }
    }

    async fn list(
        prefix: &str,
        api: &mut Api<'_, '_>,
    ) -> Result<Vec<(String, Mark, Ids)>, Failure> {
        let filter = format!("email like {}", quoted(&format!("{prefix}%@{MAIL_DOMAIN}")));
        let listed = search(&filter, api).await?.into_iter().map(|user| {
            let mark = Mark {
                email: user.email.clone(),
            };
            let ids = user.ids(&mark);
            (user.email, mark, ids)
        });
        Ok(listed.collect())
    }
}

fn captures(id: String, email: String, keys: Value) -> Vec<Capture> {
    let keys = Capture {
        key: "keys".to_owned(),
        value: keys,
        secret: true,
    };
    vec![open("id", id), open("email", email), keys]
}

/// The key pair of the user that the target lends, if it does.
fn guest(api: &Api<'_, '_>) -> Option<Value> {
    let secret = |name| api.context.scope.get("secret", name);
    let (access_key, secret_key) = (secret("guest_access_key")?, secret("guest_secret_key")?);
    Some(json!({ "access_key": access_key, "secret_key": secret_key }))
}

const OWN: &str = "query { user { uuid email } }";

/// Uses the user that is there.
async fn lend(keys: Value, api: &mut Api<'_, '_>) -> Result<Vec<Capture>, Failure> {
    api.is_lent = true;
    let guest = match api.context.identity {
        Ok(identity) => identity.other(&keys),
        Err(failure) => Err(failure.clone()),
    };
    let mut context = api.context.acting_as(&guest);
    let answer = Api::new(&mut context).query(OWN, json!({})).await?;
    let (id, email) = (text(&answer, "/user/uuid")?, text(&answer, "/user/email")?);
    Ok(captures(id, email, keys))
}

/// Takes every step towards the removal that can be taken now.
async fn advance(
    mark: &Mark,
    owner: &str,
    was_there: &mut bool,
    api: &mut Api<'_, '_>,
) -> Result<Option<bool>, Failure> {
    let is_owner = |user: &Found| user.id == owner;
    let Some(user) = look(&mark.email, api).await?.into_iter().find(is_owner) else {
        return Ok(Some(*was_there));
    };
    *was_there = true;
    let who = json!({ "email": mark.email });
    if user.status != "deleted" {
        api.mutate("delete_user", DELETE, who.clone()).await?;
    }
    clear_folders(owner, api).await?;
    api.mutate("purge_user", PURGE, who).await?;
    let gone = !look(&mark.email, api).await?.iter().any(is_owner);
    Ok(gone.then_some(true))
}

/// A user as a search shows it.
struct Found {
    id: String,
    email: String,
    status: String,
}

impl Found {
    fn ids(&self, mark: &Mark) -> Ids {
        [
            ("id".to_owned(), self.id.as_str().into()),
            ("email".to_owned(), mark.email.as_str().into()),
        ]
        .into()
    }
}

async fn look(email: &str, api: &mut Api<'_, '_>) -> Result<Vec<Found>, Failure> {
    let mut found = search(&format!("email == {}", quoted(email)), api).await?;
    found.retain(|user| user.email == email);
    Ok(found)
}

async fn search(filter: &str, api: &mut Api<'_, '_>) -> Result<Vec<Found>, Failure> {
    let items = api.pages("user_list", SEARCH, filter).await?;
    let found = items.iter().map(|item| {
        Ok(Found {
            id: text(item, "/uuid")?,
            email: text(item, "/email")?,
            status: text(item, "/status")?.to_lowercase(),
        })
    });
    found.collect()
}

/// Removes the folders that a user owns.
async fn clear_folders(owner: &str, api: &mut Api<'_, '_>) -> Result<(), Failure> {
    let filter = format!("user == {}", quoted(owner));
    for item in api.pages("vfolder_list", FOLDERS, &filter).await? {
        folder::clear(&text(&item, "/id")?, api).await?;
    }
    Ok(())
}

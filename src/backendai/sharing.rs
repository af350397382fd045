//! `backendai.invitation` and `backendai.share`: somebody else may use a folder, until the end.
//!
//! To accept or reject an invitation, and to list them, needs nothing of its own: `http` with `as`.

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::{Api, encoded, text};
use super::thing::{Ids, Thing, deleted, id, open};
use crate::action::Key;
use crate::action::kind::{TEXT, TEXTS};
use crate::outcome::{Failure, Reason};
use crate::spec::{Capture, Deleted};

/// An invitation to a folder of a user.
pub(super) struct Invitation;

/// Who is invited to what.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct InvitationOrder {
    folder: String,
    email: String,
    permission: Option<String>,
}

/// What finds an invitation again, and what came of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InvitationMark {
    folder: String,
    email: String,
}

impl Thing for Invitation {
    const KIND: &'static str = "backendai.invitation";
    const KEYS: &'static [Key] = &[
        Key::required("folder", TEXT, "the id of a folder of ours").recorded(),
        Key::required("email", TEXT, "who is invited").recorded(),
        Key::optional("permission", TEXT, "\"ro\", \"rw\" or \"wd\"").default("`\"rw\"`"),
    ];
    const WRITES: &'static [(&'static str, bool)] = &[("id", false)];
    type Order = InvitationOrder;
    type Mark = InvitationMark;

    fn mark(order: &InvitationOrder) -> InvitationMark {
        InvitationMark {
            folder: order.folder.clone(),
            email: order.email.clone(),
        }
    }

    async fn make(order: &InvitationOrder, api: &mut Api<'_, '_>) -> Result<Vec<Capture>, Failure> {
        let path = format!("/folders/{}/invite", encoded(&order.folder));
        let permission = order.permission.as_deref().unwrap_or("rw");
        let body = json!({ "perm": permission, "user_ids": [order.email] });
        let answer = api.change(Method::POST, &path, &body).await?;
        let invited = answer["invited_ids"].as_array();
        if invited.is_none_or(Vec::is_empty) {
            let what = "the manager says that it invited nobody";
            return Err(Failure::new(Reason::Assertion, what));
        }
        // The answer tells the address, not the invitation.
        let Some(id) = pending(&Self::mark(order), api).await? else {
            let what = "the invitation is not among those we have sent";
            return Err(Failure::new(Reason::Assertion, what));
        };
        Ok(vec![open("id", id)])
    }

    async fn find(mark: &InvitationMark, api: &mut Api<'_, '_>) -> Result<Vec<Ids>, Failure> {
        if let Some(id) = pending(mark, api).await? {
            return Ok(vec![[("id".to_owned(), id.into())].into()]);
        }
        let users = users(&mark.folder, std::slice::from_ref(&mark.email), api).await?;
        // An accepted invitation is found by what came of it.
        let found = users.into_iter();
        Ok(found
            .map(|(_, user)| [("user".to_owned(), user.into())].into())
            .collect())
    }

    /// Takes the invitation back, or, if it was accepted, what it gave.
    async fn remove(
        mark: &InvitationMark,
        _: &Ids,
        api: &mut Api<'_, '_>,
    ) -> Result<Deleted, Failure> {
        let mut was_there = false;
        if let Some(id) = pending(mark, api).await? {
            let body = json!({ "inv_id": id });
            let path = "/folders/invitations/delete";
            was_there = api.remove(Method::DELETE, path, Some(&body)).await?;
        }
        let emails = std::slice::from_ref(&mark.email);
        for (_, user) in users(&mark.folder, emails, api).await? {
            let body = json!({ "vfolder": mark.folder, "user": user, "perm": Value::Null });
            was_there |= api
                .remove(Method::POST, "/folders/_/shared", Some(&body))
                .await?;
        }
        if !Self::find(mark, api).await?.is_empty() {
            let what = "the invited user still has the folder";
            return Err(Failure::new(Reason::Assertion, what));
        }
        Ok(deleted(was_there))
    }
}

/// A project's folder, shared with single users under a permission of their own.
pub(super) struct Share;

/// What is shared with whom.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ShareOrder {
    folder: String,
    emails: Vec<String>,
    permission: Option<String>,
}

/// What finds a share again.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShareMark {
    folder: String,
    emails: Vec<String>,
}

impl Thing for Share {
    const KIND: &'static str = "backendai.share";
    const KEYS: &'static [Key] = &[
        Key::required("folder", TEXT, "the id of a folder of a project").recorded(),
        Key::required(
            "emails",
            TEXTS,
            "members of the project that it is shared with",
        )
        .recorded(),
        Key::optional("permission", TEXT, "\"ro\", \"rw\" or \"wd\"").default("`\"rw\"`"),
    ];
    const WRITES: &'static [(&'static str, bool)] = &[("id", false)];
    type Order = ShareOrder;
    type Mark = ShareMark;

    fn mark(order: &ShareOrder) -> ShareMark {
        ShareMark {
            folder: order.folder.clone(),
            emails: order.emails.clone(),
        }
    }

    async fn make(order: &ShareOrder, api: &mut Api<'_, '_>) -> Result<Vec<Capture>, Failure> {
        let path = format!("/folders/{}/share", encoded(&order.folder));
        let permission = order.permission.as_deref().unwrap_or("rw");
        let body = json!({ "permission": permission, "emails": order.emails });
        let answer = api.change(Method::POST, &path, &body).await?;
        let shared = answer["shared_emails"].as_array();
        let is_shared = |email: &String| {
            let mut shared = shared.into_iter().flatten();
            shared.any(|other| other == email.as_str())
        };
        if !order.emails.iter().all(is_shared) {
            let what = "the manager says that it shared the folder with fewer users";
            return Err(Failure::new(Reason::Assertion, what));
        }
        Ok(vec![open("id", order.folder.as_str())])
    }

    async fn find(mark: &ShareMark, api: &mut Api<'_, '_>) -> Result<Vec<Ids>, Failure> {
        let users = users(&mark.folder, &mark.emails, api).await?;
        let ids = || [("id".to_owned(), mark.folder.as_str().into())].into();
        Ok((!users.is_empty()).then(ids).into_iter().collect())
    }

    async fn remove(
        mark: &ShareMark,
        ids: &Ids,
        api: &mut Api<'_, '_>,
    ) -> Result<Deleted, Failure> {
        let folder = id(ids)?;
        let users = users(&folder, &mark.emails, api).await?;
        if users.is_empty() {
            return Ok(Deleted::NotThere);
        }
        let emails: Vec<_> = users.into_iter().map(|(email, _)| email).collect();
        let path = format!("/folders/{}/unshare", encoded(&folder));
        let body = json!({ "emails": emails });
        let was_there = api.remove(Method::DELETE, &path, Some(&body)).await?;
        if !Self::find(mark, api).await?.is_empty() {
            let what = "the folder is still shared";
            return Err(Failure::new(Reason::Assertion, what));
        }
        Ok(deleted(was_there))
    }
}

/// The id of an invitation that nobody has answered yet.
async fn pending(mark: &InvitationMark, api: &mut Api<'_, '_>) -> Result<Option<String>, Failure> {
    let sent = api.get("/folders/invitations/list-sent").await?;
    let ours = |sent: &&Value| {
        let folder = sent["vfolder_id"].as_str().unwrap_or_default();
        same_id(folder, &mark.folder) && sent["invitee"] == mark.email.as_str()
    };
    let sent = sent["invitations"].as_array().into_iter().flatten();
    let ours: Vec<_> = sent.filter(ours).collect();
    match ours.as_slice() {
        [] => Ok(None),
        [one] => text(one, "/id").map(Some),
        _ => {
            let what = "the user has several invitations to the folder, none is taken back";
            Err(Failure::new(Reason::Protocol, what))
        }
    }
}

/// Which of some users a folder is shared with: address and id.
async fn users(
    folder: &str,
    emails: &[String],
    api: &mut Api<'_, '_>,
) -> Result<Vec<(String, String)>, Failure> {
    let path = format!("/folders/_/shared?vfolder_id={}", encoded(folder));
    let answer = api.get(&path).await?;
    let mut found = Vec::new();
    for shared in answer["shared"].as_array().into_iter().flatten() {
        let email = text(shared, "/shared_to/email")?;
        let its = same_id(&text(shared, "/vfolder_id")?, folder);
        if its && emails.contains(&email) {
            found.push((email, text(shared, "/shared_to/uuid")?));
        }
    }
    Ok(found)
}

/// Ids are written with dashes and without.
fn same_id(one: &str, other: &str) -> bool {
    one.replace('-', "") == other.replace('-', "")
}

//! `http.resource`: something that is created by one request, found by its name, and deleted.
//!
//! The undo record holds `find` and `delete` with every outer reference put in, so carrying it out
//! needs neither the spec nor the run.

mod pages;
mod read;
mod undo;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::capture::{Captures, check_ids};
use super::expect::{Expectation, Reply};
use super::refused;
use super::request::{RequestData, RequestTemplate, broken_record};
use crate::outcome::{Effect, Failure, Reason};
use crate::spec::{Action, Context, Done, Listed, Made, Resource, Undo};
use crate::text::json;
use crate::text::{Lookup, ValueTemplate};

pub use self::read::{KEYS, build};
pub use self::undo::undoer;

use pages::{Pages, Read, unfinished};
use read::pointer;

/// The kind under which undo records name this code.
pub const KIND: &str = "http.resource";

/// Statuses that say the thing is gone, when `gone` names none.
const GONE: [u16; 2] = [404, 410];

struct HttpResource {
    own: String,
    create: RequestTemplate,
    expect: Expectation,
    /// The refusal that is hoped for; a 2xx instead fails the step.
    expect_refused: Option<Expectation>,
    captures: Captures,
    find: Option<Find>,
    delete: RequestTemplate,
    gone: Vec<u16>,
    list: Option<List>,
}

/// How leftovers are found by name prefix.
struct List {
    request: RequestTemplate,
    items: Option<String>,
    pages: Pages,
    name: String,
    captures: Captures,
}

struct Find {
    request: RequestTemplate,
    items: Option<String>,
    pages: Pages,
    matches: Vec<(String, ValueTemplate)>,
    captures: Captures,
}

/// What an undo record holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    find: Option<FindData>,
    delete: RequestData,
    gone: Vec<u16>,
    /// Whether `delete` names what the target may give to others later: by something that it told.
    #[serde(default)]
    by_id: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FindData {
    request: RequestData,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    items: Option<String>,
    #[serde(default, skip_serializing_if = "Pages::are_usual")]
    pages: Pages,
    matches: Vec<(String, Value)>,
    captures: Vec<(String, String)>,
    /// How the search is called, the same for all things that are looked for like this.
    #[serde(default)]
    search: String,
}

impl HttpResource {
    /// Whether `delete` names the thing by something that the target told.
    fn by_id(&self) -> bool {
        let ids: Vec<_> = self
            .captures
            .writes()
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        self.delete.reads_any_of(&self.own, &ids)
    }

    /// Judges the answer to a create.
    fn judge(&self, reply: &Reply, lookup: &dyn Lookup) -> Result<Done, Failure> {
        let status = reply.answer.status;
        let created = || check_ids(self.captures.take(reply)?);
        match &self.expect_refused {
            None => {
                self.expect.check(reply, lookup)?;
                Ok(Done {
                    captures: created()?,
                    made: Made::It,
                })
            }
            Some(_) if (200..300).contains(&status) => {
                let what = format!("the target accepted (status {status}) what it should refuse");
                Err(Failure::new(Reason::Assertion, what))
            }
            Some(refusal) => {
                refusal.check(reply, lookup)?;
                // A conflict that was hoped for is no lost pair.
                if reply.redirected || !refusal_is_certain(status) && status != 409 {
                    let what = format!("status {status} does not say whether it was made");
                    return Err(Failure::new(Reason::of_status(status), what));
                }
                Ok(Done {
                    captures: Vec::new(),
                    made: Made::Nothing,
                })
            }
        }
    }
}

/// Whether a status says for certain that nothing was made. 408, 409, 425 and 499 do not: the
/// first request of a lost pair may have been carried out.
pub(crate) fn refusal_is_certain(status: u16) -> bool {
    (400..500).contains(&status) && ![408, 409, 425, 499].contains(&status)
}

impl Action for HttpResource {
    fn perform<'a>(&'a self, context: &'a mut Context<'_>) -> BoxFuture<'a, Result<Done, Failure>> {
        async move {
            let scope = context.scope;
            let reply = self.create.send(context, scope).await?;
            self.judge(&reply, scope).map_err(|failure| {
                let failure = self.captures.hush(&reply, failure);
                // What answers after a redirect says nothing of the request before it.
                if !reply.redirected && refusal_is_certain(reply.answer.status) {
                    failure.without_effect()
                } else {
                    Failure {
                        effect: Effect::Unknown,
                        ..failure
                    }
                }
            })
        }
        .boxed()
    }
}

impl Resource for HttpResource {
    fn undo(&self, context: &Context<'_>) -> Result<Undo, Failure> {
        let (scope, own) = (context.scope, self.own.as_str());
        let find = self.find.as_ref().map(|find| {
            let matches = find
                .matches
                .iter()
                .map(|(pointer, value)| Ok((pointer.clone(), value.value(scope)?)));
            Ok(FindData {
                request: find.request.data(scope, own)?,
                items: find.items.clone(),
                pages: find.pages.clone(),
                matches: matches.collect::<Result<_, crate::text::Refused>>()?,
                captures: find.captures.to_data(),
                search: find.request.describe(),
            })
        });
        let arguments = Arguments {
            find: find.transpose().map_err(|error| refused(&error))?,
            delete: self
                .delete
                .data(scope, own)
                .map_err(|error| refused(&error))?,
            gone: self.gone.clone(),
            by_id: self.by_id(),
        };
        Ok(Undo {
            kind: KIND.to_owned(),
            arguments: json::to_value(&arguments).map_err(broken_record)?,
        })
    }

    fn list<'a>(
        &'a self,
        context: &'a mut Context<'_>,
    ) -> BoxFuture<'a, Result<Option<Vec<Listed>>, Failure>> {
        async move {
            let Some(list) = &self.list else {
                return Ok(None);
            };
            let delete = Arguments {
                find: None,
                delete: self
                    .delete
                    .data(context.scope, &self.own)
                    .map_err(|error| refused(&error))?,
                gone: self.gone.clone(),
                by_id: self.by_id(),
            };
            list.all(&delete, context).await.map(Some)
        }
        .boxed()
    }
}

impl List {
    async fn all(
        &self,
        delete: &Arguments,
        context: &mut Context<'_>,
    ) -> Result<Vec<Listed>, Failure> {
        let scope = context.scope;
        let mut listed = Vec::new();
        let each = |item: &Value| {
            let Some(name) = item.pointer(&self.name).and_then(Value::as_str) else {
                return Ok(());
            };
            listed.push(Listed {
                name: name.to_owned(),
                undo: Undo {
                    kind: KIND.to_owned(),
                    arguments: json::to_value(delete).map_err(broken_record)?,
                },
                captures: self.captures.take_ids(item)?,
            });
            Ok(())
        };
        let what = ("list", self.items.as_deref());
        match self
            .pages
            .each((&self.request, scope), what, context, each)
            .await?
        {
            Read::Whole => Ok(listed),
            Read::Unfinished(why) => Err(unfinished("list", &why)),
            Read::Unknown => Err(Failure::new(
                Reason::Protocol,
                "list: there is no such list",
            )),
        }
    }
}

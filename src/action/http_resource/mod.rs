//! `http.resource`: something that is created by one request, found by its name, and deleted.
//!
//! The undo record holds `find` and `delete` with every outer reference put in, so carrying it out
//! needs neither the spec nor the run.

mod read;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::capture::{Captures, check_ids};
use super::expect::{Expectation, Reply};
use super::refused;
use super::request::{RequestData, RequestTemplate, broken_record};
use crate::outcome::{Effect, Failure, Reason};
use crate::spec::{Action, Capture, Context, Done, Listed, Record, Resource, Undo, Undone};
use crate::text::json::{self, equal};
use crate::text::{Lookup, ValueTemplate, plain};

pub use self::read::{KEYS, build};

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
    name: String,
    captures: Captures,
}

struct Find {
    request: RequestTemplate,
    items: Option<String>,
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
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FindData {
    request: RequestData,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    items: Option<String>,
    matches: Vec<(String, Value)>,
    captures: Vec<(String, String)>,
}

impl HttpResource {
    /// Judges the answer to a create.
    fn judge(&self, reply: &Reply, lookup: &dyn Lookup) -> Result<Done, Failure> {
        let status = reply.answer.status;
        let created = || check_ids(self.captures.take(reply)?);
        match &self.expect_refused {
            None => {
                self.expect.check(reply, lookup)?;
                Ok(Done {
                    captures: created()?,
                    made_nothing: false,
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
                    made_nothing: true,
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
                matches: matches.collect::<Result<_, crate::text::Refused>>()?,
                captures: find.captures.to_data(),
            })
        });
        let arguments = Arguments {
            find: find.transpose().map_err(|error| refused(&error))?,
            delete: self
                .delete
                .data(scope, own)
                .map_err(|error| refused(&error))?,
            gone: self.gone.clone(),
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
        let reply = self.request.send(context, scope).await?;
        Expectation::success().check(&reply, scope)?;
        let mut listed = Vec::new();
        for item in items(&reply, self.items.as_deref(), "list")? {
            let Some(name) = item.pointer(&self.name).and_then(Value::as_str) else {
                continue;
            };
            listed.push(Listed {
                name: name.to_owned(),
                undo: Undo {
                    kind: KIND.to_owned(),
                    arguments: json::to_value(delete).map_err(broken_record)?,
                },
                captures: self.captures.take_ids(item)?,
            });
        }
        Ok(listed)
    }
}

/// The items of an answer, or the answer itself as the only one.
fn items<'a>(reply: &'a Reply, pointer: Option<&str>, what: &str) -> Result<&'a [Value], Failure> {
    let unclear = |why: &str| Failure::new(Reason::Protocol, format!("{what}: {why}"));
    let json = reply.json(Reason::Protocol).map_err(|failure| {
        let message = format!("{what}: {}", failure.message);
        Failure { message, ..failure }
    })?;
    match pointer {
        None => Ok(std::slice::from_ref(json)),
        Some(pointer) => json
            .pointer(pointer)
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .ok_or_else(|| unclear(&format!("there is no array at json {pointer}"))),
    }
}

/// Carries out a record: deletes by the ids that the create told, or else finds by name first.
pub fn undo<'a>(
    record: &'a Record,
    context: &'a mut Context<'_>,
) -> BoxFuture<'a, Result<Undone, Failure>> {
    async move {
        let arguments: Arguments =
            serde_json::from_value(record.undo.arguments.clone()).map_err(broken_record)?;
        let mut own = Own {
            step: &record.step,
            captures: record.captures.clone().into_iter().collect(),
        };
        if !record.created
            && let Some(find) = &arguments.find
        {
            match find_one(find, context).await? {
                None => return Ok(Undone::NotFound),
                Some(captures) => {
                    own.captures = captures.into_iter().map(|c| (c.key, c.value)).collect();
                }
            }
        }
        let delete = RequestTemplate::from_data(&arguments.delete).map_err(broken_record)?;
        let reply = delete.send(context, &own).await?;
        let gone = arguments.gone.contains(&reply.answer.status);
        if !gone {
            Expectation::success().check(&reply, &own)?;
        }
        if let Some(find) = &arguments.find {
            check_no_other(find, &own, context).await?;
        }
        // Without a search a 2xx may mean that there was nothing: many targets answer so.
        let was_there = !gone && (record.created || arguments.find.is_some());
        Ok(if was_there {
            Undone::Undone
        } else {
            Undone::NotFound
        })
    }
    .boxed()
}

/// Looks once more after the delete. A create that was carried out twice left another one; ids that
/// were not the thing's, and a proxy that answers 404 to everything, left the thing itself. One
/// with the same ids is only listed late.
async fn check_no_other(
    find: &FindData,
    deleted: &Own<'_>,
    context: &mut Context<'_>,
) -> Result<(), Failure> {
    let same = |found: &Capture| {
        let known = deleted.get(deleted.step, &found.key);
        known.is_none_or(|known| plain(known) == plain(&found.value))
    };
    match find_one(find, context).await? {
        Some(found) if !found.iter().all(same) => {
            let what = "find: after the delete another item has the name, and is left alone";
            Err(Failure::new(Reason::Protocol, what))
        }
        _ => Ok(()),
    }
}

/// The one item that is ours. Several, or an unclear answer, are failures: the record stays owed.
async fn find_one(
    find: &FindData,
    context: &mut Context<'_>,
) -> Result<Option<Vec<Capture>>, Failure> {
    let captures = Captures::from_data(&find.captures).map_err(broken_record)?;
    let request = RequestTemplate::from_data(&find.request).map_err(broken_record)?;
    let reply = request.send(context, &Own::NOBODY).await?;
    if find.items.is_none() && GONE.contains(&reply.answer.status) {
        return Ok(None);
    }
    Expectation::success().check(&reply, &Own::NOBODY)?;
    let items = items(&reply, find.items.as_deref(), "find")?;
    let ours = |item: &&Value| {
        find.matches.iter().all(|(pointer, expected)| {
            item.pointer(pointer)
                .is_some_and(|value| equal(value, expected))
        })
    };
    let mut ours = items.iter().filter(ours);
    match (ours.next(), ours.next()) {
        (None, _) => Ok(None),
        (Some(item), None) => captures.take_ids(item).map(Some),
        (Some(_), Some(_)) => {
            let what = "find: several items have the name, none is deleted";
            Err(Failure::new(Reason::Protocol, what))
        }
    }
}

/// The resource's own captures, under its own name.
struct Own<'a> {
    step: &'a str,
    captures: Vec<(String, Value)>,
}

impl Own<'_> {
    const NOBODY: Self = Self {
        step: "",
        captures: Vec::new(),
    };
}

impl Lookup for Own<'_> {
    fn get(&self, name: &str, key: &str) -> Option<&Value> {
        let mut captures = self.captures.iter().filter(|_| name == self.step);
        captures
            .find(|(capture, _)| capture == key)
            .map(|(_, value)| value)
    }
}

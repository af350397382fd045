//! The undo records of `http.resource`: how the thing is looked for, and how it is deleted.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::pages::{Read, unfinished};
use super::{Arguments, FindData, refusal_is_certain};
use crate::action::capture::Captures;
use crate::action::expect::Expectation;
use crate::action::request::{RequestTemplate, broken_record};
use crate::outcome::Failure;
use crate::spec::{Capture, Context, Deleted, Ids, Looked, Record, RequestKey, Undoing};
use crate::text::Lookup;
use crate::text::json::equal;

/// What a record says, read.
struct Reading {
    step: String,
    find: Option<Finding>,
    delete: RequestTemplate,
    gone: Vec<u16>,
    by_id: bool,
}

struct Finding {
    data: FindData,
    request: RequestTemplate,
    captures: Captures,
}

/// Reads a record.
pub fn undoer(record: &Record) -> Result<Box<dyn Undoing>, Failure> {
    let arguments: Arguments =
        serde_json::from_value(record.undo.arguments.clone()).map_err(broken_record)?;
    let find = arguments.find.map(|data| -> Result<_, Failure> {
        Ok(Finding {
            request: RequestTemplate::from_data(&data.request).map_err(broken_record)?,
            captures: Captures::from_data(&data.captures).map_err(broken_record)?,
            data,
        })
    });
    let delete = RequestTemplate::from_data(&arguments.delete).map_err(broken_record)?;
    // Records of earlier versions do not say it, but what their create told.
    let told: Vec<_> = record.captures.keys().cloned().collect();
    let by_id = arguments.by_id || delete.reads_any_of(&record.step, &told);
    Ok(Box::new(Reading {
        step: record.step.clone(),
        find: find.transpose()?,
        delete,
        gone: arguments.gone,
        by_id,
    }))
}

impl Undoing for Reading {
    fn search(&self) -> Option<&str> {
        self.find.as_ref().map(|find| find.data.search.as_str())
    }

    fn may_hit_others(&self) -> bool {
        self.by_id
    }

    fn delete_key<'a>(
        &'a self,
        ids: &'a Ids,
        context: &'a Context<'_>,
    ) -> BoxFuture<'a, Option<RequestKey>> {
        async move {
            let own = Own {
                step: &self.step,
                ids: Some(ids),
            };
            let (request, place) = self.delete.render(context, &own).await.ok()?;
            Some(RequestKey::of(&place.endpoint, &request))
        }
        .boxed()
    }

    fn look<'a>(&'a self, context: &'a mut Context<'_>) -> BoxFuture<'a, Result<Looked, Failure>> {
        async move {
            match &self.find {
                Some(find) => find.look(context).await,
                None => Ok(Looked::NotListed),
            }
        }
        .boxed()
    }

    fn delete<'a>(
        &'a self,
        ids: &'a Ids,
        context: &'a mut Context<'_>,
    ) -> BoxFuture<'a, Result<Deleted, Failure>> {
        async move {
            let own = Own {
                step: &self.step,
                ids: Some(ids),
            };
            let reply = self.delete.send(context, &own).await?;
            let status = reply.answer.status;
            if self.gone.contains(&status) {
                return Ok(Deleted::NotThere);
            }
            let accepted = Expectation::success().check(&reply, &own);
            accepted.map(|()| Deleted::Accepted).map_err(|failure| {
                if !reply.redirected && refusal_is_certain(status) {
                    failure.without_effect()
                } else {
                    failure
                }
            })
        }
        .boxed()
    }
}

impl Finding {
    async fn look(&self, context: &mut Context<'_>) -> Result<Looked, Failure> {
        let mut found = Vec::new();
        let each = |item: &Value| {
            let ours = self.data.matches.iter().all(|(pointer, expected)| {
                item.pointer(pointer)
                    .is_some_and(|value| equal(value, expected))
            });
            if ours {
                let ids = self.captures.take_ids(item)?.into_iter();
                found.push(ids.map(|Capture { key, value, .. }| (key, value)).collect());
            }
            Ok(())
        };
        let (items, pages) = (self.data.items.as_deref(), &self.data.pages);
        let request: (_, &dyn Lookup) = (&self.request, &Own::NOBODY);
        match pages.each(request, ("find", items), context, each).await? {
            Read::Unknown => Ok(Looked::Unknown),
            Read::Unfinished(why) if found.is_empty() => Err(unfinished("find", &why)),
            Read::Whole if found.is_empty() => Ok(Looked::NotListed),
            Read::Whole | Read::Unfinished(_) => Ok(Looked::Found(found)),
        }
    }
}

/// The resource's own captures, under its own name.
struct Own<'a> {
    step: &'a str,
    ids: Option<&'a Ids>,
}

impl Own<'_> {
    const NOBODY: Self = Self {
        step: "",
        ids: None,
    };
}

impl Lookup for Own<'_> {
    fn get(&self, name: &str, key: &str) -> Option<&Value> {
        self.ids.filter(|_| name == self.step)?.get(key)
    }
}

//! What all resources of Backend.AI have in common: made once, found by its name, removed by its
//! id. A kind of thing says only how each of these is done.

use std::future::Future;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::api::Api;
use crate::action::kind::{Kind, TEXT};
use crate::action::{Built, Expectation, Key, Keys, Part, REFUSED, Shape, broken_record};
use crate::outcome::{Failure, Reason};
pub(super) use crate::spec::Ids;
use crate::spec::{
    Action, Capture, Context, DEFAULT_TEARDOWN, Deleted, Done, Listed, Looked, Made, Record,
    Resource, Undo, Undoing, Work,
};
use crate::text::Fields;

/// The mark of what is found by its name alone.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    pub(super) name: String,
}

impl Named {
    pub(super) fn by(name: &str) -> Self {
        Self {
            name: name.to_owned(),
        }
    }
}

/// A kind of thing that can be made and must be removed.
pub(super) trait Thing: Sized + Send + Sync + 'static {
    /// What specs write after `use`, and undo records as their kind.
    const KIND: &'static str;
    /// Its keys. One named `called` is optional and defaults to the name of the run.
    const KEYS: &'static [Key];
    /// Its keys as documents tell them.
    const TABLE: &'static [Part] = &[Part::own(Self::KEYS), Part::own(&[REFUSED])];
    /// What it captures, and whether that is secret.
    const WRITES: &'static [(&'static str, bool)];
    /// What is needed to make it: its keys.
    type Order: DeserializeOwned + Send + Sync;
    /// What finds it again: written down before it is made.
    type Mark: Serialize + DeserializeOwned + Send + Sync;

    /// How it will be found.
    fn mark(order: &Self::Order) -> Self::Mark;

    /// Makes it. Everything that only asks comes before the one call that makes.
    fn make(
        order: &Self::Order,
        api: &mut Api<'_, '_>,
    ) -> impl Future<Output = Result<Vec<Capture>, Failure>> + Send;

    /// Finds everything that bears the mark.
    fn find(
        mark: &Self::Mark,
        api: &mut Api<'_, '_>,
    ) -> impl Future<Output = Result<Vec<Ids>, Failure>> + Send;

    /// Removes it and waits until it is gone.
    fn remove(
        mark: &Self::Mark,
        ids: &Ids,
        api: &mut Api<'_, '_>,
    ) -> impl Future<Output = Result<Deleted, Failure>> + Send;

    /// All that there are whose name begins so, with their marks.
    fn list(
        _prefix: &str,
        _api: &mut Api<'_, '_>,
    ) -> impl Future<Output = Result<Vec<(String, Self::Mark, Ids)>, Failure>> + Send {
        std::future::ready(Ok(Vec::new()))
    }
}

/// The key that says what a thing is called.
pub(super) const fn called(help: &'static str) -> Key {
    Key::optional("called", NAME, help)
        .default("`${run.name}`")
        .recorded()
}

const NAME: Kind = Kind::new(TEXT.words, "'${run.name}'", TEXT.wrong);

/// A capture that is no secret.
pub(super) fn open(key: &str, value: impl Into<Value>) -> Capture {
    Capture {
        key: key.to_owned(),
        value: value.into(),
        secret: false,
    }
}

/// The id that a create or a search told.
pub(super) fn id(ids: &Ids) -> Result<String, Failure> {
    let id = ids.get("id").and_then(Value::as_str);
    let id = id.filter(|id| !id.is_empty());
    id.map(str::to_owned)
        .ok_or_else(|| Failure::new(Reason::Capture, "there is no id of what is to be removed"))
}

/// How a removal ended that tells whether the thing was there.
pub(super) const fn deleted(was_there: bool) -> Deleted {
    if was_there {
        Deleted::Accepted
    } else {
        Deleted::NotThere
    }
}

/// A kind of thing as specs use it.
struct Making<T> {
    keys: Keys,
    /// The refusal that is hoped for; success instead fails the step.
    expect_refused: Option<Expectation>,
    kind: std::marker::PhantomData<fn() -> T>,
}

/// Reads the keys of a kind of thing.
pub(super) fn build<T: Thing>(fields: &mut Fields<'_, '_>, _: Shape<'_>) -> Option<Built> {
    let expect_refused = fields.table("expect_refused").map(|mut table| {
        if !table.has("status") {
            table.missing("status", "say how it is refused, such as status = 400");
        }
        Expectation::read(table)
    });
    let keys = Keys::read::<T::Order>(fields, T::KEYS)?;
    if let Some(name) = keys.get("called")
        && !name.reads("run", "name")
    {
        let help = "names of what is made hold ${run.name}";
        fields.problem("called", "does not tell ours from others'", help);
    }
    let writes = T::WRITES.iter();
    Some(Built {
        writes: writes
            .map(|(key, secret)| ((*key).to_owned(), *secret))
            .collect(),
        recorded: keys.recorded.clone(),
        work: Work::Acquire {
            resource: Box::new(Making::<T> {
                keys,
                expect_refused,
                kind: std::marker::PhantomData,
            }),
            teardown_timeout: DEFAULT_TEARDOWN,
        },
    })
}

impl<T: Thing> Making<T> {
    fn order(&self, context: &Context<'_>) -> Result<T::Order, Failure> {
        let named = T::KEYS.iter().any(|key| key.name == "called");
        let name = named.then(|| ("called", Value::from(&*context.run.name)));
        self.keys.render(context.scope, name)
    }

    async fn make(&self, context: &mut Context<'_>) -> Result<Done, Failure> {
        let order = self.order(context)?;
        let scope = context.scope;
        let mut api = Api::new(context);
        let made = T::make(&order, &mut api).await;
        let (changed, is_lent, last) = (api.changed, api.is_lent, api.last);
        let settled = |failure: Failure| {
            if changed {
                failure
            } else {
                failure.without_effect()
            }
        };
        match (&self.expect_refused, made) {
            (None, Ok(captures)) => Ok(Done {
                captures,
                made: if is_lent { Made::Nothing } else { Made::It },
            }),
            (None, Err(failure)) => Err(settled(failure)),
            (Some(_), Ok(_)) => {
                let what = "the target accepted what it should refuse";
                Err(Failure::new(Reason::Assertion, what))
            }
            (Some(refusal), Err(failure)) => {
                let Some(reply) = last else {
                    return Err(settled(failure));
                };
                refusal.check(&reply, scope).map_err(settled)?;
                Ok(Done {
                    captures: Vec::new(),
                    // Only a refusal that proves it, or a conflict that was hoped for: otherwise
                    // the thing is looked for.
                    made: if !changed || reply.answer.status == 409 {
                        Made::Nothing
                    } else {
                        Made::Unclear
                    },
                })
            }
        }
    }
}

impl<T: Thing> Action for Making<T> {
    fn perform<'a>(&'a self, context: &'a mut Context<'_>) -> BoxFuture<'a, Result<Done, Failure>> {
        self.make(context).boxed()
    }
}

impl<T: Thing> Resource for Making<T> {
    fn undo(&self, context: &Context<'_>) -> Result<Undo, Failure> {
        let mark = T::mark(&self.order(context)?);
        Ok(Undo {
            kind: T::KIND.to_owned(),
            arguments: serde_json::to_value(mark).map_err(broken_record)?,
        })
    }

    fn list<'a>(
        &'a self,
        context: &'a mut Context<'_>,
    ) -> BoxFuture<'a, Result<Option<Vec<Listed>>, Failure>> {
        async move {
            let prefix = context.run.prefix();
            let mut api = Api::new(context);
            let mut listed = Vec::new();
            for (name, mark, ids) in T::list(&prefix, &mut api).await? {
                let captures = ids.into_iter().map(|(key, value)| open(&key, value));
                listed.push(Listed {
                    name,
                    undo: Undo {
                        kind: T::KIND.to_owned(),
                        arguments: serde_json::to_value(mark).map_err(broken_record)?,
                    },
                    captures: captures.collect(),
                });
            }
            Ok(Some(listed))
        }
        .boxed()
    }
}

/// A record of a kind of thing.
struct Marked<T: Thing>(T::Mark);

/// Reads a record of a kind of thing.
pub(super) fn undoer<T: Thing>(record: &Record) -> Result<Box<dyn Undoing>, Failure> {
    let arguments = record.undo.arguments.clone();
    let mark: T::Mark = serde_json::from_value(arguments).map_err(broken_record)?;
    Ok(Box::new(Marked::<T>(mark)))
}

impl<T: Thing> Undoing for Marked<T> {
    fn search(&self) -> Option<&str> {
        Some(T::KIND)
    }

    /// Names are ours alone, and ids are UUIDs, which no manager gives twice.
    fn may_hit_others(&self) -> bool {
        false
    }

    fn look<'a>(&'a self, context: &'a mut Context<'_>) -> BoxFuture<'a, Result<Looked, Failure>> {
        async move {
            let found = T::find(&self.0, &mut Api::new(context)).await?;
            Ok(if found.is_empty() {
                Looked::NotListed
            } else {
                Looked::Found(found)
            })
        }
        .boxed()
    }

    fn delete<'a>(
        &'a self,
        ids: &'a Ids,
        context: &'a mut Context<'_>,
    ) -> BoxFuture<'a, Result<Deleted, Failure>> {
        async move { T::remove(&self.0, ids, &mut Api::new(context)).await }.boxed()
    }
}

//! What all resources of Backend.AI have in common: made once, found by its name, removed by its
//! id, looked for once more. A kind of thing says only how each of these is done.

use std::collections::BTreeMap;
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
use crate::spec::{
    Action, Capture, Context, DEFAULT_TEARDOWN, Done, Listed, Record, Resource, Undo, Undone, Work,
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

/// What names a thing on the target: its captures that are no secrets.
pub(super) type Ids = BTreeMap<String, Value>;

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

    /// Finds what bears the mark; several are a failure.
    fn find(
        mark: &Self::Mark,
        api: &mut Api<'_, '_>,
    ) -> impl Future<Output = Result<Option<Ids>, Failure>> + Send;

    /// Removes it and waits until it is gone. `false` if it was not there.
    fn remove(
        mark: &Self::Mark,
        ids: &Ids,
        api: &mut Api<'_, '_>,
    ) -> impl Future<Output = Result<bool, Failure>> + Send;

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

/// The one of several finds, if there is one.
pub(super) fn only(found: Vec<Ids>) -> Result<Option<Ids>, Failure> {
    let mut found = found.into_iter();
    let one = found.next();
    if found.next().is_some() {
        let what = "several have the name, none is removed";
        return Err(Failure::new(Reason::Protocol, what));
    }
    Ok(one)
}

struct Made<T> {
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
            resource: Box::new(Made::<T> {
                keys,
                expect_refused,
                kind: std::marker::PhantomData,
            }),
            teardown_timeout: DEFAULT_TEARDOWN,
        },
    })
}

impl<T: Thing> Made<T> {
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
                made_nothing: is_lent,
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
                    made_nothing: !changed || reply.answer.status == 409,
                })
            }
        }
    }
}

impl<T: Thing> Action for Made<T> {
    fn perform<'a>(&'a self, context: &'a mut Context<'_>) -> BoxFuture<'a, Result<Done, Failure>> {
        self.make(context).boxed()
    }
}

impl<T: Thing> Resource for Made<T> {
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

/// Carries out a record of a kind of thing.
pub(super) fn undo<'a, T: Thing>(
    record: &'a Record,
    context: &'a mut Context<'_>,
) -> BoxFuture<'a, Result<Undone, Failure>> {
    async move {
        let arguments = record.undo.arguments.clone();
        let mark: T::Mark = serde_json::from_value(arguments).map_err(broken_record)?;
        let mut api = Api::new(context);
        let ids = if record.created {
            record.captures.clone()
        } else {
            match T::find(&mark, &mut api).await? {
                Some(ids) => ids,
                None => return Ok(Undone::NotFound),
            }
        };
        let was_there = T::remove(&mark, &ids, &mut api).await?;
        if let Some(left) = T::find(&mark, &mut api).await? {
            let what = if differ(&left, &ids) {
                // A create that was carried out twice left another one.
                "after the removal another one has the name, and is left alone"
            } else if was_there {
                // All that is left is what the manager lets nobody remove.
                return Ok(Undone::Undone);
            } else {
                "the name still finds it, though its id does not"
            };
            return Err(Failure::new(Reason::Protocol, what));
        }
        Ok(if was_there {
            Undone::Undone
        } else {
            Undone::NotFound
        })
    }
    .boxed()
}

/// Whether two things are not the same; what only one of them tells does not count.
fn differ(one: &Ids, other: &Ids) -> bool {
    one.iter()
        .any(|(key, value)| other.get(key).is_some_and(|known| known != value))
}

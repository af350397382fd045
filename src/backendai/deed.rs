//! What all plain actions of Backend.AI have in common: keys, calls, captures. A deed says only
//! what is done; something that is made and must be removed is a `Thing`.

use std::future::Future;
use std::marker::PhantomData;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::api::Api;
use crate::action::{Built, Key, Keys, Part, Shape};
use crate::outcome::Failure;
use crate::spec::{Action, Capture, Context, Done, Work};
use crate::text::Fields;

/// Something that is done once and leaves nothing behind.
pub(super) trait Deed: Sized + Send + Sync + 'static {
    /// What specs write after `use`.
    const NAME: &'static str;
    /// Its keys. One named `called` is optional and defaults to the name of the run.
    const KEYS: &'static [Key];
    /// Its keys as documents tell them.
    const TABLE: &'static [Part] = &[Part::own(Self::KEYS)];
    /// What it captures.
    const WRITES: &'static [&'static str];
    /// Its keys with their values.
    type Order: DeserializeOwned + Send + Sync;

    /// Does it, and returns what it captures.
    fn perform(
        order: &Self::Order,
        api: &mut Api<'_, '_>,
    ) -> impl Future<Output = Result<Vec<Capture>, Failure>> + Send;
}

struct Doing<D> {
    keys: Keys,
    deed: PhantomData<fn() -> D>,
}

/// Reads the keys of a deed.
pub(super) fn build<D: Deed>(fields: &mut Fields<'_, '_>, _: Shape<'_>) -> Option<Built> {
    let keys = Keys::read::<D::Order>(fields, D::KEYS)?;
    let writes = D::WRITES.iter().map(|key| ((*key).to_owned(), false));
    Some(Built {
        writes: writes.collect(),
        recorded: Vec::new(),
        work: Work::Act(Box::new(Doing::<D> {
            keys,
            deed: PhantomData,
        })),
    })
}

impl<D: Deed> Action for Doing<D> {
    fn perform<'a>(&'a self, context: &'a mut Context<'_>) -> BoxFuture<'a, Result<Done, Failure>> {
        async move {
            let named = D::KEYS.iter().any(|key| key.name == "called");
            let name = named.then(|| ("called", Value::from(&*context.run.name)));
            let order = self.keys.render(context.scope, name)?;
            let captures = D::perform(&order, &mut Api::new(context)).await?;
            Ok(Done {
                captures,
                ..Done::default()
            })
        }
        .boxed()
    }
}

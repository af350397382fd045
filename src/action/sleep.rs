//! `sleep`: waits, for scenarios in which time itself is an ingredient.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::kind::DURATION;
use super::{Built, Key, Part, Shape};
use crate::outcome::Failure;
use crate::spec::{Action, Context, Done, Work};
use crate::text::Fields;

/// Its keys.
pub const KEYS: &[Part] = &[Part::own(&[Key::required(
    "for",
    DURATION,
    "how long to wait",
)])];

struct Sleep {
    duration: Duration,
}

/// Reads `for`.
pub fn build(fields: &mut Fields<'_, '_>, _: Shape<'_>) -> Option<Built> {
    if !fields.has("for") {
        fields.missing("for", "say how long to wait, such as for = \"2s\"");
    }
    let duration = fields.duration("for", Duration::ZERO)?;
    Some(Built {
        work: Work::Act(Box::new(Sleep { duration })),
        writes: Vec::new(),
        recorded: Vec::new(),
    })
}

impl Action for Sleep {
    fn perform<'a>(&'a self, _: &'a mut Context<'_>) -> BoxFuture<'a, Result<Done, Failure>> {
        async {
            tokio::time::sleep(self.duration).await;
            Ok(Done::default())
        }
        .boxed()
    }
}

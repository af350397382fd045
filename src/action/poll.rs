//! What must hold of an answer, and with polling what is waited for: `expect` and `poll.until`.

use super::expect::{EXPECTATION, Expectation, Reply};
use super::kind::TABLE;
use super::{Key, Shape};
use crate::outcome::Failure;
use crate::text::{Fields, Lookup};

/// What must hold of the answer.
pub(crate) const EXPECT: Key = Key::optional("expect", TABLE, "what must hold of the answer")
    .of(EXPECTATION)
    .default("any `2xx`");

/// What is waited for, in `poll`.
pub const UNTIL: Key = Key::optional(
    "until",
    TABLE,
    "what is waited for; `expect` must then hold of every answer",
)
.of(EXPECTATION)
.default("what `expect` says");

/// What an answer is held to.
pub(crate) struct Judge {
    /// What must hold of every answer.
    expect: Option<Expectation>,
    /// With polling: what is waited for.
    until: Option<Expectation>,
}

impl Judge {
    /// Reads `expect` and `poll.until`.
    pub(crate) fn read(fields: &mut Fields<'_, '_>, shape: Shape<'_>) -> Self {
        let expect = fields.table("expect").map(Expectation::read);
        let until = fields
            .table("poll")
            .and_then(|mut poll| poll.table("until").map(Expectation::read));
        let (expect, until) = match (expect, until) {
            (expect, Some(until)) => (expect, Some(until)),
            (expect, None) if shape.polls => {
                (None, Some(expect.unwrap_or_else(Expectation::success)))
            }
            (expect, None) => (Some(expect.unwrap_or_else(Expectation::success)), None),
        };
        Self { expect, until }
    }

    /// Says how the answer is not as expected, or not yet.
    pub(crate) fn check(&self, reply: &Reply, lookup: &dyn Lookup) -> Result<(), Failure> {
        if let Some(expect) = &self.expect {
            expect.check(reply, lookup)?;
        }
        if let Some(until) = &self.until {
            until.check(reply, lookup).map_err(Failure::waiting)?;
        }
        Ok(())
    }
}

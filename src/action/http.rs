//! `http`: one request, what its answer should be, and what is kept of it.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::capture::{CAPTURE, Captures};
use super::expect::Reply;
use super::manner::WHOLE;
use super::poll::{EXPECT, Judge};
use super::request::{ELSEWHERE, PLACE, RUNNING, RequestTemplate, SENDING};
use super::{Built, Part, Shape};
use crate::outcome::Failure;
use crate::spec::{Action, Context, Done, Work};
use crate::text::{Fields, Lookup};

/// Its keys.
pub const KEYS: &[Part] = &[
    PLACE,
    ELSEWHERE,
    SENDING,
    RUNNING,
    WHOLE,
    Part::own(&[EXPECT, CAPTURE]),
];

struct Http {
    request: RequestTemplate,
    judge: Judge,
    captures: Captures,
}

/// Reads the keys of a request, `expect`, `poll.until` and `capture`.
pub fn build(fields: &mut Fields<'_, '_>, shape: Shape<'_>) -> Option<Built> {
    let judge = Judge::read(fields, shape);
    let captures = fields
        .table("capture")
        .map(Captures::read)
        .unwrap_or_default();
    let request = RequestTemplate::read_whole(fields, http::Method::GET)?;
    Some(Built {
        writes: captures.writes(),
        recorded: Vec::new(),
        work: Work::Act(Box::new(Http {
            request,
            judge,
            captures,
        })),
    })
}

impl Action for Http {
    fn perform<'a>(&'a self, context: &'a mut Context<'_>) -> BoxFuture<'a, Result<Done, Failure>> {
        async move {
            let scope = context.scope;
            let reply = self.request.send(context, scope).await?;
            self.judge(&reply, scope)
                .map_err(|failure| self.captures.hush(&reply, failure))
        }
        .boxed()
    }
}

impl Http {
    fn judge(&self, reply: &Reply, lookup: &dyn Lookup) -> Result<Done, Failure> {
        self.judge.check(reply, lookup)?;
        Ok(Done {
            captures: self.captures.take(reply)?,
            ..Done::default()
        })
    }
}

//! `http`: one request, what its answer should be, and what is kept of it.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::capture::Captures;
use super::expect::{Expectation, Reply};
use super::request::RequestTemplate;
use super::{Built, Shape};
use crate::outcome::Failure;
use crate::spec::{Action, Context, Done, Work};
use crate::text::{Fields, Lookup};

struct Http {
    request: RequestTemplate,
    /// What must hold of every answer.
    expect: Option<Expectation>,
    /// With polling: what is waited for.
    until: Option<Expectation>,
    captures: Captures,
}

/// Reads the keys of a request, `expect`, `poll.until` and `capture`.
pub fn build(fields: &mut Fields<'_, '_>, shape: Shape<'_>) -> Option<Built> {
    let expect = fields.table("expect").map(Expectation::read);
    let until = fields
        .table("poll")
        .and_then(|mut poll| poll.table("until").map(Expectation::read));
    let captures = fields
        .table("capture")
        .map(Captures::read)
        .unwrap_or_default();
    let request = RequestTemplate::read_further(fields, http::Method::GET)?;
    let (expect, until) = match (expect, until) {
        (expect, Some(until)) => (expect, Some(until)),
        (expect, None) if shape.polls => (None, Some(expect.unwrap_or_else(Expectation::success))),
        (expect, None) => (Some(expect.unwrap_or_else(Expectation::success)), None),
    };
    Some(Built {
        writes: captures.writes(),
        recorded: Vec::new(),
        work: Work::Act(Box::new(Http {
            request,
            expect,
            until,
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
        if let Some(expect) = &self.expect {
            expect.check(reply, lookup)?;
        }
        if let Some(until) = &self.until {
            until.check(reply, lookup).map_err(Failure::waiting)?;
        }
        Ok(Done {
            captures: self.captures.take(reply)?,
            made_nothing: false,
        })
    }
}

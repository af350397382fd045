//! `backendai.graphql`: one query or mutation, and what its answer should be.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::api::{Api, GRAPHQL, accepted, answered};
use crate::action::{Built, Captures, Expectation, Key, Keys, Shape, excerpt};
use crate::outcome::{Failure, Reason};
use crate::spec::{Action, Context, Done, Work};
use crate::text::Fields;

/// Its keys, beside `expect` and `capture`, which look at the whole answer.
pub(super) const KEYS: &[Key] = &[
    Key::required("query", "the query or mutation, in the language of GraphQL"),
    Key::optional("variables", "values for its variables"),
    Key::optional(
        "expect_errors",
        "true if it must be refused: by errors, or by `ok: false`; `expect` then says with what",
    ),
];

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Order {
    query: String,
    variables: Map<String, Value>,
    expect_errors: bool,
}

struct GraphQl {
    keys: Keys,
    expect: Expectation,
    captures: Captures,
    /// What does not hold is then "not yet".
    polls: bool,
}

pub(super) fn build(fields: &mut Fields<'_, '_>, shape: Shape<'_>) -> Option<Built> {
    let keys = Keys::read::<Order>(fields, KEYS)?;
    let expect = fields.table("expect").map(Expectation::read);
    let captures = fields.table("capture").map(Captures::read);
    let captures = captures.unwrap_or_default();
    Some(Built {
        writes: captures.writes(),
        recorded: Vec::new(),
        work: Work::Act(Box::new(GraphQl {
            keys,
            expect: expect.unwrap_or_else(Expectation::success),
            captures,
            polls: shape.polls,
        })),
    })
}

impl GraphQl {
    async fn ask(&self, context: &mut Context<'_>) -> Result<Done, Failure> {
        let scope = context.scope;
        let order: Order = self.keys.render(scope, [])?;
        let body = json!({ "query": order.query, "variables": order.variables });
        let mut api = Api::new(context);
        let reply = api.send(Method::POST, GRAPHQL, Some(&body)).await?;
        let answer = if order.expect_errors {
            accepted(&reply, "the GraphQL call").and_then(|answer| refused(&answer))
        } else {
            answered(&reply).map(|_| ())
        };
        answer.map_err(|failure| self.captures.hush(&reply, failure))?;
        self.expect
            .check(&reply, scope)
            .map_err(|failure| {
                if self.polls {
                    failure.waiting()
                } else {
                    failure
                }
            })
            .map_err(|failure| self.captures.hush(&reply, failure))?;
        Ok(Done {
            captures: self.captures.take(&reply)?,
            made_nothing: false,
        })
    }
}

/// An answer that should be a refusal.
fn refused(answer: &Value) -> Result<(), Failure> {
    let errors = answer["errors"]
        .as_array()
        .is_some_and(|errors| !errors.is_empty());
    let fields = answer["data"].as_object().into_iter().flatten();
    let said_no = |(_, answer): (&String, &Value)| answer["ok"] == Value::Bool(false);
    if errors || fields.into_iter().any(said_no) {
        return Ok(());
    }
    let what = format!(
        "the target accepted what it should refuse; the answer begins: {}",
        excerpt(&answer.to_string())
    );
    Err(Failure::new(Reason::Assertion, what))
}

impl Action for GraphQl {
    fn perform<'a>(&'a self, context: &'a mut Context<'_>) -> BoxFuture<'a, Result<Done, Failure>> {
        self.ask(context).boxed()
    }
}

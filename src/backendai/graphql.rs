//! `backendai.graphql`: one query or mutation, and what its answer should be.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::api::{Api, GRAPHQL, accepted, answered};
use crate::action::kind::{FLAG, MAP, TEXT};
use crate::action::{Built, CAPTURE, Captures, EXPECT, Judge, Key, Keys, Part, Shape, excerpt};
use crate::outcome::{Failure, Reason};
use crate::spec::{Action, Context, Done, Work};
use crate::text::Fields;

/// All its keys.
pub(super) const TABLE: &[Part] = &[Part::own(KEYS), Part::own(&[EXPECT, CAPTURE])];

/// Those that are plain values.
const KEYS: &[Key] = &[
    Key::required(
        "query",
        TEXT,
        "the query or mutation, in the language of GraphQL",
    ),
    Key::optional("variables", MAP, "values for its variables"),
    Key::optional(
        "expect_errors",
        FLAG,
        "whether it must be refused: by errors, or by `ok: false`; `expect` then says with what",
    )
    .default("false"),
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
    judge: Judge,
    captures: Captures,
}

pub(super) fn build(fields: &mut Fields<'_, '_>, shape: Shape<'_>) -> Option<Built> {
    let keys = Keys::read::<Order>(fields, KEYS)?;
    let judge = Judge::read(fields, shape);
    let captures = fields.table("capture").map(Captures::read);
    let captures = captures.unwrap_or_default();
    Some(Built {
        writes: captures.writes(),
        recorded: Vec::new(),
        work: Work::Act(Box::new(GraphQl {
            keys,
            judge,
            captures,
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
        self.judge
            .check(&reply, scope)
            .map_err(|failure| self.captures.hush(&reply, failure))?;
        Ok(Done {
            captures: self.captures.take(&reply)?,
            ..Done::default()
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

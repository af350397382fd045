//! `/admin/gql`: reads a query, checks its fields against the part of the schema that is here, and
//! lets each root field be answered by its family. What is asked for is picked from the answers.

mod accounts;
mod cluster;
mod filter;
mod folders;
mod schema;
mod sessions;
mod syntax;

use std::sync::Arc;

use axum::Router;
use axum::extract::State as Here;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use serde_json::{Map, Value, json};

use super::gate::{Caller, Sent};
use super::hall::{Hall, State};
use super::refusal::{Refusal, internal};
use super::told;
use filter::passing;
use syntax::Field;

pub(super) fn routes() -> Router<Arc<Hall>> {
    Router::new().route("/admin/gql", post(answer))
}

/// The arguments of a root field are read like the parameters of other calls.
fn given(field: &Field) -> Sent {
    Sent(Value::Object(field.arguments.clone()))
}

/// The answer to one root field; `None` if no family knows it.
type Answer = Option<Result<Value, Refusal>>;

async fn answer(
    Here(hall): Here<Arc<Hall>>,
    caller: Caller,
    sent: Sent,
) -> Result<Response, Refusal> {
    let text = sent.text(&["query"])?;
    let operation = syntax::read(text, &sent.0["variables"]).map_err(|_| internal())?;
    let root = if operation.is_mutation {
        "Mutation"
    } else {
        "Query"
    };
    let located = |at: usize| {
        let (line, column) = syntax::position(text, at);
        json!([{ "line": line, "column": column }])
    };
    if let Err((message, at)) = schema::check(root, &operation.fields) {
        let error = json!({ "message": message, "locations": located(at) });
        return Ok(told(
            StatusCode::OK,
            &json!({ "data": null, "errors": [error] }),
        ));
    }
    let mut data = Map::new();
    let mut errors = Vec::new();
    for field in &operation.fields {
        let answered = if operation.is_mutation {
            hall.enter(|state| change(state, &caller, field))
        } else {
            hall.look(|state| look_up(state, &caller, field))
        };
        let value = match answered {
            Some(Ok(found)) => pick(&found, &field.fields),
            Some(Err(refusal)) => {
                errors.push(json!({
                    "message": refusal.message(),
                    "locations": located(field.at),
                    "path": [field.label],
                    "extensions": { "code": refusal.code },
                }));
                Value::Null
            }
            None => Value::Null,
        };
        data.insert(field.label.clone(), value);
    }
    let errors = if errors.is_empty() {
        Value::Null
    } else {
        errors.into()
    };
    Ok(told(
        StatusCode::OK,
        &json!({ "data": data, "errors": errors }),
    ))
}

fn look_up(state: &mut State, caller: &Caller, field: &Field) -> Answer {
    accounts::look_up(state, caller, field)
        .or_else(|| cluster::look_up(state, caller, field))
        .or_else(|| sessions::look_up(state, caller, field))
        .or_else(|| folders::look_up(state, caller, field))
}

fn change(state: &mut State, caller: &Caller, field: &Field) -> Answer {
    accounts::change(state, caller, field).or_else(|| cluster::change(state, field))
}

/// What the fields ask for.
fn pick(found: &Value, fields: &[Field]) -> Value {
    match found {
        Value::Array(all) => all.iter().map(|one| pick(one, fields)).collect(),
        Value::Object(all) if !fields.is_empty() => fields
            .iter()
            .map(|field| {
                let value = all.get(&field.name).unwrap_or(&Value::Null);
                (field.label.clone(), pick(value, &field.fields))
            })
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

/// As lists with a number of all are shown.
fn page(asked: &Sent, items: impl Iterator<Item = Value>) -> Result<Value, Refusal> {
    let items = passing(asked.maybe(&["filter"]), items)?;
    let all = items.len();
    let limit = asked.number(&["limit"]).unwrap_or(100);
    let skipped = asked.number(&["offset"]).unwrap_or(0);
    let (limit, skipped) = (usize::try_from(limit), usize::try_from(skipped));
    let shown = items.into_iter().skip(skipped.unwrap_or(0));
    let shown: Vec<_> = shown.take(limit.unwrap_or(usize::MAX)).collect();
    Ok(json!({ "total_count": all, "items": shown }))
}

/// As lists of nodes are shown.
fn connection(asked: &Sent, nodes: impl Iterator<Item = Value>) -> Result<Value, Refusal> {
    let nodes = passing(asked.maybe(&["filter"]), nodes)?;
    let first = asked
        .number(&["first"])
        .and_then(|first| usize::try_from(first).ok());
    Ok(edges(nodes, first))
}

fn edges(nodes: Vec<Value>, first: Option<usize>) -> Value {
    let all = nodes.len();
    let shown = nodes.into_iter().take(first.unwrap_or(usize::MAX));
    let edges: Vec<_> = shown.map(|node| json!({ "node": node })).collect();
    json!({ "count": all, "edges": edges })
}

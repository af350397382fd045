//! What a step can do: the trait of actions, and of the resources among them.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::HeaderValue;
use serde_json::Value;
use tokio::time::Instant;

use super::scope::Scope;
use super::target::Target;
use super::undo::Undo;
use crate::client::{Client, Connections};
use crate::event::HttpPhases;
use crate::outcome::Failure;

/// Code that does one thing to the target and checks the result.
///
/// An action never spawns, never retries and knows no deadline but to pass it on: the runner
/// races it against deadline, cancellation and panic, and drops it when one of them wins.
pub trait Action: Send + Sync {
    /// Does it once.
    fn perform<'a>(&'a self, context: &'a mut Context<'_>) -> BoxFuture<'a, Result<Done, Failure>>;
}

/// An action that changes the target and can say, before it runs, how to undo it. That is
/// possible only because the name of what it makes is ours to choose: it holds `${run.name}`.
pub trait Resource: Action {
    /// How to undo it; every reference to something outside is resolved.
    ///
    /// # Errors
    /// If a value is refused, for instance an empty one for a path.
    fn undo(&self, context: &Context<'_>) -> Result<Undo, Failure>;

    /// Everything of this kind on the target, ours or not, each with how it would be undone.
    /// `None` if the spec does not say how to list it.
    fn list<'a>(
        &'a self,
        _context: &'a mut Context<'_>,
    ) -> BoxFuture<'a, Result<Option<Vec<Listed>>, Failure>> {
        futures_util::future::ready(Ok(None)).boxed()
    }
}

/// One thing that a target lists.
#[derive(Debug)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// How to undo it.
    pub undo: Undo,
    /// What undoing it needs.
    pub captures: Vec<Capture>,
}

/// What an action did.
#[derive(Debug, Default)]
pub struct Done {
    /// What later steps may read.
    pub captures: Vec<Capture>,
    /// A resource that was, as expected, refused: there is nothing to undo.
    pub made_nothing: bool,
}

/// One value taken from an answer.
#[derive(Debug, Clone)]
pub struct Capture {
    /// Read as `${step.key}`.
    pub key: String,
    /// The value.
    pub value: Value,
    /// Kept out of every output, and out of the journal.
    pub secret: bool,
}

/// The run that an action belongs to.
#[derive(Debug, Clone)]
pub struct Run {
    /// `${run.id}`.
    pub id: Arc<str>,
    /// `${run.name}`: at most 40 characters, begins with the instance.
    pub name: Arc<str>,
}

/// What an action sees of the run.
pub struct Context<'a> {
    /// The run.
    pub run: &'a Run,
    /// Its target.
    pub target: &'a Target,
    /// What earlier steps captured.
    pub scope: &'a Scope,
    /// The step's deadline.
    pub deadline: Instant,
    /// The `Authorization` of requests to the target, or why there is none.
    pub authorization: &'a Result<Option<HeaderValue>, Failure>,
    /// The measured HTTP client.
    pub client: &'a Client,
    /// The connections that the run keeps, for steps with `reuse`.
    pub connections: &'a mut Connections,
    /// Where HTTP attempts note their phases, also those of an attempt that fails.
    pub http: &'a mut Vec<HttpPhases>,
    /// What the step waits for, if it does; told when its deadline passes first.
    pub waiting: &'a mut Option<String>,
}

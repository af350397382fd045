//! What a step can do: the trait of actions, and of the resources among them.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::HeaderValue;
use http::header::USER_AGENT;
use serde_json::Value;
use tokio::time::Instant;

use super::changes::Changes;
use super::identity::{Identity, Wire};
use super::scope::Scope;
use super::target::Target;
use super::trace::Trace;
use super::undo::Undo;
use crate::client::{Answer, Client, Connections, Dialog, Endpoint, Request, Stream, Upgrade};
use crate::event::HttpPhases;
use crate::outcome::{Failure, Message, Reason};

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
    /// What became of the thing, if the action is a resource's.
    pub made: Made,
}

/// What a create has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Made {
    /// The thing.
    #[default]
    It,
    /// Nothing: it was, as expected, refused for certain.
    Nothing,
    /// Nobody knows: the refusal that was expected does not exclude it.
    Unclear,
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
    /// `${run.name}`: at most 40 characters, the instance, a `-` and the id.
    pub name: Arc<str>,
    /// The instance that it belongs to.
    pub instance: Arc<str>,
}

impl Run {
    /// A run of this instance.
    pub fn new(instance: &str, id: &str) -> Self {
        Self {
            id: id.into(),
            name: format!("{}{id}", prefix(instance)).into(),
            instance: instance.into(),
        }
    }

    /// How the names of all runs of its instance begin, and perhaps those of others.
    #[must_use]
    pub fn prefix(&self) -> String {
        prefix(&self.instance)
    }
}

/// How the names of all runs of an instance begin.
pub fn prefix(instance: &str) -> String {
    format!("{instance}-")
}

/// Where a request goes.
#[derive(Debug, Clone)]
pub struct Place {
    /// The address.
    pub endpoint: Endpoint,
    /// Whether it is the target, who may see who we are.
    pub ours: bool,
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
    /// Who the run is to the target, or why it is nobody.
    pub identity: &'a Result<Arc<dyn Identity>, Failure>,
    /// How the target's logs name the run.
    pub trace: &'a mut Trace,
    /// The measured HTTP client.
    pub client: &'a Client,
    /// The connections that the run keeps, for steps with `reuse`.
    pub connections: &'a mut Connections,
    /// Where HTTP attempts note their phases, also those of an attempt that fails.
    pub http: &'a mut Vec<HttpPhases>,
    /// What the step waits for, if it does; told when its deadline passes first.
    pub waiting: &'a mut Option<Message>,
    /// What the run has asked its target to change.
    pub changes: &'a mut Changes,
}

impl Context<'_> {
    /// The target, where requests go as who the run is to it.
    pub fn home(&self) -> Place {
        Place {
            endpoint: self.target.endpoint.clone(),
            ours: true,
        }
    }

    /// Somewhere else, where nothing goes that says who we are; the way there is the target's.
    pub fn elsewhere(&self, endpoint: Endpoint) -> Place {
        Place {
            endpoint: endpoint.via(self.target.endpoint.transport().elsewhere()),
            ours: false,
        }
    }

    /// Sends one request to the target, as who the run is to it.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn send(&mut self, request: Request) -> Result<Answer, Failure> {
        self.send_to(&self.home(), request).await
    }

    /// Sends one request.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn send_to(&mut self, place: &Place, request: Request) -> Result<Answer, Failure> {
        let change = self.changes.begin(&place.endpoint, &request);
        let sent = self.exchange(place, request).await;
        if let Some(change) = change {
            let result = sent.as_ref().map(|answer| answer.status);
            self.changes
                .end(change, result.map_err(|failure| failure.effect));
        }
        let answer = sent?;
        if place.ours {
            self.heard(&answer);
        }
        Ok(answer)
    }

    async fn exchange(&mut self, place: &Place, mut request: Request) -> Result<Answer, Failure> {
        self.prepare(place, &mut request).await?;
        let phases = attempt(self.http);
        let sent = self
            .client
            .send(&place.endpoint, request, self.connections, phases);
        Ok(sent.await?)
    }

    /// The same, for an answer that is read as it comes.
    ///
    /// # Errors
    /// If no answer begins.
    pub async fn open(&mut self, place: &Place, mut request: Request) -> Result<Stream, Failure> {
        self.prepare(place, &mut request).await?;
        let phases = attempt(self.http);
        let opened = self
            .client
            .open(&place.endpoint, request, self.connections, phases);
        let stream = opened.await?;
        if place.ours {
            self.heard(&stream.head());
        }
        Ok(stream)
    }

    /// The same, as the handshake of a WebSocket.
    ///
    /// # Errors
    /// If there is no answer; one that refuses the handshake is no error here.
    pub async fn upgrade(
        &mut self,
        place: &Place,
        mut request: Request,
    ) -> Result<Upgrade, Failure> {
        self.prepare(place, &mut request).await?;
        let phases = attempt(self.http);
        let upgraded = self
            .client
            .upgrade(&place.endpoint, request, self.connections, phases);
        let upgraded = upgraded.await?;
        if let (true, Upgrade::Answered(answer)) = (place.ours, &upgraded) {
            self.heard(answer);
        }
        Ok(upgraded)
    }

    async fn prepare(&mut self, place: &Place, request: &mut Request) -> Result<(), Failure> {
        if place.ours {
            return self.dress_for(&place.endpoint, request).await;
        }
        self.introduce(request);
        Ok(())
    }

    /// Connects to an endpoint, the target's or another, to say anything over it: without any of
    /// our credentials but those of the transport. At most `limit` bytes may come.
    ///
    /// # Errors
    /// If there is no connection, or a secret could not be read.
    pub async fn dial(
        &mut self,
        endpoint: &Endpoint,
        protocols: &[&str],
        limit: u64,
    ) -> Result<Dialog, Failure> {
        if let Err(unknown) = self.identity {
            return Err(unknown.clone());
        }
        let phases = attempt(self.http);
        let dialed = self.client.dial(endpoint, protocols, limit, phases);
        Ok(dialed.await?)
    }

    /// Goes on in TLS. The handshake is a phase of the attempt that the dialog began with.
    ///
    /// # Errors
    /// If there is no handshake.
    pub async fn secure(&mut self, dialog: Dialog, protocols: &[&str]) -> Result<Dialog, Failure> {
        let phases = match self.http.last_mut() {
            Some(last) => last,
            None => attempt(self.http),
        };
        Ok(self.client.secure(dialog, protocols, phases).await?)
    }

    /// Puts on a request to the target what belongs there: who we are, and which run this is.
    ///
    /// # Errors
    /// If a secret could not be read, or the target could not be asked what it wants.
    pub async fn dress(&mut self, request: &mut Request) -> Result<(), Failure> {
        self.dress_for(&self.target.endpoint, request).await
    }

    async fn dress_for(
        &mut self,
        endpoint: &Endpoint,
        request: &mut Request,
    ) -> Result<(), Failure> {
        let identity = self.identity.as_ref().map_err(Failure::clone)?;
        self.introduce(request);
        let wire = Wire {
            client: self.client,
            endpoint,
            http: self.http,
        };
        self.trace.last_request = identity.dress(request, wire).await?;
        Ok(())
    }

    /// The same step, as somebody else on the same target.
    pub fn acting_as<'b>(
        &'b mut self,
        identity: &'b Result<Arc<dyn Identity>, Failure>,
    ) -> Context<'b> {
        Context {
            run: self.run,
            target: self.target,
            scope: self.scope,
            deadline: self.deadline,
            identity,
            trace: self.trace,
            client: self.client,
            connections: self.connections,
            http: self.http,
            waiting: self.waiting,
            changes: self.changes,
        }
    }

    /// Notes what the action waits for now.
    pub fn note(&mut self, what: impl Into<Message>) {
        *self.waiting = Some(what.into());
    }

    /// What an answer that was not expected says of the target.
    pub fn reason(&self, answer: &Answer) -> Reason {
        match self.identity {
            Ok(identity) => identity.reason(answer),
            Err(_) => Reason::of_status(answer.status),
        }
    }

    fn heard(&self, answer: &Answer) {
        if let Ok(identity) = self.identity {
            identity.heard(answer);
        }
    }

    fn introduce(&mut self, request: &mut Request) {
        let headers = &mut request.headers;
        let (version, instance) = (env!("CARGO_PKG_VERSION"), &self.run.instance);
        // An instance is made of letters, digits, `-` and `_`: always a comment (RFC 9110, 10.1.5).
        let agent = HeaderValue::try_from(format!("testerd/{version} ({instance})"));
        if let (false, Ok(agent)) = (headers.contains_key(USER_AGENT), agent) {
            headers.insert(USER_AGENT, agent);
        }
        if let Some(span) = self.trace.next_span() {
            headers.entry("traceparent").or_insert(span);
        }
    }
}

/// Where the next attempt notes its phases; in its place before the request is sent, so that an
/// attempt that is dropped leaves them.
fn attempt(http: &mut Vec<HttpPhases>) -> &mut HttpPhases {
    let at = http.len();
    http.push(HttpPhases::default());
    &mut http[at]
}

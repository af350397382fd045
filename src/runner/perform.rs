//! One leaf: the only place where work is raced against deadline, cancellation and panic. All of
//! them become plain values here, so that nothing above is ever dropped half-way.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::Value;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, sleep_until};

use super::limits::Limits;
use crate::client::{Client, Connections};
use crate::event::HttpPhases;
use crate::outcome::{Cause, Effect, Failure, Fault, Message, Reason};
use crate::secret::Redactor;
use crate::spec::{
    Changes, Context, Done, Identity, Run, Scope, Step, Target, Trace, Work, open_secret,
};
use crate::text::ValueTemplate;

/// What a run hands to each of its leaves.
pub(super) struct Stage<'a> {
    pub(super) run: Run,
    pub(super) target: &'a Target,
    pub(super) client: &'a Client,
    pub(super) scope: Scope,
    pub(super) connections: Connections,
    pub(super) trace: Trace,
    /// What its leaves have asked the target to change.
    pub(super) changes: Changes,
    /// Who the run is to its target: nobody before [`Stage::prepare`].
    identity: Result<Arc<dyn Identity>, Failure>,
    /// Which of what specs read as `${secret.NAME}` could not be read, and why.
    unread: BTreeMap<String, Failure>,
    /// What the leaf that is performed waits for.
    waiting: Option<Message>,
}

impl<'a> Stage<'a> {
    /// `redactor` learns the target's secrets; what cannot be read, [`Stage::ready`] says.
    pub(super) fn new(
        run: Run,
        scope: Scope,
        target: &'a Target,
        client: &'a Client,
        redactor: &mut Redactor,
    ) -> Self {
        let mut scope = scope;
        let mut unread = BTreeMap::new();
        for (name, source) in &target.secrets {
            match open_secret(source, redactor) {
                Ok(secret) => scope.set("secret", name, Value::from(secret.expose())),
                Err(failure) => {
                    unread.insert(name.clone(), failure);
                }
            }
        }
        Self {
            trace: Trace::of_run(&run.id),
            run,
            target,
            client,
            scope,
            connections: Connections::default(),
            changes: Changes::default(),
            identity: Err(Failure::new(Cause::Secret, "nobody yet").without_effect()),
            unread,
            waiting: None,
        }
    }

    /// Makes sure of who the run is to its target, if that is not known or no longer good. It is
    /// done before a step's clock starts: whom we ask for a token is not what is measured.
    pub(super) async fn prepare(&mut self, redactor: &mut Redactor, limits: &Limits) {
        if !self.identity.as_ref().is_ok_and(|known| known.is_good()) {
            // The call itself may panic too, so it is made inside the future.
            let opened = async { self.target.auth.open(redactor, self.client).await };
            self.identity = race(opened, limits, true).await;
        }
    }

    /// Whether a step can begin: nothing is measured of one that has no secret or no token to show.
    /// Secrets that it does not read are not its concern.
    pub(super) fn ready(&self, step: &Step) -> Result<(), Failure> {
        let mut secrets = step.reads.iter().filter(|read| read.name == "secret");
        match secrets.find_map(|read| self.unread.get(&read.key)) {
            Some(failure) => Err(failure.clone()),
            None => self.identity.clone().map(|_| ()),
        }
    }

    /// Whether everything can be read, and who we are is known.
    pub(super) fn complete(&self) -> Result<(), Failure> {
        match self.unread.values().next() {
            Some(failure) => Err(failure.clone()),
            None => self.identity.clone().map(|_| ()),
        }
    }

    /// Somebody else on the same target, whose keys the run has captured.
    fn acting_as(&self, keys: &ValueTemplate) -> Result<Arc<dyn Identity>, Failure> {
        let keys = keys
            .value(&self.scope)
            .map_err(|refused| Failure::new(Cause::Input, refused.to_string()).without_effect())?;
        self.identity.clone()?.other(&keys)
    }

    pub(super) fn context<'b>(
        &'b mut self,
        deadline: Instant,
        http: &'b mut Vec<HttpPhases>,
    ) -> Context<'b> {
        Context {
            run: &self.run,
            target: self.target,
            scope: &self.scope,
            deadline,
            identity: &self.identity,
            trace: &mut self.trace,
            client: self.client,
            connections: &mut self.connections,
            http,
            waiting: &mut self.waiting,
            changes: &mut self.changes,
        }
    }

    /// The failure, with no cookie in what it says; and if it may hold a secret that nobody could
    /// look for, with nothing that the target said.
    pub(super) fn told(&self, failure: Failure, may_hold_secret: bool) -> Failure {
        let failure = if may_hold_secret {
            failure.without_quotes()
        } else {
            failure
        };
        self.connections.redact(failure)
    }
}

/// How a leaf ended.
pub(super) struct Performance<T> {
    pub(super) result: Result<T, Failure>,
    pub(super) duration: Duration,
    pub(super) retries: u32,
    pub(super) http: Vec<HttpPhases>,
}

/// Performs a step: attempts, retries and polls until it ends one way or another.
///
/// A creating request that was sent is not dropped by cancellation; it has its own deadline.
pub(super) async fn perform(
    step: &Step,
    stage: &mut Stage<'_>,
    limits: &Limits,
    mut retrying: impl FnMut(u32, &Failure),
) -> Performance<Done> {
    let creates = matches!(step.work, Work::Acquire { .. });
    let begun = limits.begun;
    let mut http = Vec::new();
    let mut retries = 0;
    stage.waiting = None;
    // Both are fit to be told, unlike what an action notes of what it waits for.
    let (mut not_yet, mut last_failure): (Option<String>, Option<String>) = (None, None);
    stage.trace.last_request = None;
    let acting = step.acting.as_ref().map(|keys| stage.acting_as(keys));
    let mut ended = loop {
        let mut context = stage.context(limits.deadline, &mut http);
        if let Some(acting) = &acting {
            context.identity = acting;
        }
        // The call itself may panic too, so it is made inside the future.
        let attempt = async { step.work.action().perform(&mut context).await };
        let failure = match race(attempt, limits, !creates).await {
            Ok(done) => break kept(done, &stage.scope, creates),
            Err(failure) => stage.told(failure, step.captures_secrets()),
        };
        let asked = failure.pause.unwrap_or_default();
        // A second attempt that would come too late is none.
        let in_time = asked < limits.deadline.saturating_duration_since(Instant::now());
        let (pause, retry) = match (failure.not_yet, step.poll) {
            (true, Some(every)) => {
                (stage.waiting, not_yet) = (None, Some(failure.message));
                (every, 0)
            }
            _ if retries + 1 < step.retry.attempts && in_time && may_retry(&failure, creates) => {
                retrying(retries + 1, &failure);
                last_failure = Some(failure.message);
                (stage.waiting, not_yet) = (None, None);
                (step.retry.delay, 1)
            }
            _ => break Err(failure),
        };
        let pause = tokio::time::sleep(pause.max(asked)).map(Ok);
        if let Err(failure) = race(pause, limits, true).await {
            // Nothing is under way now, and a create waits only after what made nothing.
            break Err(failure.without_effect());
        }
        retries += retry;
    };
    let mut duration = begun.elapsed();
    stage.connections.tidy().await;
    if let Err(failure) = &mut ended
        && failure.late
    {
        // The timer ticks in milliseconds and rounds up; the deadline is what was waited for.
        duration = duration.min(limits.deadline.saturating_duration_since(begun));
        let noted = stage.waiting.take();
        let noted = noted.and_then(|noted| noted.told(step.captures_secrets()));
        failure.message = match (noted.or(not_yet), last_failure) {
            (Some(last), _) => format!("still waiting after {duration:.1?}: {last}"),
            (None, Some(last)) => {
                format!("no end within {duration:.1?}; the attempt before: {last}")
            }
            (None, None) => format!("no end within {duration:.1?}"),
        };
        *failure = stage.connections.redact(failure.clone());
    }
    if let Err(failure) = &mut ended {
        if step.prerequisite {
            failure.fault = failure.fault.of_prerequisite();
        }
        if let Some(request) = &stage.trace.last_request {
            failure.message = format!("{} (request {request})", failure.message);
        }
    }
    Performance {
        result: ended,
        duration,
        retries,
        http,
    }
}

/// What a leaf did, if there is room for what it captured. What was made is owed whatever it told,
/// and its ids are small.
fn kept(done: Done, scope: &Scope, creates: bool) -> Result<Done, Failure> {
    if !creates {
        scope.room_for(&done.captures)?;
    }
    Ok(done)
}

/// A second attempt is for the target's faults; a second create only for what certainly made
/// nothing, or two things would bear the same name.
fn may_retry(failure: &Failure, creates: bool) -> bool {
    let theirs = matches!(failure.fault, Fault::Target(reason) if reason != Reason::Timeout);
    theirs && (!creates || failure.effect == Effect::Nothing)
}

/// Races work against its limits and its own panic. The limits come first, outside the budget of the
/// task: input that never pauses uses that up, and a timer that has none left does not end.
pub(super) async fn race<T>(
    work: impl Future<Output = Result<T, Failure>>,
    limits: &Limits,
    cancellable: bool,
) -> Result<T, Failure> {
    let mut work = pin!(AssertUnwindSafe(work).catch_unwind());
    let mut deadline = pin!(unconstrained(sleep_until(limits.deadline)));
    let mut cancel = pin!(unconstrained(limits.cancel.cancelled()));
    poll_fn(|context| {
        if cancellable && cancel.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(cancelled()));
        }
        // The clock itself as well: a runtime that is busy looks at its timers late.
        if deadline.as_mut().poll(context).is_ready() || limits.deadline <= Instant::now() {
            return Poll::Ready(Err(Failure::deadline()));
        }
        let ended = ready!(work.as_mut().poll(context));
        Poll::Ready(ended.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))))
    })
    .await
}

/// What a leaf that was cancelled ends with.
pub(super) fn cancelled() -> Failure {
    Failure::new(Cause::Cancelled, "cancelled")
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    Failure::new(Cause::Panic, format!("panicked: {text}")).in_short("panicked")
}

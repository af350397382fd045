//! The recursion over a case, and where teardown is guaranteed: straight-line code, because every
//! leaf returns.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::time::Instant;

use super::limits::Limits;
use super::perform::{Performance, Stage, cancelled, perform, race};
use super::protocol::{Hands, Undone};
use super::undo::{carry_out, is_blind, note_deletes_of_steps};
use super::{Runner, Stop};
use crate::event::{Event, FailedStep, Phase, RunRef, StepEnd, TeardownResult};
use crate::journal::{JournalError, Note};
use crate::outcome::{Cause, Effect, Failure, Fault, Reason, Verdict, chain};
use crate::secret::Redactor;
use crate::spec::{
    Capture, Case, Done, Made, Record, RecordId, Resource, Sequence, Step, Work, Wrapper, reference,
};
use crate::text::Lookup;

/// How a case ended, as far as its neighbours care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Passed,
    /// Skipped because a capture is missing: says nothing, stops nothing.
    Skipped,
    /// The rest of the suite is skipped.
    NotPassed,
    /// The target lacks what is required: the rest is skipped, up to the next optional suite.
    NotApplicable,
}

/// A change that must be undone at the end of its suite.
struct Held {
    record: RecordId,
    step: Arc<str>,
    timeout: Duration,
}

/// One run on its way through the tree.
pub(super) struct Walk<'a> {
    runner: &'a Runner,
    run: &'a RunRef,
    stage: Stage<'a>,
    redactor: Redactor,
    stop: &'a Stop,
    /// Whether the spec captures secrets: then what is undone may show one.
    captures_secrets: bool,
    /// Records armed and not undone yet, outermost first.
    armed: Vec<RecordId>,
    /// The first failing leaf in tree order.
    failed: Option<FailedStep>,
    /// The first failing teardown, which counts only if nothing else failed.
    teardown_failed: Option<FailedStep>,
    /// What the target lacks.
    lacking: Option<FailedStep>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        runner: &'a Runner,
        run: &'a RunRef,
        stage: Stage<'a>,
        redactor: Redactor,
        stop: &'a Stop,
        captures_secrets: bool,
    ) -> Self {
        Self {
            runner,
            run,
            stage,
            redactor,
            stop,
            captures_secrets,
            armed: Vec::new(),
            failed: None,
            teardown_failed: None,
            lacking: None,
        }
    }

    /// The verdict: that of the first failing leaf in tree order.
    pub(super) fn end(self) -> (Verdict, Option<FailedStep>) {
        if let Some(failed) = self.failed {
            return (failed.failure.fault.into(), Some(failed));
        }
        match self.teardown_failed.or(self.lacking) {
            None => (Verdict::Pass, None),
            Some(failed) => match failed.failure.fault {
                Fault::Target(_) => (Verdict::Fail(Reason::Teardown), Some(failed)),
                Fault::Ours(cause) => (Verdict::Inconclusive(cause), Some(failed)),
            },
        }
    }

    /// Walks one case. Boxed, because it is the recursion.
    pub(super) fn walk<'b>(&'b mut self, case: &'b Case, limits: Limits) -> BoxFuture<'b, Ended> {
        async move {
            match case {
                Case::Step(step) => {
                    let (ended, held) = self.leaf(step, &limits, Phase::Body).await;
                    debug_assert!(held.is_none(), "a resource as a step stands in a sequence");
                    ended
                }
                Case::Sequence(sequence) => self.sequence(sequence, &limits).await,
                Case::Wrapper(wrapper) => self.wrapper(wrapper, &limits).await,
            }
        }
        .boxed()
    }

    async fn sequence(&mut self, sequence: &Sequence, limits: &Limits) -> Ended {
        let limits = limits.within(sequence.timeout);
        let mut stopped: Option<Arc<str>> = None;
        let mut held = Vec::new();
        let mut lacking = false;
        for case in &sequence.cases {
            let always = matches!(case, Case::Step(step) if step.always);
            if let Some(why) = &stopped
                && (!always || limits.cancel.is_cancelled())
            {
                self.skip(case, why);
                continue;
            }
            let ended = match case {
                Case::Step(step) => {
                    let (ended, new) = self.leaf(step, &limits, Phase::Body).await;
                    held.extend(new);
                    ended
                }
                Case::Sequence(_) | Case::Wrapper(_) => self.walk(case, limits.clone()).await,
            };
            if stopped.is_none() {
                stopped = why_stop(ended, case);
                lacking |= ended == Ended::NotApplicable;
            }
        }
        for held in held.into_iter().rev() {
            if self.teardown(held).await == Ended::NotPassed {
                stopped.get_or_insert_with(|| "teardown".into());
                lacking = false;
            }
        }
        match stopped {
            None => Ended::Passed,
            Some(_) if lacking && sequence.optional => {
                self.lacking = None;
                Ended::Skipped
            }
            Some(_) if lacking => Ended::NotApplicable,
            Some(_) => Ended::NotPassed,
        }
    }

    async fn wrapper(&mut self, wrapper: &Wrapper, limits: &Limits) -> Ended {
        let (setup, held) = self.leaf(&wrapper.setup, limits, Phase::Setup).await;
        let mut ended = if setup == Ended::Passed {
            self.walk(&wrapper.inner, limits.clone()).await
        } else {
            let why = format!("setup `{}` did not pass", wrapper.setup.name);
            self.skip(&wrapper.inner, &why.into());
            setup
        };
        if let Some(held) = held
            && self.teardown(held).await == Ended::NotPassed
        {
            ended = Ended::NotPassed;
        }
        ended
    }

    /// Performs one step, and says what is to be undone at the end of its suite.
    async fn leaf(&mut self, step: &Step, limits: &Limits, phase: Phase) -> (Ended, Option<Held>) {
        let missing =
            |read: &&crate::text::Read| self.stage.scope.get(&read.name, &read.key).is_none();
        let captures = step.reads.iter().filter(|read| read.name != "secret");
        if let Some(read) = captures.into_iter().find(missing) {
            let why = format!("${{{}.{}}} has no value", read.name, read.key);
            self.skip_step(step, &why.into());
            return (Ended::Skipped, None);
        }
        let own = || match step.timeout {
            Some(timeout) if step.always => Limits::from_now(timeout, &limits.cancel),
            timeout => limits.within(timeout),
        };
        self.stage.prepare(&mut self.redactor, &own()).await;
        let limits = own();
        if limits.cancel.is_cancelled() {
            return (self.not_begun(step, phase, cancelled()), None);
        }
        if limits.deadline <= Instant::now() {
            let late = Failure::new(Reason::Timeout, "no time was left to begin it");
            return (self.not_begun(step, phase, late), None);
        }
        if let Err(failure) = self.stage.ready(step) {
            return (self.not_begun(step, phase, failure), None);
        }
        match &step.work {
            Work::Act(_) => {
                let performance = self.perform(step, &limits).await;
                note_deletes_of_steps(&self.armed, self.runner, &mut self.stage).await;
                (self.finish(step, phase, performance), None)
            }
            Work::Acquire {
                resource,
                teardown_timeout,
            } => {
                let timeout = *teardown_timeout;
                let record = match self.arm(step, resource.as_ref(), timeout, &limits).await {
                    Ok(record) => record,
                    Err(failure) => return (self.not_begun(step, phase, failure), None),
                };
                // Writing it down is in no step's time.
                let mut performance = self.perform(step, &own()).await;
                let owed = self.settle_create(record, &mut performance).await;
                let held = owed.then(|| {
                    self.armed.push(record);
                    Held {
                        record,
                        step: step.name.clone(),
                        timeout,
                    }
                });
                (self.finish(step, phase, performance), held)
            }
        }
    }

    async fn perform(&mut self, step: &Step, limits: &Limits) -> Performance<Done> {
        let (runner, run, redactor) = (self.runner, self.run, &self.redactor);
        let retrying = |attempt, failure: &Failure| {
            runner.exporters.export(&Event::AttemptFailed {
                run: run.clone(),
                step: step.name.clone(),
                attempt,
                failure: failure.clone().redacted(redactor),
            });
        };
        perform(step, &mut self.stage, limits, retrying).await
    }

    /// Writes the undo down. Only then may the creating request leave.
    async fn arm(
        &mut self,
        step: &Step,
        resource: &dyn Resource,
        timeout: Duration,
        limits: &Limits,
    ) -> Result<RecordId, Failure> {
        // Nothing is waited for here, but code of a resource may panic anywhere.
        let undo = async {
            let mut http = Vec::new();
            resource.undo(&self.stage.context(limits.deadline, &mut http))
        };
        let undo = race(undo, limits, true).await?;
        let mut record = Record {
            undo,
            step: reference(&step.name),
            captures: BTreeMap::new(),
            created: false,
            delete_sent: false,
            search_is_blind: false,
            parent: self.armed.last().copied(),
            target: self.stage.target.name.clone(),
            endpoint: self.stage.target.endpoint.to_string(),
            instance: self.runner.instance.clone(),
            run: self.run.id.to_string(),
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            armed_at: crate::text::wall_clock(),
            may_show_secrets: self.captures_secrets,
        };
        record.search_is_blind = is_blind(&record, self.runner.undoer, &self.runner.searches);
        self.runner
            .journal
            .arm(record)
            .await
            .map_err(|error| refusal(&error))
    }

    /// Notes what a create came to; says whether something is owed.
    async fn settle_create(&self, id: RecordId, performance: &mut Performance<Done>) -> bool {
        let note = match &performance.result {
            // The thing is looked for by its name.
            Ok(done) if done.made == Made::Unclear => return true,
            Ok(done) if done.made == Made::It => Note::Created(self.open(&done.captures)),
            Ok(_) => Note::Refused,
            Err(failure) if failure.effect == Effect::Nothing => Note::Refused,
            // Ambiguous: the record stands as it was armed, and the thing is found by its name.
            Err(_) => return true,
        };
        let owed = note != Note::Refused;
        if let Err(error) = self.runner.journal.note(id, note).await {
            if !owed {
                // Nothing was made, but the journal owes it: the sweeper finds nothing.
                self.runner.journal.release(id);
            }
            if performance.result.is_ok() {
                performance.result = Err(refusal(&error));
            }
        }
        owed
    }

    /// The captures that may be written down: none that is secret, and none in which one stands.
    fn open(&self, captures: &[Capture]) -> BTreeMap<String, Value> {
        let mut redactor = self.redactor.clone();
        let (secret, open): (Vec<_>, Vec<_>) = captures.iter().partition(|c| c.secret);
        for capture in secret {
            redactor.learn_value(&capture.value);
        }
        let open = open.into_iter();
        open.filter(|capture| !redactor.finds(&capture.value.to_string()))
            .map(|capture| (capture.key.clone(), capture.value.clone()))
            .collect()
    }

    /// Keeps what a step captured, and tells how it ended.
    fn finish(&mut self, step: &Step, phase: Phase, performance: Performance<Done>) -> Ended {
        let failure = match performance.result {
            Ok(done) => {
                for capture in done.captures.iter().filter(|capture| capture.secret) {
                    self.redactor.learn_value(&capture.value);
                }
                self.stage.scope.add(&step.name, done.captures);
                None
            }
            Err(failure) => Some(failure.redacted(&self.redactor)),
        };
        // Only the target's failures can be allowed: a panic or a cancellation is no answer.
        let allowed =
            |failure: &&Failure| step.allow_failure && matches!(failure.fault, Fault::Target(_));
        let is_lacking = failure
            .as_ref()
            .is_some_and(|failure| failure.fault == Fault::Ours(Cause::NotApplicable));
        let counts = failure.as_ref().filter(|failure| !allowed(failure));
        let is_allowed = failure.is_some() && counts.is_none();
        let ended = match counts {
            None => Ended::Passed,
            Some(failure) if is_lacking => {
                self.lacking = Some(failed_step(&step.name, phase, failure));
                Ended::NotApplicable
            }
            Some(failure) => {
                self.fail(&step.name, phase, failure);
                Ended::NotPassed
            }
        };
        self.export(&Event::StepFinished {
            run: self.run.clone(),
            end: StepEnd {
                step: step.name.clone(),
                phase,
                failure,
                duration: performance.duration,
                retries: performance.retries,
                http: performance.http,
                allowed: is_allowed,
            },
        });
        ended
    }

    /// A step that failed before it began: nothing was measured, so it counts as skipped.
    fn not_begun(&mut self, step: &Step, phase: Phase, failure: Failure) -> Ended {
        let failure = failure.redacted(&self.redactor);
        self.skip_step(step, &failure.message.as_str().into());
        self.fail(&step.name, phase, &failure);
        Ended::NotPassed
    }

    fn fail(&mut self, step: &Arc<str>, phase: Phase, failure: &Failure) {
        self.failed
            .get_or_insert_with(|| failed_step(step, phase, failure));
    }

    /// Undoes one change, from its record, or hands it over to the sweeper: at once if nobody
    /// confirmed that it was made, and if something inside it is still owed.
    async fn teardown(&mut self, held: Held) -> Ended {
        self.armed.retain(|record| *record != held.record);
        self.stage.scope.forget(&held.step);
        let record = match self.runner.journal.read(held.record) {
            Ok(record) => record,
            Err(error) => {
                let failure = Some(refusal(&error));
                return self.tell_teardown(&held.step, failure, Duration::ZERO, Vec::new());
            }
        };
        if !record.created || self.runner.journal.has_children(held.record) {
            self.runner.journal.release(held.record);
            self.tell_result(&record, TeardownResult::Owed);
            return Ended::Passed;
        }
        let limits = || Limits::from_now(held.timeout, &self.stop.kill);
        self.stage.prepare(&mut self.redactor, &limits()).await;
        let limits = limits();
        let begun = Instant::now();
        let mut http = Vec::new();
        let office = self.runner.office(held.record, Hands::Run);
        let carried = carry_out(&record, office, &mut self.stage, &limits, &mut http).await;
        let duration = begun.elapsed().saturating_sub(carried.noting);
        self.stage.connections.tidy().await;
        let (note, result, failure) = match carried.result {
            Ok(Undone::Gone) => (Note::Settled, TeardownResult::Done, None),
            // The sweeper believes it when it has held for a while.
            Ok(Undone::NotFound) => {
                let what = "not found, and the target says so of whatever it does not know";
                (Note::Tried(what.into()), TeardownResult::Owed, None)
            }
            Err(failure) => {
                let failure = failure.redacted(&self.redactor);
                let note = Note::Tried(failure.message.clone());
                (note, TeardownResult::Failed, Some(failure))
            }
        };
        // A note that cannot be written leaves the record owed, which is safe: undoing again finds
        // nothing.
        let noted = self.runner.journal.note(held.record, note).await;
        self.runner.journal.release(held.record);
        let result = if noted.is_ok() || failure.is_some() {
            result
        } else {
            TeardownResult::Owed
        };
        let failure = failure.or(noted.err().map(|error| refusal(&error)));
        let ended = self.tell_teardown(&held.step, failure, duration, http);
        self.tell_result(&record, result);
        ended
    }

    fn tell_teardown(
        &mut self,
        step: &Arc<str>,
        failure: Option<Failure>,
        duration: Duration,
        http: Vec<crate::event::HttpPhases>,
    ) -> Ended {
        let ended = if failure.is_some() {
            Ended::NotPassed
        } else {
            Ended::Passed
        };
        if let Some(failure) = &failure {
            self.teardown_failed.get_or_insert_with(|| FailedStep {
                step: step.clone(),
                phase: Phase::Teardown,
                failure: failure.clone(),
            });
        }
        self.export(&Event::StepFinished {
            run: self.run.clone(),
            end: StepEnd {
                step: step.clone(),
                phase: Phase::Teardown,
                failure,
                duration,
                retries: 0,
                http,
                allowed: false,
            },
        });
        ended
    }

    fn tell_result(&self, record: &Record, result: TeardownResult) {
        self.export(&Event::TeardownFinished {
            run: self.run.clone(),
            kind: record.undo.kind.clone(),
            result,
        });
    }

    /// Records every leaf of a case as skipped.
    fn skip(&self, case: &Case, why: &Arc<str>) {
        match case {
            Case::Step(step) => self.skip_step(step, why),
            Case::Sequence(sequence) => sequence.cases.iter().for_each(|case| self.skip(case, why)),
            Case::Wrapper(wrapper) => {
                self.skip_step(&wrapper.setup, why);
                self.skip(&wrapper.inner, why);
            }
        }
    }

    fn skip_step(&self, step: &Step, why: &Arc<str>) {
        self.export(&Event::StepSkipped {
            run: self.run.clone(),
            step: step.name.clone(),
            why: why.clone(),
        });
    }

    fn export(&self, event: &Event) {
        self.runner.exporters.export(event);
    }
}

fn failed_step(step: &Arc<str>, phase: Phase, failure: &Failure) -> FailedStep {
    FailedStep {
        step: step.clone(),
        phase,
        failure: failure.clone(),
    }
}

/// Why the rest of a suite is skipped after this case, if it is.
fn why_stop(ended: Ended, case: &Case) -> Option<Arc<str>> {
    match ended {
        Ended::Passed | Ended::Skipped => None,
        Ended::NotPassed => Some(format!("{} did not pass", describe(case)).into()),
        Ended::NotApplicable => Some(format!("{} found it lacking", describe(case)).into()),
    }
}

fn describe(case: &Case) -> String {
    match case {
        Case::Step(step) => format!("step `{}`", step.name),
        Case::Wrapper(wrapper) => format!("suite in `{}`", wrapper.setup.name),
        Case::Sequence(sequence) => match &sequence.name {
            Some(name) => format!("suite `{name}`"),
            None => "an inner suite".to_owned(),
        },
    }
}

/// A journal that says no: our fault, and nothing was sent.
fn refusal(error: &JournalError) -> Failure {
    Failure::new(error.cause(), chain(error)).without_effect()
}

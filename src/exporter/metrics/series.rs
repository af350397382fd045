//! What is counted of one spec, one target and one pool: plain numbers, and how they are written
//! to a page. Whatever a plan says can happen is there from the beginning, at 0.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::histogram::{Bounds, Histogram};
use super::page::{Family, Labels, Page};
use super::unix_seconds;
use crate::contract;
use crate::event::{HttpPhases, Phase, SpecInfo, StepEnd, StepInfo, TeardownResult};
use crate::exporter::debounce::Debounce;
use crate::grid::Grid;
use crate::outcome::{Cause, Fault, Reason, SlotOutcome, Verdict};

/// The bounds of one plan's histograms.
pub(super) struct Ladders {
    steps: Bounds,
    runs: Bounds,
}

impl Ladders {
    pub(super) fn of((step, run): (Duration, Duration)) -> Self {
        Self {
            steps: contract::ladder(step).into(),
            runs: contract::run_ladder(run).into(),
        }
    }
}

/// One count for each member of a closed list.
pub(super) struct Tally<T: 'static, const N: usize> {
    all: &'static [T; N],
    counts: [u64; N],
}

impl<T: PartialEq + Copy, const N: usize> Tally<T, N> {
    pub(super) const fn new(all: &'static [T; N]) -> Self {
        let counts = [0; N];
        Self { all, counts }
    }

    pub(super) fn add(&mut self, which: T, count: u64) {
        for (known, counted) in self.all.iter().zip(&mut self.counts) {
            if *known == which {
                *counted += count;
            }
        }
    }

    pub(super) fn each(&self) -> impl Iterator<Item = (T, u64)> {
        self.all.iter().copied().zip(self.counts)
    }
}

/// One scheduled spec.
pub(super) struct Spec {
    info: Arc<SpecInfo>,
    grid: Grid,
    /// Slots that fell due by grids that this spec had before.
    due_before: u64,
    runs: u64,
    failures: Tally<Reason, { Reason::ALL.len() }>,
    inconclusive: Tally<Cause, { Cause::ALL.len() }>,
    slots: Tally<SlotOutcome, { SlotOutcome::ALL.len() }>,
    duration: Histogram,
    steps: Vec<Step>,
    /// `None` before the first verdict, and once a run found that the spec does not apply.
    judged: Option<Judged>,
    passed_at: Option<SystemTime>,
}

/// One step in one phase.
struct Step {
    name: Arc<str>,
    phase: Phase,
    duration: Histogram,
    failures: u64,
    retries: Option<u64>,
    http: Option<[Histogram; HttpPhases::LABELS.len()]>,
}

/// What verdicts have said so far.
#[derive(Clone)]
struct Judged {
    debounce: Debounce,
    passed: bool,
    failures: u64,
    at: SystemTime,
}

impl Spec {
    pub(super) fn new(info: &Arc<SpecInfo>, grid: Grid, ladders: &Ladders) -> Self {
        Self {
            info: Arc::clone(info),
            grid,
            due_before: 0,
            runs: 0,
            failures: Tally::new(&Reason::ALL),
            inconclusive: Tally::new(&Cause::ALL),
            slots: Tally::new(&SlotOutcome::ALL),
            duration: Histogram::new(&ladders.runs),
            steps: steps(info, ladders, Vec::new()),
            judged: None,
            passed_at: None,
        }
    }

    /// Goes on under a new plan: what still exists keeps its counts. `due` is what had fallen due
    /// when the old grid ended, if it did.
    pub(super) fn renew(
        &mut self,
        info: &Arc<SpecInfo>,
        grid: Grid,
        ladders: &Ladders,
        due: Option<u64>,
    ) {
        self.info = Arc::clone(info);
        self.due_before = due.unwrap_or(self.due_before);
        self.grid = grid;
        self.duration.fit(&ladders.runs);
        self.steps = steps(info, ladders, std::mem::take(&mut self.steps));
    }

    pub(super) fn grid(&self) -> Grid {
        self.grid
    }

    /// Slots that have fallen due, `now` after the origin of the grid.
    pub(super) fn due_by(&self, now: Duration) -> u64 {
        self.due_before + self.grid.due_by(now)
    }

    pub(super) fn slots_ended(&mut self, outcome: SlotOutcome, count: u64) {
        self.slots.add(outcome, count);
    }

    /// A step that was cancelled, or that failed by our own fault, tells nothing of the target:
    /// neither its failure nor how long it took.
    pub(super) fn step_finished(&mut self, end: &StepEnd) {
        let fault = end.failure.as_ref().map(|failure| failure.fault);
        if let Some(Fault::Ours(_)) = fault {
            return;
        }
        let found = |step: &&mut Step| step.name == end.step && step.phase == end.phase;
        let Some(step) = self.steps.iter_mut().find(found) else {
            return;
        };
        step.duration.observe(end.duration);
        step.failures += u64::from(fault.is_some());
        if let Some(retries) = &mut step.retries {
            *retries += u64::from(end.retries);
        }
        for (label, duration) in end.http.iter().flat_map(HttpPhases::taken) {
            let histograms = HttpPhases::LABELS
                .iter()
                .zip(step.http.iter_mut().flatten());
            for (_, histogram) in histograms.filter(|(name, _)| **name == label) {
                histogram.observe(duration);
            }
        }
    }

    pub(super) fn run_finished(&mut self, verdict: Verdict, duration: Duration, at: SystemTime) {
        let passed = match verdict {
            Verdict::Inconclusive(cause) => {
                // What the target does not have (any more) is neither failing nor stale. That it
                // passed once is still true.
                if cause == Cause::NotApplicable {
                    self.judged = None;
                }
                return self.inconclusive.add(cause, 1);
            }
            Verdict::Fail(reason) => {
                self.failures.add(reason, 1);
                false
            }
            Verdict::Pass => true,
        };
        self.runs += 1;
        self.duration.observe(duration);
        let judged = self.judged.get_or_insert_with(|| Judged {
            debounce: Debounce::default(),
            passed,
            failures: 0,
            at,
        });
        judged.debounce.note(self.info.state, passed);
        judged.passed = passed;
        judged.at = at;
        if passed {
            judged.failures = 0;
            self.passed_at = Some(at);
        } else {
            judged.failures += 1;
        }
    }

    pub(super) fn fill(&self, page: &mut Page, now: Duration) {
        let identity = &self.info.identity;
        let run = [
            ("target", identity.target.as_str()),
            ("spec", identity.spec.as_str()),
            ("variant", identity.variant.as_str()),
        ];
        page.runs.count(&run, self.runs);
        for (reason, count) in self.failures.each() {
            let labels = with(&run, &[("reason", reason.as_str())]);
            page.failures.count(&labels, count);
        }
        for (cause, count) in self.inconclusive.each() {
            let labels = with(&run, &[("cause", cause.as_str())]);
            page.inconclusive.count(&labels, count);
        }
        page.run_duration.histogram(&run, &self.duration);
        page.slots_due.count(&run, self.due_by(now));
        for (outcome, count) in self.slots.each() {
            let labels = with(&run, &[("outcome", outcome.as_str())]);
            page.slots.count(&labels, count);
        }
        for step in &self.steps {
            step.fill(page, &run);
        }
        self.fill_info(page, &run);
        if let Some(judged) = &self.judged {
            judged.fill(page, &run);
        }
        if let Some(at) = self.passed_at {
            page.last_success.value(&run, unix_seconds(at));
        }
    }

    fn fill_info(&self, page: &mut Page, run: &Labels<'_>) {
        let tags = self.info.tags.join(",");
        let labels = with(run, &[("tags", &tags), ("probe", &self.info.probe)]);
        page.info.count(&labels, 1);
        page.interval.value(run, self.info.interval.as_secs_f64());
        page.timeout.value(run, self.info.timeout.as_secs_f64());
        if let Some(objective) = self.info.objective {
            page.objective.value(run, objective);
        }
    }
}

impl Step {
    fn fill(&self, page: &mut Page, run: &Labels<'_>) {
        let step = with(run, &[("step", &self.name)]);
        let labels = with(&step, &[("phase", self.phase.as_str())]);
        page.step_duration.histogram(&labels, &self.duration);
        page.step_failures.count(&labels, self.failures);
        if let Some(retries) = self.retries {
            page.step_retries.count(&step, retries);
        }
        for (label, histogram) in HttpPhases::LABELS.iter().zip(self.http.iter().flatten()) {
            let labels = with(&step, &[("http_phase", label)]);
            page.http_phase.histogram(&labels, histogram);
        }
    }
}

impl Judged {
    fn fill(&self, page: &mut Page, run: &Labels<'_>) {
        page.state.count(run, u64::from(self.debounce.healthy()));
        page.success.count(run, u64::from(self.passed));
        page.consecutive.count(run, self.failures);
        page.last_run.value(run, unix_seconds(self.at));
    }
}

/// The steps of a spec, those that it had before with their counts.
fn steps(info: &SpecInfo, ladders: &Ladders, mut before: Vec<Step>) -> Vec<Step> {
    let bounds = &ladders.steps;
    let step = |(step, phase): (&StepInfo, Phase)| {
        let known = |old: &Step| old.name == step.name && old.phase == phase;
        let old = before.iter().position(known);
        let old = old.map(|index| before.swap_remove(index));
        let (mut duration, failures, retries, http) = match old {
            Some(old) => (old.duration, old.failures, old.retries, old.http),
            None => (Histogram::new(bounds), 0, None, None),
        };
        duration.fit(bounds);
        // What a teardown does is in its duration; its attempts are not those of the step.
        let once = phase != Phase::Teardown;
        let has_http = once && info.http_phases && step.speaks_http;
        let mut http = has_http
            .then(|| http.unwrap_or_else(|| std::array::from_fn(|_| Histogram::new(bounds))));
        http.iter_mut()
            .flatten()
            .for_each(|histogram| histogram.fit(bounds));
        Step {
            name: Arc::clone(&step.name),
            phase,
            duration,
            failures,
            retries: (once && step.may_retry).then(|| retries.unwrap_or(0)),
            http,
        }
    };
    contract::steps(info).map(step).collect()
}

/// What is counted per target.
pub(super) struct Target {
    lateness: Histogram,
    queue_wait: Histogram,
    teardowns: Vec<(
        &'static str,
        Tally<TeardownResult, { TeardownResult::ALL.len() }>,
    )>,
}

impl Target {
    pub(super) fn new() -> Self {
        let waits = Bounds::from(contract::WAITS);
        Self {
            lateness: Histogram::new(&waits),
            queue_wait: Histogram::new(&waits),
            teardowns: Vec::new(),
        }
    }

    /// Goes on with these kinds of resources, in this order.
    pub(super) fn renew(&mut self, kinds: impl IntoIterator<Item = &'static str>) {
        let mut before = std::mem::take(&mut self.teardowns);
        let renewed = kinds.into_iter().map(|kind| {
            let old = before.iter().position(|(known, _)| *known == kind);
            old.map_or_else(
                || (kind, Tally::new(&TeardownResult::ALL)),
                |index| before.swap_remove(index),
            )
        });
        self.teardowns = renewed.collect();
    }

    pub(super) fn run_started(&mut self, lateness: Option<Duration>, queue_wait: Duration) {
        if let Some(lateness) = lateness {
            self.lateness.observe(lateness);
        }
        self.queue_wait.observe(queue_wait);
    }

    pub(super) fn teardown_finished(&mut self, kind: &str, result: TeardownResult) {
        for (_, tally) in self
            .teardowns
            .iter_mut()
            .filter(|(known, _)| *known == kind)
        {
            tally.add(result, 1);
        }
    }

    pub(super) fn fill(&self, page: &mut Page, target: &str) {
        let target = [("target", target)];
        page.lateness.histogram(&target, &self.lateness);
        page.queue_wait.histogram(&target, &self.queue_wait);
        for (kind, tally) in &self.teardowns {
            for (result, count) in tally.each() {
                let labels = with(&target, &[("kind", kind), ("result", result.as_str())]);
                page.teardowns.count(&labels, count);
            }
        }
    }
}

/// One pool of permits, as it last was.
#[derive(Default)]
pub(super) struct Pool {
    pub(super) limit: u32,
    pub(super) in_use: u32,
    pub(super) waiting: u32,
}

impl Pool {
    pub(super) fn fill(&self, page: &mut Page, pool: &str) {
        let gauge = |family: &mut Family, value: u32| {
            family.count(&[("pool", pool)], u64::from(value));
        };
        gauge(&mut page.in_use, self.in_use);
        gauge(&mut page.limit, self.limit);
        gauge(&mut page.queue_length, self.waiting);
    }
}

pub(super) fn with<'a>(labels: &Labels<'a>, more: &Labels<'a>) -> Vec<(&'static str, &'a str)> {
    [labels, more].concat()
}

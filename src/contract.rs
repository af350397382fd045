//! The metrics contract as arithmetic: the bounds of every histogram, and how many series a plan
//! will have. Pure, so that a plan can be refused before it runs; the values are kept in
//! `exporter::metrics`, which takes its bounds and its steps from here.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::event::{HttpPhases, Phase, PoolInfo, SpecInfo, StepInfo, TeardownResult};
use crate::outcome::{Cause, Reason, SlotOutcome};

/// The bounds, in seconds, of lateness and queue wait: every second power of the step ladder, from
/// the 1 ms in which tokio's timers tick.
pub const WAITS: [f64; 9] = [
    0.001, 0.004, 0.016, 0.064, 0.256, 1.024, 4.096, 16.384, 65.536,
];

/// The bounds of all step histograms of a plan: 4 ms times powers of two, up to the first that
/// holds `longest`. None is ever a whole number, whose `le` Prometheus 2 and 3 write differently.
#[must_use]
pub fn ladder(longest: Duration) -> Vec<f64> {
    powers(0.004, 2.0, longest)
}

/// The bounds of run durations: every second one of the step ladder, from 64 ms.
#[must_use]
pub fn run_ladder(longest: Duration) -> Vec<f64> {
    powers(0.064, 4.0, longest)
}

fn powers(first: f64, factor: f64, longest: Duration) -> Vec<f64> {
    let longest = longest.as_secs_f64();
    let mut bounds = vec![first];
    let mut last = first;
    while last < longest {
        last *= factor;
        bounds.push(last);
    }
    bounds
}

/// The longest deadline of a step and the longest run of a plan, to which the ladders reach.
#[must_use]
pub fn longest<'a>(specs: impl IntoIterator<Item = &'a Arc<SpecInfo>>) -> (Duration, Duration) {
    let longest = |(step, run): (Duration, Duration), spec: &Arc<SpecInfo>| {
        (
            step.max(spec.longest),
            run.max(spec.timeout + spec.overtime),
        )
    };
    specs
        .into_iter()
        .fold((Duration::ZERO, Duration::ZERO), longest)
}

/// The steps of a spec that have series, each with its phase: a resource has two.
pub fn steps(spec: &SpecInfo) -> impl Iterator<Item = (&StepInfo, Phase)> {
    spec.steps.iter().flat_map(|step| {
        let teardown = step.is_resource.then_some((step, Phase::Teardown));
        std::iter::once((step, step.phase)).chain(teardown)
    })
}

/// How many of all places each of so many targets can always have; so a target that hangs, and
/// whose runs hold their places until their deadlines, does not keep the others from running.
#[must_use]
pub fn fair_share(places: u32, targets: usize) -> u32 {
    let targets = u32::try_from(targets).unwrap_or(u32::MAX);
    places.checked_div(targets).unwrap_or(places).max(1)
}

/// How many sample lines `/metrics` has once every gauge has a value. `exporters` are those that
/// count what they drop.
#[must_use]
pub fn series(specs: &[Arc<SpecInfo>], pools: &[PoolInfo], exporters: usize) -> u64 {
    // Reload result and time, damaged and replaced journals, build, and the six of the process.
    const PROCESS: usize = 2 + 2 + 1 + 6;
    const PER_POOL: usize = 3;
    const PER_TARGET: usize = 2 * histogram(WAITS.len());

    let (step, run) = longest(specs);
    let (ladder, run_ladder) = (ladder(step).len(), run_ladder(run).len());
    let of_specs: usize = specs
        .iter()
        .map(|spec| of_spec(spec, ladder, run_ladder))
        .sum();
    let targets: HashSet<&str> = specs.iter().map(|spec| target(spec)).collect();
    let kinds: HashSet<(&str, &str)> = specs
        .iter()
        .flat_map(|spec| spec.kinds.iter().map(|kind| (target(spec), *kind)))
        .collect();
    let all = PROCESS
        + exporters
        + pools.len() * PER_POOL
        + targets.len() * PER_TARGET
        // Teardowns and sweeps by result; owed, oldest, stuck, blind searches.
        + kinds.len() * (2 * TeardownResult::ALL.len() + 4)
        + of_specs;
    u64::try_from(all).unwrap_or(u64::MAX)
}

/// How many of them a spec has at least, whatever else is in its plan.
#[must_use]
pub fn series_alone(spec: &Arc<SpecInfo>) -> u64 {
    let (step, run) = longest([spec]);
    let all = of_spec(spec, ladder(step).len(), run_ladder(run).len());
    u64::try_from(all).unwrap_or(u64::MAX)
}

fn of_spec(spec: &SpecInfo, ladder: usize, run_ladder: usize) -> usize {
    // Runs and due slots; info, interval and timeout; the five that come with the first verdicts.
    const SINGLE: usize = 2 + 3 + 5;

    let of_steps: usize = steps(spec)
        .map(|(step, phase)| {
            let once = phase != Phase::Teardown;
            let http = once && spec.http_phases && step.speaks_http;
            let histograms = 1 + if http { HttpPhases::LABELS.len() } else { 0 };
            // The counter besides is that of its failures.
            histograms * histogram(ladder) + 1 + usize::from(once && step.may_retry)
        })
        .sum();
    SINGLE
        + usize::from(spec.objective.is_some())
        + Reason::ALL.len()
        + Cause::ALL.len()
        + SlotOutcome::ALL.len()
        + histogram(run_ladder)
        + of_steps
}

/// The lines of one histogram: its bounds, `+Inf`, sum and count.
const fn histogram(bounds: usize) -> usize {
    bounds + 3
}

fn target(spec: &SpecInfo) -> &str {
    &spec.identity.target
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ladders_reach_the_longest_deadline_and_no_further() {
        let last = |seconds| *ladder(Duration::from_secs_f64(seconds)).last().unwrap();
        for (longest, bound) in [
            (0.0, 0.004),
            (0.004, 0.004),
            (0.005, 0.008),
            (1.0, 1.024),
            (1.025, 2.048),
            (60.0, 65.536),
            (3600.0, 4194.304),
        ] {
            assert!((last(longest) - bound).abs() < 1e-9, "{longest}");
        }
    }

    #[test]
    fn bounds_are_short_and_never_whole() {
        let year = Duration::from_secs(366 * 86_400);
        let (ladder, runs) = (ladder(year), run_ladder(year));
        for bound in ladder.iter().chain(&runs).chain(&WAITS) {
            assert!(bound.fract() > 0.0, "{bound}");
            // 4 ms has three decimals, and so has every double of it.
            let decimals = bound.to_string().split_once('.').unwrap().1.len();
            assert!(decimals <= 3, "{bound}");
        }
        let (_, inner) = runs.split_last().unwrap();
        assert!(inner.iter().all(|bound| ladder.contains(bound)));
    }
}

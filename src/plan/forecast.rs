//! What a plan will cost, before anything runs: plain sums over a finite tree.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::contract;
use crate::event::PoolInfo;
use crate::spec::Scheduled;

/// The exporters that may drop something while the daemon serves: the log.
const EXPORTERS: usize = 1;

/// What `testerd check` says about a good plan.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Forecast {
    /// Spec variants on targets.
    pub scheduled: usize,
    /// Runs in an hour if every slot is run.
    pub runs_per_hour: f64,
    /// HTTP requests in a second if every step is tried as often as it may be.
    pub requests_per_second: f64,
    /// Series on `/metrics` once every gauge exists.
    pub series: u64,
    /// The longest that all teardowns of one run may take together.
    pub longest_teardown: Duration,
    /// The queue that takes the longest, for how often its target is probed; none if no target can
    /// have one.
    pub queue: Option<Queue>,
    /// The stop timeout that lets every teardown finish; systemd's must be above it.
    pub stop_timeout: Duration,
}

/// What waits for a target all of whose runs go to their deadlines.
#[derive(Debug, Clone, PartialEq)]
pub struct Queue {
    /// The target.
    pub target: String,
    /// Its runs.
    pub runs: usize,
    /// How many of them can always go on at once.
    pub places: u32,
    /// How long it takes until each of them was run.
    pub wait: Duration,
    /// The shortest interval of its probes.
    pub interval: Duration,
}

impl Queue {
    /// Slots are skipped then.
    #[must_use]
    pub fn is_too_long(&self) -> bool {
        self.wait > self.interval
    }

    fn longest(scheduled: &[Arc<Scheduled>], pools: &[PoolInfo]) -> Option<Self> {
        let mut targets: BTreeMap<&str, Vec<&Scheduled>> = BTreeMap::new();
        for spec in scheduled {
            targets.entry(&spec.target.name).or_default().push(spec);
        }
        let shares = pools.iter();
        let shares: HashMap<_, _> = shares
            .filter_map(|pool| Some((pool.name.strip_prefix("target:")?, pool.share)))
            .collect();
        let queues = targets.into_iter().filter_map(|(target, specs)| {
            let places = shares.get(target).copied().unwrap_or(1).max(1);
            let waits = u32::try_from(specs.len()).unwrap_or(u32::MAX) > places;
            let lasts = specs.iter().fold(Duration::ZERO, |sum, spec| {
                sum.saturating_add(spec.info.timeout)
                    .saturating_add(spec.teardown)
            });
            waits.then_some(Self {
                target: target.to_owned(),
                runs: specs.len(),
                places,
                wait: lasts / places,
                interval: specs.iter().map(|spec| spec.info.interval).min()?,
            })
        });
        let ratio = |queue: &Self| queue.wait.as_secs_f64() / queue.interval.as_secs_f64();
        queues.max_by(|a, b| ratio(a).total_cmp(&ratio(b)))
    }
}

impl Forecast {
    pub(super) fn of(scheduled: &[Arc<Scheduled>], pools: &[PoolInfo]) -> Self {
        let per_second = |spec: &Scheduled| 1.0 / spec.info.interval.as_secs_f64();
        let longest_teardown = scheduled
            .iter()
            .map(|spec| spec.teardown)
            .max()
            .unwrap_or_default();
        // A creating request in flight is waited for, to its own deadline, before its teardown.
        let longest_create = scheduled
            .iter()
            .filter(|spec| spec.teardown > Duration::ZERO)
            .map(|spec| spec.info.timeout)
            .max()
            .unwrap_or_default();
        let infos: Vec<_> = scheduled.iter().map(|spec| spec.info.clone()).collect();
        Self {
            scheduled: scheduled.len(),
            runs_per_hour: scheduled.iter().map(|spec| 3600.0 * per_second(spec)).sum(),
            requests_per_second: scheduled
                .iter()
                .map(|spec| f64::from(spec.requests) * per_second(spec))
                .sum(),
            series: contract::series(&infos, pools, EXPORTERS),
            longest_teardown,
            queue: Queue::longest(scheduled, pools),
            stop_timeout: longest_create + longest_teardown,
        }
    }
}

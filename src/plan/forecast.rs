//! What a plan will cost, before anything runs: plain sums over a finite tree.

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
    /// The stop timeout that lets every teardown finish; systemd's must be above it.
    pub stop_timeout: Duration,
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
            stop_timeout: longest_create + longest_teardown,
        }
    }
}

//! What happened, for Prometheus: counted at once in the caller, so nothing is ever lost, and
//! written out when asked for.
//!
//! Events find what they count in the running plan, which also bounds it: nothing that the plan
//! does not name gets a series. A scrape holds the lock of one spec at a time, never that of the
//! plan, so it delays no run.

mod histogram;
mod owing;
mod page;
mod process;
mod series;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use self::owing::Owing;
use self::page::Page;
use self::series::{Ladders, Pool, Spec, Target};
use super::lock;
use super::queue::Dropped;
use crate::contract;
use crate::event::{Event, Exporter, Identity, PoolInfo, SpecInfo};
use crate::grid::Grid;

/// The metrics exporter.
pub struct Metrics {
    started: SystemTime,
    exporters: Vec<(&'static str, Dropped)>,
    plan: RwLock<Option<Arc<Plan>>>,
    /// Whether the configuration that was read last is the one that runs, and since when that is.
    config: Mutex<(bool, SystemTime)>,
    /// What the journal owes outlives every plan.
    owed: Mutex<Owing>,
}

/// What there is to count. The counts themselves outlive their plan: the next one shares those
/// that it still has, so an event that comes in between is counted in both.
struct Plan {
    origin: Instant,
    /// Since the origin; from then on nothing falls due.
    stopped: OnceLock<Duration>,
    specs: Counted<Identity, Spec>,
    targets: Counted<String, Target>,
    pools: Counted<String, Pool>,
}

type Counted<K, V> = BTreeMap<K, Arc<Mutex<V>>>;

impl Metrics {
    /// Nothing counted yet. `exporters` are those that may drop something, by their label.
    #[must_use]
    pub fn new(exporters: Vec<(&'static str, Dropped)>) -> Self {
        let started = crate::text::wall_clock();
        Self {
            started,
            exporters,
            plan: RwLock::new(None),
            config: Mutex::new((true, started)),
            owed: Mutex::default(),
        }
    }

    /// All metrics in the text format 0.0.4. It may take a while: not for a worker of the runtime.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut page = Page::new();
        let build = [
            ("version", env!("CARGO_PKG_VERSION")),
            (
                "revision",
                option_env!("TESTERD_REVISION").unwrap_or("unknown"),
            ),
            ("rustversion", env!("TESTERD_RUSTC")),
        ];
        page.build.count(&build, 1);
        for (exporter, dropped) in &self.exporters {
            page.dropped
                .count(&[("exporter", exporter)], dropped.count());
        }
        let (accepted, at) = *lock(&self.config);
        page.reload.count(&[], u64::from(accepted));
        page.reloaded.value(&[], unix_seconds(at));
        process::fill(&mut page, self.started);
        if let Some(plan) = self.plan() {
            plan.fill(&mut page);
        }
        self.owed().fill(&mut page, crate::text::wall_clock());
        page.encode()
    }

    /// How many damaged journals lie beside the one in use, and where it counts how often it was
    /// written anew.
    pub fn set_journal(&self, damaged: usize, replaced: Arc<AtomicU64>) {
        let mut owed = self.owed();
        (owed.damaged, owed.replaced) = (damaged, replaced);
    }

    /// Whether the configuration that was read last is the one that runs.
    #[must_use]
    pub fn is_config_current(&self) -> bool {
        lock(&self.config).0
    }

    fn owed(&self) -> MutexGuard<'_, Owing> {
        lock(&self.owed)
    }

    fn plan(&self) -> Option<Arc<Plan>> {
        let plan = self.plan.read().unwrap_or_else(PoisonError::into_inner);
        plan.clone()
    }

    fn load(
        &self,
        specs: &[(Arc<SpecInfo>, Grid)],
        pools: &[PoolInfo],
        (origin, since): (Instant, Duration),
    ) {
        let kinds = specs.iter().flat_map(|(spec, _)| {
            spec.kinds
                .iter()
                .map(|kind| (spec.identity.target.as_str(), *kind))
        });
        self.owed().plan(kinds);
        // Made before the lock is taken, so that a large plan delays no event.
        let plan = Plan::load(self.plan().as_deref(), specs, pools, (origin, since));
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(plan));
    }

    fn spec(&self, spec: &SpecInfo, note: impl FnOnce(&mut Spec)) {
        if let Some(plan) = self.plan()
            && let Some(spec) = plan.specs.get(&spec.identity)
        {
            note(&mut lock(spec));
        }
    }

    fn target(&self, spec: &SpecInfo, note: impl FnOnce(&mut Target)) {
        if let Some(plan) = self.plan()
            && let Some(target) = plan.targets.get(&spec.identity.target)
        {
            note(&mut lock(target));
        }
    }

    fn pool(&self, pool: &str, note: impl FnOnce(&mut Pool)) {
        if let Some(plan) = self.plan()
            && let Some(pool) = plan.pools.get(pool)
        {
            note(&mut lock(pool));
        }
    }
}

impl Exporter for Metrics {
    fn export(&self, event: &Event) {
        match event {
            Event::PlanLoaded {
                specs,
                pools,
                origin,
                since,
            } => self.load(specs, pools, (*origin, *since)),
            Event::ConfigRead { accepted, at } => {
                let mut config = lock(&self.config);
                config.0 = *accepted;
                if *accepted {
                    config.1 = *at;
                }
            }
            Event::ScheduleStopped { at } => {
                // Only the first stop counts.
                let _ = self.plan().map(|plan| plan.stopped.set(*at));
            }
            Event::SlotsEnded {
                spec,
                outcome,
                count,
            } => self.spec(spec, |spec| spec.slots_ended(*outcome, *count)),
            Event::PoolChanged {
                pool,
                in_use,
                waiting,
            } => self.pool(pool, |pool| {
                pool.in_use = *in_use;
                pool.waiting = *waiting;
            }),
            Event::RunStarted {
                run,
                lateness,
                queue_wait,
            } => self.target(&run.spec, |target| {
                target.run_started(*lateness, *queue_wait);
            }),
            Event::StepFinished { run, end } => {
                self.spec(&run.spec, |spec| spec.step_finished(end));
            }
            Event::TeardownFinished { run, kind, result } => {
                self.target(&run.spec, |target| target.teardown_finished(kind, *result));
            }
            Event::RunFinished {
                run,
                verdict,
                failed: _,
                duration,
                at,
            } => self.spec(&run.spec, |spec| {
                spec.run_finished(*verdict, *duration, *at);
            }),
            Event::Swept {
                target,
                kind,
                result,
                why: _,
            } => self.owed().swept(target, kind, *result),
            Event::SearchIsBlind { target, kind, .. } => self.owed().blind(target, kind),
            Event::OwedChanged { owed } => self.owed().changed(owed),
            // Retries are counted when their step ends, and a skipped step has no duration.
            Event::AttemptFailed { .. } | Event::StepSkipped { .. } => {}
        }
    }
}

impl Plan {
    fn load(
        old: Option<&Self>,
        specs: &[(Arc<SpecInfo>, Grid)],
        pools: &[PoolInfo],
        (origin, since): (Instant, Duration),
    ) -> Self {
        let ladders = Ladders::of(contract::longest(specs.iter().map(|(spec, _)| spec)));
        let mut kinds: BTreeMap<&str, BTreeSet<&'static str>> = BTreeMap::new();
        for (spec, _) in specs {
            let kinds = kinds.entry(&spec.identity.target).or_default();
            kinds.extend(&spec.kinds);
        }
        Self {
            origin,
            stopped: OnceLock::new(),
            specs: specs
                .iter()
                .map(|(info, grid)| {
                    let before = old.and_then(|old| Some((old, old.specs.get(&info.identity)?)));
                    let spec = match before {
                        Some((old, spec)) => {
                            old.renew(spec, info, (*grid, origin, since), &ladders);
                            Arc::clone(spec)
                        }
                        None => Arc::new(Mutex::new(Spec::new(info, *grid, &ladders))),
                    };
                    (info.identity.clone(), spec)
                })
                .collect(),
            targets: kinds
                .into_iter()
                .map(|(name, kinds)| {
                    let target = old.and_then(|old| old.targets.get(name)).cloned();
                    let target = target.unwrap_or_else(|| Arc::new(Mutex::new(Target::new())));
                    lock(&target).renew(kinds);
                    (name.to_owned(), target)
                })
                .collect(),
            pools: pools
                .iter()
                .map(|info| {
                    let pool = old.and_then(|old| old.pools.get(&info.name)).cloned();
                    let pool = pool.unwrap_or_default();
                    lock(&pool).limit = info.limit;
                    (info.name.clone(), pool)
                })
                .collect(),
        }
    }

    /// Hands a spec of this plan over to the next one. Under the same grid its due slots simply go
    /// on; under another, those that fell due until then are kept as a number.
    fn renew(
        &self,
        spec: &Mutex<Spec>,
        info: &Arc<SpecInfo>,
        (grid, origin, since): (Grid, Instant, Duration),
        ladders: &Ladders,
    ) {
        let mut spec = lock(spec);
        let same = self.origin == origin && spec.grid() == grid && self.stopped.get().is_none();
        // Not by the clock: a slot between then and now is one of the new grid.
        let until = if self.origin == origin {
            self.now().min(since)
        } else {
            self.now()
        };
        let due = (!same).then(|| spec.due_by(until));
        spec.renew(info, grid, ladders, due);
    }

    /// Since the origin; stands still once the schedule has stopped.
    fn now(&self) -> Duration {
        let stopped = self.stopped.get().copied();
        stopped.unwrap_or_else(|| self.origin.elapsed())
    }

    fn fill(&self, page: &mut Page) {
        for (name, target) in &self.targets {
            lock(target).fill(page, name);
        }
        for (name, pool) in &self.pools {
            lock(pool).fill(page, name);
        }
        for spec in self.specs.values() {
            // The clock is read once the lock is held: a slot counted as run must be due as well.
            let spec = lock(spec);
            spec.fill(page, self.now());
        }
    }
}

fn unix_seconds(at: SystemTime) -> f64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

//! How the runs of each scheduled spec ended, in memory: for the landing page, never for rules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use super::lock;
use crate::event::{Event, Exporter, FailedStep, Identity, SpecInfo};
use crate::outcome::Verdict;

/// The history exporter.
#[derive(Debug, Default)]
pub struct History {
    specs: Mutex<Option<BTreeMap<Identity, Entry>>>,
    blind: Mutex<BTreeSet<BlindSearch>>,
}

/// A search that did not find what was certainly made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlindSearch {
    /// The target's name.
    pub target: String,
    /// The kind of resource.
    pub kind: String,
    /// What it asks for.
    pub search: String,
}

/// What is known of one scheduled spec.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Which.
    pub spec: Arc<SpecInfo>,
    /// Runs that passed or failed.
    pub runs: u64,
    /// Runs that failed.
    pub failures: u64,
    /// The last run, also an inconclusive one.
    pub last: Option<LastRun>,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct LastRun {
    /// Its id.
    pub id: Arc<str>,
    /// How it ended.
    pub verdict: Verdict,
    /// The first failing leaf.
    pub failed: Option<FailedStep>,
    /// From its start to the end of its teardown.
    pub duration: Duration,
    /// When it ended.
    pub at: SystemTime,
}

impl History {
    /// Every scheduled spec in the order of identities; nothing before the first plan.
    #[must_use]
    pub fn snapshot(&self) -> Option<Vec<Entry>> {
        let entries = lock(&self.specs);
        let entries = entries.as_ref()?.values().cloned();
        Some(entries.collect())
    }

    /// The searches that were found to be blind since the start.
    #[must_use]
    pub fn blind(&self) -> Vec<BlindSearch> {
        lock(&self.blind).iter().cloned().collect()
    }

    /// Whether a plan is running.
    #[must_use]
    pub fn has_plan(&self) -> bool {
        lock(&self.specs).is_some()
    }
}

impl Exporter for History {
    fn export(&self, event: &Event) {
        match event {
            Event::PlanLoaded { specs, .. } => {
                let mut entries = lock(&self.specs);
                let mut before = entries.take().unwrap_or_default();
                let entry = |spec: &Arc<SpecInfo>| match before.remove(&spec.identity) {
                    Some(entry) => Entry {
                        spec: Arc::clone(spec),
                        ..entry
                    },
                    None => Entry {
                        spec: Arc::clone(spec),
                        runs: 0,
                        failures: 0,
                        last: None,
                    },
                };
                let now = specs.iter().map(|(spec, _)| spec);
                let now = now
                    .map(entry)
                    .map(|entry| (entry.spec.identity.clone(), entry));
                *entries = Some(now.collect());
            }
            Event::RunFinished {
                run,
                verdict,
                failed,
                duration,
                at,
            } => {
                let mut entries = lock(&self.specs);
                let entry = entries
                    .as_mut()
                    .and_then(|all| all.get_mut(&run.spec.identity));
                let Some(entry) = entry else { return };
                let judged = matches!(verdict, Verdict::Pass | Verdict::Fail(_));
                entry.runs += u64::from(judged);
                entry.failures += u64::from(matches!(verdict, Verdict::Fail(_)));
                entry.last = Some(LastRun {
                    id: Arc::clone(&run.id),
                    verdict: *verdict,
                    failed: failed.clone(),
                    duration: *duration,
                    at: *at,
                });
            }
            Event::SearchIsBlind {
                target,
                kind,
                search,
            } => {
                lock(&self.blind).insert(BlindSearch {
                    target: target.clone(),
                    kind: kind.clone(),
                    search: search.clone(),
                });
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::exporter::sample::{loaded, spec, story};

    #[test]
    fn it_follows_the_plan() {
        let history = History::default();
        assert!(history.snapshot().is_none() && !history.has_plan());
        let specs = ["checkout", "search"].map(|name| Arc::new(spec("shop", name, "")));
        history.export(&loaded(&specs, Instant::now()));
        for spec in &specs {
            for event in story(spec) {
                history.export(&event);
            }
        }
        history.export(&loaded(&specs[1..], Instant::now()));
        let entries = history.snapshot().unwrap();
        assert_eq!(entries.len(), 1);
        let search = &entries[0];
        assert_eq!(search.spec.identity.to_string(), "shop/search");
        assert_eq!((search.runs, search.failures), (2, 1));
        let last = search.last.as_ref().unwrap();
        assert_eq!((&*last.id, last.verdict.as_str()), ("r3", "cancelled"));
    }
}

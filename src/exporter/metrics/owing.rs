//! What the journal owes and what the sweeper did, by target and kind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use super::page::Page;
use super::series::{Tally, with};
use crate::event::{OwedInfo, TeardownResult};

/// Everything that is owed, or was once.
#[derive(Default)]
pub(super) struct Owing {
    /// Damaged journals that were set aside.
    pub(super) damaged: usize,
    /// How often the journal was written anew; it counts itself.
    pub(super) replaced: Arc<AtomicU64>,
    kinds: BTreeMap<(String, String), Kind>,
}

#[derive(Default)]
struct Kind {
    owed: Option<OwedInfo>,
    swept: Swept,
    /// How often a search did not find what was certainly made.
    blind: u64,
}

struct Swept(Tally<TeardownResult, { TeardownResult::ALL.len() }>);

impl Default for Swept {
    fn default() -> Self {
        Self(Tally::new(&TeardownResult::ALL))
    }
}

impl Owing {
    /// What the plan can make is there at 0. What it cannot make any more goes, unless it is owed.
    pub(super) fn plan<'a>(&mut self, kinds: impl Iterator<Item = (&'a str, &'a str)>) {
        let mut before = std::mem::take(&mut self.kinds);
        for (target, kind) in kinds {
            let key = (target.to_owned(), kind.to_owned());
            let kept = before.remove(&key).unwrap_or_default();
            self.kinds.entry(key).or_insert(kept);
        }
        before.retain(|_, kind| kind.owed.is_some());
        self.kinds.append(&mut before);
    }

    pub(super) fn swept(&mut self, target: &str, kind: &str, result: TeardownResult) {
        self.kind(target, kind).swept.0.add(result, 1);
    }

    pub(super) fn blind(&mut self, target: &str, kind: &str) {
        self.kind(target, kind).blind += 1;
    }

    pub(super) fn changed(&mut self, owed: &[OwedInfo]) {
        for kind in self.kinds.values_mut() {
            kind.owed = None;
        }
        for info in owed {
            self.kind(&info.target, &info.kind).owed = Some(info.clone());
        }
    }

    fn kind(&mut self, target: &str, kind: &str) -> &mut Kind {
        let key = (target.to_owned(), kind.to_owned());
        self.kinds.entry(key).or_default()
    }

    pub(super) fn fill(&self, page: &mut Page, now: SystemTime) {
        page.damaged.count(&[], self.damaged as u64);
        let replaced = self.replaced.load(Ordering::Relaxed);
        page.replaced.count(&[], replaced);
        for ((target, name), kind) in &self.kinds {
            let labels = [("target", target.as_str()), ("kind", name.as_str())];
            let owed = kind.owed.as_ref();
            page.owed.count(&labels, owed.map_or(0, |owed| owed.count));
            page.stuck.count(&labels, owed.map_or(0, |owed| owed.stuck));
            let age = owed.and_then(|owed| now.duration_since(owed.oldest).ok());
            page.oldest
                .value(&labels, age.unwrap_or_default().as_secs_f64());
            page.blind.count(&labels, kind.blind);
            for (result, count) in kind.swept.0.each() {
                let labels = with(&labels, &[("result", result.as_str())]);
                page.swept.count(&labels, count);
            }
        }
    }
}

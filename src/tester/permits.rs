//! Places in bounded pools: named limits, targets, and all runs together. Pure.
//!
//! A run takes all its places at once or none, so one that waits holds nothing and nobody can
//! deadlock. The next place of all goes to the target that has the fewest, and there to the run
//! that has waited longest. In a named limit the oldest comes first: a run that lacks a place there
//! keeps later ones from it, but not from others.
//!
//! Each target has a share of all places, which it can always have. More than that is lent to it
//! only while enough places stay free for the shares that others have not taken: half of all places
//! at most. So targets that hang, and hold places until their deadlines, cannot take them all.

use std::collections::{BTreeMap, VecDeque};

use crate::event::PoolInfo;

/// What a run takes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Needs {
    /// The pool of its target, where it takes one place.
    pub target: usize,
    /// Named limits: pool and number of places.
    pub limits: Vec<(usize, u32)>,
    /// The pool of all runs, where it takes one place.
    pub global: usize,
}

impl Needs {
    /// All pools with the places taken there.
    pub fn places(&self) -> impl Iterator<Item = (usize, u32)> {
        let target = (self.target != self.global).then_some((self.target, 1));
        let limits = self.limits.iter().copied();
        limits.chain(target).chain([(self.global, 1)])
    }
}

/// All pools; the last one is that of all runs.
#[derive(Debug, Default)]
pub struct Permits {
    pools: Vec<Pool>,
    /// Who waits, by what they need, with their tickets; the oldest first. Those with the same needs
    /// differ only in their age, so that only the first of them has to be looked at.
    waiting: BTreeMap<Needs, VecDeque<(u64, usize)>>,
    /// The ticket of the next one who comes.
    next: u64,
}

#[derive(Debug)]
struct Pool {
    limit: u32,
    share: u32,
    in_use: u32,
    waiting: u32,
}

impl Pool {
    fn free(&self) -> u32 {
        self.limit.saturating_sub(self.in_use)
    }

    /// What is still to be had of its share.
    fn kept(&self) -> u32 {
        self.share.saturating_sub(self.in_use)
    }
}

impl Permits {
    /// These pools, all empty.
    #[must_use]
    pub fn new(pools: &[PoolInfo]) -> Self {
        let pool = |pool: &PoolInfo| Pool {
            limit: pool.limit,
            share: pool.share,
            in_use: 0,
            waiting: 0,
        };
        Self {
            pools: pools.iter().map(pool).collect(),
            ..Self::default()
        }
    }

    /// Places taken, and runs that wait for one.
    #[must_use]
    pub fn usage(&self, pool: usize) -> (u32, u32) {
        let pool = &self.pools[pool];
        (pool.in_use, pool.waiting)
    }

    /// Queues one who needs places.
    pub fn wait(&mut self, who: usize, needs: Needs) {
        for (pool, _) in needs.places() {
            self.pools[pool].waiting += 1;
        }
        let ticket = self.next;
        self.next += 1;
        let queue = self.waiting.entry(needs).or_default();
        queue.push_back((ticket, who));
    }

    /// Who waits, oldest first.
    #[must_use]
    pub fn queue(&self) -> Vec<usize> {
        let mut queue: Vec<_> = self.waiting.values().flatten().copied().collect();
        queue.sort_unstable();
        queue.into_iter().map(|(_, who)| who).collect()
    }

    /// Notes places that somebody has already, also beyond a limit that is lower than it was:
    /// nobody else gets one until enough have been given back.
    pub fn hold(&mut self, places: impl IntoIterator<Item = (usize, u32)>) {
        for (pool, places) in places {
            self.pools[pool].in_use += places;
        }
    }

    /// Nobody waits any more.
    pub fn forget_waiting(&mut self) {
        self.waiting.clear();
        for pool in &mut self.pools {
            pool.waiting = 0;
        }
    }

    /// Gives places back.
    pub fn release(&mut self, places: impl IntoIterator<Item = (usize, u32)>) {
        for (pool, places) in places {
            let pool = &mut self.pools[pool];
            pool.in_use = pool.in_use.saturating_sub(places);
        }
    }

    /// Everybody who can have places now; they have them.
    pub fn grant(&mut self) -> Vec<usize> {
        let mut granted = Vec::new();
        while let Some(needs) = self.best() {
            let Some(queue) = self.waiting.get_mut(&needs) else {
                break;
            };
            granted.extend(queue.pop_front().map(|(_, who)| who));
            if queue.is_empty() {
                self.waiting.remove(&needs);
            }
            for (pool, _) in needs.places() {
                let waiting = &mut self.pools[pool].waiting;
                *waiting = waiting.saturating_sub(1);
            }
            self.hold(needs.places());
        }
        granted
    }

    /// The needs whose oldest comes next.
    fn best(&self) -> Option<Needs> {
        let all = self.pools.last()?;
        if all.free() == 0 || self.waiting.is_empty() {
            return None;
        }
        let kept: u32 = self.pools.iter().map(Pool::kept).sum();
        let lends = all.free() > kept.min(all.limit / 2);
        // A place of its own share, or one that can be lent.
        let target_fits = |needs: &Needs| {
            let target = &self.pools[needs.target];
            target.free() > 0 && (target.in_use < target.share || lends)
        };
        let barriers = self.barriers(target_fits);
        let fits = |needs: &Needs, ticket: u64| {
            target_fits(needs)
                && needs.limits.iter().all(|(pool, places)| {
                    let barrier = barriers.get(pool);
                    *places <= self.pools[*pool].free()
                        && barrier.is_none_or(|oldest| ticket <= *oldest)
                })
        };
        let first = self.waiting.iter().filter_map(|(needs, queue)| {
            let (ticket, _) = *queue.front()?;
            fits(needs, ticket).then(|| (self.pools[needs.target].in_use, ticket, needs))
        });
        first.min().map(|(_, _, needs)| needs.clone())
    }

    /// The oldest ticket that counts in each named limit: of those who lack places there, or lack
    /// nothing. One that waits for its target or for another limit is passed by.
    fn barriers(&self, target_fits: impl Fn(&Needs) -> bool) -> BTreeMap<usize, u64> {
        let mut barriers = BTreeMap::new();
        for (needs, queue) in &self.waiting {
            let Some((ticket, _)) = queue.front() else {
                continue;
            };
            let lacks = |(pool, places): &(usize, u32)| *places > self.pools[*pool].free();
            let lacks_nothing = !needs.limits.iter().any(lacks) && target_fits(needs);
            for need in &needs.limits {
                if lacks_nothing || lacks(need) {
                    let oldest = barriers.entry(need.0).or_insert(*ticket);
                    *oldest = (*oldest).min(*ticket);
                }
            }
        }
        barriers
    }
}

#[cfg(test)]
mod tests;

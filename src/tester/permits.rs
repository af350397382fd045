//! Places in bounded pools: named limits, targets, and all runs together. Pure.
//!
//! A run takes all its places at once or none, so one that waits holds nothing and nobody can
//! deadlock. Among those who wait, the oldest comes first in each pool: a run that lacks a place
//! in a pool keeps later ones from it, but not from others, so a hung target delays only its own.

use std::collections::VecDeque;

use crate::event::PoolInfo;

/// The places that a run takes: pool and number, the global pool among them.
pub type Needs = Vec<(usize, u32)>;

/// All pools.
#[derive(Debug, Default)]
pub struct Permits {
    pools: Vec<Pool>,
    /// Who waits, oldest first.
    queue: VecDeque<(usize, Needs)>,
}

#[derive(Debug)]
struct Pool {
    limit: u32,
    in_use: u32,
    waiting: u32,
}

impl Permits {
    /// These pools, all empty.
    #[must_use]
    pub fn new(pools: &[PoolInfo]) -> Self {
        let pool = |pool: &PoolInfo| Pool {
            limit: pool.limit,
            in_use: 0,
            waiting: 0,
        };
        Self {
            pools: pools.iter().map(pool).collect(),
            queue: VecDeque::new(),
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
        for (pool, _) in &needs {
            self.pools[*pool].waiting += 1;
        }
        self.queue.push_back((who, needs));
    }

    /// Who waits, oldest first.
    pub fn queue(&self) -> impl Iterator<Item = usize> {
        self.queue.iter().map(|(who, _)| *who)
    }

    /// Notes places that somebody has already, also beyond a limit that is lower than it was:
    /// nobody else gets one until enough have been given back.
    pub fn hold(&mut self, needs: &Needs) {
        for (pool, places) in needs {
            self.pools[*pool].in_use += places;
        }
    }

    /// Takes one out of the queue who does not want any more.
    pub fn give_up(&mut self, who: usize) {
        if let Some(place) = self.queue.iter().position(|(waiting, _)| *waiting == who)
            && let Some((_, needs)) = self.queue.remove(place)
        {
            self.left_queue(&needs);
        }
    }

    /// Gives places back.
    pub fn release(&mut self, needs: &Needs) {
        for (pool, places) in needs {
            let pool = &mut self.pools[*pool];
            pool.in_use = pool.in_use.saturating_sub(*places);
        }
    }

    /// Everybody who can have places now; they have them.
    pub fn grant(&mut self) -> Vec<usize> {
        let mut granted = Vec::new();
        let mut blocked = vec![false; self.pools.len()];
        let mut index = 0;
        while let Some((who, needs)) = self.queue.get(index) {
            let free = |(pool, places): &(usize, u32)| {
                let Pool { limit, in_use, .. } = self.pools[*pool];
                !blocked[*pool] && in_use + places <= limit
            };
            if needs.iter().all(free) {
                granted.push(*who);
                if let Some((_, needs)) = self.queue.remove(index) {
                    self.left_queue(&needs);
                    self.hold(&needs);
                }
                continue;
            }
            let lacking = needs
                .iter()
                .filter(|need| !free(need))
                .map(|(pool, _)| *pool);
            for pool in lacking.collect::<Vec<_>>() {
                blocked[pool] = true;
            }
            // Everybody needs the last pool, the global one: when it is full, all wait.
            if blocked.last() == Some(&true) {
                break;
            }
            index += 1;
        }
        granted
    }

    fn left_queue(&mut self, needs: &Needs) {
        for (pool, _) in needs {
            let waiting = &mut self.pools[*pool].waiting;
            *waiting = waiting.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn permits(limits: &[u32]) -> Permits {
        let pool = |limit: &u32| PoolInfo {
            name: String::new(),
            limit: *limit,
        };
        Permits::new(&limits.iter().map(pool).collect::<Vec<_>>())
    }

    #[test]
    fn a_full_target_does_not_hold_the_places_of_others() {
        // Target a (1 place), target b (2), global (2).
        let mut permits = permits(&[1, 2, 2]);
        for who in 0..3 {
            permits.wait(who, vec![(0, 1), (2, 1)]);
        }
        permits.wait(3, vec![(1, 1), (2, 1)]);
        assert_eq!(
            permits.grant(),
            [0, 3],
            "1 and 2 wait for target a and hold nothing"
        );
        permits.give_up(1);
        permits.release(&vec![(0, 1), (2, 1)]);
        assert_eq!(permits.grant(), [2]);
        assert_eq!(permits.usage(2), (2, 0));
    }

    #[test]
    fn a_wide_need_is_not_starved_by_narrow_ones() {
        let mut permits = permits(&[2, 9]);
        permits.wait(0, vec![(0, 1), (1, 1)]);
        assert_eq!(permits.grant(), [0]);
        permits.wait(1, vec![(0, 2), (1, 1)]);
        permits.wait(2, vec![(0, 1), (1, 1)]);
        assert_eq!(
            permits.grant(),
            [0usize; 0],
            "2 comes after 1 in the pool that 1 waits for"
        );
        permits.release(&vec![(0, 1), (1, 1)]);
        assert_eq!(permits.grant(), [1]);
    }

    #[test]
    fn a_pool_that_is_overdrawn_gives_nothing_until_enough_came_back() {
        let mut permits = permits(&[1, 9]);
        let needs = vec![(0, 1), (1, 1)];
        permits.hold(&needs);
        permits.hold(&needs);
        permits.wait(7, needs.clone());
        for left in [1, 0] {
            assert_eq!(permits.grant(), [0usize; 0]);
            permits.release(&needs);
            assert_eq!(permits.usage(0), (left, 1));
        }
        assert_eq!(permits.queue().collect::<Vec<_>>(), [7]);
        assert_eq!(permits.grant(), [7]);
    }

    proptest! {
        #[test]
        fn no_pool_is_ever_overdrawn_and_nobody_is_forgotten(
            steps in prop::collection::vec((0usize..3, 1u32..3, any::<bool>()), 1..200),
        ) {
            let mut permits = permits(&[2, 3, 4, 5]);
            let mut running: Vec<(usize, Needs)> = Vec::new();
            let mut needs_of: Vec<Needs> = Vec::new();
            for (pool, places, release) in steps {
                if release && !running.is_empty() {
                    let (_, needs) = running.remove(0);
                    permits.release(&needs);
                } else {
                    let needs = vec![(pool, places), (3, 1)];
                    permits.wait(needs_of.len(), needs.clone());
                    needs_of.push(needs);
                }
                running.extend(permits.grant().into_iter().map(|who| (who, needs_of[who].clone())));
                for (pool, limit) in [2u32, 3, 4, 5].into_iter().enumerate() {
                    prop_assert!(permits.usage(pool).0 <= limit);
                }
            }
            let mut rounds = 0;
            while permits.usage(3).1 > 0 || !running.is_empty() {
                running.drain(..).for_each(|(_, needs)| permits.release(&needs));
                running.extend(permits.grant().into_iter().map(|who| (who, needs_of[who].clone())));
                rounds += 1;
                prop_assert!(rounds < 300, "somebody waits for ever");
            }
        }
    }
}

//! Nobody starves, no limit is exceeded, and what hangs takes its share and no more.

use proptest::prelude::*;

use super::*;
use crate::contract::fair_share;

/// Named limits, then targets, then the global pool.
struct Layout {
    limits: Vec<u32>,
    targets: usize,
    /// What each target may have at most.
    each: u32,
    global: u32,
}

impl Layout {
    /// Targets that share so many places, and nothing else.
    fn targets(targets: usize, global: u32) -> Self {
        Self {
            limits: Vec::new(),
            targets,
            each: global,
            global,
        }
    }

    fn permits(&self) -> Permits {
        let pool = |limit, share| PoolInfo {
            name: String::new(),
            limit,
            share,
        };
        let share = fair_share(self.global, self.targets).min(self.each);
        let limits = self.limits.iter().map(|limit| pool(*limit, 0));
        let targets = (0..self.targets).map(|_| pool(self.each, share));
        let pools = limits.chain(targets).chain([pool(self.global, 0)]);
        Permits::new(&pools.collect::<Vec<_>>())
    }

    fn needs(&self, target: usize, limits: &[(usize, u32)]) -> Needs {
        Needs {
            target: self.limits.len() + target,
            limits: limits.to_vec(),
            global: self.limits.len() + self.targets,
        }
    }
}

#[test]
fn the_target_with_the_fewest_places_comes_next() {
    let layout = Layout::targets(3, 4);
    let mut permits = layout.permits();
    for who in 0..6 {
        permits.wait(who, layout.needs(0, &[]));
    }
    // Two are lent to it beyond its share, because as many are kept for two others.
    assert_eq!(permits.grant(), [0, 1]);
    for who in 6..9 {
        permits.wait(who, layout.needs(1, &[]));
    }
    permits.wait(9, layout.needs(2, &[]));
    assert_eq!(
        permits.grant(),
        [6, 9],
        "each has its share, whoever came before"
    );
    assert_eq!(permits.usage(3), (4, 6));
    // Now the first one has more than the others.
    permits.release(layout.needs(0, &[]).places());
    permits.release(layout.needs(1, &[]).places());
    assert_eq!(permits.grant(), [7, 2], "the fewest, then the oldest");
    assert_eq!(permits.queue(), [3, 4, 5, 8]);
}

#[test]
fn one_target_alone_has_all_places() {
    let layout = Layout::targets(1, 3);
    let mut permits = layout.permits();
    for who in 0..5 {
        permits.wait(who, layout.needs(0, &[]));
    }
    assert_eq!(permits.grant(), [0, 1, 2]);
    permits.forget_waiting();
    assert_eq!((permits.usage(0), permits.queue()), ((3, 0), vec![]));
}

#[test]
fn what_hangs_leaves_the_others_their_share() {
    // Targets, places, those that hang; what a healthy one can then have at once.
    for (targets, global, hung, left) in [
        (2, 10, 1, 5),
        (3, 10, 1, 3),
        (3, 10, 2, 2),
        (5, 10, 3, 1),
        (2, 1, 0, 1),
        (2, 2, 1, 1),
        (10, 10, 5, 1),
        (2000, 10, 5, 1),
        (2000, 100, 49, 1),
    ] {
        let layout = Layout::targets(targets, global);
        let mut permits = layout.permits();
        // Each comes as a crowd, the worst there can be.
        for who in 0..hung {
            for _ in 0..global {
                permits.wait(who, layout.needs(who, &[]));
            }
            permits.grant();
        }
        for _ in 0..global {
            permits.wait(targets - 1, layout.needs(targets - 1, &[]));
        }
        let granted = permits.grant();
        let (healthy, _) = permits.usage(targets - 1);
        let what = format!("{targets} targets, {global} places, {hung} hang");
        assert!(healthy >= left, "{what}: {healthy}");
        assert!(granted.contains(&(targets - 1)), "{what}");
    }
}

#[test]
fn a_wide_need_is_not_starved_by_narrow_ones() {
    let layout = Layout {
        limits: vec![2],
        targets: 2,
        each: 9,
        global: 9,
    };
    let mut permits = layout.permits();
    let narrow = |target| layout.needs(target, &[(0, 1)]);
    permits.wait(0, narrow(0));
    assert_eq!(permits.grant(), [0]);
    permits.wait(1, layout.needs(0, &[(0, 2)]));
    permits.wait(2, narrow(1));
    permits.wait(3, layout.needs(0, &[]));
    assert_eq!(
        permits.grant(),
        [3],
        "2 comes after 1 in the limit that 1 waits for"
    );
    permits.release(narrow(0).places());
    assert_eq!(permits.grant(), [1]);
}

#[test]
fn a_full_target_holds_no_limit_back() {
    let layout = Layout {
        limits: vec![2],
        targets: 2,
        each: 1,
        global: 9,
    };
    let mut permits = layout.permits();
    for (who, target) in [(0, 0), (1, 0), (2, 1)] {
        permits.wait(who, layout.needs(target, &[(0, 1)]));
    }
    assert_eq!(permits.grant(), [0, 2], "1 waits for its target alone");
}

#[test]
fn a_pool_that_is_overdrawn_gives_nothing_until_enough_came_back() {
    let layout = Layout {
        each: 1,
        ..Layout::targets(1, 9)
    };
    let mut permits = layout.permits();
    let needs = layout.needs(0, &[]);
    permits.hold(needs.places());
    permits.hold(needs.places());
    permits.wait(7, needs.clone());
    for left in [1, 0] {
        assert_eq!(permits.grant(), [0usize; 0]);
        permits.release(needs.places());
        assert_eq!(permits.usage(0), (left, 1));
    }
    assert_eq!(permits.queue(), [7]);
    assert_eq!(permits.grant(), [7]);
}

proptest! {
    #[test]
    fn no_pool_is_ever_overdrawn_and_nobody_is_forgotten(
        steps in prop::collection::vec((0usize..3, 0usize..3, 1u32..3, any::<bool>()), 1..200),
        targets in 1usize..4,
        global in 1u32..6,
    ) {
        let layout = Layout { limits: vec![2, 3], targets, each: 4, global };
        let limits = [2, 3].into_iter().chain(vec![4; targets]).chain([global]);
        let limits: Vec<u32> = limits.collect();
        let mut permits = layout.permits();
        let mut running: Vec<Needs> = Vec::new();
        let mut needs_of: Vec<Needs> = Vec::new();
        for (target, limit, places, release) in steps {
            if release && !running.is_empty() {
                permits.release(running.remove(0).places());
            } else {
                let limit = (limit < 2).then_some((limit, places));
                let needs = layout.needs(target % targets, limit.as_slice());
                permits.wait(needs_of.len(), needs.clone());
                needs_of.push(needs);
            }
            running.extend(permits.grant().into_iter().map(|who| needs_of[who].clone()));
            for (pool, limit) in limits.iter().enumerate() {
                prop_assert!(permits.usage(pool).0 <= *limit);
            }
            // Nothing lies idle for nobody: with one target there is nobody to keep places for.
            if targets == 1 && permits.usage(3).0 < global.min(4) {
                prop_assert!(permits.waiting.keys().all(|needs| !needs.limits.is_empty()));
            }
        }
        let mut rounds = 0;
        while !permits.queue().is_empty() || !running.is_empty() {
            running.drain(..).for_each(|needs| permits.release(needs.places()));
            running.extend(permits.grant().into_iter().map(|who| needs_of[who].clone()));
            rounds += 1;
            prop_assert!(rounds < 400, "somebody waits for ever");
        }
    }

    /// Hung targets never give anything back; whatever came in which order, each of the others
    /// still gets through.
    #[test]
    fn who_hangs_keeps_nobody_from_running(
        targets in 2usize..30,
        global in 1u32..40,
        hung in 1usize..30,
        order in prop::collection::vec(0usize..30, 1..300),
    ) {
        let share = fair_share(global, targets);
        let hung = hung.min(targets - 1);
        // What is kept is bounded by half of all places; more hung ones than that may take all.
        prop_assume!(u32::try_from(hung - 1).unwrap() * share < global / 2);
        let layout = Layout::targets(targets, global);
        let mut permits = layout.permits();
        let mut running = Vec::new();
        let mut waiting = 0;
        for target in order.into_iter().map(|target| target % targets) {
            permits.wait(target, layout.needs(target, &[]));
            waiting += usize::from(target >= hung);
            for target in permits.grant() {
                if target >= hung {
                    running.push(target);
                }
            }
        }
        while let Some(target) = running.pop() {
            waiting -= 1;
            permits.release(layout.needs(target, &[]).places());
            running.extend(permits.grant().into_iter().filter(|target| *target >= hung));
        }
        prop_assert_eq!(waiting, 0);
    }
}

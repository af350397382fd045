//! One bad run is no outage: when a spec's state changes, as pure arithmetic over its verdicts.

use std::collections::VecDeque;

use crate::event::StateRule;

/// The state of one spec. It begins healthy: what was never seen to fail pages nobody.
#[derive(Debug, Default, Clone)]
pub struct Debounce {
    /// Whether the latest runs passed, oldest first, as many as the rule looks at. Emptied on
    /// recovery, so that failures already answered for do not count again.
    recent: VecDeque<bool>,
    passes: u32,
    failing: bool,
}

impl Debounce {
    /// Takes note of a verdict; inconclusive runs are none.
    pub fn note(&mut self, rule: StateRule, passed: bool) {
        self.passes = if passed {
            self.passes.saturating_add(1)
        } else {
            0
        };
        self.recent.push_back(passed);
        while self.recent.len() > size(rule.of) {
            self.recent.pop_front();
        }
        if self.failing && self.passes >= rule.recover_after.max(1) {
            self.failing = false;
            self.recent.clear();
        } else if self.recent.iter().filter(|passed| !**passed).count() >= size(rule.fails) {
            self.failing = true;
        }
    }

    /// Whether the target is healthy as far as this spec can tell.
    #[must_use]
    pub fn healthy(&self) -> bool {
        !self.failing
    }
}

fn size(runs: u32) -> usize {
    usize::try_from(runs.max(1)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_change_as_the_rule_says() {
        // Verdicts (p, f) and the state after each of them (1 healthy, 0 failing).
        for (fails, of, recover_after, verdicts, states) in [
            (1, 1, 1, "pfpffp", "101001"),
            (2, 3, 2, "pfpfpp", "111001"),
            (2, 3, 2, "ff", "10"),
            (2, 3, 2, "fppfppff", "11111110"),
            (2, 3, 2, "ffpfpp", "100001"),
            // What led to the failing state is forgotten on recovery.
            (2, 3, 1, "ffpfpf", "101110"),
            (3, 3, 1, "fffpff", "110111"),
            (1, 1, 3, "fpppf", "00010"),
            // Nonsense is read as the nearest sense.
            (0, 0, 0, "pfp", "101"),
        ] {
            let rule = StateRule {
                fails,
                of,
                recover_after,
            };
            let mut state = Debounce::default();
            let seen: String = verdicts
                .chars()
                .map(|verdict| {
                    state.note(rule, verdict == 'p');
                    if state.healthy() { '1' } else { '0' }
                })
                .collect();
            assert_eq!(seen, states, "{fails} of {of}, {recover_after}: {verdicts}");
        }
    }
}

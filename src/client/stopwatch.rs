//! Times the phases of one attempt on one clock, without gaps: each begins when the one before it
//! ends, so that their sum is the attempt. What the phases mean is said in `event`.

use tokio::time::Instant;

use crate::event::HttpPhases;

/// A phase of [`HttpPhases`].
#[derive(Debug, Clone, Copy)]
pub(super) enum Phase {
    Resolve,
    Connect,
    Tls,
    FirstByte,
    Transfer,
}

/// A running clock, and the phase that it times.
pub(super) struct Stopwatch<'a> {
    phases: &'a mut HttpPhases,
    phase: Option<Phase>,
    began: Instant,
}

impl<'a> Stopwatch<'a> {
    /// Starts the clock; the time up to the first phase belongs to that phase.
    pub(super) fn start(phases: &'a mut HttpPhases) -> Self {
        Self {
            phases,
            phase: None,
            began: Instant::now(),
        }
    }

    /// Ends the phase before this one and begins this one.
    pub(super) fn enter(&mut self, phase: Phase) {
        self.note();
        self.phase = Some(phase);
    }

    fn note(&mut self) {
        let slot = match self.phase {
            None => return,
            Some(Phase::Resolve) => &mut self.phases.resolve,
            Some(Phase::Connect) => &mut self.phases.connect,
            Some(Phase::Tls) => &mut self.phases.tls,
            Some(Phase::FirstByte) => &mut self.phases.first_byte,
            Some(Phase::Transfer) => &mut self.phases.transfer,
        };
        let now = Instant::now();
        // A request that never left its kept connection enters this phase twice.
        *slot = Some(slot.unwrap_or_default() + (now - self.began));
        self.began = now;
    }
}

/// A deadline ends an attempt by dropping it, and where it hung is then the best thing to know.
impl Drop for Stopwatch<'_> {
    fn drop(&mut self) {
        self.note();
    }
}

//! What can be out of order with requests, and what falls on which of them: they are numbered as
//! they come, so that a blow can fall on exactly one.

use std::collections::HashMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How an endpoint misbehaves until it is healed. The effect is whatever the request would do:
/// create the item, delete it, or merely be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No effect; answered with this status. For endpoints that have no effect to speak of.
    Status(u16),
    /// No effect; answered with this status.
    FailBeforeEffect(u16),
    /// Has its effect; answered with this status.
    FailAfterEffect(u16),
    /// Has its effect; answered with its own 2xx and JSON that breaks off.
    Unreadable2xx,
    /// No effect, no answer.
    Hang,
    /// Has its effect; no answer.
    HangAfterEffect,
    /// No effect; the connection is reset.
    Reset,
    /// Has its effect; the connection is reset.
    ResetAfterEffect,
    /// Has its effect so much later, also when the client has left; answered then, if it has not.
    LateEffect(Duration),
    /// No answer; has its effect when the next request has been judged: whoever looks once after
    /// his timeout finds nothing yet. The same for every speed of the machine.
    EffectAfterNext,
    /// Delivered twice, as by a proxy that tries again: has its effect twice, and the second answer.
    Twice,
    /// The same, and answered with this status.
    TwiceThenStatus(u16),
    /// Has its effect; answered with its own status and this body.
    FalseBody(&'static str),
    /// No effect; answered with an event stream that says this and ends.
    FalseStream(&'static str),
}

/// What falls on one request of all.
pub(crate) enum Blow {
    /// This one misbehaves.
    Once(Fault),
    /// From this one on, all of its method and kind of path do.
    Lasting(Fault),
    /// From this one on, everything does.
    Everything(Fault),
    /// Somebody is told that it came.
    Tell(CancellationToken),
}

/// Which requests came, and what falls on which.
#[derive(Default)]
pub(crate) struct Blows {
    /// The kind of every request, as they came.
    log: Vec<String>,
    aimed: HashMap<usize, Blow>,
    /// By kind of request.
    lasting: HashMap<String, Fault>,
    /// The same, after so many of its kind.
    snared: HashMap<String, (usize, Fault)>,
    everything: Option<Fault>,
}

impl Blows {
    /// Enters a request, and says what falls on it.
    pub(crate) fn fall(&mut self, kind: &str) -> Option<Fault> {
        let struck = match self.aimed.remove(&self.log.len()) {
            Some(Blow::Once(fault)) => Some(fault),
            Some(Blow::Lasting(fault)) => {
                self.lasting.insert(kind.to_owned(), fault);
                None
            }
            Some(Blow::Everything(fault)) => {
                self.everything = Some(fault);
                None
            }
            Some(Blow::Tell(somebody)) => {
                somebody.cancel();
                None
            }
            None => None,
        };
        self.log.push(kind.to_owned());
        struck
            .or(self.snared(kind))
            .or(self.lasting.get(kind).copied())
            .or(self.everything)
    }

    /// The kinds of all requests, as they came.
    pub(crate) fn log(&self) -> &[String] {
        &self.log
    }

    /// Lets something fall on the request that is the `nth` of all, counted from 0.
    pub(crate) fn strike(&mut self, nth: usize, blow: Blow) {
        self.aimed.insert(nth, blow);
    }

    /// Lets something fall on every request of this kind from now on.
    pub(crate) fn fail(&mut self, kind: &str, fault: Fault) {
        self.lasting.insert(kind.to_owned(), fault);
    }

    /// Lets something fall on the `nth` request of this kind from now on, counted from 0.
    pub(crate) fn snare(&mut self, kind: &str, nth: usize, fault: Fault) {
        self.snared.insert(kind.to_owned(), (nth, fault));
    }

    fn snared(&mut self, kind: &str) -> Option<Fault> {
        let (left, fault) = self.snared.get_mut(kind)?;
        let fault = *fault;
        if let Some(less) = left.checked_sub(1) {
            *left = less;
            return None;
        }
        self.snared.remove(kind);
        Some(fault)
    }

    /// Nothing falls any more.
    pub(crate) fn heal(&mut self) {
        self.aimed.clear();
        self.snared.clear();
        self.lasting.clear();
        self.everything = None;
    }
}

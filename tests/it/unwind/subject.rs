//! What is put to the proof: the specs of a configuration, made ready to be struck.
//!
//! To make a plan of many specs takes longer than most trials. So a plan is taken apart, and what a
//! trial has done with serves the next.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use testerd::event::Identity;
use testerd::spec::{Scheduled, Work};

use super::endings::{Panics, each_step};
use crate::plans::compile;

/// What stands in a configuration for the address of its target.
pub(crate) const ENDPOINT: &str = "http://endpoint.invalid";

/// One spec, or one variant of it.
pub(crate) struct Subject {
    /// What it is called.
    pub(crate) identity: Identity,
    /// How many steps it has.
    pub(crate) leaves: usize,
    plans: Arc<Plans>,
    index: usize,
}

/// A spec to run, whose steps panic when they are told to.
pub(crate) struct Ready {
    pub(crate) spec: Scheduled,
    pub(crate) panics: Panics,
}

/// As many plans of one configuration as are used at a time.
struct Plans {
    config: String,
    spare: Mutex<Vec<Vec<Ready>>>,
}

impl Subject {
    /// Everything that a configuration schedules on [`ENDPOINT`].
    pub(crate) fn all(config: &str) -> Vec<Self> {
        let all = ready(config);
        let plans = Arc::new(Plans {
            config: config.to_owned(),
            spare: Mutex::new(all.iter().map(|_| Vec::new()).collect()),
        });
        let subject = |(index, mut ready): (usize, Ready)| {
            let mut leaves = 0;
            each_step(&mut ready.spec.case, &mut |_| leaves += 1);
            let identity = ready.spec.info.identity.clone();
            plans.put_back(index, ready);
            Self {
                identity,
                leaves,
                plans: plans.clone(),
                index,
            }
        };
        all.into_iter().enumerate().map(subject).collect()
    }

    /// The spec, each step and teardown with this deadline.
    pub(crate) fn take(&self, patient: Duration) -> Ready {
        let mut ready = self.plans.take(self.index);
        let soon = patient / 30;
        each_step(&mut ready.spec.case, &mut |step| {
            step.timeout = Some(patient);
            step.retry.delay = step.retry.delay.min(soon);
            step.poll = step.poll.map(|every| every.min(soon));
            if let Work::Acquire {
                teardown_timeout, ..
            } = &mut step.work
            {
                *teardown_timeout = patient;
            }
        });
        ready
    }

    /// When it has been run.
    pub(crate) fn put_back(&self, ready: Ready) {
        self.plans.put_back(self.index, ready);
    }
}

impl Plans {
    fn take(&self, index: usize) -> Ready {
        if let Some(ready) = self.spare.lock().unwrap()[index].pop() {
            return ready;
        }
        let mut all = ready(&self.config);
        let taken = all.remove(index);
        let mut spare = self.spare.lock().unwrap();
        for (other, ready) in all.into_iter().enumerate() {
            spare[other + usize::from(other >= index)].push(ready);
        }
        taken
    }

    fn put_back(&self, index: usize, ready: Ready) {
        self.spare.lock().unwrap()[index].push(ready);
    }
}

fn ready(config: &str) -> Vec<Ready> {
    let plan = compile(config).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let ready = |spec: Arc<Scheduled>| {
        let mut spec = Arc::into_inner(spec).unwrap();
        let panics = Panics::of(&mut spec.case);
        Ready { spec, panics }
    };
    plan.scheduled.into_iter().map(ready).collect()
}

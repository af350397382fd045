//! The tree that is run: a step, a sequence suite, or a wrapper suite. Nothing else.

use std::sync::Arc;
use std::time::Duration;

use super::action::{Action, Resource};
use crate::text::{Read, ValueTemplate};

/// One node of the tree. A closed enum, because the runner must know every kind.
pub enum Case {
    /// One action.
    Step(Step),
    /// Cases one after another.
    Sequence(Sequence),
    /// Setup, inner case, teardown.
    Wrapper(Wrapper),
}

impl Case {
    /// Whether one of its steps captures a secret.
    #[must_use]
    pub fn captures_secrets(&self) -> bool {
        match self {
            Self::Step(step) => step.captures_secrets(),
            Self::Sequence(sequence) => sequence.cases.iter().any(Self::captures_secrets),
            Self::Wrapper(wrapper) => {
                wrapper.setup.captures_secrets() || wrapper.inner.captures_secrets()
            }
        }
    }

    /// Every resource in the tree, with the name of its step.
    #[must_use]
    pub fn resources(&self) -> Vec<(&str, &dyn Resource)> {
        match self {
            Self::Step(step) => step.resource().into_iter().collect(),
            Self::Sequence(sequence) => sequence.cases.iter().flat_map(Self::resources).collect(),
            Self::Wrapper(wrapper) => {
                let setup = wrapper.setup.resource();
                setup.into_iter().chain(wrapper.inner.resources()).collect()
            }
        }
    }
}

impl Step {
    /// Whether one of its captures is a secret: until it was captured, nobody knows it.
    #[must_use]
    pub fn captures_secrets(&self) -> bool {
        self.writes.iter().any(|(_, secret)| *secret)
    }

    fn resource(&self) -> Option<(&str, &dyn Resource)> {
        match &self.work {
            Work::Act(_) => None,
            Work::Acquire { resource, .. } => Some((&self.name, resource.as_ref())),
        }
    }
}

/// One action with a name, a deadline and optional retry: the only thing that is timed.
pub struct Step {
    /// Unique in the spec.
    pub name: Arc<str>,
    /// The deadline of its own; without one, what is left of its parent's.
    pub timeout: Option<Duration>,
    /// What it does.
    pub work: Work,
    /// How often it may be tried.
    pub retry: Retry,
    /// With polling: how long to wait while the answer is "not yet".
    pub poll: Option<Duration>,
    /// Runs after a failure before it, with its own deadline.
    pub always: bool,
    /// A failure is recorded but does not fail the run.
    pub allow_failure: bool,
    /// An answer other than expected means that the spec cannot run on this target.
    pub prerequisite: bool,
    /// As whom it is done, if not as the target's own user.
    pub acting: Option<ValueTemplate>,
    /// The captures it needs: if one is missing, the step is skipped.
    pub reads: Vec<Read>,
    /// The captures it leaves, and whether they are secret.
    pub writes: Vec<(String, bool)>,
}

/// What a step does.
pub enum Work {
    /// Something that leaves nothing behind.
    Act(Box<dyn Action>),
    /// Something that must be undone.
    Acquire {
        /// What is made.
        resource: Box<dyn Resource>,
        /// The deadline of undoing it.
        teardown_timeout: Duration,
    },
}

impl Work {
    /// The action to perform.
    #[must_use]
    pub fn action(&self) -> &dyn Action {
        match self {
            Self::Act(action) => action.as_ref(),
            Self::Acquire { resource, .. } => resource.as_ref(),
        }
    }
}

/// How often a step is tried, and how long it waits in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// At most this many attempts, at least 1.
    pub attempts: u32,
    /// Between two attempts.
    pub delay: Duration,
}

impl Retry {
    /// One attempt.
    pub const ONCE: Self = Self {
        attempts: 1,
        delay: Duration::ZERO,
    };
}

/// Cases one after another. The first that does not pass skips the rest.
pub struct Sequence {
    /// Its name; the outermost has none.
    pub name: Option<Arc<str>>,
    /// The deadline for all of it.
    pub timeout: Option<Duration>,
    /// Where it requires what the target lacks, it is skipped and the run goes on; otherwise the
    /// run ends there.
    pub optional: bool,
    /// In order. A resource among them is undone at the end of the sequence.
    pub cases: Vec<Case>,
}

/// Setup, inner case, teardown; teardown happens whatever happened inside.
pub struct Wrapper {
    /// Its work is always [`Work::Acquire`].
    pub setup: Step,
    /// What it wraps.
    pub inner: Box<Case>,
}

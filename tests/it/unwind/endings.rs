//! What can befall a request, or the code of a step.

use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use testerd::outcome::Failure;
use testerd::spec::{
    Action, Case, Context, Done, Listed, Record, Resource, Step, Undo, Undoer, Undoing, Work,
};

use crate::rig::Fault;

/// How one run is disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Not at all.
    Nothing,
    /// The request misbehaves.
    Once(Fault),
    /// So do all later ones of its method and kind of path, until the target is healed.
    Lasting(Fault),
    /// So does everything after it.
    Everything(Fault),
    /// The run is cancelled when the request comes.
    Cancel,
    /// Teardown is cut short as well.
    Kill,
    /// The run is dropped, as when the grace is over.
    Drop,
    /// A step panics, instead of a request being struck.
    Panic(When),
    /// The code that carries out undos panics.
    UndoPanics,
    /// The journal cannot be written: this once, or from now on.
    Unwritable(bool),
}

impl Ending {
    /// Whether it strikes a request.
    pub(crate) fn strikes(self) -> bool {
        !matches!(
            self,
            Self::Nothing | Self::Panic(_) | Self::UndoPanics | Self::Unwritable(_)
        )
    }
}

/// Where a step panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Before it makes a future.
    Called,
    /// Before anything is sent.
    Before,
    /// After all was done.
    After,
    /// While it says how it would be undone.
    Describing,
}

pub(super) const PANICS: [When; 4] = [When::Called, When::Before, When::After, When::Describing];

/// Everything that can befall a request.
pub(super) const STRUCK: [Ending; 25] = [
    Ending::Once(Fault::FailBeforeEffect(500)),
    Ending::Once(Fault::FailAfterEffect(500)),
    Ending::Once(Fault::FailAfterEffect(409)),
    Ending::Once(Fault::Hang),
    Ending::Once(Fault::HangAfterEffect),
    Ending::Once(Fault::Unreadable2xx),
    Ending::Once(Fault::FalseBody("{}")),
    Ending::Once(Fault::Reset),
    Ending::Once(Fault::ResetAfterEffect),
    Ending::Once(Fault::EffectAfterNext),
    Ending::Once(Fault::Twice),
    Ending::Once(Fault::TwiceThenStatus(500)),
    Ending::Once(Fault::FailBeforeEffect(429)),
    Ending::Lasting(Fault::FailBeforeEffect(500)),
    Ending::Lasting(Fault::FailAfterEffect(500)),
    Ending::Lasting(Fault::Hang),
    Ending::Lasting(Fault::HangAfterEffect),
    Ending::Lasting(Fault::Unreadable2xx),
    Ending::Lasting(Fault::ResetAfterEffect),
    Ending::Everything(Fault::Hang),
    Ending::Everything(Fault::Reset),
    // As a proxy whose routes are gone.
    Ending::Everything(Fault::FailBeforeEffect(404)),
    Ending::Cancel,
    Ending::Kill,
    Ending::Drop,
];

/// Code for undos that panics.
pub(super) fn panicking_undoer(kind: &str) -> Option<Undoer> {
    fn undoer(_: &Record) -> Result<Box<dyn Undoing>, Failure> {
        std::panic::resume_unwind(Box::new("as the proof wants it"));
    }
    (!kind.is_empty()).then_some(undoer as Undoer)
}

/// Every step in tree order.
pub(super) fn each_step(case: &mut Case, visit: &mut impl FnMut(&mut Step)) {
    match case {
        Case::Step(step) => visit(step),
        Case::Sequence(sequence) => {
            for case in &mut sequence.cases {
                each_step(case, visit);
            }
        }
        Case::Wrapper(wrapper) => {
            visit(&mut wrapper.setup);
            each_step(&mut wrapper.inner, visit);
        }
    }
}

/// Which step panics, and when.
#[derive(Debug, Clone, Default)]
pub(crate) struct Panics(Arc<Mutex<Option<(usize, When)>>>);

impl Panics {
    /// Makes every step of a case able to.
    pub(super) fn of(case: &mut Case) -> Self {
        let panics = Self::default();
        let mut index = 0;
        each_step(case, &mut |step| {
            let place = index;
            index += 1;
            let panics = panics.clone();
            let work = std::mem::replace(&mut step.work, Work::Act(Box::new(Idle)));
            step.work = match work {
                Work::Act(inner) => Work::Act(Box::new(Panicking {
                    inner,
                    place,
                    panics,
                })),
                Work::Acquire {
                    resource: inner,
                    teardown_timeout,
                } => Work::Acquire {
                    resource: Box::new(Panicking {
                        inner,
                        place,
                        panics,
                    }),
                    teardown_timeout,
                },
            };
        });
        panics
    }

    /// From now on this one does, or none.
    pub(super) fn at(&self, at: Option<(usize, When)>) {
        *self.0.lock().unwrap() = at;
    }
}

/// Stands in for a moment.
struct Idle;

impl Action for Idle {
    fn perform<'a>(&'a self, _: &'a mut Context<'_>) -> BoxFuture<'a, Result<Done, Failure>> {
        std::future::ready(Ok(Done::default())).boxed()
    }
}

struct Panicking<T: ?Sized> {
    inner: Box<T>,
    place: usize,
    panics: Panics,
}

impl<T: ?Sized> Panicking<T> {
    fn at(&self, when: When) {
        let meant = *self.panics.0.lock().unwrap();
        if meant == Some((self.place, when)) {
            // Without the hook: nobody wants to read hundreds of backtraces.
            std::panic::resume_unwind(Box::new("as the proof wants it"));
        }
    }
}

impl<T: Action + ?Sized> Action for Panicking<T> {
    fn perform<'a>(&'a self, context: &'a mut Context<'_>) -> BoxFuture<'a, Result<Done, Failure>> {
        self.at(When::Called);
        async move {
            self.at(When::Before);
            let done = self.inner.perform(context).await;
            self.at(When::After);
            done
        }
        .boxed()
    }
}

impl Resource for Panicking<dyn Resource> {
    fn undo(&self, context: &Context<'_>) -> Result<Undo, Failure> {
        self.at(When::Describing);
        self.inner.undo(context)
    }

    fn list<'a>(
        &'a self,
        context: &'a mut Context<'_>,
    ) -> BoxFuture<'a, Result<Option<Vec<Listed>>, Failure>> {
        self.inner.list(context)
    }
}

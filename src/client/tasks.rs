//! The tasks of an HTTP/2 connection, which hyper would have spawned: they are driven with the
//! connection, in the future of whoever uses it, and end with it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use futures_util::stream::{FuturesUnordered, Stream};
use hyper::rt::Executor;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Default)]
pub(super) struct Tasks(Arc<Inner>);

/// Where new tasks are put. The tasks themselves hold it too: were it to keep them, nobody could end
/// them by letting go of the connection.
#[derive(Clone)]
pub(super) struct Spawner(Weak<Inner>);

#[derive(Default)]
struct Inner {
    running: Mutex<FuturesUnordered<Task>>,
    /// What was spawned since; a task may spawn another while it is polled.
    new: Mutex<Vec<Task>>,
}

impl Tasks {
    /// For the connection that they belong to.
    pub(super) fn spawner(&self) -> Spawner {
        Spawner(Arc::downgrade(&self.0))
    }

    /// Drives them all. Each can be started only from here or from the connection's own driver, so
    /// nobody has to be woken for a new one.
    pub(super) fn poll(&self, context: &mut Context<'_>) {
        let mut running = held(&self.0.running);
        loop {
            running.extend(held(&self.0.new).drain(..));
            let polled = Pin::new(&mut *running).poll_next(context);
            if !matches!(polled, Poll::Ready(Some(()))) && held(&self.0.new).is_empty() {
                return;
            }
        }
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<F> Executor<F> for Spawner
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        if let Some(tasks) = self.0.upgrade() {
            held(&tasks.new).push(Box::pin(task));
        }
    }
}

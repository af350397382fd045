//! The tasks of an HTTP/2 connection, which hyper would have spawned: they are driven with the
//! connection, in the future of whoever uses it, and end with it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::stream::{FuturesUnordered, Stream};
use hyper::rt::Executor;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Clone, Default)]
pub(super) struct Tasks(Arc<Inner>);

#[derive(Default)]
struct Inner {
    running: Mutex<FuturesUnordered<Task>>,
    /// What was spawned since; a task may spawn another while it is polled.
    new: Mutex<Vec<Task>>,
}

impl Tasks {
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

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        held(&self.0.new).push(Box::pin(task));
    }
}

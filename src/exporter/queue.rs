//! A bounded queue with a thread behind it, for exporters that write: whoever puts something in
//! never waits, what does not fit is dropped and counted, and a blocked output blocks only the
//! thread.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::lock;

/// How long a dropped [`Worker`] waits for a blocked output.
const GRACE: Duration = Duration::from_secs(1);

/// How many things an exporter dropped.
#[derive(Debug, Clone, Default)]
pub struct Dropped(Arc<AtomicU64>);

impl Dropped {
    /// One more.
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// So far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The end of a queue into which things are put.
pub struct Queue<T> {
    shared: Arc<Shared<T>>,
    dropped: Dropped,
}

/// The thread at the other end. When it is dropped, what was put in is still worked off, for at
/// most a second: a blocked output may cost the end of a log, but never hang the process.
#[must_use = "what is queued is lost when the process ends before it is worked off"]
pub struct Worker<T> {
    shared: Arc<Shared<T>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    capacity: usize,
}

struct State<T> {
    waiting: VecDeque<T>,
    closed: bool,
    done: bool,
}

/// Starts a thread that gives each thing put into the queue to `consume`, in order.
///
/// # Errors
/// If the system has no thread to give.
pub fn start<T: Send + 'static>(
    name: &str,
    capacity: usize,
    mut consume: impl FnMut(T) + Send + 'static,
) -> io::Result<(Queue<T>, Worker<T>)> {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            waiting: VecDeque::new(),
            closed: false,
            done: false,
        }),
        changed: Condvar::new(),
        capacity,
    });
    let theirs = Arc::clone(&shared);
    let work = move || {
        while let Some(next) = theirs.take() {
            consume(next);
        }
        // What it writes at its own end belongs to the work.
        drop(consume);
        lock(&theirs.state).done = true;
        theirs.changed.notify_all();
    };
    let thread = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)?;
    let queue = Queue {
        shared: Arc::clone(&shared),
        dropped: Dropped::default(),
    };
    let worker = Worker {
        shared,
        thread: Some(thread),
    };
    Ok((queue, worker))
}

impl<T> Shared<T> {
    /// The next thing; nothing once the queue is closed and empty.
    fn take(&self) -> Option<T> {
        let idle = |state: &mut State<T>| state.waiting.is_empty() && !state.closed;
        self.changed
            .wait_while(lock(&self.state), idle)
            .unwrap_or_else(PoisonError::into_inner)
            .waiting
            .pop_front()
    }

    fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }
}

impl<T> Queue<T> {
    /// Puts something in, or drops it when the queue is full or its thread has ended.
    pub fn push(&self, thing: T) {
        let mut state = lock(&self.shared.state);
        if state.closed || state.waiting.len() >= self.shared.capacity {
            self.dropped.add();
        } else {
            state.waiting.push_back(thing);
            self.shared.changed.notify_all();
        }
    }

    /// The count of what it drops.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.dropped.clone()
    }
}

impl<T> Worker<T> {
    /// Works off all that was put in, however long the output takes.
    pub fn finish(mut self) {
        self.shared.close();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was already reported by its hook.
            let _ = thread.join();
        }
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        self.shared.close();
        let state = lock(&self.shared.state);
        let busy = |state: &mut State<T>| self.thread.is_some() && !state.done;
        drop(self.shared.changed.wait_timeout_while(state, GRACE, busy));
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            dropped: self.dropped.clone(),
        }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Worker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_blocked_output_delays_nobody_and_is_counted() {
        let (starts, started) = mpsc::channel();
        let (let_go, blocked) = mpsc::channel::<()>();
        let (written, seen) = mpsc::channel();
        let (queue, worker) = start("blocked", 3, move |number: u32| {
            starts.send(()).unwrap();
            // Ends with an error as soon as the test lets go.
            let _ = blocked.recv();
            written.send(number).unwrap();
        })
        .unwrap();

        queue.push(0);
        started.recv().unwrap();
        (1..=10).for_each(|number| queue.push(number));
        assert_eq!(queue.dropped().count(), 7);

        drop(let_go);
        worker.finish();
        assert_eq!(seen.iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
        queue.push(11);
        assert_eq!(queue.dropped().count(), 8);
    }

    #[test]
    fn a_dropped_worker_does_not_wait_for_ever() {
        let (_blocks, blocked) = mpsc::channel::<()>();
        let (queue, worker) = start("stuck", 3, move |()| {
            let _ = blocked.recv();
        })
        .unwrap();
        queue.push(());
        let begun = std::time::Instant::now();
        drop(worker);
        assert!(begun.elapsed() < 10 * GRACE);
    }
}

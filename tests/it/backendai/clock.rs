//! A time that passes only while nobody has anything to do.
//!
//! What is waited for in a trial is mostly time: pauses, deadlines, states of a session. Here it
//! costs nothing, and no machine is so slow that a deadline passes because of that. Sockets work as
//! ever: that the runtime sleeps is believed only when it has slept for a while.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

/// How long the runtime must have slept, in the time of the world.
const ASLEEP: Duration = Duration::from_micros(200);

/// How much time passes then.
const STEP: Duration = Duration::from_millis(250);

/// Runs something to its end in such a time.
pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    // Odd while the runtime sleeps.
    let sleeps = Arc::new(AtomicU64::new(0));
    let turn = |sleeps: &Arc<AtomicU64>| {
        let sleeps = sleeps.clone();
        move || {
            sleeps.fetch_add(1, Ordering::SeqCst);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .on_thread_park(turn(&sleeps))
        .on_thread_unpark(turn(&sleeps))
        .build()
        .unwrap();
    runtime.block_on(async {
        let (tell, mut told) = mpsc::channel(1);
        // Tokio's own way to pass paused time does not wait for sockets. It is off while there is
        // blocking work.
        let watch = tokio::task::spawn_blocking(move || {
            let mut before = sleeps.load(Ordering::SeqCst);
            loop {
                #[expect(clippy::disallowed_methods, reason = "a thread of its own")]
                std::thread::sleep(ASLEEP);
                let now = sleeps.load(Ordering::SeqCst);
                let slept = now == before && now % 2 == 1;
                before = now;
                if slept && tell.blocking_send(()).is_err() || tell.is_closed() {
                    return;
                }
            }
        });
        let ended = {
            let ticks = async {
                while told.recv().await.is_some() {
                    tokio::time::advance(STEP).await;
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                ended = work => ended,
                () = ticks => unreachable!("time never ends"),
            }
        };
        drop(told);
        watch.await.unwrap();
        ended
    })
}

//! Computations that may take long, such as unpacking what a target sent, on a thread of their own:
//! the runtime's threads belong to everybody, and a deadline is kept only between two polls.

use std::io::{self, Read};
use std::panic::resume_unwind;
use std::sync::{Arc, Weak};

use tokio::task::spawn_blocking;

/// Whether somebody still waits for a computation: what asks this often ends soon after its step.
#[derive(Debug)]
pub struct Waited(Option<Weak<()>>);

impl Waited {
    /// Of what is computed at once, by whoever waits for it.
    pub const AT_ONCE: Self = Self(None);

    /// An error as soon as nobody waits any more.
    pub fn check(&self) -> io::Result<()> {
        match &self.0 {
            Some(waiting) if waiting.strong_count() == 0 => {
                Err(io::Error::other("nobody waits for it any more"))
            }
            _ => Ok(()),
        }
    }

    /// The same input, which fails as soon as nobody waits any more.
    pub fn input<R: Read>(&self, input: R) -> Input<'_, R> {
        Input {
            input,
            waited: self,
        }
    }
}

/// Input of a computation.
#[derive(Debug)]
pub struct Input<'a, R> {
    input: R,
    waited: &'a Waited,
}

impl<R: Read> Read for Input<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.waited.check()?;
        // A portion at a time, so that it is asked often.
        let portion = buffer.len().min(4096);
        self.input.read(&mut buffer[..portion])
    }
}

/// Computes it on a thread of its own. A panic there is one here.
pub async fn offload<T: Send + 'static>(work: impl FnOnce(&Waited) -> T + Send + 'static) -> T {
    let waiting = Arc::new(());
    let waited = Waited(Some(Arc::downgrade(&waiting)));
    let done = spawn_blocking(move || work(&waited)).await;
    drop(waiting);
    match done {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime is shutting down, and polls nobody again.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn it_ends_when_nobody_waits_any_more() {
        let (send, ended) = mpsc::channel();
        let endless = offload(move |waited| {
            let read = io::copy(&mut waited.input(io::repeat(0)), &mut io::sink());
            send.send(read.is_err()).unwrap();
        });
        let waited = tokio::time::timeout(Duration::from_millis(10), endless).await;
        assert!(waited.is_err());
        assert_eq!(ended.recv_timeout(Duration::from_secs(20)), Ok(true));
    }

    #[tokio::test]
    async fn a_panic_comes_back_to_whoever_waits() {
        let caught = std::panic::AssertUnwindSafe(offload(|_| panic!("as planned")))
            .catch_unwind()
            .await;
        let panic = caught.unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"as planned"));
        assert_eq!(offload(|_| 1).await, 1);
    }
}

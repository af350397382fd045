//! One page, made once for all who ask at about the same time, however many and however slow they
//! are. Knows nothing of what the page says.

use std::io;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::task::{JoinError, spawn_blocking};

/// A page is given out for at most so long.
const LONGEST: Duration = Duration::from_secs(1);

/// A page is given out for so many times what it took to make it: a small page is always a new
/// one, and a large one takes a tenth of a processor at most.
const SHARE: u32 = 10;

/// So many older pages may be on their way to slow readers. Above it nothing new is made until one
/// of them has left, which the deadline of an answer sees to: memory has a bound.
const MOST_OLDER: usize = 3;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(super) enum MakeError {
    #[error("it cannot be written")]
    Write(#[from] io::Error),
    #[error("it was not made to the end")]
    Cut(#[from] JoinError),
}

/// The latest page.
#[derive(Default)]
pub(super) struct Shared {
    latest: Option<Made>,
    /// Those before it that somebody still reads.
    older: Vec<Weak<Vec<u8>>>,
}

struct Made {
    text: Arc<Vec<u8>>,
    /// When it was done, so that those who waited for it get it however long it took.
    at: Instant,
    took: Duration,
}

/// Lets `Bytes` own a part of the page.
struct Part(Arc<Vec<u8>>);

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Shared {
    /// The page, made by `make` if there is none that is new enough.
    pub(super) async fn get(
        page: &Arc<Mutex<Self>>,
        make: impl FnOnce() -> io::Result<Vec<u8>> + Send + 'static,
    ) -> Result<Bytes, MakeError> {
        // One at a time: each takes a few times the memory of its text. Moved along, because who
        // goes away meanwhile ends only the waiting.
        let mut turn = Arc::clone(page).lock_owned().await;
        if let Some(text) = turn.fresh() {
            return Ok(text);
        }
        // It may take longer than a worker of the runtime may be kept from probing.
        spawn_blocking(move || {
            let began = Instant::now();
            let text = Arc::new(make()?);
            Ok(turn.put(Made {
                text,
                at: Instant::now(),
                took: began.elapsed(),
            }))
        })
        .await?
    }

    /// Whoever asks from now on sees what is known now.
    pub(super) fn renew(&mut self) {
        self.retire();
    }

    fn fresh(&mut self) -> Option<Bytes> {
        self.older.retain(|text| text.strong_count() > 0);
        let latest = self.latest.as_ref()?;
        let fresh = latest.at.elapsed() <= latest.took.saturating_mul(SHARE).min(LONGEST);
        (fresh || self.older.len() >= MOST_OLDER).then(|| latest.bytes())
    }

    fn put(&mut self, made: Made) -> Bytes {
        self.retire();
        self.latest.insert(made).bytes()
    }

    fn retire(&mut self) {
        let gone = self.latest.take();
        self.older
            .extend(gone.map(|gone| Arc::downgrade(&gone.text)));
    }
}

impl Made {
    fn bytes(&self) -> Bytes {
        Bytes::from_owner(Part(self.text.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(text: &str, took: Duration, age: Duration) -> Made {
        Made {
            text: Arc::new(text.into()),
            at: Instant::now().checked_sub(age).unwrap(),
            took,
        }
    }

    #[test]
    fn a_page_is_shared_for_as_long_as_it_is_worth() {
        let milliseconds = Duration::from_millis;
        for (took, age, shared) in [
            (50, 0, true),
            (50, 400, true),
            (50, 600, false),
            (0, 5, false),
            (5000, 900, true),
            (5000, 1100, false),
        ] {
            let mut page = Shared::default();
            page.put(made("a", milliseconds(took), milliseconds(age)));
            assert_eq!(page.fresh().is_some(), shared, "{took} {age}");
        }
    }

    #[test]
    fn slow_readers_hold_a_few_pages_and_no_more() {
        let mut page = Shared::default();
        let mut held = Vec::new();
        let old = Duration::from_secs(5);
        for text in ["a", "b", "c", "d"] {
            assert_eq!(page.fresh(), None, "{text}");
            held.push(page.put(made(text, Duration::ZERO, old)));
        }
        // The latest one is given out, though it is old, until somebody is done with another.
        assert_eq!(page.fresh().unwrap(), "d");
        held.remove(1);
        assert_eq!(page.fresh(), None);
        // A stop wants the last results.
        held.push(page.put(made("e", Duration::ZERO, old)));
        assert!(page.fresh().is_some());
        page.renew();
        assert_eq!(page.fresh(), None);
    }
}

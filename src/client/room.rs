//! How much memory the bodies of answers may take at a time, in the whole process: one target that
//! answers with much must not cost the daemon its life, nor its neighbours their runs.
//!
//! Short bodies need nobody's leave. A longer one takes room as it grows, waits for a moment where
//! there is none, and gives it back with its answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// What all bodies may take at a time.
pub(super) const ALL: usize = 12 << 20;

/// What a body may take without asking.
const FREE: usize = 256 << 10;

/// How long one waits for others to give their room back.
const PATIENCE: Duration = Duration::from_secs(2);

/// One place is a KiB.
const PLACE: usize = 1024;

/// Places are taken in pieces of so many.
const PIECE: usize = 512;

/// There is no room.
#[derive(Debug)]
pub(super) struct Crowded;

/// The room of a process.
#[derive(Debug, Clone)]
pub(super) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ALL / PLACE)))
    }
}

impl Room {
    /// For one answer.
    pub(super) fn share(&self) -> Share {
        Share {
            room: Arc::clone(&self.0),
            permit: None,
        }
    }
}

/// What one answer has taken of it.
#[derive(Debug)]
pub(super) struct Share {
    room: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// So many bytes are needed in all. A body that may be longer than the whole room takes all of
    /// it: whoever allows that has asked for it.
    pub(super) async fn grow(&mut self, bytes: usize) -> Result<(), Crowded> {
        let missing = self.missing(bytes);
        if missing > 0 {
            let more = Arc::clone(&self.room).acquire_many_owned(missing);
            let more = timeout(PATIENCE, more).await.map_err(|_| Crowded)?;
            self.add(more.map_err(|_| Crowded)?);
        }
        Ok(())
    }

    /// The same, without waiting.
    pub(super) fn try_grow(&mut self, bytes: usize) -> Result<(), Crowded> {
        let missing = self.missing(bytes);
        if missing > 0 {
            let more = Arc::clone(&self.room).try_acquire_many_owned(missing);
            self.add(more.map_err(|_| Crowded)?);
        }
        Ok(())
    }

    /// No more than so many bytes are needed any longer.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let surplus = self.held().saturating_sub(needed(bytes));
        drop(self.permit.as_mut().and_then(|held| held.split(surplus)));
    }

    fn held(&self) -> usize {
        self.permit
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits)
    }

    fn missing(&self, bytes: usize) -> u32 {
        let missing = needed(bytes).saturating_sub(self.held());
        u32::try_from(missing).unwrap_or(u32::MAX)
    }

    fn add(&mut self, more: OwnedSemaphorePermit) {
        match &mut self.permit {
            None => self.permit = Some(more),
            Some(held) => held.merge(more),
        }
    }
}

/// The places for so many bytes.
fn needed(bytes: usize) -> usize {
    let places = bytes.saturating_sub(FREE).div_ceil(PLACE);
    places.next_multiple_of(PIECE).min(ALL / PLACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn there_is_room_for_so_much_and_no_more() {
        let room = Room::default();
        let mut short: Vec<_> = (0..1000).map(|_| room.share()).collect();
        let mut long = room.share();
        // The whole room, and more than there is.
        long.grow(10 * ALL).await.unwrap();
        for share in &mut short {
            share.try_grow(FREE).unwrap();
            assert!(share.try_grow(FREE + 1).is_err());
        }
        let late = short[0].grow(FREE + 1);
        assert!(late.await.is_err(), "nobody gives any back");
        long.shrink(ALL / 2);
        short[0].grow(ALL / 2).await.unwrap();
        assert!(short[1].try_grow(FREE + PIECE * PLACE + 1).is_err());
        drop(long);
        short[1].try_grow(ALL / 2).unwrap();
        // What is held is not asked for again.
        short[1].try_grow(ALL / 2).unwrap();
    }

    #[tokio::test]
    async fn who_waits_gets_what_is_given_back() {
        let room = Room::default();
        let (mut first, mut second) = (room.share(), room.share());
        first.grow(ALL).await.unwrap();
        let (grown, ()) = tokio::join!(second.grow(ALL), async { drop(first) });
        grown.unwrap();
    }
}

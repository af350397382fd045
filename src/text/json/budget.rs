//! How much memory the trees of answers, and texts that are made of answers, may take: each of them,
//! and all at a time.
//!
//! Nodes weigh more than their text: eight million bytes of `{"":0},` are 800 MB of tree. So what is
//! counted is what is allocated, as far as it can be known from here.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value};

use super::Unread;

/// What one tree or text may take.
pub(super) const LARGEST: usize = 16 << 20;

/// What all trees and texts at a time may take that are not small.
pub(super) const ALL: usize = 32 << 20;

/// Nobody has to wait for others to read a small answer.
const SMALL: usize = 256 << 10;

/// What is asked of the whole at a time.
const PIECE: usize = 1 << 20;

static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// What one tree or text has taken, given back when it is dropped.
#[derive(Debug)]
pub struct Budget {
    used: usize,
    limit: usize,
    /// What is taken of [`ALL`].
    taken: usize,
}

impl Budget {
    pub(super) const fn of_an_answer() -> Self {
        Self {
            used: 0,
            limit: LARGEST,
            taken: 0,
        }
    }

    pub(super) const fn unbounded() -> Self {
        Self {
            used: 0,
            limit: usize::MAX,
            taken: 0,
        }
    }

    /// A text of so many bytes that is still to be made of an answer.
    pub fn of_a_text(bytes: usize) -> Result<Self, Unread> {
        let mut budget = Self::of_an_answer();
        budget.text(bytes)?;
        Ok(budget)
    }

    fn take(&mut self, bytes: usize) -> Result<(), Unread> {
        self.used = self.used.saturating_add(bytes);
        if self.limit == usize::MAX || self.used <= SMALL + self.taken {
            return Ok(());
        }
        if self.used > self.limit {
            return Err(Unread::Large);
        }
        let piece = PIECE.max(self.used - SMALL - self.taken);
        let more = |taken: usize| taken.checked_add(piece).filter(|taken| *taken <= ALL);
        TAKEN
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .map_err(|_| Unread::Crowded)?;
        self.taken += piece;
        Ok(())
    }

    /// A text or a number of so many bytes.
    pub(super) fn text(&mut self, bytes: usize) -> Result<(), Unread> {
        self.take(bytes.max(16) + ALLOCATION)
    }

    /// One more item of an array.
    pub(super) fn item(&mut self, items: &Vec<Value>) -> Result<(), Unread> {
        if items.len() < items.capacity() {
            return Ok(());
        }
        // As `Vec` grows.
        self.take(items.capacity().max(4) * size_of::<Value>() + ALLOCATION)
    }

    /// One more entry of an object.
    pub(super) fn entry(&mut self, entries: &Map<String, Value>) -> Result<(), Unread> {
        match entries.len() {
            0 => self.take(LEAF),
            1..LEAF_ENTRIES => Ok(()),
            _ => self.take(LEAF / (LEAF_ENTRIES / 2)),
        }
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        TAKEN.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

const ALLOCATION: usize = 16;

/// Entries of a leaf of a `BTreeMap`, and what the leaf takes however few there are. A leaf that is
/// full is split in half.
const LEAF_ENTRIES: usize = 11;
const LEAF: usize = LEAF_ENTRIES * (size_of::<String>() + size_of::<Value>()) + 2 * ALLOCATION;

/// What a copy of a value takes.
#[must_use]
pub fn weight(value: &Value) -> usize {
    let inner = match value {
        Value::Null | Value::Bool(_) => 0,
        Value::Number(number) => number.as_str().len() + ALLOCATION,
        Value::String(text) => text.len() + ALLOCATION,
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(entries) => {
            let leaves = entries.len().div_ceil(LEAF_ENTRIES / 2).min(entries.len());
            let entry = |(key, value): (&String, &Value)| key.len() + ALLOCATION + weight(value);
            leaves * LEAF + entries.iter().map(entry).sum::<usize>()
        }
    };
    size_of::<Value>() + inner
}

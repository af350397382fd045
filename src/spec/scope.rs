//! What a run knows so far: its own name and the captures of earlier steps.

use std::collections::HashMap;

use serde_json::Value;

use super::action::{Capture, Run};
use crate::outcome::{Failure, Reason};
use crate::text::Lookup;
use crate::text::json::weight;

/// What all captures of a run may take: they are kept to its end.
const LARGEST: usize = 2 << 20;

/// The values that `${name.key}` stands for.
#[derive(Debug, Default)]
pub struct Scope {
    names: HashMap<String, HashMap<String, Value>>,
    /// What they take.
    weight: usize,
}

impl Scope {
    /// The scope of a run that begins.
    #[must_use]
    pub fn new(run: &Run) -> Self {
        let mut scope = Self::default();
        scope.set("run", "id", Value::from(&*run.id));
        scope.set("run", "name", Value::from(&*run.name));
        scope
    }

    /// Says if these would be too much.
    pub fn room_for(&self, captures: &[Capture]) -> Result<(), Failure> {
        let more: usize = captures.iter().map(|capture| weight(&capture.value)).sum();
        if self.weight + more > LARGEST {
            let what = format!(
                "the captures of the run take more than {} MiB",
                LARGEST >> 20
            );
            return Err(Failure::new(Reason::Protocol, what));
        }
        Ok(())
    }

    /// Keeps what `step` captured.
    pub fn add(&mut self, step: &str, captures: impl IntoIterator<Item = Capture>) {
        for capture in captures {
            self.set(&reference(step), &capture.key, capture.value);
        }
    }

    /// Sets one value.
    pub fn set(&mut self, name: &str, key: &str, value: Value) {
        let keys = self.names.entry(name.to_owned()).or_default();
        self.weight += weight(&value);
        if let Some(old) = keys.insert(key.to_owned(), value) {
            self.weight -= weight(&old);
        }
    }

    /// Forgets what `step` captured: a wrapper's captures are read only inside it.
    pub fn forget(&mut self, step: &str) {
        let forgotten = self.names.remove(&reference(step)).unwrap_or_default();
        self.weight -= forgotten.values().map(weight).sum::<usize>();
    }
}

/// How a step's name is written in `${…}`.
#[must_use]
pub fn reference(step: &str) -> String {
    step.replace('-', "_")
}

impl Lookup for Scope {
    fn get(&self, name: &str, key: &str) -> Option<&Value> {
        self.names.get(name)?.get(key)
    }
}

//! What a run knows so far: its own name and the captures of earlier steps.

use std::collections::HashMap;

use serde_json::Value;

use super::action::{Capture, Run};
use crate::text::Lookup;

/// The values that `${name.key}` stands for.
#[derive(Debug, Default)]
pub struct Scope {
    names: HashMap<String, HashMap<String, Value>>,
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

    /// Keeps what `step` captured.
    pub fn add(&mut self, step: &str, captures: impl IntoIterator<Item = Capture>) {
        for capture in captures {
            self.set(&reference(step), &capture.key, capture.value);
        }
    }

    /// Sets one value.
    pub fn set(&mut self, name: &str, key: &str, value: Value) {
        let keys = self.names.entry(name.to_owned()).or_default();
        keys.insert(key.to_owned(), value);
    }

    /// Forgets what `step` captured: a wrapper's captures are read only inside it.
    pub fn forget(&mut self, step: &str) {
        self.names.remove(&reference(step));
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

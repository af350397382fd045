//! A step's keys as tables: which there are, which must be there, what may stand behind them.
//!
//! Documents are written from the tables, and a test of `plan` holds them to what the code asks
//! for. Actions whose keys are plain values also read them by table, with [`Keys`]: `${…}` may
//! stand anywhere in them; what is constant has its type checked when the plan is made, the rest
//! when the step is performed.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::kind::Kind;
use super::refused;
use crate::outcome::{Cause, Failure};
use crate::text::{At, Fields, Lookup, Read, ValueTemplate};

/// One key of an action.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// What it is called; `*` stands for any name of the user's.
    pub name: &'static str,
    /// What may stand behind it.
    pub kind: Kind,
    /// What it is for, in one line.
    pub help: &'static str,
    /// What holds when it is left out, as documents say it; empty if nothing does.
    pub default: &'static str,
    /// Whether it must be there.
    pub required: bool,
    /// Whether an undo record holds it, so that no secret may stand in it.
    pub recorded: bool,
    /// The keys of the table behind it.
    pub keys: &'static [Part],
}

/// Keys that are written, read and told together. A table of keys is put together from them.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// How documents call them; empty for those of one action alone.
    pub title: &'static str,
    /// The keys.
    pub keys: &'static [Key],
}

impl Part {
    /// Keys of one action or table alone.
    #[must_use]
    pub const fn own(keys: &'static [Key]) -> Self {
        Self { title: "", keys }
    }

    /// Keys that several have.
    #[must_use]
    pub const fn shared(title: &'static str, keys: &'static [Key]) -> Self {
        Self { title, keys }
    }
}

impl Key {
    /// A key that may be left out.
    #[must_use]
    pub const fn optional(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self {
            name,
            kind,
            help,
            default: "",
            required: false,
            recorded: false,
            keys: &[],
        }
    }

    /// A key that must be there.
    #[must_use]
    pub const fn required(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self {
            required: true,
            ..Self::optional(name, kind, help)
        }
    }

    /// The key with what holds when it is left out.
    #[must_use]
    pub const fn default(self, default: &'static str) -> Self {
        Self { default, ..self }
    }

    /// The key as one of a table with these keys.
    #[must_use]
    pub const fn of(self, keys: &'static [Part]) -> Self {
        Self { keys, ..self }
    }

    /// The key as one whose value an undo record holds.
    #[must_use]
    pub const fn recorded(self) -> Self {
        Self {
            recorded: true,
            ..self
        }
    }
}

/// The keys that a step has.
pub(crate) struct Keys {
    values: Vec<(&'static str, ValueTemplate)>,
    /// Captures of others that an undo record would hold.
    pub(crate) recorded: Vec<(Read, At)>,
}

impl Keys {
    /// Reads them; `None` if one is missing. `T` is what they become; each of its fields has a
    /// default.
    pub(crate) fn read<T: DeserializeOwned>(
        fields: &mut Fields<'_, '_>,
        keys: &[Key],
    ) -> Option<Self> {
        let mut values = Vec::new();
        let mut recorded = Vec::new();
        let mut complete = true;
        for key in keys {
            let before = fields.notes().reads.len();
            let Some(value) = fields.value(key.name) else {
                if key.required && !fields.has(key.name) {
                    fields.missing(key.name, key.help);
                }
                complete &= !key.required;
                continue;
            };
            if key.recorded {
                recorded.extend_from_slice(&fields.notes().reads[before..]);
            }
            if let Some(constant) = value.constant()
                && let Err(error) = typed::<T>([(key.name, constant)])
            {
                fields.problem(key.name, format!("is wrong: {error}"), key.help);
            }
            values.push((key.name, value));
        }
        complete.then_some(Self { values, recorded })
    }

    /// The template of one key.
    pub(crate) fn get(&self, name: &str) -> Option<&ValueTemplate> {
        let found = self.values.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| value)
    }

    /// Their values, everything put in; `more` are values that no key gave.
    pub(crate) fn render<T: DeserializeOwned>(
        &self,
        lookup: &dyn Lookup,
        more: impl IntoIterator<Item = (&'static str, Value)>,
    ) -> Result<T, Failure> {
        let mut all: Vec<_> = more
            .into_iter()
            .filter(|(key, _)| self.get(key).is_none())
            .collect();
        for (key, value) in &self.values {
            all.push((key, value.value(lookup).map_err(|error| refused(&error))?));
        }
        typed(all).map_err(|error| Failure::new(Cause::Input, error.to_string()).without_effect())
    }
}

fn typed<T: DeserializeOwned>(
    values: impl IntoIterator<Item = (&'static str, Value)>,
) -> serde_json::Result<T> {
    let values = values
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value));
    serde_json::from_value(Value::Object(values.collect::<Map<_, _>>()))
}

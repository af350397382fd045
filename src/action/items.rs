//! What an array in an answer has, or must not have: `contains` and `lacks` of an expectation.

use serde_json::Value;

use super::content::shown;
use super::place::{POINTER_HELP, is_pointer};
use super::refused;
use crate::outcome::{Failure, Reason};
use crate::text::json::equal;
use crate::text::{Fields, Lookup, ValueTemplate};

/// One kind of item that must be there, or must not.
pub(super) struct Item {
    /// The array.
    pointer: String,
    /// What tells the item, by pointers into it.
    marks: Vec<(String, ValueTemplate)>,
    wanted: bool,
}

impl Item {
    /// Reads a table from arrays to items, one or several: `{ "/items" = { "/name" = "x" } }`.
    pub(super) fn read(mut fields: Fields<'_, '_>, wanted: bool) -> Vec<Self> {
        let mut all = Vec::new();
        for entry in fields.entries() {
            if !is_pointer(&entry.key) {
                fields.problem(&entry.key, "is not a JSON pointer", POINTER_HELP);
            }
            let items = match fields.value_of(&entry.key, &entry.node) {
                None => continue,
                Some(ValueTemplate::Array(items)) => items,
                Some(item) => vec![item],
            };
            for item in items {
                match item {
                    ValueTemplate::Table(marks) if tells(&marks) => all.push(Self {
                        pointer: entry.key.clone(),
                        marks,
                        wanted,
                    }),
                    // The item itself.
                    ValueTemplate::Constant(_) | ValueTemplate::Text(_) => all.push(Self {
                        pointer: entry.key.clone(),
                        marks: vec![(String::new(), item)],
                        wanted,
                    }),
                    _ => {
                        let help = "say what tells the item, such as { \"/name\" = \"x\" }, or \
                                    the item itself, such as \"x\"";
                        fields.problem(&entry.key, "does not say which item", help);
                    }
                }
            }
        }
        all
    }

    /// How an item is told by its marks.
    fn verb(&self) -> &'static str {
        match self.marks.as_slice() {
            [(pointer, _)] if pointer.is_empty() => "is",
            _ => "has",
        }
    }

    /// Says how the answer is not as expected.
    pub(super) fn check(&self, json: &Value, lookup: &dyn Lookup) -> Result<(), Failure> {
        let failed = |what: String| Err(Failure::new(Reason::Assertion, what).in_our_words());
        let Some(array) = json.pointer(&self.pointer).and_then(Value::as_array) else {
            return failed(format!("there is no array at json {}", self.pointer));
        };
        let mut marks = Vec::new();
        for (pointer, value) in &self.marks {
            marks.push((
                pointer,
                value.value(lookup).map_err(|error| refused(&error))?,
            ));
        }
        let is_told = |item: &&Value| {
            let has = |(pointer, value): &(&String, Value)| {
                item.pointer(pointer)
                    .is_some_and(|found| equal(found, value))
            };
            marks.iter().all(has)
        };
        let told: Vec<_> = marks
            .iter()
            .map(|(pointer, value)| match pointer.as_str() {
                "" => shown(value),
                pointer => format!("{pointer} = {}", shown(value)),
            })
            .collect();
        let told = told.join(" and ");
        match (array.iter().find(is_told), self.wanted) {
            (Some(_), true) | (None, false) => Ok(()),
            (None, true) => {
                let count = array.len();
                failed(format!(
                    "none of the {count} items of json {} {} {told}",
                    self.pointer,
                    self.verb()
                ))
            }
            (Some(item), false) => {
                let (pointer, verb) = (&self.pointer, self.verb());
                let short = format!("json {pointer} has an item that {verb} {told}, expected none");
                let what = format!("{short}: {}", shown(item));
                Err(Failure::new(Reason::Assertion, what).in_short(short))
            }
        }
    }
}

fn tells(marks: &[(String, ValueTemplate)]) -> bool {
    !marks.is_empty() && marks.iter().all(|(pointer, _)| is_pointer(pointer))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::spec::{Run, Scope};

    fn check(json: &Value, pointer: &str, marks: &Value, wanted: bool) -> Result<(), String> {
        let marks = marks.as_object().unwrap().iter();
        let item = Item {
            pointer: pointer.to_owned(),
            marks: marks
                .map(|(key, value)| (key.clone(), ValueTemplate::from_value(value).unwrap()))
                .collect(),
            wanted,
        };
        let run = Run::new("lab", "x");
        let scope = Scope::new(&run);
        item.check(json, &scope).map_err(|failure| failure.message)
    }

    #[test]
    fn an_item_is_told_by_all_its_marks() {
        let json = json!({ "items": [{ "name": "lab-x", "size": 1 }, { "name": "b", "size": 2 }],
            "names": ["a", "b"], "none": [] });
        for (pointer, marks, there) in [
            ("/items", json!({ "/name": "${run.name}" }), true),
            ("/items", json!({ "/name": "b", "/size": 2.0 }), true),
            ("/items", json!({ "/name": "b", "/size": 1 }), false),
            ("/items", json!({ "/title": "b" }), false),
            ("/names", json!({ "": "b" }), true),
            ("/names", json!({ "": "c" }), false),
            ("/none", json!({ "": "c" }), false),
        ] {
            assert_eq!(
                check(&json, pointer, &marks, true).is_ok(),
                there,
                "{marks}"
            );
            assert_eq!(
                check(&json, pointer, &marks, false).is_ok(),
                !there,
                "{marks}"
            );
        }
    }

    #[test]
    fn where_there_is_no_array_nothing_holds() {
        for wanted in [true, false] {
            let error = check(
                &json!({ "items": {} }),
                "/items",
                &json!({ "/a": 1 }),
                wanted,
            );
            assert_eq!(error.unwrap_err(), "there is no array at json /items");
        }
    }

    #[test]
    fn what_is_there_and_should_not_be_is_shown() {
        let json = json!({ "items": [{ "name": "a" }] });
        let error = check(&json, "/items", &json!({ "/name": "a" }), false).unwrap_err();
        assert_eq!(
            error,
            r#"json /items has an item that has /name = "a", expected none: {"name":"a"}"#
        );
        let error = check(&json, "/items", &json!({ "/name": "b" }), true).unwrap_err();
        assert_eq!(
            error,
            r#"none of the 1 items of json /items has /name = "b""#
        );
    }
}

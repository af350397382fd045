//! Shapes, as `tests/backendai/shapes.py` writes them, and where a value has another one.
//!
//! A value of the stand-in may be one of those that the real manager's might have been: it has no
//! key that was never recorded, lacks none that was always there, and is null only where null was
//! recorded. A list that was always empty says nothing of what could be in it, so nothing may be.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value, json};

static UUID: LazyLock<Regex> =
    LazyLock::new(|| regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"));
static HEX: LazyLock<Regex> = LazyLock::new(|| regex("^[0-9a-f]{32}$"));
static TIME: LazyLock<Regex> = LazyLock::new(|| regex(r"^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d"));

pub(super) fn regex(text: &str) -> Regex {
    Regex::new(text).unwrap()
}

/// Whether a text is an id.
pub(super) fn is_id(text: &str) -> bool {
    UUID.is_match(text) || HEX.is_match(text)
}

/// Every place where a value is not what a shape says, as a sentence.
pub(super) fn differences(value: &Value, shape: &Value, at: &str, found: &mut Vec<String>) {
    let allowed = alternatives(shape);
    let Some(shape) = allowed.iter().find(|one| is(value, one)) else {
        let allowed: Vec<_> = allowed.iter().map(ToString::to_string).collect();
        found.push(format!(
            "`{at}`: the stand-in answers {}, the real manager {}",
            shown(value),
            allowed.join(" or ")
        ));
        return;
    };
    match (value, shape) {
        (Value::Object(value), Value::Object(shape)) => keys(value, shape, at, found),
        (Value::Array(items), Value::Array(shape)) => match shape.first() {
            Some(shape) => {
                let at = format!("{at}[]");
                for item in items {
                    differences(item, shape, &at, found);
                }
            }
            None if items.is_empty() => {}
            None => found.push(format!(
                "`{at}`: the stand-in's list has items, the real manager's was always empty"
            )),
        },
        _ => {}
    }
}

fn keys(value: &Map<String, Value>, shape: &Map<String, Value>, at: &str, found: &mut Vec<String>) {
    for (key, inner) in value {
        let key = key_of(key);
        match shape.get(key).or_else(|| shape.get(&format!("{key}?"))) {
            Some(shape) => differences(inner, shape, &format!("{at}.{key}"), found),
            None => found.push(format!(
                "`{at}.{key}`: the stand-in answers {}, the real manager has no such key",
                shown(inner)
            )),
        }
    }
    for key in shape.keys() {
        // How many ids there are is what the answer says, not how it looks.
        let may_lack = key.ends_with('?') || key.starts_with('{');
        if !may_lack && !value.contains_key(key) {
            let inner = &shape[key];
            found.push(format!(
                "`{at}.{key}`: the stand-in has no such key, the real manager answers {inner}"
            ));
        }
    }
}

/// A key that is data stands for all such keys.
fn key_of(key: &str) -> &str {
    if is_id(key) {
        "{id}"
    } else if key.contains(':') {
        "{volume}"
    } else {
        key
    }
}

/// The shapes of which a value has one.
pub(super) fn alternatives(shape: &Value) -> &[Value] {
    match shape.get("|") {
        Some(Value::Array(all)) => all,
        _ => std::slice::from_ref(shape),
    }
}

fn is(value: &Value, shape: &Value) -> bool {
    match (value, shape) {
        (Value::Object(_), Value::Object(_)) | (Value::Array(_), Value::Array(_)) => true,
        // What is more than just a text is a text.
        (Value::String(_), Value::String(word)) if word == "str" => true,
        (value, Value::String(word)) => scalar(value) == Some(word),
        _ => false,
    }
}

/// The word for what is no list and no object.
fn scalar(value: &Value) -> Option<&'static str> {
    Some(match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(text) if UUID.is_match(text) => "uuid",
        Value::String(text) if HEX.is_match(text) => "hex",
        Value::String(text) if TIME.is_match(text) => "time",
        Value::String(_) => "str",
        Value::Array(_) | Value::Object(_) => return None,
    })
}

fn shown(value: &Value) -> String {
    match scalar(value) {
        Some(word) => format!("\"{word}\" ({value})"),
        None => value.to_string(),
    }
}

#[test]
fn a_value_differs_where_it_could_not_have_been_recorded() {
    let id = "5fa6680d-2234-4bf7-99a7-b08d72eaa4e6";
    let shape = json!({
        "id": "uuid", "name": "str", "more?": ["int"], "none": [], "end": {"|": ["null", "time"]},
        "hosts": {"{volume}": "bool"},
    });
    let good = json!({ "id": id, "name": id, "none": [], "end": null, "hosts": {} });
    let with = |key: &str, value: Value| {
        let mut changed = good.clone();
        changed[key] = value;
        changed
    };
    let differing = |value: &Value| {
        let mut found = Vec::new();
        differences(value, &shape, "body", &mut found);
        found
    };
    for fine in [
        good.clone(),
        with("more", json!([])),
        with("more", json!([1, 2])),
        with("end", json!("2026-01-01T00:00:00+00:00")),
        with("hosts", json!({ "local:volume1": true })),
    ] {
        assert_eq!(differing(&fine), [""; 0]);
    }
    for (key, value, at) in [
        ("id", json!("x"), "`body.id`"),
        ("id", json!(null), "`body.id`"),
        ("more", json!([1.5]), "`body.more[]`"),
        ("none", json!([1]), "`body.none`"),
        ("end", json!("soon"), "`body.end`"),
        (
            "hosts",
            json!({ "local:volume1": 1 }),
            "`body.hosts.{volume}`",
        ),
        ("new", json!(1), "`body.new`"),
    ] {
        let found = differing(&with(key, value));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(at), "{found:?}");
    }
    assert_eq!(differing(&json!({})).len(), 5, "what was always there");
}

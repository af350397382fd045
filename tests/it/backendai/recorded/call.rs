//! What calls are called in a recording: the pattern of a path, the fields of a query, the word
//! of a refusal. The same as in `tests/backendai/shapes.py`; where the two differ, calls of the
//! stand-in are not found in the recording.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::shape::{is_id, regex};

/// Names of things stand behind these, except for the words of folders that are calls.
const NAMED: &[&str] = &["session", "folders", "services", "scaling-groups"];
const FOLDER_WORDS: &[&str] = &[
    "_",
    "invitations",
    "purge",
    "restore-from-trash-bin",
    "delete-from-trash-bin",
];

static ASIDE: LazyLock<Regex> = LazyLock::new(|| regex(r#""(\\.|[^"\\])*"|#[^\n]*|@\w+"#));
static TOKEN: LazyLock<Regex> = LazyLock::new(|| regex(r"[(){}:]|\$?\w+"));

/// Who answers: the stand-in does all on one port.
pub(super) fn front(path: &str) -> (&'static str, &str) {
    if let Some(path) = path.strip_prefix("/storage") {
        ("storage", path)
    } else if path.starts_with("/server/") || path.starts_with("/func/") {
        ("web", path)
    } else if path.starts_with("/apps/") {
        ("app proxy", path)
    } else {
        ("manager", path)
    }
}

/// The name of a call.
pub(super) fn call(method: &str, path: &str, body: &[u8]) -> String {
    let mut call = format!("{method} {}", pattern(path));
    if path.ends_with("/gql") {
        let sent: Value = serde_json::from_slice(body).unwrap_or_default();
        for field in graphql_fields(sent["query"].as_str().unwrap_or_default()) {
            let _ = write!(call, " {field}");
        }
    }
    call
}

/// A path with ids and names replaced.
fn pattern(path: &str) -> String {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let mut words: Vec<&str> = Vec::new();
    for word in path.split('/') {
        let before = words.last().copied().unwrap_or_default();
        let is_name = NAMED.contains(&before) && !word.is_empty() && !FOLDER_WORDS.contains(&word);
        words.push(if is_id(word) || is_name { "{id}" } else { word });
    }
    words.join("/")
}

/// The root fields of a query.
fn graphql_fields(query: &str) -> BTreeSet<String> {
    let text = ASIDE.replace_all(query, "");
    let (mut fields, mut depth, mut brackets) = (Vec::new(), 0, 0);
    for token in TOKEN.find_iter(&text) {
        match token.as_str() {
            "(" => brackets += 1,
            ")" => brackets -= 1,
            _ if brackets > 0 => {}
            "{" => depth += 1,
            "}" => depth -= 1,
            // That was an alias.
            ":" if depth == 1 => drop(fields.pop()),
            word if depth == 1 => fields.push(word.to_owned()),
            _ => {}
        }
    }
    fields.into_iter().collect()
}

/// The status, and for a refusal the word that tells it from others of that status.
pub(super) fn outcome(status: u16, body: &Value) -> String {
    if let Some(error) = body["errors"].get(0) {
        let code = error["extensions"]["code"].as_str().unwrap_or("error");
        return format!("{status} {code}");
    }
    if let Value::Object(results) = &body["data"]
        && results.values().any(|result| result["ok"] == false)
    {
        return format!("{status} not ok");
    }
    let text = |key: &str| body[key].as_str().filter(|text| !text.is_empty());
    let last = |text: &str| text.rsplit('/').next().map(str::to_owned);
    let word = text("error_code").map(str::to_owned);
    match word.or_else(|| text("type").and_then(last)) {
        Some(word) if status >= 400 => format!("{status} {word}"),
        _ => status.to_string(),
    }
}

#[test]
fn calls_are_called_as_in_the_recording() {
    let zeros = format!("/template/session/{}", "0".repeat(32));
    for (path, expected) in [
        ("/session/my-name/rename?name=x", "/session/{id}/rename"),
        ("/folders/_/hosts", "/folders/_/hosts"),
        ("/folders/purge", "/folders/purge"),
        ("/func/folders/abc/files", "/func/folders/{id}/files"),
        (&zeros, "/template/session/{id}"),
        ("/events/session", "/events/session"),
    ] {
        assert_eq!(pattern(path), expected);
    }
    for (query, expected) in [
        (
            r#"query($n: String = "{") { groups_by_name(name: $n) { id } b: user { uuid } }"#,
            "POST /admin/gql groups_by_name user",
        ),
        (
            "mutation { create_group(name: {a: 1}) @x { ok } }",
            "POST /admin/gql create_group",
        ),
    ] {
        let body = serde_json::json!({ "query": query }).to_string();
        assert_eq!(call("POST", "/admin/gql", body.as_bytes()), expected);
    }
    for (status, body, expected) in [
        (
            404,
            r#"{"error_code": "session_read_not-found"}"#,
            "404 session_read_not-found",
        ),
        (204, "null", "204"),
        (
            200,
            r#"{"data": {"purge_group": {"ok": false}}}"#,
            "200 not ok",
        ),
        (400, r#"{"type": "https://x/probs/quota"}"#, "400 quota"),
    ] {
        assert_eq!(outcome(status, &body.parse().unwrap()), expected);
    }
}

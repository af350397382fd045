//! The filters of lists: comparisons such as `name ilike "a-%"`, joined by `&` and `|`.

use axum::http::StatusCode;
use serde_json::Value;

use crate::demo::backendai::refusal::Refusal;

/// The items that a filter lets through; all without one.
pub(super) fn passing(
    filter: Option<&str>,
    items: impl Iterator<Item = Value>,
) -> Result<Vec<Value>, Refusal> {
    let filter = filter
        .map(|text| read(text).ok_or_else(unreadable))
        .transpose()?;
    let mut passing = Vec::new();
    for item in items {
        let passes = filter
            .as_ref()
            .is_none_or(|filter| filter.lets_through(&item) == Some(true));
        let is_known = filter
            .as_ref()
            .is_none_or(|filter| filter.lets_through(&item).is_some());
        if !is_known {
            return Err(unreadable());
        }
        if passes {
            passing.push(item);
        }
    }
    Ok(passing)
}

fn unreadable() -> Refusal {
    Refusal::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal-server-error",
        "Query filter parsing error",
        "backendai_generic_internal-error",
    )
}

#[derive(Debug, PartialEq)]
enum Filter {
    Any(Vec<Filter>),
    All(Vec<Filter>),
    Compare(String, String, Value),
}

impl Filter {
    /// `None` if it speaks of something that the item does not have.
    fn lets_through(&self, item: &Value) -> Option<bool> {
        match self {
            Self::Any(parts) => parts.iter().try_fold(false, |passes, part| {
                Some(part.lets_through(item)? || passes)
            }),
            Self::All(parts) => parts.iter().try_fold(true, |passes, part| {
                Some(part.lets_through(item)? && passes)
            }),
            Self::Compare(key, how, wanted) => {
                let found = item.get(key)?;
                let texts = found.as_str().zip(wanted.as_str());
                Some(match &**how {
                    "==" => found == wanted,
                    "!=" => found != wanted,
                    "in" => wanted.as_array()?.contains(found),
                    "like" => texts.is_some_and(|(found, wanted)| is_like(found, wanted)),
                    "ilike" => texts.is_some_and(|(found, wanted)| {
                        is_like(&found.to_lowercase(), &wanted.to_lowercase())
                    }),
                    _ => return None,
                })
            }
        }
    }
}

/// `%` stands for any letters, `_` for one, and a backslash takes that away.
fn is_like(found: &str, pattern: &str) -> bool {
    let mut letters = pattern.chars();
    match letters.next() {
        None => found.is_empty(),
        Some('%') => {
            let mut ends = found.char_indices().map(|(at, _)| at).chain([found.len()]);
            ends.any(|at| {
                found
                    .get(at..)
                    .is_some_and(|rest| is_like(rest, letters.as_str()))
            })
        }
        Some('_') => {
            let mut rest = found.chars();
            rest.next().is_some() && is_like(rest.as_str(), letters.as_str())
        }
        Some(letter) => {
            let letter = match letter {
                '\\' => letters.next().unwrap_or('\\'),
                other => other,
            };
            found
                .strip_prefix(letter)
                .is_some_and(|rest| is_like(rest, letters.as_str()))
        }
    }
}

fn read(text: &str) -> Option<Filter> {
    let mut rest = text;
    let filter = any(&mut rest)?;
    rest.trim().is_empty().then_some(filter)
}

/// Takes what comes next, if it is this.
fn takes(rest: &mut &str, mark: char) -> bool {
    let stripped = rest.trim_start().strip_prefix(mark);
    *rest = stripped.unwrap_or(rest);
    stripped.is_some()
}

fn any(rest: &mut &str) -> Option<Filter> {
    let mut parts = vec![all(rest)?];
    while takes(rest, '|') {
        parts.push(all(rest)?);
    }
    Some(Filter::Any(parts))
}

fn all(rest: &mut &str) -> Option<Filter> {
    let mut parts = vec![one(rest)?];
    while takes(rest, '&') {
        parts.push(one(rest)?);
    }
    Some(Filter::All(parts))
}

fn one(rest: &mut &str) -> Option<Filter> {
    if takes(rest, '(') {
        let inner = any(rest)?;
        return takes(rest, ')').then_some(inner);
    }
    let (key, after) = rest.trim_start().split_once(' ')?;
    let (how, after) = after.trim_start().split_once(' ')?;
    let mut value = serde_json::Deserializer::from_str(after).into_iter();
    let wanted = value.next()?.ok()?;
    *rest = after.get(value.byte_offset()..)?;
    Some(Filter::Compare(key.into(), how.into(), wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn passes(filter: &str) -> Result<bool, Refusal> {
        let item = json!({ "name": "site-1_a", "status": "RUNNING" });
        passing(Some(filter), [item].into_iter()).map(|passing| !passing.is_empty())
    }

    #[test]
    fn filters_compare() {
        for (filter, expected) in [
            ("name ilike \"site-1%\"", true),
            ("name ilike \"Site-1_A\"", true),
            ("name like \"Site-1_A\"", false),
            ("name like \"site_1_a\"", true),
            ("name like \"site-1\\\\_a\"", true),
            ("name like \"site\\\\_1_a\"", false),
            ("name ilike \"%-1_%\"", true),
            ("name ilike \"site\"", false),
            ("name == \"site-1_a\" & status != \"RUNNING\"", false),
            ("(name == \"x\") | (status == \"RUNNING\")", true),
            (
                "(name == \"x\" | status == \"RUNNING\") & name != \"y)\"",
                true,
            ),
            ("name in [\"site-1_a\", \"b\"]", true),
        ] {
            assert_eq!(passes(filter), Ok(expected), "{filter}");
        }
        assert_eq!(passing(None, [json!(1)].into_iter()), Ok(vec![json!(1)]));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for filter in [
            "",
            "nonsense",
            "none == \"x\"",
            "name is \"x\"",
            "(name == \"x\"",
        ] {
            assert!(passes(filter).is_err(), "{filter}");
        }
    }
}

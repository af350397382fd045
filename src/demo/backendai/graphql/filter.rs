//! The filters of lists: comparisons such as `name ilike "a-%"`, joined by `&` and `|`.

use serde_json::Value;

/// Whether a filter lets `item` through; one that cannot be read lets nothing through.
pub(super) fn lets_through(filter: Option<&str>, item: &Value) -> bool {
    let Some(filter) = filter else { return true };
    let mut either = filter.split('|');
    either.any(|all| {
        let mut all = all.split('&');
        all.all(|one| compare(one, item).unwrap_or(false))
    })
}

fn compare(comparison: &str, item: &Value) -> Option<bool> {
    let comparison = comparison.trim().trim_matches(['(', ')']);
    let (key, rest) = comparison.split_once(' ')?;
    let (how, wanted) = rest.trim().split_once(' ')?;
    let wanted = wanted.trim().trim_matches('"');
    let found = item[key].as_str()?;
    Some(match how {
        "==" => found == wanted,
        "!=" => found != wanted,
        "ilike" | "like" => is_like(&found.to_lowercase(), &wanted.to_lowercase()),
        _ => return None,
    })
}

/// `%` stands for any letters, at the ends only.
fn is_like(found: &str, pattern: &str) -> bool {
    let core = pattern.trim_matches('%');
    match (pattern.starts_with('%'), pattern.ends_with('%')) {
        (true, true) => found.contains(core),
        (true, false) => found.ends_with(core),
        (false, true) => found.starts_with(core),
        (false, false) => found == core,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn filters_compare() {
        let item = json!({ "name": "site-1-a", "status": "RUNNING" });
        for (filter, passes) in [
            ("name ilike \"site-1%\"", true),
            ("name ilike \"Site-1-A\"", true),
            ("name ilike \"%-1-%\"", true),
            ("name ilike \"site\"", false),
            ("name == \"site-1-a\" & status != \"RUNNING\"", false),
            ("(name == \"x\") | (status == \"RUNNING\")", true),
            ("nonsense", false),
        ] {
            assert_eq!(lets_through(Some(filter), &item), passes, "{filter}");
        }
        assert!(lets_through(None, &item));
    }
}

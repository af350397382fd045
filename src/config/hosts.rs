//! Names of hosts in `[server] hosts`: exact, or everything below one. Leaves to `http` by which
//! other names this machine is known.

/// A name that the daemon is called by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// This name.
    Name(String),
    /// Every name that ends in this, which begins with a dot.
    Below(String),
}

impl HostPattern {
    /// Reads `testerd.example.org` or `*.example.org`; none if it is neither.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        match text.strip_prefix("*.") {
            Some(parent) => Some(Self::Below(format!(".{}", host_name(parent)?))),
            None => host_name(text).map(Self::Name),
        }
    }

    /// Whether it means this name, which `host_name` has made.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        match self {
            Self::Name(own) => name == own,
            Self::Below(parent) => name.len() > parent.len() && name.ends_with(parent),
        }
    }
}

/// A name as it is compared: in lower case, in ASCII, without the dot of the root. None if no host
/// can be called so.
#[must_use]
pub fn host_name(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let name = idna::domain_to_ascii(text).ok()?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(allowed);
    name.split('.').all(is_label).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_say() {
        for (pattern, taken, foreign) in [
            (
                "testerd.example.org",
                &["testerd.example.org"] as &[_],
                &[
                    "example.org",
                    "a.testerd.example.org",
                    "testerd.example.organ",
                ] as &[_],
            ),
            (
                "*.Example.org.",
                &["a.example.org", "a.b.example.org"],
                &["example.org", "badexample.org", ".example.org"],
            ),
            (
                "BÜCHER.example",
                &["xn--bcher-kva.example"],
                &["bucher.example"],
            ),
            ("10.0.0.1", &["10.0.0.1"], &["10.0.0.10"]),
            ("under_score", &["under_score"], &["underscore"]),
        ] {
            let pattern = HostPattern::new(pattern).unwrap();
            for name in taken {
                assert!(pattern.is(name), "{pattern:?} {name}");
            }
            for name in foreign {
                assert!(!pattern.is(name), "{pattern:?} {name}");
            }
        }
        for text in [
            "",
            ".",
            "*",
            "*.",
            "*.*.org",
            "a..b",
            "a*.org",
            "host:80",
            "http://host",
            "[::1]",
            "a b",
            "a/b",
            "..",
        ] {
            assert_eq!(HostPattern::new(text), None, "{text}");
        }
    }
}

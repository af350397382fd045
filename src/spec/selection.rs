//! The spec manager's queries: all specs, by name, by tag.

use glob::Pattern;

/// A pattern over names, as in a shell: `*`, `?`, `[…]`.
pub type NamePattern = Pattern;

/// Which specs are meant. An empty selection means all of them.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// At least one of these tags.
    pub tags: Vec<String>,
    /// All of these tags.
    pub all_tags: Vec<String>,
    /// None of these tags.
    pub exclude_tags: Vec<String>,
    /// At least one of these names.
    pub names: Vec<NamePattern>,
    /// None of these names.
    pub exclude_names: Vec<NamePattern>,
}

impl Selection {
    /// Whether a spec of this name and these tags is meant.
    #[must_use]
    pub fn selects(&self, name: &str, tags: &[String]) -> bool {
        let has = |tag: &String| tags.contains(tag);
        let matches = |pattern: &NamePattern| pattern.matches(name);
        (self.tags.is_empty() || self.tags.iter().any(has))
            && self.all_tags.iter().all(has)
            && !self.exclude_tags.iter().any(has)
            && (self.names.is_empty() || self.names.iter().any(matches))
            && !self.exclude_names.iter().any(matches)
    }

    /// Whether a spec of this name is meant by its full name, not by tag or wildcard.
    #[must_use]
    pub fn names_exactly(&self, name: &str) -> bool {
        self.names.iter().any(|pattern| pattern.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(selection: &Selection, expected: &[&str]) {
        let specs = [
            ("session-create", "session manager"),
            ("session-execute", "session agent"),
            ("folder-share", "vfolder manager long_running"),
        ];
        let selected: Vec<_> = specs
            .iter()
            .filter(|(name, tags)| {
                let tags: Vec<_> = tags.split(' ').map(str::to_owned).collect();
                selection.selects(name, &tags)
            })
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(selected, expected, "{selection:?}");
    }

    #[test]
    fn by_tag_by_name_and_all() {
        let list = |words: &[&str]| {
            words
                .iter()
                .map(|&word| word.to_owned())
                .collect::<Vec<_>>()
        };
        let globs = |words: &[&str]| {
            words
                .iter()
                .map(|w| Pattern::new(w).unwrap())
                .collect::<Vec<_>>()
        };
        let all = Selection::default;
        check(
            &all(),
            &["session-create", "session-execute", "folder-share"],
        );
        check(
            &Selection {
                tags: list(&["agent", "vfolder"]),
                ..all()
            },
            &["session-execute", "folder-share"],
        );
        check(
            &Selection {
                all_tags: list(&["session", "manager"]),
                ..all()
            },
            &["session-create"],
        );
        check(
            &Selection {
                exclude_tags: list(&["long_running"]),
                ..all()
            },
            &["session-create", "session-execute"],
        );
        check(
            &Selection {
                names: globs(&["session-*"]),
                exclude_names: globs(&["*-execute"]),
                ..all()
            },
            &["session-create"],
        );
        check(
            &Selection {
                tags: list(&["none"]),
                ..all()
            },
            &[],
        );
    }
}

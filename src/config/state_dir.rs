//! Where the state directory may be of a configuration that cannot be understood.

use std::path::{Path, PathBuf};

use super::DEFAULT_STATE_DIR;
use super::shelf::{Folder, read};
use crate::text::{Raw, Table, parse};

/// What the file says, as a whole or in the one line that says it; if it says nothing, systemd's, and
/// then the default.
#[must_use]
pub fn candidates(path: &Path) -> Vec<PathBuf> {
    let text = read(path).unwrap_or_default();
    let said = if let Ok(document) = parse("", &text) {
        of_table(&document)
    } else {
        let mut lines = text.lines();
        lines.find_map(|line| of_table(&parse("", line).ok()?))
    };
    if let Some(said) = said {
        return vec![Folder::of(path).path(&said)];
    }
    // Several are separated by colons; ours is the first.
    let systemd = std::env::var("STATE_DIRECTORY").unwrap_or_default();
    let systemd = systemd.split(':').next().filter(|first| !first.is_empty());
    let mut candidates: Vec<_> = systemd.map(PathBuf::from).into_iter().collect();
    candidates.push(DEFAULT_STATE_DIR.into());
    candidates
}

/// `state_dir`, as in its section, or `tester.state_dir`.
fn of_table(document: &Table) -> Option<PathBuf> {
    let is_text = |table: &Table| match &table.get("state_dir")?.node.raw {
        Raw::String(text) => Some(PathBuf::from(text)),
        _ => None,
    };
    is_text(document).or_else(|| match &document.get("tester")?.node.raw {
        Raw::Table(tester) => is_text(tester),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_found_in_a_file_that_is_broken_elsewhere() {
        let cases = [
            ("[tester]\nstate_dir = \"state\"\n[[[", Some("state")),
            ("oops\ntester.state_dir = '/srv/t'  # here", Some("/srv/t")),
            (
                "tester = { state_dir = \"in/line\" }\nx = ",
                Some("in/line"),
            ),
            ("= =\n[tester]\nstate_dir = 7", None),
            ("= =\n# state_dir = \"no\"", None),
            ("= =", None),
            ("", None),
            ("[tester]\nstate_dir = \"s\"\nconcurrency = -1", Some("s")),
        ];
        for (text, said) in cases {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("testerd.toml");
            std::fs::write(&path, text).unwrap();
            let said = said.map_or(DEFAULT_STATE_DIR.into(), |said| folder.path().join(said));
            assert_eq!(candidates(&path), [said], "{text}");
        }
        // A file that is gone says nothing.
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            candidates(&folder.path().join("none")),
            [Path::new(DEFAULT_STATE_DIR)]
        );
    }
}

//! Where the files are that a configuration names by patterns, and whether they have changed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use crate::text::{At, Problem};

/// No file of ours comes near; a larger one is something else, given by mistake.
const LARGEST_FILE: u64 = 4 << 20;

/// A file and what is in it, or why that is not known.
#[derive(Debug)]
pub struct File {
    /// As problems name it.
    pub name: String,
    /// Its content.
    pub text: Result<String, Problem>,
}

/// Where files are found.
pub trait Shelf {
    /// The files that a pattern means, sorted by name; perhaps none.
    ///
    /// # Errors
    /// If it is not a pattern, or a folder cannot be read.
    fn files(&self, pattern: &str) -> Result<Vec<File>, String>;
}

/// No files at all: for configurations that are none themselves.
pub struct Bare;

impl Shelf for Bare {
    fn files(&self, _: &str) -> Result<Vec<File>, String> {
        Ok(Vec::new())
    }
}

/// The folder of a configuration file.
pub struct Folder(PathBuf);

impl Folder {
    /// Patterns are relative to the folder of this file.
    #[must_use]
    pub fn of(file: &Path) -> Self {
        Self(file.parent().unwrap_or(Path::new("")).to_owned())
    }

    /// A path that is relative to it.
    pub(super) fn path(&self, path: &Path) -> PathBuf {
        self.0.join(path)
    }
}

impl Shelf for Folder {
    fn files(&self, pattern: &str) -> Result<Vec<File>, String> {
        // The folder is the user's own and may hold characters that mean something in a pattern.
        let folder = glob::Pattern::escape(&self.0.display().to_string());
        let full = Path::new(&folder).join(pattern).display().to_string();
        let paths =
            glob::glob(&full).map_err(|error| format!("`{pattern}` is not a pattern: {error}"))?;
        let mut files = Vec::new();
        for path in paths {
            let path = path.map_err(|error| format!("cannot read {}", error.path().display()))?;
            files.push(File {
                name: path.display().to_string(),
                text: read(&path),
            });
        }
        Ok(files)
    }
}

/// Files as they were when they were read: each pattern with what it meant.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Kept(BTreeMap<String, Vec<(String, String)>>);

impl Shelf for Kept {
    fn files(&self, pattern: &str) -> Result<Vec<File>, String> {
        let files = self.0.get(pattern).into_iter().flatten().cloned();
        let file = |(name, text)| File {
            name,
            text: Ok(text),
        };
        Ok(files.map(file).collect())
    }
}

/// Gives what another shelf gives, and keeps it.
pub struct Keeping<'a> {
    on: &'a dyn Shelf,
    kept: RefCell<Kept>,
}

impl<'a> Keeping<'a> {
    /// Nothing was read yet.
    #[must_use]
    pub fn of(on: &'a dyn Shelf) -> Self {
        let kept = RefCell::default();
        Self { on, kept }
    }

    /// All that could be read.
    #[must_use]
    pub fn into_kept(self) -> Kept {
        self.kept.into_inner()
    }
}

impl Shelf for Keeping<'_> {
    fn files(&self, pattern: &str) -> Result<Vec<File>, String> {
        let files = self.on.files(pattern)?;
        let texts = files.iter();
        let texts = texts.filter_map(|file| Some((file.name.clone(), file.text.as_ref().ok()?)));
        let texts = texts.map(|(name, text)| (name, text.clone())).collect();
        self.kept.borrow_mut().0.insert(pattern.to_owned(), texts);
        Ok(files)
    }
}

/// What some patterns meant when they were looked up: to be told whether that has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    patterns: Vec<String>,
    /// Of all names and contents, so that neither times nor inodes matter, nor how a file came to
    /// its place.
    digest: Vec<u8>,
}

impl Seen {
    /// Looks up a pattern, and remembers what was found.
    pub(super) fn files(&mut self, on: &dyn Shelf, pattern: &str) -> Result<Vec<File>, String> {
        let found = on.files(pattern);
        let mut digest = Context::new(&SHA256);
        let mut part = |text: &str| {
            digest.update(&text.len().to_le_bytes());
            digest.update(text.as_bytes());
        };
        for file in found.iter().flatten() {
            part(&file.name);
            match &file.text {
                Ok(text) => part(text),
                Err(problem) => part(&problem.what),
            }
        }
        if let Err(what) = &found {
            part(what);
        }
        self.patterns.push(pattern.to_owned());
        self.digest.extend(digest.finish().as_ref());
        found
    }

    /// The same patterns as they are now. Reads every file: not for a worker of the runtime.
    #[must_use]
    pub fn again(&self, on: &dyn Shelf) -> Self {
        let mut now = Self::default();
        for pattern in &self.patterns {
            let _ = now.files(on, pattern);
        }
        now
    }

    /// Whether there is nothing that could change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }
}

pub(super) fn read(path: &Path) -> Result<String, Problem> {
    let name = path.display().to_string();
    let problem = |what: String, help: &str| Problem::error(&At::file(&name), "", what, help);
    let unreadable = |error: std::io::Error| {
        let what = format!("cannot be read: {error}");
        problem(
            what,
            "check the path and its permissions; --config.file names the configuration",
        )
    };
    // Asked before it is opened: that alone would wait for ever for somebody to write to a pipe.
    let kind = std::fs::metadata(path).map_err(unreadable)?;
    if kind.is_dir() {
        return Err(problem("is a directory".into(), "name a file"));
    }
    if !kind.is_file() {
        return Err(problem("is a pipe or a device".into(), "name a file"));
    }
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(problem(
            "is larger than 4 MiB".into(),
            "split it, or name the right file",
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.split(|byte| *byte == b'\n').count();
        let at = At {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: 1,
            ..At::file(&name)
        };
        Problem::error(&at, "", "is not UTF-8 text", "save the file as UTF-8")
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_counts_is_what_the_files_say() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
        let on = Folder::of(&path("testerd.toml"));
        let mut first = Seen::default();
        assert!(first.files(&on, "t*.json").unwrap().is_empty());
        assert_eq!(first, first.again(&on));

        write("t1.json", "[]");
        let one = first.again(&on);
        assert_ne!(one, first, "a file that was not there");
        write("t1.json", "[]");
        assert_eq!(one, one.again(&on), "written again");
        write("new", "[ ]");
        std::fs::rename(path("new"), path("t1.json")).unwrap();
        let other = one.again(&on);
        assert_ne!(other, one, "replaced");
        std::fs::rename(path("t1.json"), path("t2.json")).unwrap();
        assert_ne!(other.again(&on), other, "under another name");

        // As Kubernetes does it: the folder behind a link is another.
        for (version, text) in [("v1", "[1]"), ("v2", "[2]")] {
            std::fs::create_dir(path(version)).unwrap();
            write(&format!("{version}/t.json"), text);
        }
        symlink(path("v1"), path("data")).unwrap();
        symlink(path("data/t.json"), path("t3.json")).unwrap();
        let before = other.again(&on);
        symlink(path("v2"), path("data-new")).unwrap();
        std::fs::rename(path("data-new"), path("data")).unwrap();
        let after = before.again(&on);
        assert_ne!(after, before);
        std::fs::remove_dir_all(path("v2")).unwrap();
        assert_ne!(after.again(&on), after, "a link to nothing");
    }
}

//! How far the journal has come, in a small file beside it: a log whose end was cut off is told by it
//! from one that never was longer.
//!
//! It is written after the commit, and not synced: it never says more than the disk holds, so after a
//! power failure it may say less, and that is no damage. What cannot be told is a journal whose mark
//! was taken away together with its end.

use std::fs::File;
use std::hash::Hasher;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{FILE, OpenError};
use crate::journal::state_dir::StateDir;

/// Behind the name of the journal.
pub(super) const END: &str = "-mark";

/// The mark of a journal.
pub(super) struct Mark(File);

/// What a mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// There is none: the journal is new, or of an earlier testerd.
    Nothing,
    /// So many changes were on disk.
    Changes(u64),
    /// It is no mark.
    Nonsense,
}

impl Mark {
    /// Reads the mark in a directory.
    pub(super) fn read(folder: &Path) -> Result<Said, OpenError> {
        let path = folder.join(name());
        let mut text = String::new();
        match File::open(&path).and_then(|file| file.take(1024).read_to_string(&mut text)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Said::Nothing),
            Err(error) if error.kind() == ErrorKind::InvalidData => return Ok(Said::Nonsense),
            read => read.map_err(|error| OpenError::of(&path, error))?,
        };
        let changes = text.get(..20).and_then(|digits| digits.parse().ok());
        Ok(match changes {
            Some(changes) if line(changes) == text => Said::Changes(changes),
            _ => Said::Nonsense,
        })
    }

    /// Writes a mark, and makes it if there is none.
    pub(super) fn begin(dir: &StateDir, changes: u64) -> Result<Self, OpenError> {
        let file = dir.open(&name())?;
        let failed = |error| OpenError::of(&dir.path().join(name()), error);
        let mark = Self(file);
        mark.set(changes).map_err(failed)?;
        // Once: from now on it keeps its length, and lies on the disk as a whole.
        mark.0.sync_all().map_err(failed)?;
        Ok(mark)
    }

    /// So many changes are on disk.
    pub(super) fn set(&self, changes: u64) -> std::io::Result<()> {
        self.0.write_all_at(line(changes).as_bytes(), 0)
    }
}

/// Takes the mark away before everything else goes.
pub(super) fn remove(dir: &StateDir) -> Result<(), OpenError> {
    let path = dir.path().join(name());
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(OpenError::of(&path, error)),
        _ => Ok(()),
    }
}

/// The name of the file.
pub(super) fn name() -> String {
    format!("{FILE}{END}")
}

fn line(changes: u64) -> String {
    let mut hasher = fnv::FnvHasher::default();
    hasher.write_u64(changes);
    format!("{changes:020} {:016x}\n", hasher.finish())
}

//! Whether the journal's files are still those that were opened: SQLite goes on writing to files that
//! somebody has removed, and reads from a log that somebody has cut off.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{FILE, LOCK, mark};

/// Whose content only we change.
const CONTENT: [&str; 2] = [FILE, "journal.db-wal"];

/// A picture of the files.
pub(super) struct Watch {
    folder: PathBuf,
    /// Which files they are.
    identities: Vec<(PathBuf, Option<Identity>)>,
    /// What was in them.
    contents: [Option<Content>; 2],
}

/// What was found at a look.
pub(super) enum Found {
    /// What we left there.
    Same,
    /// The same files, with another content or of another time.
    Touched,
    /// Other files, or none.
    Gone(String),
}

type Identity = (u64, u64);

/// Size and time of the last change of the content.
type Content = (u64, i64, i64);

impl Watch {
    /// As they are now.
    pub(super) fn new(folder: &Path) -> std::io::Result<Self> {
        let names = [FILE, "journal.db-wal", "journal.db-shm", LOCK];
        let mut identities = vec![folder.to_owned()];
        identities.extend(names.map(|name| folder.join(name)));
        identities.push(folder.join(mark::name()));
        let identities = identities.into_iter().map(|path| {
            let identity = identity(&path)?;
            Ok((path, identity))
        });
        let mut watch = Self {
            folder: folder.to_owned(),
            identities: identities.collect::<std::io::Result<_>>()?,
            contents: [None; 2],
        };
        watch.renew();
        Ok(watch)
    }

    /// What is in them now is ours. Which files they are stays as it was.
    pub(super) fn renew(&mut self) {
        self.contents = self.contents_now();
    }

    /// Compares them with the picture. A few microseconds.
    pub(super) fn look(&self) -> Found {
        for (path, known) in &self.identities {
            let what = match identity(path) {
                Ok(now) if now == *known => continue,
                Ok(None) => format!("{} is gone", path.display()),
                Ok(Some(_)) => format!("{} is another", path.display()),
                Err(error) => format!("{} cannot be looked at: {error}", path.display()),
            };
            return Found::Gone(what);
        }
        if self.contents == self.contents_now() {
            Found::Same
        } else {
            Found::Touched
        }
    }

    fn contents_now(&self) -> [Option<Content>; 2] {
        CONTENT.map(|name| {
            let file = self.folder.join(name).symlink_metadata().ok()?;
            Some((file.size(), file.mtime(), file.mtime_nsec()))
        })
    }
}

/// `None` if there is no such file.
fn identity(path: &Path) -> std::io::Result<Option<Identity>> {
    match path.symlink_metadata() {
        Ok(file) => Ok(Some((file.dev(), file.ino()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

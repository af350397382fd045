//! The state directory: private when it is made, its owner checked before it is used, and nothing in
//! it reached through a symbolic link. What lies in it decides what is deleted on the targets, with
//! our credentials, so nobody else may be able to put anything there.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{
    DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown,
};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::geteuid;

/// Of everything in the directory: for its owner alone.
const PRIVATE: u32 = 0o600;

/// The permission bits that let somebody else put files into a directory.
const OTHERS_WRITE: u32 = 0o022;

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The state directory cannot be used.
    #[error("cannot use the state directory {path}")]
    Folder {
        /// The directory, or a file in it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// This user may not read it, so nothing is known of it.
    #[error(
        "{path} may not be read by uid {uid}, so what is owed is not known; run this as root or as the user that runs testerd"
    )]
    Denied {
        /// The directory or file.
        path: PathBuf,
        /// Who asked.
        uid: u32,
    },
    /// Somebody else could put anything into it.
    #[error("cannot use the state directory {path}: {what}; {help}")]
    Unsafe {
        /// The directory or file.
        path: PathBuf,
        /// What is wrong.
        what: String,
        /// What to do.
        help: String,
    },
    /// It can be read, but not written.
    #[error(
        "{path} cannot be written by uid {uid}: it belongs to uid {owner}; `chown -R {uid} {folder}` gives it back, or run testerd as that user"
    )]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// The directory.
        folder: PathBuf,
        /// Who would write.
        uid: u32,
        /// Whose it is.
        owner: u32,
    },
    /// Another process has it.
    #[error(
        "the state directory {path} is in use by {owner}; stop it, or give this one its own state_dir"
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Who.
        owner: String,
    },
    /// It was written by a later testerd.
    #[error(
        "{path} has version {found}, and this testerd knows versions up to {known}; use the later testerd again"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The latest that is known.
        known: i64,
    },
    /// The database cannot be opened, and is not damaged either.
    #[error("cannot open {path}")]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

impl OpenError {
    /// What a failed system call on a path means.
    pub(crate) fn of(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        // Not EPERM, which tells of something else that is forbidden.
        if source.raw_os_error() == Some(Errno::ACCESS.raw_os_error()) {
            Self::Denied { path, uid: uid() }
        } else {
            Self::Folder { path, source }
        }
    }
}

/// Whose directories are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Ours, or root's: for whoever keeps it.
    Ours,
    /// As root also somebody else's: to sweep after a service, whose files stay the service's. Not
    /// below a directory where everybody can make one, such as `/tmp`.
    OursOrServed,
}

/// A state directory that was checked.
#[derive(Debug)]
pub struct StateDir {
    /// Without symbolic links.
    path: PathBuf,
    /// What it was when it was checked.
    known: Metadata,
    whose: Whose,
}

impl StateDir {
    /// Makes it if it is not there, for its owner alone, and checks it.
    ///
    /// # Errors
    /// If it cannot be made, or others could write into it.
    pub fn make(path: &Path, whose: Whose) -> Result<Self, OpenError> {
        let mut builder = DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|source| OpenError::of(path, source))?;
        Self::find(path, whose)
    }

    /// Checks one that is there.
    ///
    /// # Errors
    /// If it is not there, or others could write into it.
    pub fn find(path: &Path, whose: Whose) -> Result<Self, OpenError> {
        let denied = |source| OpenError::of(path, source);
        let link = path.symlink_metadata().map_err(denied)?;
        // systemd's own directories of dynamic users are links; anybody's link in /tmp is not ours.
        if link.is_symlink() && ![0, uid()].contains(&link.uid()) {
            let what = format!("it is a symbolic link of uid {}", link.uid());
            return Err(refused(path, what, "name another directory in state_dir"));
        }
        let path = path.canonicalize().map_err(denied)?;
        let known = path.symlink_metadata().map_err(denied)?;
        if !known.is_dir() {
            return Err(refused(&path, "it is no directory".into(), "remove it"));
        }
        if ![0, uid()].contains(&known.uid()) && !is_served(&path, whose) {
            let what = format!("it belongs to uid {}, not to uid {}", known.uid(), uid());
            let help = format!(
                "`chown -R {} {}` if its contents are yours, or name another directory",
                uid(),
                path.display()
            );
            return Err(refused(&path, what, &help));
        }
        if known.mode() & OTHERS_WRITE != 0 {
            let what = format!(
                "others may write into it (mode {:o})",
                known.mode() & 0o7777
            );
            let help = format!(
                "`chmod go-w {0}`, or name a directory inside it, such as {0}/testerd",
                path.display()
            );
            return Err(refused(&path, what, &help));
        }
        Ok(Self { path, known, whose })
    }

    /// The same place as it is now: checked again, and made again if it is gone.
    ///
    /// # Errors
    /// As [`Self::make`].
    pub fn again(&self) -> Result<Self, OpenError> {
        Self::make(&self.path, self.whose)
    }

    /// The directory, without symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a file in it for reading and writing, and makes it if it is not there. Its mode and its
    /// owner are put right: it may be of an earlier testerd, or of a root that sweeps.
    ///
    /// # Errors
    /// If it cannot be opened, or is no plain file.
    pub fn open(&self, name: &str) -> Result<File, OpenError> {
        self.check(name)?;
        let path = self.path.join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(PRIVATE)
            .custom_flags(no_follow())
            .open(&path)
            .map_err(|source| match path.symlink_metadata() {
                Ok(file) if source.kind() == ErrorKind::PermissionDenied => {
                    self.not_writable(&path, &file)
                }
                _ => OpenError::of(&path, source),
            })?;
        self.keep_private(name)?;
        Ok(file)
    }

    /// A new file that was not there before.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create(&self, name: &str) -> Result<File, OpenError> {
        let path = self.path.join(name);
        let failed = |source| OpenError::of(&path, source);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(PRIVATE)
            .open(&path)
            .map_err(failed)?;
        self.keep_private(name)?;
        Ok(file)
    }

    /// Refuses what is no plain file of somebody who may be here. What is not there is fine.
    ///
    /// # Errors
    /// If it is a link, a directory, or of somebody else.
    pub fn check(&self, name: &str) -> Result<(), OpenError> {
        let path = self.path.join(name);
        let known = [0, uid(), self.known.uid()];
        match plain(&path)? {
            Some(file) if !known.contains(&file.uid()) => {
                let what = format!("it belongs to uid {}", file.uid());
                Err(refused(&path, what, REMOVE))
            }
            _ => Ok(()),
        }
    }

    /// The error of a file that is there and cannot be written.
    pub(super) fn not_writable(&self, path: &Path, file: &Metadata) -> OpenError {
        OpenError::NotWritable {
            path: path.to_owned(),
            folder: self.path.clone(),
            uid: uid(),
            owner: file.uid(),
        }
    }

    /// Puts mode and owner of a checked file right, if it is there: it may be of an earlier testerd, or
    /// of a root that swept. Root leaves nothing that the service cannot write.
    pub(super) fn keep_private(&self, name: &str) -> Result<(), OpenError> {
        let path = self.path.join(name);
        let keep = || {
            let file = path.symlink_metadata()?;
            if file.mode() & 0o777 != PRIVATE && [file.uid(), 0].contains(&uid()) {
                std::fs::set_permissions(&path, Permissions::from_mode(PRIVATE))?;
            }
            if uid() == 0 && file.uid() != self.known.uid() {
                lchown(&path, Some(self.known.uid()), Some(self.known.gid()))?;
            }
            Ok::<(), io::Error>(())
        };
        match keep() {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(OpenError::of(&path, error)),
            _ => Ok(()),
        }
    }

    /// Makes a directory in it that was not there before, for its owner alone.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new_folder(&self, prefix: &str) -> Result<PathBuf, OpenError> {
        let failed = |error| OpenError::of(&self.path, error);
        let made = tempfile::Builder::new()
            .prefix(prefix)
            .tempdir_in(&self.path);
        let folder = made.map_err(failed)?.keep();
        if uid() == 0 {
            lchown(&folder, Some(self.known.uid()), Some(self.known.gid())).map_err(failed)?;
        }
        Ok(folder)
    }
}

const REMOVE: &str = "see who made it, and remove it";

/// What is known of a plain file, or a socket; `None` if it is not there. A link may lead anywhere,
/// and whoever opens a pipe waits for the other end.
///
/// # Errors
/// If it is anything else.
pub(super) fn plain(path: &Path) -> Result<Option<Metadata>, OpenError> {
    let file = match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|error| OpenError::of(path, error))?,
    };
    let kind = file.file_type();
    let what = if kind.is_symlink() {
        "it is a symbolic link"
    } else if !kind.is_file() && !kind.is_socket() {
        "it is no plain file"
    } else {
        return Ok(Some(file));
    };
    Err(refused(path, what.into(), REMOVE))
}

/// The flags that follow no link, and wait for nobody.
pub(super) fn no_follow() -> i32 {
    (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()
}

/// Who we are.
pub(crate) fn uid() -> u32 {
    geteuid().as_raw()
}

fn is_served(path: &Path, whose: Whose) -> bool {
    let parent = path.parent().and_then(|parent| parent.metadata().ok());
    whose == Whose::OursOrServed
        && uid() == 0
        && parent.is_some_and(|parent| parent.mode() & OTHERS_WRITE == 0)
}

fn refused(path: &Path, what: String, help: &str) -> OpenError {
    OpenError::Unsafe {
        path: path.to_owned(),
        what,
        help: help.to_owned(),
    }
}

//! The folders of one-shot runs: made where nobody can have made them before, and found again when
//! their run was killed or could not clean up.

use std::fs::read_dir;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::geteuid;

use crate::config::Settings;
use crate::journal::{DiskJournal, OpenError, Owed, StateDir, Whose};
use crate::outcome::chain;

/// Begins the name of a run's folder in the state directory.
const IN_STATE: &str = "run-";

/// Begins it in the system's temporary directory.
const IN_TEMPORARY: &str = "testerd-run-";

/// How often a new folder is tried: somebody who cleans up may take one away.
const TRIES: usize = 5;

/// A folder that a one-shot run has left, or has.
pub(super) struct Left {
    pub(super) folder: PathBuf,
    pub(super) state: State,
}

/// What is known of one.
pub(super) enum State {
    /// Its run is going on.
    InUse,
    /// Its run has ended, and owes so many.
    Owes(usize),
    /// What it owes is not known.
    Unknown(OpenError),
    /// It owes nothing that is known, and this journal was damaged and set aside.
    Damaged(PathBuf),
    /// It is another instance's.
    OtherInstance,
    /// It lies where everybody can make one, and belongs to this user: it is not ours to open.
    Foreign(u32),
}

impl Left {
    /// What a person should know of it.
    pub(super) fn line(&self) -> Option<String> {
        let folder = self.folder.display();
        match &self.state {
            State::InUse | State::OtherInstance | State::Owes(0) => None,
            State::Owes(owed) => Some(format!(
                "an earlier `testerd run` still owes {owed}; `testerd sweep --state-dir={folder}` with the same --config.file carries it out"
            )),
            State::Unknown(error) => Some(format!(
                "{folder} may be of an earlier `testerd run`, and what it owes is not known: {}",
                chain(error)
            )),
            State::Damaged(journal) => Some(damaged(journal)),
            State::Foreign(uid) => Some(format!(
                "{folder} may be of an earlier `testerd run` of uid {uid}; that user's `testerd sweep` carries it out"
            )),
        }
    }
}

/// What a person should know of a journal that was set aside.
pub(super) fn damaged(journal: &Path) -> String {
    format!(
        "{} was damaged or replaced, and is kept: what it owed may be left on the targets; `testerd sweep --orphans` looks for it, then remove the file",
        journal.display()
    )
}

/// Whether a directory is one, by its name.
pub(super) fn is_one(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    [IN_STATE, IN_TEMPORARY]
        .iter()
        .any(|begin| name.starts_with(begin))
}

/// All that there are below the state directory, and those of this instance below the temporary one.
pub(super) fn find(settings: &Settings) -> Result<Vec<Left>, OpenError> {
    let mut left = folders(&settings.state_dir, IN_STATE, None)?;
    let shared = folders(
        &std::env::temp_dir(),
        IN_TEMPORARY,
        Some(&settings.instance),
    )?;
    left.extend(shared);
    Ok(left)
}

/// Where everybody can make one, those of other users and of other instances are none of ours.
fn folders(within: &Path, prefix: &str, shared: Option<&str>) -> Result<Vec<Left>, OpenError> {
    let failed = |error| OpenError::of(within, error);
    let entries = match read_dir(within) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().to_string_lossy().starts_with(prefix) {
            continue;
        }
        let known = match entry.metadata() {
            // It has ended meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            known => known.map_err(failed)?,
        };
        if known.is_dir() {
            let folder = entry.path();
            let uid = known.uid();
            let state = if shared.is_some() && uid != geteuid().as_raw() {
                State::Foreign(uid)
            } else {
                state(&folder, shared).unwrap_or_else(State::Unknown)
            };
            found.push(Left { folder, state });
        }
    }
    found.sort_by(|a, b| a.folder.cmp(&b.folder));
    Ok(found)
}

fn state(folder: &Path, instance: Option<&str>) -> Result<State, OpenError> {
    if DiskJournal::is_in_use(folder)? {
        return Ok(State::InUse);
    }
    let owed = DiskJournal::look(folder)?;
    let is_other = |owed: &Owed| instance.is_some_and(|ours| owed.record.instance != ours);
    let damaged = DiskJournal::set_aside(folder)?.pop();
    Ok(match owed.len() {
        0 => damaged.map_or(State::Owes(0), State::Damaged),
        _ if owed.iter().any(is_other) => State::OtherInstance,
        count => State::Owes(count),
    })
}

/// Removes the folders of runs that have ended and owe nothing, and gives lines for people on all
/// others.
pub(super) fn tidy(settings: &Settings) -> Vec<String> {
    let left = match find(settings) {
        Ok(left) => left,
        Err(error) => return vec![chain(&error)],
    };
    let mut lines = Vec::new();
    for one in left {
        let line = match one.state {
            State::Owes(0) => discard(&one.folder),
            _ => one.line(),
        };
        lines.extend(line);
    }
    lines
}

/// Removes one that owes nothing, or says why it stays.
pub(super) fn discard(folder: &Path) -> Option<String> {
    let gone = DiskJournal::discard(folder, &owner("cleaning up"));
    let error = gone.err()?;
    Some(format!(
        "cannot remove {}: {}",
        folder.display(),
        chain(&error)
    ))
}

/// What runs have in hand or owe, wherever their journals lie. Folders in the temporary directory
/// that others made are among them: they are only read.
pub(super) fn owed(settings: &Settings) -> Result<Vec<Owed>, OpenError> {
    let mut owed = Vec::new();
    for Left { folder, state } in find(settings)? {
        match state {
            State::Unknown(error) => return Err(error),
            _ => owed.extend(DiskJournal::look(&folder)?),
        }
    }
    Ok(owed)
}

/// A journal in a new folder below the state directory or, where that cannot be used, below the
/// system's temporary one.
pub(super) fn open_journal(settings: &Settings) -> Result<(Arc<DiskJournal>, PathBuf), OpenError> {
    let mut tried = 0;
    loop {
        tried += 1;
        let opened = open_one(settings);
        match opened {
            Err(OpenError::Folder { .. } | OpenError::Locked { .. }) if tried < TRIES => {}
            opened => return opened,
        }
    }
}

fn open_one(settings: &Settings) -> Result<(Arc<DiskJournal>, PathBuf), OpenError> {
    let id = std::process::id();
    let below = StateDir::make(&settings.state_dir, Whose::OursOrServed)
        .and_then(|dir| dir.new_folder(&format!("{IN_STATE}{id}-")));
    let folder = below.or_else(|_| {
        // Made by us just now, for us alone, whatever lies there already.
        let made = tempfile::Builder::new()
            .prefix(&format!("{IN_TEMPORARY}{id}-"))
            .tempdir();
        made.map(tempfile::TempDir::keep)
            .map_err(|error| OpenError::of(&std::env::temp_dir(), error))
    })?;
    let dir = StateDir::find(&folder, Whose::OursOrServed)?;
    let journal = DiskJournal::open_in(dir, settings.max_owed, &owner("run"))?;
    Ok((Arc::new(journal), folder))
}

fn owner(what: &str) -> String {
    format!("testerd {what} (pid {})", std::process::id())
}

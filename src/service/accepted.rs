//! The last configuration that was accepted, kept in the state directory with everything that it was
//! made of: a crash while a bad edit lies on the disk must not leave a daemon down that owes something
//! to its targets. Only `serve` takes it up, loudly; `check` and `run` stay strict.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::reload::Origin;
use crate::cli::complain;
use crate::config::{Kept, Overrides, Sources, Texts, state_dir};
use crate::journal::{OpenError, StateDir, Whose};
use crate::outcome::chain;
use crate::plan::{self, Plan};

/// The file in the state directory.
const FILE: &str = "accepted.json";

/// While it is written.
const DRAFT: &str = "accepted.new";

/// Of what is in it; another one is not taken up.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Accepted<T, K> {
    version: u32,
    /// The configuration file, from the root.
    file: PathBuf,
    texts: T,
    targets: K,
}

/// Why it cannot be kept or taken up.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Folder(#[from] OpenError),
    #[error("{FILE} in the state directory")]
    File(#[from] std::io::Error),
    #[error("{FILE} in the state directory cannot be read")]
    Json(#[from] serde_json::Error),
}

/// Keeps what a plan was made of. It may hold secrets that somebody wrote into the configuration, so
/// it is for its owner alone, as everything in the directory.
pub(super) fn keep(folder: &Path, origin: &Origin) {
    if let Err(error) = try_keep(folder, origin) {
        tracing::warn!(
            error = chain(&error),
            "the configuration that was accepted cannot be kept for a start after a bad edit"
        );
    }
}

fn try_keep(folder: &Path, origin: &Origin) -> Result<(), Error> {
    let dir = StateDir::find(folder, Whose::Ours)?;
    let accepted = Accepted {
        version: VERSION,
        file: std::path::absolute(origin.texts.path())?,
        texts: origin.texts.as_ref(),
        targets: &origin.targets,
    };
    let mut draft = dir.create(DRAFT)?;
    draft.write_all(&serde_json::to_vec(&accepted)?)?;
    draft.sync_all()?;
    Ok(std::fs::rename(
        dir.path().join(DRAFT),
        dir.path().join(FILE),
    )?)
}

/// The last plan that was accepted of a configuration file that is refused now, if one is kept.
#[must_use]
pub fn last_accepted(path: &Path, overrides: &Overrides) -> Option<(Plan, Origin)> {
    for folder in state_dir::candidates(path) {
        match take_up(&folder, path) {
            Ok(None) => {}
            Ok(Some((texts, targets))) => {
                let plan = Sources::on(&texts, overrides, &targets).and_then(plan::compile);
                let Ok(plan) = plan else {
                    complain("the configuration that was accepted last is refused by this testerd");
                    return None;
                };
                complain(&format!(
                    "{}: refused, so the configuration that was accepted last is served; it is kept in {}",
                    path.display(),
                    folder.join(FILE).display()
                ));
                let origin = Origin {
                    texts: Arc::new(texts),
                    targets,
                    overrides: overrides.clone(),
                    is_current: false,
                };
                return Some((plan, origin));
            }
            Err(error) => complain(&format!("{}: {}", folder.display(), chain(&error))),
        }
    }
    None
}

fn take_up(folder: &Path, path: &Path) -> Result<Option<(Texts, Kept)>, Error> {
    let dir = match StateDir::find(folder, Whose::Ours) {
        Err(OpenError::Folder { source, .. }) if source.kind() == ErrorKind::NotFound => {
            return Ok(None);
        }
        dir => dir?,
    };
    dir.check(FILE)?;
    let mut text = Vec::new();
    match File::open(dir.path().join(FILE)).and_then(|mut file| file.read_to_end(&mut text)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    let accepted: Accepted<Texts, Kept> = serde_json::from_slice(&text)?;
    let is_ours = accepted.version == VERSION && accepted.file == std::path::absolute(path)?;
    Ok(is_ours.then(|| (accepted.texts.at(path), accepted.targets)))
}

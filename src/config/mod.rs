//! The daemon's configuration: text becomes typed settings, every problem is noted.
//!
//! Nothing is looked up here beyond the file itself: files are read by [`Sources`] and from a
//! [`Shelf`], specs are understood by `plan`.

mod hosts;
mod members;
mod oauth2;
mod settings;
mod shelf;
mod sources;
pub mod state_dir;
mod targets;
mod transport;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::event::StateRule;
use crate::spec::{Selection, Target};
use crate::text::At;

pub use hosts::{HostPattern, host_name};
pub use shelf::{Bare, File, Folder, Keeping, Kept, Seen, Shelf};
pub use sources::{Source, Sources, Texts, unreadable};

/// The port that `serve` listens on when nothing says otherwise. Not yet registered in the
/// Prometheus project's list of default port allocations.
pub const DEFAULT_PORT: u16 = 10061;

/// Where the journal lies when nothing says otherwise.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/testerd";

/// Names begin with the instance and hold at most 40 characters, see [`Settings::instance`].
pub const LONGEST_INSTANCE: usize = 24;

/// Everything that the configuration file says.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Addresses to listen on.
    pub listen: Vec<String>,
    /// The names that pages are served by, besides those of this machine.
    pub hosts: Vec<HostPattern>,
    /// Begins the names of all that is created.
    pub instance: String,
    /// How many runs may go on at once.
    pub concurrency: u32,
    /// Where the journal lies.
    pub state_dir: PathBuf,
    /// How patient the sweeper is.
    pub patience: Patience,
    /// Above so many owed of one kind on one target, nothing more of it is made.
    pub max_owed: usize,
    /// Spec files besides the built-in ones: globs relative to the configuration file.
    pub specs: Vec<(String, At)>,
    /// How long stopping may take.
    pub stop_grace: Duration,
    /// More series than this are a problem.
    pub series_limit: u64,
    /// Whether HTTP phases are exported for every spec.
    pub http_phases: bool,
    /// Named limits.
    pub limits: BTreeMap<String, u32>,
    /// Targets by name.
    pub targets: BTreeMap<String, TargetSettings>,
    /// The names of all `[target.…]` tables, also of those with problems.
    pub target_names: Vec<String>,
    /// What the targets files were when they were read.
    pub targets_files: Seen,
    /// Probes in the order of the file.
    pub probes: Vec<Probe>,
    /// The file as a whole, for problems that are about what is not in it.
    pub at: At,
}

impl Settings {
    /// The targets that a probe on this table means.
    pub fn targets_of(&self, table: &str) -> impl Iterator<Item = &TargetSettings> {
        let targets = self.targets.values();
        targets.filter(move |target| target.table == table)
    }

    /// The targets without what only plans need.
    #[must_use]
    pub fn target_map(&self) -> BTreeMap<String, Arc<Target>> {
        let targets = self.targets.iter();
        targets
            .map(|(name, settings)| (name.clone(), settings.target.clone()))
            .collect()
    }

    /// Takes over what is remembered of targets that are still the same, such as tokens. Who shares
    /// a token with one of them goes on sharing it.
    pub fn remember(&mut self, before: &BTreeMap<String, Arc<Target>>) {
        let place = |target: &Target| Arc::as_ptr(&target.auth).cast::<()>();
        let mut known = BTreeMap::new();
        for (name, TargetSettings { target, .. }) in &self.targets {
            let same = |old: &&Arc<Target>| {
                old.endpoint == target.endpoint && target.auth.is_like(&*old.auth)
            };
            if let Some(old) = before.get(name).filter(same) {
                known.insert(place(target), Arc::clone(&old.auth));
            }
        }
        for TargetSettings { target, .. } in self.targets.values_mut() {
            if let Some(auth) = known.get(&place(target)) {
                Arc::make_mut(target).auth = Arc::clone(auth);
            }
        }
    }
}

/// How long what is owed is waited for: `[cleanup]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long "not found" must hold, in running time, after a create that nobody confirmed.
    pub settle: Duration,
    /// After this long a record is reported as stuck.
    pub stuck_after: Duration,
}

/// A target and the parameters that it gives to specs.
#[derive(Debug, Clone)]
pub struct TargetSettings {
    /// The target.
    pub target: Arc<Target>,
    /// The table that says how it is: its own, or that of all the members of targets files.
    pub table: String,
    /// Its `vars`, nearest first.
    pub vars: Vec<Param>,
}

/// One parameter as somebody gave it.
#[derive(Debug, Clone)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Value,
    /// Where it stands.
    pub at: At,
}

/// Which specs, on which target, how often.
#[derive(Debug, Clone)]
pub struct Probe {
    /// Its name; by default made from its target and tags.
    pub name: String,
    /// Where it stands.
    pub at: At,
    /// The target's name.
    pub target: String,
    /// Which specs.
    pub selection: Selection,
    /// From one slot to the next.
    pub interval: Duration,
    /// The wanted availability.
    pub objective: Option<f64>,
    /// When the state changes.
    pub state: StateRule,
    /// Parameters for the specs.
    pub params: Vec<Param>,
    /// Enters `variant`, so that the same spec can run twice on one target.
    pub alias: Option<String>,
}

/// What the command line says instead of the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--web.listen-address`, if given at all.
    pub listen: Vec<String>,
    /// The state directory.
    pub state_dir: Option<PathBuf>,
    /// The endpoint of a target, by its name.
    pub endpoints: BTreeMap<String, String>,
}

/// The default instance: a short hash of the host name, so that two hosts never sweep each
/// other's things.
#[must_use]
pub fn default_instance() -> String {
    let system = rustix::system::uname();
    let mut hasher = fnv::FnvHasher::default();
    std::hash::Hasher::write(&mut hasher, system.nodename().to_bytes());
    let hash = std::hash::Hasher::finish(&hasher);
    format!("t{:07x}", hash & 0x0fff_ffff)
}

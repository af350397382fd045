//! What is run: the tree of cases, the traits of what a step can do, and what a run knows.
//!
//! No text, no schedule, no network: `plan` makes these values, `runner` walks them.

mod action;
mod case;
mod changes;
mod examine;
mod identity;
mod oauth2;
mod scope;
mod selection;
mod target;
mod tokens;
mod trace;
mod undo;

use std::sync::Arc;
use std::time::Duration;

pub use action::{Action, Capture, Context, Done, Listed, Made, Place, Resource, Run, prefix};
pub use case::{Case, Retry, Sequence, Step, Work, Wrapper};
pub use changes::{Change, Changes, RequestKey};
pub use examine::{Examiner, Finding};
pub use identity::{Auth, HeaderAuth, Identity, Wire, open_secret};
pub use oauth2::{AuthStyle, ClientCredentials, Grant};
pub use scope::{Scope, reference};
pub use selection::{NamePattern, Selection};
pub use target::{Needs, Target, TargetKind};
pub use trace::Trace;
pub use undo::{Deleted, Ids, Looked, Record, RecordId, Undo, Undoer, Undoing};

use crate::event::SpecInfo;

/// How long a teardown, or a step that always runs, may take when nothing says otherwise.
pub const DEFAULT_TEARDOWN: Duration = Duration::from_secs(10);

/// The deadline of a run when its spec gives none.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// One spec variant on one target, with all it needs to run.
pub struct Scheduled {
    /// Its name, interval, steps: what exporters know of it.
    pub info: Arc<SpecInfo>,
    /// What it is run on.
    pub target: Arc<Target>,
    /// The tree.
    pub case: Case,
    /// The named limits it takes, sorted by name.
    pub uses: Vec<(String, u32)>,
    /// The longest that all its teardowns together may take.
    pub teardown: Duration,
    /// How many HTTP requests one run makes at most.
    pub requests: u32,
}

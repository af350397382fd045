//! One run of one spec variant on one target.
//!
//! `walk` is the only recursion, `perform` the only place where anything is raced. The runner
//! knows no action, no exporter and no schedule: it walks a tree and tells what happened.

mod id;
mod limits;
mod online;
mod orphans;
mod perform;
mod protocol;
mod searches;
mod undo;
mod walk;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use id::Ids;
pub use online::{examine, requirements};
pub use orphans::{Orphan, orphans};
pub use protocol::{Hands, Undone};
pub use searches::{Searches, Sight};
pub use undo::{Office, undo};

use crate::client::Client;
use crate::event::{Event, Exporters, RunRef};
use crate::journal::Journal;
use crate::outcome::Verdict;
use crate::secret::Redactor;
use crate::spec::{RecordId, Run, Scheduled, Scope, Undoer};
use limits::Limits;
use perform::Stage;
use walk::Walk;

/// Everything that runs share.
pub struct Runner {
    /// The measured client.
    pub client: Client,
    /// Where undos are written down.
    pub journal: Arc<dyn Journal>,
    /// Who is told.
    pub exporters: Exporters,
    /// The code that carries out undos of a kind.
    pub undoer: fn(&str) -> Option<Undoer>,
    /// What is known of the searches by which things are found again.
    pub searches: Searches,
    /// Begins the names of all that is created.
    pub instance: String,
}

/// How long it may take, at the beginning of a run, to know who it is to its target. Whatever is
/// asked for that has a deadline of its own; this is no more than a last resort.
const OPENING: Duration = Duration::from_secs(300);

/// How runs are stopped.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Ends the body; teardown still happens.
    pub cancel: CancellationToken,
    /// Ends teardown too; the journal then still owes it.
    pub kill: CancellationToken,
}

/// How a run came to begin.
#[derive(Debug, Clone, Copy, Default)]
pub struct Begun {
    /// How late the scheduler was; absent outside a schedule.
    pub lateness: Option<Duration>,
    /// How long it waited for its permits.
    pub queue_wait: Duration,
}

impl Runner {
    /// What carrying out one of the journal's records needs.
    #[must_use]
    pub fn office(&self, id: RecordId, hands: Hands) -> Office<'_> {
        Office {
            undoer: self.undoer,
            searches: &self.searches,
            exporters: &self.exporters,
            journal: Some((self.journal.as_ref(), id)),
            hands,
        }
    }

    /// Runs `spec` once. Dropping the future leaves its teardown to the journal.
    pub async fn run(&self, spec: &Scheduled, run: RunRef, begun: Begun, stop: Stop) -> Verdict {
        self.exporters.export(&Event::RunStarted {
            run: run.clone(),
            lateness: begun.lateness,
            queue_wait: begun.queue_wait,
        });
        let started = Instant::now();
        let names = Run::new(&self.instance, &run.id);
        let mut redactor = Redactor::default();
        let scope = Scope::new(&names);
        let mut stage = Stage::new(names, scope, &spec.target, &self.client, &mut redactor);
        // In nobody's time: neither a step's nor the run's deadline is about it.
        let opening = Limits::from_now(OPENING, &stop.cancel);
        stage.prepare(&mut redactor, &opening).await;
        let mut walk = Walk::new(
            self,
            &run,
            stage,
            redactor,
            &stop,
            spec.case.captures_secrets(),
        );
        let limits = Limits::from_now(spec.info.timeout, &stop.cancel);
        walk.walk(&spec.case, limits).await;
        let (verdict, failed) = walk.end();
        self.exporters.export(&Event::RunFinished {
            run,
            verdict,
            failed,
            duration: started.elapsed(),
            at: crate::text::wall_clock(),
        });
        verdict
    }
}

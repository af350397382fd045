//! Single runs on a stand-in, and what they tell.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use testerd::catalog;
use testerd::client::Client;
use testerd::config::Patience;
use testerd::event::{Event, Exporters, FailedStep, RunRef};
use testerd::journal::{DiskJournal, Journal, MemoryJournal, Owed};
use testerd::outcome::Verdict;
use testerd::runner::{Begun, Runner, Searches, Stop};
use testerd::spec::Scheduled;
use testerd::sweeper::Sweeper;
use tokio::sync::mpsc;

use super::cluster::{Cluster, config};
use crate::plans::compile;
use crate::runs::{Heard, story};
use crate::unwind::{ENDPOINT, INSTANCE, Thing, World};

/// A stand-in, and the journal of those who run something on it.
pub(crate) struct Site {
    pub(crate) cluster: Cluster,
    pub(crate) journal: Arc<dyn Journal>,
    before: Vec<Thing>,
}

/// What came of a run.
pub(crate) struct Told {
    pub(crate) verdict: Verdict,
    pub(crate) failed: Option<FailedStep>,
    /// The events, one a line.
    pub(crate) story: String,
    pub(crate) events: Vec<Event>,
}

impl Told {
    /// What the first failing step said.
    pub(crate) fn message(&self) -> &str {
        let failed = self.failed.as_ref().expect("something failed");
        &failed.failure.message
    }

    /// The verdict, and the step that it comes from.
    pub(crate) fn ended(&self) -> String {
        let word = match self.verdict {
            Verdict::Pass => "pass".to_owned(),
            Verdict::Fail(reason) => format!("fail {reason}"),
            Verdict::Inconclusive(cause) => format!("{} {cause}", self.verdict.as_str()),
        };
        match &self.failed {
            Some(failed) => format!("{word} in {} {}", failed.phase.as_str(), failed.step),
            None => word,
        }
    }
}

impl Site {
    /// One with everything that specs need to be there.
    pub(crate) async fn open() -> Self {
        Self::with(Cluster::start()).await
    }

    pub(crate) async fn with(cluster: Cluster) -> Self {
        let before = cluster.seed_strangers().await;
        Self {
            cluster,
            journal: Arc::new(MemoryJournal::default()),
            before: before.into_iter().collect(),
        }
    }

    /// The same with its journal in a folder.
    pub(crate) fn on_disk(mut self, folder: &Path) -> Self {
        self.journal = Arc::new(DiskJournal::open(folder, 100, "a test").unwrap());
        self
    }

    /// What the `nth` run is called.
    pub(crate) fn id(nth: usize) -> String {
        format!("01j00000{nth:05}")
    }

    /// What of the built-in specs, and of those in a text, has one of these names.
    pub(crate) fn plan(&self, names: &[&str], specs: &str) -> Vec<Arc<Scheduled>> {
        let text = format!("{}# --- specs.toml\n{specs}", config(&names.join("\", \"")));
        let plan = compile(&text).unwrap_or_else(|problems| panic!("{problems:#?}"));
        let mut scheduled = plan.scheduled;
        for spec in &mut scheduled {
            assert_eq!(spec.target.endpoint.to_string(), ENDPOINT);
            let target = self.cluster.target(&spec.target);
            Arc::get_mut(spec).unwrap().target = Arc::new(target);
        }
        scheduled
    }

    /// The only one of a name.
    pub(crate) fn spec(&self, name: &str, specs: &str) -> Arc<Scheduled> {
        // Another target has a probe for it.
        let names: &[&str] = if name == "login" { &["*"] } else { &[name] };
        let mut scheduled = self.plan(names, specs);
        scheduled.retain(|spec| spec.info.identity.spec == name);
        scheduled.swap_remove(0)
    }

    /// A runner, and what it tells.
    fn runner(&self) -> (Arc<Runner>, Arc<Heard>) {
        let heard = Arc::new(Heard::default());
        let runner = Runner {
            client: Client::new(),
            journal: self.journal.clone(),
            exporters: Exporters::new(vec![heard.clone()]),
            undoer: catalog::undoer,
            searches: Searches::default(),
            instance: INSTANCE.into(),
        };
        (Arc::new(runner), heard)
    }

    /// One run, the `nth` of all.
    pub(crate) async fn run_nth(&self, spec: &Scheduled, nth: usize) -> Told {
        let (runner, heard) = self.runner();
        let run = RunRef {
            spec: spec.info.clone(),
            id: Self::id(nth).into(),
        };
        let running = runner.run(spec, run, Begun::default(), Stop::default());
        let verdict = running.await;
        let events = heard.events();
        let failed = events.iter().find_map(|event| match event {
            Event::RunFinished { failed, .. } => failed.clone(),
            _ => None,
        });
        Told {
            verdict,
            failed,
            story: story(&events),
            events,
        }
    }

    pub(crate) async fn run(&self, spec: &Scheduled) -> Told {
        self.run_nth(spec, 1).await
    }

    /// What is still owed after a long sweep.
    pub(crate) async fn sweep(&self, spec: &Scheduled) -> Vec<Owed> {
        let sweeper = Sweeper {
            runner: self.runner().0,
            targets: BTreeMap::from([(spec.target.name.clone(), spec.target.clone())]),
            patience: Patience {
                settle: Cluster::SETTLE,
                stuck_after: Cluster::LONG,
            },
            requests: mpsc::channel(1).1,
        };
        sweeper.finish(Duration::from_secs(900), None).await
    }

    /// What is there and was not there before.
    pub(crate) fn left(&self) -> Vec<Thing> {
        let mut left: Vec<_> = self.cluster.everything();
        left.retain(|thing| !self.before.contains(thing));
        left
    }

    /// Nothing is left, nothing is owed, and the operator is as before.
    pub(crate) async fn assert_clean(&self) {
        assert_eq!(self.left(), []);
        assert_eq!(self.journal.owed(), []);
        assert_eq!(self.cluster.intact().await, Ok(()));
    }
}

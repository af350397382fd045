//! The daemon: what is started in which order, and the order of stopping.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::reload::{Origin, Reloader, Ways};
use super::{Asked, Signals, accepted, failed, notify, run_folders, tester};
use crate::cli::Exit;
use crate::config::Settings;
use crate::control::Control;
use crate::demo::Targets;
use crate::event::{Event, Exporter, Exporters};
use crate::exporter::history::History;
use crate::exporter::log::Log;
use crate::exporter::metrics::Metrics;
use crate::exporter::queue::Dropped;
use crate::http::{Names, Server, Site};
use crate::journal::{DiskJournal, Journal, Owed};
use crate::outcome::chain;
use crate::plan::Plan;
use crate::runner::Stop;
use crate::sweeper::Sweeper;
use crate::tester::Heartbeat;

/// How long the first runs wait for what an earlier process left behind.
const FIRST_PASS: Duration = Duration::from_secs(5);

/// How many may ask the sweeper at once.
const REQUESTS: usize = 16;

/// What belongs to a plan besides.
pub(super) enum Beside {
    /// The targets that it probes.
    Targets(Targets),
    /// The files that it was made from, which may change.
    Files(Origin),
}

/// What ended.
enum Ended {
    /// The tester, with the number of runs it had to drop.
    Tester(usize),
    /// The sweeper.
    Sweeper,
    /// The reloader.
    Reloader,
    /// A server.
    Server(std::io::Result<()>),
}

/// Everything that must be had before anything runs.
struct Ground {
    journal: Arc<DiskJournal>,
    server: Server,
    control: Control,
}

impl Ground {
    async fn prepare(plan: &Plan) -> Result<Self, Exit> {
        let settings = &plan.settings;
        let owner = format!("testerd {} (pid {})", settings.instance, std::process::id());
        let journal = DiskJournal::open(&settings.state_dir, settings.max_owed, &owner)
            .map_err(|error| failed("cannot open the journal", &error))?;
        for line in run_folders::tidy(settings) {
            warn!("{line}");
        }
        let server = Server::bind(&settings.listen)
            .await
            .map_err(|error| failed("cannot listen", &error))?;
        let control = Control::bind(&settings.state_dir)
            .map_err(|error| failed("cannot listen in the state directory", &error))?;
        Ok(Self {
            journal: Arc::new(journal),
            server,
            control,
        })
    }
}

/// Runs a plan until a signal.
pub(super) async fn serving(plan: Plan, dropped: Dropped, beside: Beside) -> Exit {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return failed("cannot listen to signals", &error),
    };
    let ground = match Ground::prepare(&plan).await {
        Ok(ground) => ground,
        Err(exit) => return exit,
    };
    let addresses = ground.server.addresses().unwrap_or_default();
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let (grace, specs) = (plan.settings.stop_grace, plan.scheduled.len());
    let owed = ground.journal.owed().len();
    let hangup = match &beside {
        Beside::Files(_) => signals.hangup.take(),
        Beside::Targets(_) => None,
    };
    let is_service = hangup.is_some();
    let is_current = match &beside {
        Beside::Files(origin) => origin.is_current,
        Beside::Targets(_) => true,
    };
    let mut spine = Spine::start(plan, ground, dropped, (beside, hangup));
    info!(
        addresses = addresses.join(" "),
        specs, owed, "testerd is running"
    );
    let status = if is_current {
        format!("{specs} specs")
    } else {
        "the configuration was refused: the one before is running".to_owned()
    };
    notify(&[NotifyState::Ready, NotifyState::Status(&status)]);

    let asked = tokio::select! {
        asked = signals.next() => asked,
        ended = spine.tasks.join_next() => return broken(ended),
    };
    // Somebody at a terminal waits for nobody's scrape, and nobody scrapes a demo in earnest.
    let is_patient = is_service && asked == Asked::Terminate;
    notify(&[NotifyState::Stopping]);
    info!(
        ?grace,
        "stopping: runs are cancelled and cleaned up; a second signal exits at once"
    );
    tokio::select! {
        exit = spine.stop(Instant::now() + grace, is_patient) => exit,
        _ = signals.next() => Exit::SecondSignal,
    }
}

/// The tasks of the daemon.
struct Spine {
    tasks: JoinSet<Ended>,
    site: Arc<Site>,
    journal: Arc<DiskJournal>,
    /// Stops the tester.
    stop: Stop,
    /// Stops the sweeper and the servers, last.
    last: CancellationToken,
}

impl Spine {
    fn start(
        plan: Plan,
        ground: Ground,
        dropped: Dropped,
        (beside, hangup): (Beside, Option<Signal>),
    ) -> Self {
        let metrics = Arc::new(Metrics::new(vec![("log", dropped)]));
        metrics.set_journal(ground.journal.damaged().len(), ground.journal.replaced());
        let history = Arc::new(History::default());
        let exporters: Vec<Arc<dyn Exporter>> =
            vec![metrics.clone(), history.clone(), Arc::new(Log)];
        let exporters = Exporters::new(exporters);
        let site = Arc::new(Site::new(metrics, history, Names::of(&plan.settings)));
        let (stop, last) = (Stop::default(), CancellationToken::new());
        let (ask, requests) = mpsc::channel(REQUESTS);
        let (plans, next) = mpsc::channel(1);
        let ways = Ways {
            sweeper: ask.clone(),
            tester: plans,
            exporters: exporters.clone(),
            site: site.clone(),
        };
        let mut tester = tester(&plan, exporters, ground.journal.clone(), stop.clone());
        tester.next = next;
        let settings = plan.settings;
        let sweeper = Sweeper {
            runner: tester.runner.clone(),
            targets: settings.target_map(),
            patience: settings.patience,
            requests,
        };

        let mut tasks = JoinSet::new();
        let (pages, end) = (site.clone(), last.clone());
        tasks.spawn(async move {
            ground.server.serve(pages, end).await;
            Ended::Server(Ok(()))
        });
        let end = last.clone();
        tasks.spawn(async move { Ended::Server(ground.control.serve(ask, end).await) });
        match (beside, hangup) {
            (Beside::Targets(targets), _) => {
                let end = last.clone();
                tasks.spawn(async move { Ended::Server(targets.serve(end).await) });
            }
            (Beside::Files(origin), Some(hangup)) => {
                begin_with(&origin, &settings, &ways.exporters);
                let reloader = Reloader::new(origin, &settings, hangup, ways);
                let (end, cut) = (last.clone(), stop.cancel.clone());
                tasks.spawn(async move {
                    tokio::select! {
                        () = reloader.serve() => {}
                        () = cut.cancelled() => end.cancelled().await,
                    }
                    Ended::Reloader
                });
            }
            (Beside::Files(_), None) => {}
        }
        let (swept, first_pass) = oneshot::channel();
        let (end, cut) = (last.clone(), stop.cancel.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = sweeper.first_pass(FIRST_PASS) => {}
                () = cut.cancelled() => {}
            }
            let _ = swept.send(());
            sweeper.serve(end).await;
            Ended::Sweeper
        });
        tasks.spawn(async move {
            let _ = first_pass.await;
            Ended::Tester(tester.serve(settings.stop_grace, heartbeat()).await)
        });
        Self {
            tasks,
            site,
            journal: ground.journal,
            stop,
            last,
        }
    }

    /// Schedule and runs first, then sweeper and pages, so that one more scrape sees how it ended.
    async fn stop(&mut self, deadline: Instant, is_patient: bool) -> Exit {
        self.stop.cancel.cancel();
        match self.tasks.join_next().await {
            Some(Ok(Ended::Tester(0))) => {}
            Some(Ok(Ended::Tester(runs))) => {
                warn!(
                    runs,
                    "the grace is over: runs were dropped before their end"
                );
            }
            ended => return broken(ended),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if is_patient {
            self.site.wait_for_scrape(left).await;
        }
        self.last.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            if !matches!(
                ended,
                Ok(Ended::Server(Ok(())) | Ended::Sweeper | Ended::Reloader)
            ) {
                return broken(Some(ended));
            }
        }
        self.log_owed();
        Exit::Done
    }

    fn log_owed(&self) {
        for Owed { id, record, .. } in self.journal.owed() {
            warn!(
                id = id.0,
                kind = record.undo.kind,
                target = record.target,
                run = record.run,
                step = record.step,
                "still owed: the next start sweeps it"
            );
        }
    }
}

/// Keeps what was accepted just now, or says that it is what was accepted before.
fn begin_with(origin: &Origin, settings: &Settings, exporters: &Exporters) {
    if origin.is_current {
        return accepted::keep(&settings.state_dir, origin);
    }
    error!(
        file = %origin.texts.path().display(),
        "the configuration was refused: the one that was accepted last is running until a good one is read; `testerd check` tells what is wrong"
    );
    exporters.export(&Event::ConfigRead {
        accepted: false,
        at: crate::text::wall_clock(),
    });
}

/// Feeds systemd's watchdog from the scheduler loop, at half the time it allows.
fn heartbeat() -> Option<Heartbeat> {
    let every = sd_notify::watchdog_enabled()? / 2;
    Some(Heartbeat {
        every,
        beat: Box::new(|| notify(&[NotifyState::Watchdog])),
    })
}

fn broken(ended: Option<Result<Ended, JoinError>>) -> Exit {
    match ended {
        Some(Err(error)) => error!(error = %error, "a part of the daemon broke"),
        Some(Ok(Ended::Server(Err(error)))) => error!(error = %chain(&error), "a server ended"),
        Some(Ok(_)) | None => {
            error!("a part of the daemon ended early");
        }
    }
    Exit::Ours
}

//! The process: what is started in which order, what a signal does, and the order of stopping.
//!
//! A spine of few tasks, each awaited; one that ends early ends the process, so that systemd
//! restarts it instead of leaving it half alive.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::catalog;
use crate::cli::{Exit, complain};
use crate::client::Client;
use crate::config::{Overrides, Sources};
use crate::demo::Shop;
use crate::event::{Exporter, Exporters};
use crate::exporter::history::History;
use crate::exporter::log::{Guard, Log};
use crate::exporter::metrics::Metrics;
use crate::exporter::queue::Dropped;
use crate::exporter::terminal::Terminal;
use crate::http::{Server, Site};
use crate::journal::{Journal, MemoryJournal};
use crate::outcome::{Verdict, chain};
use crate::plan::{self, Plan};
use crate::runner::{Runner, Stop};
use crate::tester::{Heartbeat, Tester};

/// An installed log and the count of its lost lines.
pub type Logging = (Guard, Dropped);

/// What ended.
enum Ended {
    /// The tester, with the number of runs it had to drop.
    Tester(usize),
    /// A server.
    Server(std::io::Result<()>),
}

/// Runs a plan until a signal.
#[must_use]
pub fn serve(plan: Plan, logging: Logging) -> Exit {
    block_on(logging, |dropped| serving(plan, dropped, None))
}

/// Runs the demo plan against a shop in this process, until a signal.
#[must_use]
pub fn demo(listen: Vec<String>, logging: Logging) -> Exit {
    block_on(logging, |dropped| async move {
        let shop = match Shop::bind(([127, 0, 0, 1], 0).into()) {
            Ok(shop) => shop,
            Err(error) => return failed("cannot start the demo's shop", &error),
        };
        let address = shop.addr();
        let overrides = Overrides {
            listen,
            endpoints: BTreeMap::from([("shop".to_owned(), format!("http://{address}"))]),
        };
        let (name, text) = crate::demo::CONFIG;
        let plan = Sources::from_text(name, text, &overrides).and_then(|mut sources| {
            for (name, text) in crate::demo::SPECS {
                sources.add(name, text, false);
            }
            plan::compile(sources)
        });
        match plan {
            Ok(plan) => {
                welcome(&plan, &address);
                serving(plan, dropped, Some(shop)).await
            }
            Err(problems) => {
                for problem in &problems {
                    complain(&problem.to_string());
                }
                Exit::Config
            }
        }
    })
}

fn welcome(plan: &Plan, shop: &std::net::SocketAddr) {
    let listen = plan.settings.listen.join(", ");
    let (scheduled, limit) = (plan.scheduled.len(), plan.settings.concurrency);
    complain(&format!(
        "testerd demo: {scheduled} specs probe a shop inside this process (http://{shop}), {limit} at once.

  http://{listen}/          what runs, and how it went
  http://{listen}/metrics   what Prometheus scrapes
  dashboards/testerd-overview.json   import it into Grafana

The shop has an incident every three minutes, the first after one. Nothing is kept. Stop with Ctrl-C.
"
    ));
}

/// Runs every scheduled spec once and reports.
#[must_use]
pub fn run(plan: Plan, logging: Logging) -> Exit {
    block_on(logging, |_| async move {
        let (terminal, shown) = match Terminal::new(plan.scheduled.len() as u64) {
            Ok(terminal) => terminal,
            Err(error) => return failed("cannot start the terminal's thread", &error),
        };
        let lost = terminal.dropped();
        let grace = plan.settings.stop_grace;
        let exporters = Exporters::new(vec![Arc::new(terminal), Arc::new(Log)]);
        let journal = Arc::new(MemoryJournal::default());
        let stop = Stop::default();
        let tester = tester(plan, exporters, journal.clone(), stop.clone());
        let mut signals = match Signals::new() {
            Ok(signals) => signals,
            Err(error) => return failed("cannot listen to signals", &error),
        };
        let running = tester.run_once(grace);
        tokio::pin!(running);
        let verdicts = tokio::select! {
            verdicts = &mut running => verdicts,
            () = signals.next() => {
                stop.cancel.cancel();
                tokio::select! {
                    verdicts = &mut running => verdicts,
                    () = signals.next() => return Exit::SecondSignal,
                }
            }
        };
        shown.finish();
        if lost.count() > 0 {
            complain(&format!(
                "{} lines were not shown: the output was blocked",
                lost.count()
            ));
        }
        complain_of_owed(journal.as_ref()).await;
        judge(
            &verdicts
                .iter()
                .map(|(_, verdict)| *verdict)
                .collect::<Vec<_>>(),
            &stop,
        )
    })
}

/// The exit code of a one-shot run: a failure tells more than an inconclusive run.
fn judge(verdicts: &[Verdict], stop: &Stop) -> Exit {
    let any = |wanted: fn(&Verdict) -> bool| verdicts.iter().any(wanted);
    if any(|verdict| matches!(verdict, Verdict::Fail(_))) {
        Exit::Failed
    } else if any(|verdict| *verdict != Verdict::Pass) || stop.cancel.is_cancelled() {
        Exit::Ours
    } else {
        Exit::Done
    }
}

async fn complain_of_owed(journal: &dyn Journal) {
    for (_, record) in journal.owed().await.unwrap_or_default() {
        complain(&format!(
            "left behind: {} of step {} on {} ({}), run {}",
            record.undo.kind, record.step, record.target, record.endpoint, record.run
        ));
    }
}

async fn serving(plan: Plan, dropped: Dropped, beside: Option<Shop>) -> Exit {
    let server = match Server::bind(&plan.settings.listen).await {
        Ok(server) => server,
        Err(error) => return failed("cannot listen", &error),
    };
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return failed("cannot listen to signals", &error),
    };
    let addresses = server.addresses().unwrap_or_default();
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let (grace, specs) = (plan.settings.stop_grace, plan.scheduled.len());
    let mut spine = Spine::start(plan, server, dropped, beside);
    info!(addresses = addresses.join(" "), specs, "testerd is running");
    notify(&[
        NotifyState::Ready,
        NotifyState::Status(&format!("{specs} specs")),
    ]);

    tokio::select! {
        () = signals.next() => {}
        ended = spine.tasks.join_next() => return broken(ended),
    }
    notify(&[NotifyState::Stopping]);
    info!(
        ?grace,
        "stopping: runs are cancelled and cleaned up; a second signal exits at once"
    );
    tokio::select! {
        exit = spine.stop(Instant::now() + grace) => exit,
        () = signals.next() => Exit::SecondSignal,
    }
}

/// The tasks of the daemon.
struct Spine {
    tasks: JoinSet<Ended>,
    site: Arc<Site>,
    journal: Arc<dyn Journal>,
    /// Stops the tester.
    stop: Stop,
    /// Stops the servers, last.
    last: CancellationToken,
}

impl Spine {
    fn start(plan: Plan, server: Server, dropped: Dropped, beside: Option<Shop>) -> Self {
        let metrics = Arc::new(Metrics::new(vec![("log", dropped)]));
        let history = Arc::new(History::default());
        let exporters: Vec<Arc<dyn Exporter>> =
            vec![metrics.clone(), history.clone(), Arc::new(Log)];
        let grace = plan.settings.stop_grace;
        let site = Arc::new(Site::new(metrics, history));
        let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::default());
        let (stop, last) = (Stop::default(), CancellationToken::new());
        let exporters = Exporters::new(exporters);
        let tester = tester(plan, exporters, journal.clone(), stop.clone());

        let mut tasks = JoinSet::new();
        let (pages, end) = (site.clone(), last.clone());
        tasks.spawn(async move { Ended::Server(server.serve(pages, end).await) });
        if let Some(shop) = beside {
            let end = last.clone();
            tasks.spawn(async move { Ended::Server(shop.serve(end).await) });
        }
        tasks.spawn(async move { Ended::Tester(tester.serve(grace, heartbeat()).await) });
        Self {
            tasks,
            site,
            journal,
            stop,
            last,
        }
    }

    /// Schedule and runs first, then pages, so that one more scrape sees how it ended.
    async fn stop(&mut self, deadline: Instant) -> Exit {
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
        log_owed(self.journal.as_ref()).await;
        let left = deadline.saturating_duration_since(Instant::now());
        self.site.wait_for_scrape(left).await;
        self.last.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            if !matches!(ended, Ok(Ended::Server(Ok(())))) {
                return broken(Some(ended));
            }
        }
        Exit::Done
    }
}

fn tester(plan: Plan, exporters: Exporters, journal: Arc<dyn Journal>, stop: Stop) -> Tester {
    let pools = plan.pools();
    Tester {
        runner: Arc::new(Runner {
            client: Client::new(),
            journal,
            exporters,
            undoer: catalog::undoer,
            instance: plan.settings.instance,
        }),
        scheduled: plan.scheduled,
        pools,
        stop,
    }
}

async fn log_owed(journal: &dyn Journal) {
    for (_, record) in journal.owed().await.unwrap_or_default() {
        warn!(
            kind = record.undo.kind,
            target = record.target,
            run = record.run,
            step = record.step,
            "left behind"
        );
    }
}

/// Feeds systemd's watchdog from the scheduler loop, at half the time it allows.
fn heartbeat() -> Option<Heartbeat> {
    let every = sd_notify::watchdog_enabled()? / 2;
    Some(Heartbeat {
        every,
        beat: Box::new(|| notify(&[NotifyState::Watchdog])),
    })
}

/// Tells systemd; without it, nothing happens.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(error = %error, "cannot notify systemd");
    }
}

fn broken(ended: Option<Result<Ended, tokio::task::JoinError>>) -> Exit {
    match ended {
        Some(Err(error)) => error!(error = %error, "a part of the daemon broke"),
        Some(Ok(Ended::Server(Err(error)))) => error!(error = %chain(&error), "a server ended"),
        Some(Ok(Ended::Server(Ok(())) | Ended::Tester(_))) | None => {
            error!("a part of the daemon ended early");
        }
    }
    Exit::Ours
}

fn failed(what: &str, error: &dyn std::error::Error) -> Exit {
    error!(error = %chain(error), "{what}");
    Exit::Ours
}

/// Builds the runtime, catches panics into the log, and flushes the log at the end if it can.
fn block_on<F: Future<Output = Exit>>(
    (guard, dropped): Logging,
    work: impl FnOnce(Dropped) -> F,
) -> Exit {
    // The default hook writes to standard error itself, and may block there.
    std::panic::set_hook(Box::new(|panic| error!(panic = %panic, "panicked")));
    let exit = match Runtime::new() {
        Ok(runtime) => {
            let exit = runtime.block_on(work(dropped));
            // A blocking name look-up may still be going; nobody waits for its answer.
            runtime.shutdown_timeout(Duration::ZERO);
            exit
        }
        Err(error) => failed("cannot start the runtime", &error),
    };
    // Not `finish`, which waits for as long as nobody reads standard error: for ever, perhaps.
    drop(guard);
    exit
}

/// SIGTERM, SIGINT and, when the terminal goes away, SIGHUP.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

//! The process: how each command that runs something is put together, what a signal does.
//!
//! A spine of few tasks, each awaited; one that ends early ends the process, so that systemd
//! restarts it instead of leaving it half alive.

mod accepted;
mod daemon;
mod online;
mod once;
mod reload;
mod run_folders;
mod signals;
mod sweep;

use std::ffi::OsStr;
use std::future::Future;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tracing::{error, warn};

pub use accepted::last_accepted;
pub use online::online;
pub use reload::Origin;
pub use sweep::{Orphans, Wish, orphans, sweep};

use crate::catalog;
use crate::cli::{Exit, complain};
use crate::client::Client;
use crate::config::{Overrides, Sources};
use crate::demo::Targets;
use crate::event::Exporters;
use crate::exporter::log::Guard;
use crate::exporter::queue::Dropped;
use crate::exporter::report::Form;
use crate::journal::Journal;
use crate::outcome::chain;
use crate::plan::{self, Plan};
use crate::runner::{Runner, Searches, Stop};
use crate::tester::{Tester, Work};
use crate::text::clock_fault;
use daemon::Beside;
use signals::{Asked, Signals};
pub use signals::{keep_hangups, survive_file_limits};

/// An installed log and the count of its lost lines.
pub type Logging = (Guard, Dropped);

/// Runs a plan until a signal, and others in its place as what it was made from changes.
#[must_use]
pub fn serve(plan: Plan, origin: Origin, logging: Logging) -> Exit {
    block_on(logging, |dropped| {
        daemon::serving(plan, dropped, Beside::Files(origin))
    })
}

/// Runs every scheduled spec once and reports.
#[must_use]
pub fn run(plan: Plan, form: Form, logging: Logging) -> Exit {
    block_on(logging, |_| once::running(plan, form))
}

/// Runs the demo plan against targets in this process, until a signal.
#[must_use]
pub fn demo(listen: Vec<String>, logging: Logging) -> Exit {
    block_on(logging, |dropped| async move {
        let bound = Targets::bind().and_then(|targets| Ok((targets.addresses()?, targets)));
        let (addresses, targets) = match bound {
            Ok(bound) => bound,
            Err(error) => return failed("cannot start the demo's targets", &error),
        };
        // Nobody can have made it before, and nobody else may enter it.
        let state_dir = match tempfile::Builder::new().prefix("testerd-demo-").tempdir() {
            Ok(made) => made,
            Err(error) => return failed("cannot make a directory for the demo", &error),
        };
        let overrides = Overrides {
            listen,
            state_dir: Some(state_dir.path().to_owned()),
            endpoints: addresses
                .map(|(name, address)| (name.to_owned(), format!("http://{address}")))
                .into(),
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
                welcome(&plan);
                daemon::serving(plan, dropped, Beside::Targets(targets)).await
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

fn welcome(plan: &Plan) {
    let listen = plan.settings.listen.join(", ");
    let (scheduled, limit) = (plan.scheduled.len(), plan.settings.concurrency);
    complain(&format!(
        "testerd demo: {scheduled} specs, {limit} at once, probe two targets inside this process: a shop, and
a stand-in for the manager of a Backend.AI cluster (no cluster is behind it).

  http://{listen}/          what runs, and how it went
  http://{listen}/metrics   what Prometheus scrapes
  dashboards/testerd-overview.json   import it into Grafana

The shop has an incident every three minutes, the first after one. Nothing is kept. Stop with Ctrl-C.
"
    ));
}

/// What a plan gives the tester to do.
fn work(plan: &Plan) -> Work {
    Work {
        scheduled: plan.scheduled.clone(),
        pools: plan.pools(),
    }
}

fn tester(plan: &Plan, exporters: Exporters, journal: Arc<dyn Journal>, stop: Stop) -> Tester {
    Tester {
        runner: Arc::new(Runner {
            client: Client::new(),
            journal,
            exporters,
            undoer: catalog::undoer,
            searches: Searches::default(),
            instance: plan.settings.instance.clone(),
        }),
        work: work(plan),
        next: mpsc::channel(1).1,
        stop,
    }
}

/// Tells systemd; without it, nothing happens.
fn notify(states: &[NotifyState<'_>]) {
    if let Some(path) = std::env::var_os("NOTIFY_SOCKET")
        && let Err(error) = send(&path, states)
    {
        warn!(error = %error, "cannot notify systemd");
    }
}

/// To a socket in the file system, or with `@` before its name in the abstract namespace.
fn send(path: &OsStr, states: &[NotifyState<'_>]) -> std::io::Result<()> {
    let lines: Vec<_> = states.iter().map(ToString::to_string).collect();
    let text = lines.join("\n");
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.send_to_addr(text.as_bytes(), &address).map(|_| ())
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
    // Without dates there are neither names nor ages, and no answer has its head.
    if let Some(fault) = clock_fault() {
        error!("{fault}");
        drop(guard);
        return Exit::Ours;
    }
    let exit = match runtime() {
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

/// The runtime. It looks at sockets and timers four times as often as by default, so that tasks that
/// always have something to read hold up no others.
fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .enable_all()
        .event_interval(16)
        .build()
}

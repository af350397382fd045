//! `testerd run`: everything once, with a journal of its own that is swept before the end.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Signals, failed, tester};
use crate::cli::{Exit, complain};
use crate::config::Settings;
use crate::event::Exporters;
use crate::exporter::log::Log;
use crate::exporter::report::Form;
use crate::exporter::terminal::Terminal;
use crate::journal::{DiskJournal, Journal, OpenError};
use crate::outcome::{Cause, Verdict};
use crate::plan::Plan;
use crate::runner::Stop;
use crate::sweeper::Sweeper;

/// Begins the name of the folder of a run's journal; its process id ends it.
const FOLDER: &str = "run-";

/// Runs every scheduled spec once and reports.
pub(super) async fn running(plan: Plan, form: Form) -> Exit {
    for line in abandoned(&plan.settings.state_dir) {
        complain(&line);
    }
    let (journal, folder) = match open_journal(&plan.settings) {
        Ok(opened) => opened,
        Err(error) => return failed("cannot open the journal", &error),
    };
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return failed("cannot listen to signals", &error),
    };
    let (terminal, shown) = match Terminal::new(form, plan.scheduled.len() as u64) {
        Ok(terminal) => terminal,
        Err(error) => return failed("cannot start the terminal's thread", &error),
    };
    let lost = terminal.dropped();
    let settings = plan.settings.clone();
    let exporters = Exporters::new(vec![Arc::new(terminal), Arc::new(Log)]);
    let stop = Stop::default();
    let tester = tester(&plan, exporters, journal.clone(), stop.clone());
    let runner = tester.runner.clone();
    let work = async {
        let verdicts = tester.run_once(settings.stop_grace).await;
        shown.finish();
        if lost.count() > 0 {
            complain(&format!(
                "{} lines were not shown: the output was blocked",
                lost.count()
            ));
        }
        let sweeper = Sweeper {
            runner,
            targets: settings.target_map(),
            patience: settings.patience,
            requests: mpsc::channel(1).1,
        };
        let owed = journal.owed().len();
        if owed > 0 {
            complain(&format!("cleaning up: {owed} left by these runs"));
        }
        let left = sweeper
            .finish(settings.patience.settle + settings.stop_grace, None)
            .await;
        (verdicts, left)
    };
    tokio::pin!(work);
    let (verdicts, left) = tokio::select! {
        ended = &mut work => ended,
        () = signals.next() => {
            stop.cancel.cancel();
            tokio::select! {
                ended = &mut work => ended,
                () = signals.next() => {
                    say_where(&folder);
                    return Exit::SecondSignal;
                }
            }
        }
    };
    if left.is_empty() {
        let _ = std::fs::remove_dir_all(&folder);
    } else {
        for owed in &left {
            let record = &owed.record;
            complain(&format!(
                "still owed: {} of step {} on {} ({}), run {}: {}",
                record.undo.kind,
                record.step,
                record.target,
                record.endpoint,
                record.run,
                owed.last.as_deref().unwrap_or("not tried yet"),
            ));
        }
        say_where(&folder);
    }
    let verdicts: Vec<_> = verdicts.iter().map(|(_, verdict)| *verdict).collect();
    judge(&verdicts, &stop)
}

fn say_where(folder: &Path) {
    let folder = folder.display();
    complain(&format!(
        "the journal lies in {folder}; `testerd sweep --state-dir={folder}` with the same --config.file carries it out"
    ));
}

/// What other one-shot runs have left, as lines for people: they were killed, or could not clean up.
/// No start is theirs, so nobody carries it out who is not told.
pub(super) fn abandoned(state_dir: &Path) -> Vec<String> {
    let folders = std::fs::read_dir(state_dir).into_iter().flatten().flatten();
    let folders = folders
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(FOLDER))
        .map(|entry| entry.path())
        .filter(|folder| !DiskJournal::is_in_use(folder));
    let line = |folder: PathBuf| {
        let owed = DiskJournal::look(&folder).ok()?.len();
        let folder = folder.display();
        (owed > 0).then(|| {
            format!("an earlier `testerd run` still owes {owed}; `testerd sweep --state-dir={folder}` with the same --config.file carries it out")
        })
    };
    folders.filter_map(line).collect()
}

/// A journal in a folder of its own below the state directory or, where that cannot be written,
/// below the system's temporary one.
fn open_journal(settings: &Settings) -> Result<(Arc<DiskJournal>, PathBuf), OpenError> {
    let name = format!("{FOLDER}{}", std::process::id());
    let owner = format!("testerd run (pid {})", std::process::id());
    let open = |folder: PathBuf| {
        let journal = DiskJournal::open(&folder, settings.max_owed, &owner)?;
        Ok((Arc::new(journal), folder))
    };
    open(settings.state_dir.join(&name))
        .or_else(|_: OpenError| open(std::env::temp_dir().join(format!("testerd-{name}"))))
}

/// Whether nothing more could be learnt: what cannot run on a target is no error of ours.
fn settled(verdict: Verdict) -> bool {
    [Verdict::Pass, Verdict::Inconclusive(Cause::NotApplicable)].contains(&verdict)
}

/// The exit code of a one-shot run: a failure tells more than an inconclusive run.
fn judge(verdicts: &[Verdict], stop: &Stop) -> Exit {
    let any = |wanted: fn(&Verdict) -> bool| verdicts.iter().any(wanted);
    if any(|verdict| matches!(verdict, Verdict::Fail(_))) {
        Exit::Failed
    } else if any(|verdict| !settled(*verdict)) || stop.cancel.is_cancelled() {
        Exit::Ours
    } else {
        Exit::Done
    }
}

//! `testerd run`: everything once, with a journal of its own that is swept before the end.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Signals, failed, run_folders, tester};
use crate::cli::{Exit, complain};
use crate::event::Exporters;
use crate::exporter::log::Log;
use crate::exporter::report::Form;
use crate::exporter::terminal::Terminal;
use crate::journal::{Journal, Owed};
use crate::outcome::{Cause, Verdict};
use crate::plan::Plan;
use crate::runner::Stop;
use crate::sweeper::Sweeper;

/// Runs every scheduled spec once and reports.
pub(super) async fn running(plan: Plan, form: Form) -> Exit {
    for line in run_folders::tidy(&plan.settings) {
        complain(&line);
    }
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return failed("cannot listen to signals", &error),
    };
    let (terminal, shown) = match Terminal::new(form, plan.scheduled.len() as u64) {
        Ok(terminal) => terminal,
        Err(error) => return failed("cannot start the terminal's thread", &error),
    };
    // Last, so that nothing can fail that would leave an empty folder.
    let (journal, folder) = match run_folders::open_journal(&plan.settings) {
        Ok(opened) => opened,
        Err(error) => return failed("cannot open the journal", &error),
    };
    let (lost, unwritten) = (terminal.dropped(), terminal.unwritten());
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
            .finish_soon(settings.patience.settle + settings.stop_grace, None)
            .await;
        (verdicts, left)
    };
    let ended = until_signals(work, &mut signals, &stop).await;
    let Some((verdicts, left)) = ended else {
        say_where(&folder);
        return Exit::SecondSignal;
    };
    if left.is_empty() {
        // Its files are closed before they are removed.
        drop(journal);
        if let Some(line) = run_folders::discard(&folder) {
            complain(&line);
        }
    } else {
        left.iter().for_each(tell_owed);
        say_where(&folder);
    }
    let verdicts: Vec<_> = verdicts.iter().map(|(_, verdict)| *verdict).collect();
    if unwritten.count() > 0 {
        complain("the results could not be written to standard output: they are lost");
        return Exit::Ours;
    }
    judge(&verdicts, &stop)
}

/// Waits for the end of it: the first signal cancels its runs, with the second it is dropped.
async fn until_signals<T>(
    work: impl Future<Output = T>,
    signals: &mut Signals,
    stop: &Stop,
) -> Option<T> {
    tokio::pin!(work);
    tokio::select! {
        ended = &mut work => return Some(ended),
        _ = signals.next() => stop.cancel.cancel(),
    }
    tokio::select! {
        ended = &mut work => Some(ended),
        _ = signals.next() => None,
    }
}

fn tell_owed(owed: &Owed) {
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

fn say_where(folder: &Path) {
    let folder = folder.display();
    complain(&format!(
        "the journal lies in {folder}; `testerd sweep --state-dir={folder}` with the same --config.file carries it out"
    ));
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

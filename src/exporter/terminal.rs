//! What happened, for whoever waits in front of `testerd run`: one line per finished run on
//! standard output and, when standard error is a terminal, one live line of progress there.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex};

use super::queue::{self, Dropped, Queue, Worker};
use super::{brief, lock};
use crate::event::{Event, Exporter, FailedStep, Phase, RunRef, StepEnd};
use crate::outcome::{Cause, Verdict};

/// How many runs may wait to be shown.
const FRAMES: usize = 4096;

/// The terminal exporter.
#[derive(Debug)]
pub struct Terminal {
    total: u64,
    state: Mutex<State>,
    queue: Queue<Frame>,
}

/// Shows what waits when it is finished; see [`Worker`].
pub type Guard = Worker<Frame>;

/// One change of what is shown.
#[derive(Debug)]
pub struct Frame {
    /// Lines that stay; may be empty.
    lines: String,
    progress: String,
}

#[derive(Debug, Default)]
struct State {
    running: u64,
    done: u64,
    failed: u64,
    inconclusive: u64,
    /// The failed steps of runs that are still going.
    steps: HashMap<Arc<str>, Vec<Shown>>,
}

/// A failed step as it is shown.
#[derive(Debug)]
struct Shown {
    step: Arc<str>,
    phase: Phase,
    text: String,
}

impl Terminal {
    /// Shows `total` runs on the standard streams.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn new(total: u64) -> io::Result<(Self, Guard)> {
        let stderr = io::stderr();
        let progress = stderr.is_terminal().then_some(stderr);
        Self::start(total, io::stdout(), progress)
    }

    fn start(
        total: u64,
        results: impl Write + Send + 'static,
        progress: Option<impl Write + Send + 'static>,
    ) -> io::Result<(Self, Guard)> {
        let mut screen = Screen { results, progress };
        let (queue, guard) = queue::start("terminal", FRAMES, move |frame| {
            // A closed pipe: nobody is watching any more.
            let _ = screen.show(&frame);
        })?;
        let state = Mutex::default();
        let terminal = Self {
            total,
            state,
            queue,
        };
        Ok((terminal, guard))
    }

    /// The count of what was not shown because the output was blocked.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.queue.dropped()
    }

    fn show(&self, state: &State, lines: String) {
        let progress = state.progress(self.total);
        self.queue.push(Frame { lines, progress });
    }
}

impl Exporter for Terminal {
    fn export(&self, event: &Event) {
        let mut state = lock(&self.state);
        match event {
            Event::RunStarted { .. } => {
                state.running += 1;
                self.show(&state, String::new());
            }
            Event::StepFinished { run, end } => state.note(run, end),
            Event::RunFinished {
                run,
                verdict,
                failed,
                duration,
                at: _,
            } => {
                state.running = state.running.saturating_sub(1);
                state.done += 1;
                state.failed += u64::from(matches!(verdict, Verdict::Fail(_)));
                state.inconclusive += u64::from(matches!(verdict, Verdict::Inconclusive(_)));
                let steps = state.steps.remove(&run.id).unwrap_or_default();
                let text = lines(run, *verdict, failed.as_ref(), &brief(*duration), &steps);
                self.show(&state, text);
            }
            _ => {}
        }
    }
}

impl State {
    fn note(&mut self, run: &RunRef, end: &StepEnd) {
        let Some(failure) = &end.failure else { return };
        let (phase, duration) = (end.phase.as_str(), brief(end.duration));
        let allowed = if end.allowed { ", allowed" } else { "" };
        let text = format!("{} ({phase}{allowed}) {failure}  {duration}", end.step);
        let steps = self.steps.entry(Arc::clone(&run.id)).or_default();
        steps.push(Shown {
            step: Arc::clone(&end.step),
            phase: end.phase,
            text,
        });
    }

    fn progress(&self, total: u64) -> String {
        let Self {
            running,
            done,
            failed,
            inconclusive,
            ..
        } = self;
        let mut text = format!("{done}/{total} done, {running} running, {failed} failed");
        if *inconclusive > 0 {
            let _ = write!(text, ", {inconclusive} inconclusive");
        }
        text
    }
}

/// The line of a run, and below it the failed steps that it does not name already.
fn lines(
    run: &RunRef,
    verdict: Verdict,
    failed: Option<&FailedStep>,
    duration: &str,
    steps: &[Shown],
) -> String {
    let (word, reason) = match verdict {
        Verdict::Fail(reason) => ("FAIL", reason.as_str()),
        Verdict::Pass | Verdict::Inconclusive(Cause::Cancelled) => (verdict.as_str(), ""),
        Verdict::Inconclusive(cause) => (verdict.as_str(), cause.as_str()),
    };
    let mut line = format!("{word}  {}", run.spec.identity);
    if !reason.is_empty() {
        let _ = write!(line, "  {reason}");
    }
    if let Some(FailedStep { step, failure, .. }) = failed {
        let _ = write!(line, " at step {step}: {}", failure.message);
    }
    let _ = write!(line, "  {duration}");
    let mut text = printable(&line);
    let named = |shown: &&Shown| {
        failed.is_some_and(|failed| failed.step == shown.step && failed.phase == shown.phase)
    };
    for shown in steps.iter().filter(|shown| !named(shown)) {
        let _ = write!(text, "\n      {}", printable(&shown.text));
    }
    text.push('\n');
    text
}

/// Messages hold what targets answered: control characters in it must not reach the terminal.
fn printable(text: &str) -> String {
    text.chars().fold(String::new(), |mut text, next| {
        if next.is_control() {
            text.extend(next.escape_default());
        } else {
            text.push(next);
        }
        text
    })
}

struct Screen<R: Write, P: Write> {
    results: R,
    progress: Option<P>,
}

impl<R: Write, P: Write> Screen<R, P> {
    /// The progress line is taken away before lines are written, and drawn again below them.
    fn show(&mut self, frame: &Frame) -> io::Result<()> {
        if !frame.lines.is_empty() {
            self.draw("")?;
            self.results.write_all(frame.lines.as_bytes())?;
            self.results.flush()?;
        }
        self.draw(&frame.progress)
    }

    fn draw(&mut self, progress: &str) -> io::Result<()> {
        let Some(output) = &mut self.progress else {
            return Ok(());
        };
        write!(output, "\r\x1b[K{progress}")?;
        output.flush()
    }
}

impl<R: Write, P: Write> Drop for Screen<R, P> {
    fn drop(&mut self) {
        // What comes next on the terminal begins on an empty line.
        let _ = self.draw("");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Sender};

    use super::*;
    use crate::exporter::sample::{MILLI, ended, run, spec, step, story};
    use crate::outcome::{Failure, Reason};

    /// Sends what is written, marked.
    struct Tagged(&'static str, Sender<String>);

    impl Write for Tagged {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let shown = String::from_utf8_lossy(text).replace("\r\x1b[K", "<-");
            if !shown.is_empty() {
                let _ = self.1.send(format!("{}{shown}", self.0));
            }
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn runs_are_shown_above_the_progress() {
        let (sender, shown) = mpsc::channel();
        let (results, progress) = (Tagged("", sender.clone()), Tagged("", sender));
        let (terminal, guard) = Terminal::start(3, results, Some(progress)).unwrap();
        let spec = Arc::new(spec("shop", "checkout", ""));
        for event in story(&spec) {
            terminal.export(&event);
        }
        guard.finish();
        let shown: String = shown.iter().collect();
        insta::assert_snapshot!(shown);
    }

    #[test]
    fn what_targets_say_cannot_drive_the_terminal() {
        let spec = Arc::new(spec("shop", "checkout", "big"));
        let failure = Failure::new(Reason::Assertion, "\x1b[2J gone\u{9b}");
        let failed = FailedStep {
            step: "pay".into(),
            phase: Phase::Body,
            failure,
        };
        let verdict = Verdict::Fail(Reason::Assertion);
        let line = lines(&run(&spec, "r"), verdict, Some(&failed), "1 ms", &[]);
        assert_eq!(
            line,
            "FAIL  shop/checkout/big  assertion at step pay: \\u{1b}[2J gone\\u{9b}  1 ms\n"
        );
    }

    #[test]
    fn our_own_faults_are_told_apart() {
        let spec = Arc::new(spec("shop", "checkout", ""));
        let line = |cause| {
            lines(
                &run(&spec, "r"),
                Verdict::Inconclusive(cause),
                None,
                "1 s",
                &[],
            )
        };
        assert_eq!(line(Cause::Journal), "error  shop/checkout  journal  1 s\n");
        assert_eq!(line(Cause::Cancelled), "cancelled  shop/checkout  1 s\n");
    }

    #[test]
    fn without_a_terminal_there_are_only_results() {
        let (sender, shown) = mpsc::channel();
        let none = None::<Tagged>;
        let (terminal, guard) = Terminal::start(1, Tagged("", sender), none).unwrap();
        let spec = Arc::new(spec("shop", "checkout", ""));
        let run = run(&spec, "r");
        let started = Event::RunStarted {
            run: run.clone(),
            lateness: None,
            queue_wait: MILLI,
        };
        terminal.export(&started);
        terminal.export(&step(&run, "item", Phase::Setup, None));
        terminal.export(&ended(&run, Verdict::Pass, None));
        guard.finish();
        assert_eq!(
            shown.iter().collect::<String>(),
            "pass  shop/checkout  412 ms\n"
        );
    }
}

//! What happened, for whoever waits in front of `testerd run`: each finished run on standard output
//! and, when standard error is a terminal, one live line of progress there. What is said of a run is
//! in `report`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex};

use super::lock;
use super::queue::{self, Dropped, Queue, Worker};
use super::report::{Ended, Form};
use crate::event::{Event, Exporter, RunRef, StepEnd};
use crate::outcome::Verdict;

/// How many runs may wait to be shown.
const FRAMES: usize = 4096;

/// The terminal exporter.
#[derive(Debug)]
pub struct Terminal {
    form: Form,
    total: u64,
    state: Mutex<State>,
    queue: Queue<Frame>,
    unwritten: Dropped,
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
    /// The steps of runs that are still going: for people those that failed, for scripts all.
    steps: HashMap<Arc<str>, Vec<StepEnd>>,
}

impl Terminal {
    /// Shows `total` runs on the standard streams.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn new(form: Form, total: u64) -> io::Result<(Self, Guard)> {
        let stderr = io::stderr();
        let progress = stderr.is_terminal().then_some(stderr);
        Self::start(form, total, io::stdout(), progress)
    }

    fn start(
        form: Form,
        total: u64,
        results: impl Write + Send + 'static,
        progress: Option<impl Write + Send + 'static>,
    ) -> io::Result<(Self, Guard)> {
        let mut screen = Screen { results, progress };
        let unwritten = Dropped::default();
        let lost = unwritten.clone();
        let (queue, guard) = queue::start("terminal", FRAMES, move |frame| {
            match screen.show(&frame) {
                // A closed pipe: nobody is watching any more.
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => lost.add(),
                _ => {}
            }
        })?;
        let state = Mutex::default();
        let terminal = Self {
            form,
            total,
            state,
            queue,
            unwritten,
        };
        Ok((terminal, guard))
    }

    /// The count of what was not shown because the output was blocked.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.queue.dropped()
    }

    /// The count of what could not be written, on a full disk for instance.
    #[must_use]
    pub fn unwritten(&self) -> Dropped {
        self.unwritten.clone()
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
            Event::StepFinished { run, end }
                if end.failure.is_some() || self.form == Form::Json =>
            {
                state.note(run, end);
            }
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
                let ended = Ended {
                    run,
                    verdict: *verdict,
                    failed: failed.as_ref(),
                    duration: *duration,
                    steps: &steps,
                };
                self.show(&state, ended.text(self.form));
            }
            _ => {}
        }
    }
}

impl State {
    fn note(&mut self, run: &RunRef, end: &StepEnd) {
        let steps = self.steps.entry(Arc::clone(&run.id)).or_default();
        steps.push(end.clone());
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
    use crate::event::Phase;
    use crate::exporter::sample::{MILLI, ended, run, spec, step, story};

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
        let (terminal, guard) = Terminal::start(Form::Lines, 3, results, Some(progress)).unwrap();
        let spec = Arc::new(spec("shop", "checkout", ""));
        for event in story(&spec) {
            terminal.export(&event);
        }
        guard.finish();
        let shown: String = shown.iter().collect();
        insta::assert_snapshot!(shown);
    }

    #[test]
    fn without_a_terminal_there_are_only_results() {
        let (sender, shown) = mpsc::channel();
        let none = None::<Tagged>;
        let (terminal, guard) = Terminal::start(Form::Lines, 1, Tagged("", sender), none).unwrap();
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

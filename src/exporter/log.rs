//! What happened, for people and log stores: one line per finished run and per failed step, on
//! standard error. A blocked standard error delays no probe: lines then are dropped and counted.

use std::io::{self, Write};
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, ParseError};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use super::queue::{self, Dropped, Queue, Worker};
use crate::event::{Event, Exporter, FailedStep, OwedInfo, RunRef, StepEnd, TeardownResult};
use crate::outcome::{Cause, Fault, SlotOutcome, Verdict};
use crate::text::visible;

/// How many lines may wait.
const LINES: usize = 8192;

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// `key=value` pairs.
    Logfmt,
    /// One JSON object per line.
    Json,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The level is none.
    #[error("{level:?} is neither error, warn, info, debug or trace, nor a list of target=level")]
    Level {
        /// What was given.
        level: String,
        /// What is wrong with it, if it looks like a list.
        source: Option<ParseError>,
    },
    /// No thread could be started.
    #[error("cannot start the log's thread")]
    Thread(#[from] io::Error),
    /// There is one already.
    #[error("a log is installed already")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Keeps the log going; what still waits is written when it is dropped, for at most a second.
pub type Guard = Worker<Vec<u8>>;

/// Sends all of `tracing` to standard error: what `level` lets through, which is a level or a list
/// of `target=level`.
///
/// # Errors
/// If the level is none, or a log is installed already.
pub fn install(level: &str, format: Format) -> Result<(Guard, Dropped), InstallError> {
    let filter = filter(level)?;
    let (lines, guard) = Lines::start(io::stderr())?;
    let dropped = lines.0.dropped();
    subscriber(filter, format, lines).try_init()?;
    Ok((guard, dropped))
}

/// A lone word is a level. (To `EnvFilter` it may also be a target, so that a misspelt level would
/// silence everything.)
fn filter(level: &str) -> Result<EnvFilter, InstallError> {
    let wrong = |source| InstallError::Level {
        level: level.to_owned(),
        source,
    };
    let word = !level.contains('=');
    if level.is_empty() || word && level.parse::<LevelFilter>().is_err() {
        return Err(wrong(None));
    }
    EnvFilter::builder()
        .parse(level)
        .map_err(|source| wrong(Some(source)))
}

/// Our own fields hold `target`, so the name of the module, which `tracing` calls the same, is
/// left out.
fn subscriber(filter: EnvFilter, format: Format, lines: Lines) -> tracing::Dispatch {
    match format {
        Format::Logfmt => tracing_logfmt::builder()
            .with_target(false)
            .subscriber_builder()
            .with_env_filter(filter)
            .with_writer(lines)
            .into(),
        Format::Json => tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_target(false)
            .with_env_filter(filter)
            .with_writer(lines)
            .into(),
    }
}

/// Where finished lines are put. (`tracing-appender` has such a queue too, but prints to standard
/// output, and may hang there, when it ends while the queue is full.)
#[derive(Clone)]
struct Lines(Queue<Vec<u8>>);

impl Lines {
    fn start(mut output: impl Write + Send + 'static) -> io::Result<(Self, Guard)> {
        let (queue, worker) = queue::start("log", LINES, move |line: Vec<u8>| {
            // Nobody is left to be told.
            let _ = output.write_all(&line);
        })?;
        Ok((Self(queue), worker))
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(match str::from_utf8(line) {
            Ok(text) => visible(text).into_owned().into_bytes(),
            Err(_) => line.to_vec(),
        });
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// The log exporter: writes to `tracing`, whether or not anybody listens.
#[derive(Debug, Default)]
pub struct Log;

/// One line about a run, at the level called `$level`.
macro_rules! line {
    ($level:ident, $run:expr, $text:literal, $($fields:tt)+) => {{
        let identity = &$run.spec.identity;
        tracing::$level!(
            target = identity.target,
            spec = identity.spec,
            variant = identity.variant,
            run = &*$run.id,
            $($fields)+,
            $text
        )
    }};
}

impl Exporter for Log {
    fn export(&self, event: &Event) {
        match event {
            Event::Swept {
                target,
                kind,
                result,
                why,
            } => match (result, why) {
                (TeardownResult::Done, _) => tracing::info!(target, kind, "swept"),
                (_, why) => tracing::warn!(target, kind, error = why.as_deref(), "still owed"),
            },
            Event::SearchIsBlind {
                target,
                kind,
                search,
            } => tracing::error!(
                target,
                kind,
                search,
                "the search is blind: it does not find what was just made, so what it does not find is not believed to be gone"
            ),
            Event::OwedChanged { owed } => owed.iter().for_each(stuck),
            Event::PlanLoaded { specs, .. } => {
                tracing::info!(specs = specs.len(), "plan loaded");
            }
            Event::ScheduleStopped { .. } => tracing::info!("schedule stopped"),
            Event::ConfigRead { accepted: true, .. } => tracing::info!("configuration taken on"),
            Event::ConfigRead { .. } => {
                tracing::error!("configuration refused: the running one goes on");
            }
            Event::SlotsEnded {
                spec,
                outcome,
                count,
            } if *outcome != SlotOutcome::Run => tracing::debug!(
                target = spec.identity.target,
                spec = spec.identity.spec,
                variant = spec.identity.variant,
                outcome = outcome.as_str(),
                count,
                "slots without a run"
            ),
            Event::AttemptFailed {
                run,
                step,
                attempt,
                failure,
            } => line!(
                debug, run, "attempt failed",
                step = &**step,
                attempt,
                reason = %failure.fault,
                error = failure.message
            ),
            Event::StepFinished { run, end } => step_finished(run, end),
            Event::StepSkipped { run, step, why } => {
                line!(debug, run, "step skipped", step = &**step, why = &**why);
            }
            Event::TeardownFinished { run, kind, result } if *result == TeardownResult::Owed => {
                line!(warn, run, "teardown is still owed", kind);
            }
            Event::RunFinished {
                run,
                verdict,
                failed,
                duration,
                at: _,
            } => run_finished(run, *verdict, failed.as_ref(), duration.as_secs_f64()),
            Event::SlotsEnded { .. }
            | Event::PoolChanged { .. }
            | Event::RunStarted { .. }
            | Event::TeardownFinished { .. } => {}
        }
    }
}

fn stuck(owed: &OwedInfo) {
    if owed.stuck > 0 {
        tracing::warn!(
            target = owed.target,
            kind = owed.kind,
            stuck = owed.stuck,
            "stuck: owed for long, a person should look"
        );
    }
}

fn step_finished(run: &RunRef, end: &StepEnd) {
    for (earlier, phases) in end.http.iter().enumerate() {
        let seconds = |phase: Option<Duration>| phase.map(|taken| taken.as_secs_f64());
        line!(
            debug,
            run,
            "http request",
            step = &*end.step,
            number = earlier + 1,
            resolve = seconds(phases.resolve),
            connect = seconds(phases.connect),
            tls = seconds(phases.tls),
            first_byte = seconds(phases.first_byte),
            transfer = seconds(phases.transfer)
        );
    }
    let Some(failure) = &end.failure else { return };
    macro_rules! failed {
        ($level:ident) => {
            line!(
                $level, run, "step failed",
                step = &*end.step,
                phase = end.phase.as_str(),
                reason = %failure.fault,
                allowed = end.allowed.then_some(true),
                duration = end.duration.as_secs_f64(),
                trace_id = run.trace_id(),
                error = failure.message
            )
        };
    }
    // The end of a run that was cancelled says it all.
    if let Fault::Ours(Cause::Cancelled | Cause::NotApplicable) = failure.fault {
        failed!(debug);
    } else {
        failed!(warn);
    }
}

fn run_finished(run: &RunRef, verdict: Verdict, failed: Option<&FailedStep>, duration: f64) {
    macro_rules! finished {
        ($level:ident) => {
            line!(
                $level,
                run,
                "run finished",
                verdict = verdict.as_str(),
                reason = match verdict {
                    Verdict::Pass => None,
                    Verdict::Fail(reason) => Some(reason.as_str()),
                    Verdict::Inconclusive(cause) => Some(cause.as_str()),
                },
                step = failed.map(|failed| &*failed.step),
                phase = failed.map(|failed| failed.phase.as_str()),
                duration,
                error = failed.map(|failed| failed.failure.message.as_str())
            )
        };
    }
    match verdict {
        Verdict::Pass | Verdict::Inconclusive(Cause::Cancelled | Cause::NotApplicable) => {
            finished!(info);
        }
        Verdict::Fail(_) => finished!(warn),
        Verdict::Inconclusive(_) => finished!(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::exporter::sample::{loaded, spec, story};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(text)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: &str, format: Format) -> String {
        let written = Shared::default();
        let (lines, guard) = Lines::start(written.clone()).unwrap();
        let log = subscriber(filter(level).unwrap(), format, lines);
        tracing::dispatcher::with_default(&log, || {
            let spec = Arc::new(spec("shop", "checkout", "big \"one\""));
            Log.export(&loaded(&[Arc::clone(&spec)], std::time::Instant::now()));
            for event in story(&spec) {
                Log.export(&event);
            }
        });
        guard.finish();
        let written = written.0.lock().unwrap();
        String::from_utf8(written.clone()).unwrap()
    }

    #[test]
    fn runs_and_failed_steps_are_told() {
        let text = logged("debug", Format::Logfmt);
        let untimed: Vec<&str> = text
            .lines()
            .map(|line| line.split_once(' ').unwrap().1)
            .collect();
        insta::assert_snapshot!(untimed.join("\n"));
    }

    #[test]
    fn json_has_the_same_fields() {
        let text = logged("testerd=warn", Format::Json);
        let line = text.lines().last().unwrap();
        let mut fields: serde_json::Value = serde_json::from_str(line).unwrap();
        fields.as_object_mut().unwrap().remove("timestamp").unwrap();
        assert_eq!(
            fields,
            serde_json::json!({
                "level": "WARN", "message": "teardown is still owed", "target": "shop",
                "spec": "checkout", "variant": "big \"one\"", "run": "r3", "kind": "http.resource",
            })
        );
    }

    #[test]
    fn there_is_one_log_per_process() {
        let (guard, dropped) = install("off", Format::Logfmt).unwrap();
        let second = install("off", Format::Json);
        assert!(matches!(second, Err(InstallError::Twice(_))));
        drop(guard);
        assert_eq!(dropped.count(), 0);
    }

    #[test]
    fn levels_are_checked() {
        for (level, good) in [
            ("info", true),
            ("WARN", true),
            ("off", true),
            ("testerd=debug,warn", true),
            ("inof", false),
            ("", false),
            ("testerd=loud", false),
        ] {
            assert_eq!(filter(level).is_ok(), good, "{level}");
        }
    }
}

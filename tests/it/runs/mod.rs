//! Runs in this process: specs as text become a plan, the real runner runs it against the rig, and
//! what was told is compared with what should have been told.
//!
//! A run's id is always `0001`, so what it creates is called `it-0001-…`. Each request carries the
//! name of its step as `?id=`, so that a fault hits one step and no other.

mod answers;
mod captures;
mod creates;
mod deadlines;
mod endings;
mod expectations;
pub(crate) mod handmade;
mod journal;
mod numbers;
mod oauth2;
mod order;
mod origin;
mod reasons;
mod redirects;
mod refusals;
mod retry_after;
mod secrets;
mod stopping;
mod streams;
mod undos;
mod uploads;
pub(crate) mod wire;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use regex::Regex;
use rustls::RootCertStore;
use testerd::catalog;
use testerd::client::Client;
use testerd::config::Patience;
use testerd::event::{Event, Exporter, Exporters, FailedStep, RunRef, StepEnd};
use testerd::journal::{Journal, MemoryJournal};
use testerd::outcome::Verdict;
use testerd::runner::{Begun, Runner, Searches, Stop};
use testerd::spec::{Record, Scheduled, Undoer};
use testerd::sweeper::Sweeper;
use tokio::sync::mpsc;

use crate::plans;
use crate::rig::Rig;

/// Longer than anything takes that is going to happen at all.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// What is not found stays owed here: nobody waits for it to settle.
const PATIENCE: Patience = Patience {
    settle: LONG,
    stuck_after: LONG,
};

/// An exporter that keeps everything.
#[derive(Default)]
pub(crate) struct Heard(Mutex<Vec<Event>>);

impl Heard {
    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }
}

impl Exporter for Heard {
    fn export(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

/// All that a run needs around it.
pub(crate) struct World {
    pub(crate) rig: Arc<Rig>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) stop: Stop,
    pub(crate) undoer: fn(&str) -> Option<Undoer>,
    /// Who else is told.
    pub(crate) more: Vec<Arc<dyn Exporter>>,
    kind: &'static str,
    endpoint: String,
    target: String,
    probe: String,
}

/// What came of a run.
pub(crate) struct Told {
    pub(crate) events: Vec<Event>,
    /// What was told of the sweep after the run.
    pub(crate) swept: Vec<Event>,
    /// What the journal still owes.
    pub(crate) owed: Vec<Record>,
    /// The events, one a line.
    pub(crate) story: String,
}

impl World {
    pub(crate) fn new() -> Self {
        let rig = Arc::new(Rig::start());
        Self {
            endpoint: rig.url(),
            rig,
            journal: Arc::new(MemoryJournal::default()),
            stop: Stop::default(),
            undoer: catalog::undoer,
            more: Vec::new(),
            kind: "http",
            target: String::new(),
            probe: String::new(),
        }
    }

    /// The same, with something else than the rig as target.
    pub(crate) fn at(mut self, endpoint: &str) -> Self {
        endpoint.clone_into(&mut self.endpoint);
        self
    }

    /// The same, with another type of target.
    pub(crate) fn speaking(mut self, kind: &'static str) -> Self {
        self.kind = kind;
        self
    }

    /// More keys of `[target.rig]`.
    pub(crate) fn target(mut self, keys: &str) -> Self {
        self.target.push_str(keys);
        self
    }

    /// More keys of the probe.
    pub(crate) fn probe(mut self, keys: &str) -> Self {
        self.probe.push_str(keys);
        self
    }

    pub(crate) fn journal(mut self, journal: impl Journal + 'static) -> Self {
        self.journal = Arc::new(journal);
        self
    }

    /// What a text schedules.
    pub(crate) fn compile(&self, specs: &str) -> Vec<Arc<Scheduled>> {
        let Self {
            kind,
            endpoint,
            target,
            probe,
            ..
        } = self;
        let text = format!(
            "[tester]\ninstance = \"it\"\n\
             [target.rig]\ntype = \"{kind}\"\nendpoint = \"{endpoint}\"\n{target}\n\
             [[probe]]\ntarget = \"rig\"\ninterval = \"1m\"\n{probe}\n\
             # --- specs.toml\n{specs}"
        );
        let told = |problems: Vec<_>| -> String {
            let lines = problems
                .iter()
                .map(|problem: &testerd::text::Problem| problem.to_string());
            lines.collect::<Vec<_>>().join("\n")
        };
        match plans::compile(&text) {
            Ok(plan) => plan.scheduled,
            Err(problems) => panic!("{}\n{specs}", told(problems)),
        }
    }

    /// Runs the one thing that a text schedules.
    pub(crate) async fn run(&self, specs: &str) -> Told {
        let scheduled = self.compile(specs);
        assert_eq!(scheduled.len(), 1, "one spec, one variant");
        self.run_scheduled(&scheduled[0]).await
    }

    /// The same, while a blocking `meanwhile` does something to the rig or stops the run.
    pub(crate) async fn run_while(
        &self,
        specs: &str,
        meanwhile: impl FnOnce(&Rig, &Stop) + Send + 'static,
    ) -> Told {
        let (rig, stop) = (self.rig.clone(), self.stop.clone());
        let meanwhile = tokio::task::spawn_blocking(move || meanwhile(&rig, &stop));
        let (told, done) = tokio::join!(self.run(specs), meanwhile);
        done.unwrap();
        told
    }

    pub(crate) async fn run_scheduled(&self, scheduled: &Scheduled) -> Told {
        let heard = Arc::new(Heard::default());
        let mut exporters: Vec<Arc<dyn Exporter>> = vec![heard.clone()];
        exporters.extend(self.more.iter().cloned());
        let runner = Arc::new(Runner {
            // Nothing here has a certificate, and a machine may have no roots.
            client: Client::with_roots(RootCertStore::empty()),
            journal: self.journal.clone(),
            exporters: Exporters::new(exporters),
            undoer: self.undoer,
            searches: Searches::default(),
            instance: "it".to_owned(),
        });
        let run = RunRef {
            spec: scheduled.info.clone(),
            id: "0001".into(),
        };
        let running = runner.run(scheduled, run, Begun::default(), self.stop.clone());
        let verdict = running.await;
        let events = heard.events();
        assert_well_formed(&events, verdict);
        // What the run handed over is tried once.
        let sweeper = Sweeper {
            runner: runner.clone(),
            targets: BTreeMap::from([(scheduled.target.name.clone(), scheduled.target.clone())]),
            patience: PATIENCE,
            requests: mpsc::channel(1).1,
        };
        if !self.stop.kill.is_cancelled() {
            sweeper.first_pass(LONG).await;
        }
        let owed = self.journal.owed();
        Told {
            story: story(&events),
            swept: heard.events().split_off(events.len()),
            events,
            owed: owed.into_iter().map(|owed| owed.record).collect(),
        }
    }
}

impl Told {
    /// Why what the run handed over could not be undone.
    pub(crate) fn swept(&self) -> Vec<String> {
        let why = |event: &Event| match event {
            Event::Swept { why, .. } => why.clone(),
            _ => None,
        };
        self.swept.iter().filter_map(why).collect()
    }

    /// The names of what is still owed.
    pub(crate) fn owed_names(&self) -> Vec<String> {
        let name = |record: &Record| {
            let matches = &record.undo.arguments["find"]["matches"];
            matches[0][1].as_str().unwrap().to_owned()
        };
        let mut names: Vec<_> = self.owed.iter().map(name).collect();
        names.sort_unstable();
        names
    }
}

/// What holds of every run: it begins once and first, it ends once and last, and its verdict is
/// the one that was told.
fn assert_well_formed(events: &[Event], verdict: Verdict) {
    let [
        Event::RunStarted { .. },
        inner @ ..,
        Event::RunFinished { verdict: told, .. },
    ] = events
    else {
        panic!("a run begins and ends: {events:#?}");
    };
    assert_eq!(*told, verdict);
    for event in inner {
        let outer = matches!(event, Event::RunStarted { .. } | Event::RunFinished { .. });
        assert!(!outer, "once: {events:#?}");
    }
}

/// The events, one a line; ports and times, which differ from run to run, by name.
pub(crate) fn story(events: &[Event]) -> String {
    let mut told = String::new();
    for event in events {
        let line = match event {
            Event::AttemptFailed {
                step,
                attempt,
                failure,
                ..
            } => format!("attempt {attempt} of {step}: {failure}"),
            Event::StepFinished { end, .. } => step_line(end),
            Event::StepSkipped { step, why, .. } => format!("skipped {step}: {why}"),
            Event::TeardownFinished { kind, result, .. } => {
                format!("  {kind}: {}", result.as_str())
            }
            Event::RunFinished {
                verdict, failed, ..
            } => verdict_line(*verdict, failed.as_ref()),
            _ => continue,
        };
        writeln!(told, "{line}").unwrap();
    }
    let port = Regex::new(r"127\.0\.0\.1:\d+").unwrap();
    let time = Regex::new(r"\b\d+(\.\d+)?(ns|µs|ms|s)\b").unwrap();
    let told = port.replace_all(&told, "RIG");
    time.replace_all(&told, "TIME").into_owned()
}

fn step_line(end: &StepEnd) -> String {
    let (phase, step) = (end.phase.as_str(), &end.step);
    let how = match &end.failure {
        None => "passed".to_owned(),
        Some(failure) if end.allowed => format!("{failure} (allowed)"),
        Some(failure) => failure.to_string(),
    };
    match end.retries {
        0 => format!("{phase} {step}: {how}"),
        retries => format!("{phase} {step}, retries {retries}: {how}"),
    }
}

fn verdict_line(verdict: Verdict, failed: Option<&FailedStep>) -> String {
    let word = verdict.as_str();
    match (verdict, failed) {
        (Verdict::Pass, _) => word.to_owned(),
        (Verdict::Fail(reason), Some(at)) => {
            format!("{word} {reason} in {} {}", at.phase.as_str(), at.step)
        }
        (Verdict::Inconclusive(cause), Some(at)) => {
            format!("{word} {cause} in {} {}", at.phase.as_str(), at.step)
        }
        (verdict, None) => format!("{verdict:?} of nothing"),
    }
}

/// A spec of these parts, with more keys of its own.
pub(crate) fn spec(keys: &str, parts: &[String]) -> String {
    format!("[[spec]]\nname = \"s\"\n{keys}\n{}", parts.concat())
}

/// A step that asks for a path.
pub(crate) fn step(name: &str, path: &str, keys: &str) -> String {
    let mark = if path.contains('?') { '&' } else { '?' };
    format!(
        "[[spec.steps]]\nname = \"{name}\"\nuse = \"http\"\npath = \"{path}{mark}id={name}\"\n{keys}\n"
    )
}

/// A suite of these parts.
pub(crate) fn suite(name: &str, keys: &str, parts: &[String]) -> String {
    let parts = parts.concat().replace("[[spec.", "[[spec.steps.");
    format!("[[spec.steps]]\nname = \"{name}\"\n{keys}\n{parts}")
}

/// A wrapper that makes an item, called after itself.
pub(crate) fn wrap(name: &str, keys: &str) -> String {
    item("wrap", name, keys)
}

/// The same as a step.
pub(crate) fn make(name: &str, keys: &str) -> String {
    item("steps", name, keys)
}

fn item(list: &str, name: &str, keys: &str) -> String {
    let named = format!("${{run.name}}-{name}");
    let own = name.replace('-', "_");
    format!(
        r#"[[spec.{list}]]
name = "{name}"
use = "http.resource"
create = {{ path = "/items?id={name}", json = {{ name = "{named}" }}, capture = {{ id = "json:/id" }} }}
find = {{ path = "/items?name={named}&id={name}", items = "/found", match = {{ "/name" = "{named}" }}, capture = {{ id = "json:/id" }} }}
delete = {{ path = "/items/${{{own}.id}}?id={name}" }}
{keys}
"#
    )
}

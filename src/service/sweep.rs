//! `testerd sweep`: what is owed is shown, tried, or forgotten, and leftovers are found by name.
//!
//! When a daemon has the state directory, it is asked to do it; without one the journal is opened
//! and carried out here. Neither needs a spec to be right: only the targets are read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{ErrorKind, IsTerminal};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::run_folders::{self, Left, State};
use super::{Logging, block_on, failed};
use crate::catalog;
use crate::cli::{Exit, complain, say};
use crate::client::Client;
use crate::config::Settings;
use crate::control::{self, Ask};
use crate::event::Exporters;
use crate::exporter::log::Log;
use crate::journal::{DiskJournal, Journal, Note, OpenError, Owed, StateDir, Whose};
use crate::outcome::{Failure, chain};
use crate::plan::Plan;
use crate::runner::{self, Hands, Office, Orphan, Runner, Searches};
use crate::spec::{Record, RecordId, Scheduled};
use crate::sweeper::{Sweeper, refusal};

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Show what is owed.
    List,
    /// Show what would be done.
    DryRun,
    /// Try everything now.
    All,
    /// Try one record now.
    Retry(u64),
    /// Owe one record no more.
    Forget(u64),
}

/// Leftovers that no journal knows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orphans {
    /// Only what is older.
    pub older_than: Duration,
    /// Delete them, instead of only showing them.
    pub delete: bool,
    /// Do not ask before.
    pub yes: bool,
    /// Delete also what only perhaps is ours.
    pub unchecked: bool,
}

/// Does it.
#[must_use]
pub fn sweep(settings: &Settings, wish: Wish, logging: Logging) -> Exit {
    match wish {
        Wish::List | Wish::DryRun => show(settings, wish == Wish::DryRun),
        Wish::All | Wish::Retry(_) | Wish::Forget(_) => {
            block_on(logging, |_| carry_out(settings, wish))
        }
    }
}

async fn carry_out(settings: &Settings, wish: Wish) -> Exit {
    let folder = &settings.state_dir;
    let exit = match open(folder, settings) {
        Ok(journal) => by_ourselves(settings, wish, Arc::new(journal)).await,
        Err(OpenError::Locked { .. }) => ask_daemon(folder, wish),
        Err(error) => return cannot("cannot open the journal", &error),
    };
    if run_folders::is_one(folder) {
        if let Some(line) = run_folders::discard(folder) {
            complain(&line);
        }
        return exit;
    }
    let others = match wish {
        Wish::All => in_run_folders(settings).await,
        _ => Exit::Done,
    };
    if exit == Exit::Done { others } else { exit }
}

/// What other one-shot runs have left.
async fn in_run_folders(settings: &Settings) -> Exit {
    let left = match run_folders::find(settings) {
        Ok(left) => left,
        Err(error) => return cannot("cannot look for what runs have left", &error),
    };
    let mut exit = Exit::Done;
    for one in left {
        match one.state {
            State::Owes(0) => {}
            State::Owes(_) => match open(&one.folder, settings) {
                Ok(journal) => {
                    say(&format!("{}:\n", one.folder.display()));
                    let swept = by_ourselves(settings, Wish::All, Arc::new(journal)).await;
                    exit = if exit == Exit::Done { swept } else { exit };
                }
                Err(error) => exit = cannot("cannot open the journal", &error),
            },
            _ => {
                if let Some(line) = one.line() {
                    complain(&line);
                }
                continue;
            }
        }
        if let Some(line) = run_folders::discard(&one.folder) {
            complain(&line);
        }
    }
    exit
}

/// What lies there already, and in the hands of whoever has it: nothing is made anew.
fn open(folder: &Path, settings: &Settings) -> Result<DiskJournal, OpenError> {
    let owner = format!("testerd sweep (pid {})", std::process::id());
    let dir = StateDir::find(folder, Whose::OursOrServed)?;
    DiskJournal::open_in(dir, settings.max_owed, &owner)
}

fn cannot(what: &str, error: &dyn std::error::Error) -> Exit {
    complain(&format!("{what}: {}", chain(error)));
    Exit::Ours
}

fn show(settings: &Settings, dry_run: bool) -> Exit {
    let owed = match DiskJournal::look(&settings.state_dir) {
        Ok(owed) => owed,
        Err(error) => return cannot("cannot read the journal", &error),
    };
    let left = match run_folders::find(settings) {
        Ok(left) => left,
        Err(error) => return cannot("cannot look for what runs have left", &error),
    };
    let damaged = match damaged(settings) {
        Ok(damaged) => damaged,
        Err(error) => return cannot("cannot look for damaged journals", &error),
    };
    let lines = left.iter().filter_map(run_folders::Left::line);
    let lines: Vec<_> = damaged.iter().cloned().chain(lines).collect();
    for line in &lines {
        say(&format!("{line}\n"));
    }
    let is_unknown = |left: &Left| matches!(left.state, State::Unknown(_) | State::Damaged(_));
    let is_known = damaged.is_empty() && !left.iter().any(is_unknown);
    let exit = if is_known { Exit::Done } else { Exit::Ours };
    if owed.is_empty() {
        say(if lines.is_empty() {
            "nothing is owed\n"
        } else {
            "nothing else is known to be owed\n"
        });
    }
    let inside = inside(&owed);
    for owed in &owed {
        say(&line(owed, inside.get(&owed.id).copied()));
        if dry_run {
            let record = &owed.record;
            let target = settings
                .targets
                .get(&record.target)
                .map(|target| target.target.as_ref());
            say(&match refusal(record, target) {
                Some(why) => format!("    would be refused: {why}\n"),
                None if record.created => {
                    "    would be deleted by what its create told, once a search by its name tells the same\n"
                        .to_owned()
                }
                None => "    would be looked for by its name, and deleted if exactly one has it\n"
                    .to_owned(),
            });
        }
    }
    exit
}

/// What a person should know of the damaged journals in the state directory.
fn damaged(settings: &Settings) -> Result<Vec<String>, OpenError> {
    let journals = match DiskJournal::set_aside(&settings.state_dir) {
        Err(OpenError::Folder { source, .. }) if source.kind() == ErrorKind::NotFound => Vec::new(),
        journals => journals?,
    };
    Ok(journals
        .iter()
        .map(|journal| run_folders::damaged(journal))
        .collect())
}

/// What is owed of the things inside others: each of these is not tried before that one is gone.
fn inside(owed: &[Owed]) -> HashMap<RecordId, RecordId> {
    let inner = owed.iter();
    inner
        .filter_map(|owed| Some((owed.record.parent?, owed.id)))
        .collect()
}

/// What is owed, and why it still is; `inner` was made inside it.
fn line(owed: &Owed, inner: Option<RecordId>) -> String {
    let Owed {
        id,
        record,
        tries,
        last,
        ..
    } = owed;
    let age = crate::text::wall_clock()
        .duration_since(record.armed_at)
        .unwrap_or_default();
    let age = humantime::format_duration(Duration::from_secs(age.as_secs()));
    let confirmed = if record.created {
        "made"
    } else {
        "perhaps made"
    };
    let last = last
        .as_deref()
        .map(|last| format!("; {tries} tries, last: {last}"))
        .unwrap_or_default();
    let waits = inner
        .map(|RecordId(id)| format!("; waits for record {id}, which was made inside it"))
        .unwrap_or_default();
    format!(
        "{}  {} on {} ({}), {confirmed} {age} ago by step {} of run {}{last}{waits}\n",
        id.0, record.undo.kind, record.target, record.endpoint, record.step, record.run
    )
}

/// Asks the daemon; for everything, one record after another.
fn ask_daemon(folder: &Path, wish: Wish) -> Exit {
    let asks = match wish {
        Wish::Retry(id) => vec![Ask::Retry(id)],
        Wish::Forget(id) => vec![Ask::Forget(id)],
        Wish::All | Wish::List | Wish::DryRun => match DiskJournal::look(folder) {
            Ok(owed) => owed.iter().rev().map(|owed| Ask::Try(owed.id.0)).collect(),
            Err(error) => return cannot("cannot read the journal", &error),
        },
    };
    let mut exit = Exit::Done;
    for ask in asks {
        let (Ask::Try(id) | Ask::Retry(id) | Ask::Forget(id)) = ask;
        match control::ask(folder, ask) {
            Ok(Ok(text)) => say(&format!("{id}: {text}\n")),
            // Runs and the sweeper go on while we ask for one record after another.
            Ok(Err(_)) if wish == Wish::All && !is_owed(folder, id) => {
                say(&format!("{id}: owed no more\n"));
            }
            Ok(Err(text)) => {
                say(&format!("{id}: {text}\n"));
                exit = Exit::Ours;
            }
            Err(error) => return cannot("the daemon does not answer", &error),
        }
    }
    exit
}

/// Whether the journal still knows a record; if it cannot be read, it may.
fn is_owed(folder: &Path, id: u64) -> bool {
    DiskJournal::look(folder).map_or(true, |owed| owed.iter().any(|owed| owed.id.0 == id))
}

async fn by_ourselves(settings: &Settings, wish: Wish, journal: Arc<DiskJournal>) -> Exit {
    if let Wish::Forget(id) = wish {
        return match journal.note(RecordId(id), Note::Settled).await {
            Ok(()) => {
                say(&format!("{id}: forgotten\n"));
                Exit::Done
            }
            Err(error) => failed("cannot forget it", &error),
        };
    }
    let runner = Arc::new(runner(settings, journal.clone()));
    if let Wish::Retry(id) = wish {
        return match journal.read(RecordId(id)) {
            Ok(_) => sweep_all(settings, runner, Some(RecordId(id))).await,
            Err(error) => failed("cannot retry it", &error),
        };
    }
    sweep_all(settings, runner, None).await
}

/// Sweeps until nothing is owed, or nothing more is to be had in the time it takes to settle.
async fn sweep_all(settings: &Settings, runner: Arc<Runner>, only: Option<RecordId>) -> Exit {
    let sweeper = Sweeper {
        runner,
        targets: settings.target_map(),
        patience: settings.patience,
        requests: mpsc::channel(1).1,
    };
    let at_most = settings.patience.settle + settings.stop_grace;
    let left = sweeper.finish_soon(at_most, only).await;
    let inside = inside(&left);
    let left: Vec<_> = left
        .iter()
        .filter(|owed| only.is_none_or(|id| owed.id == id))
        .collect();
    for owed in &left {
        say(&line(owed, inside.get(&owed.id).copied()));
    }
    if left.is_empty() {
        say("nothing is owed any more\n");
        Exit::Done
    } else {
        Exit::Ours
    }
}

fn runner(settings: &Settings, journal: Arc<DiskJournal>) -> Runner {
    Runner {
        client: Client::new(),
        journal,
        exporters: Exporters::new(vec![Arc::new(Log)]),
        undoer: catalog::undoer,
        searches: Searches::default(),
        instance: settings.instance.clone(),
    }
}

/// Finds leftovers by the instance's name prefix, also those whose journal was lost.
#[must_use]
pub fn orphans(plan: &Plan, wish: Orphans, logging: Logging) -> Exit {
    block_on(logging, |_| find_orphans(plan, wish))
}

/// What is left over: each by target, kind, name and ids, and the spec that lists it.
type Found<'a> = BTreeMap<[String; 5], (&'a Scheduled, Orphan)>;

/// Lists the leftovers of specs, and says which of them cannot list theirs. Several specs may list
/// the same things; several things may have one name.
async fn list<'a>(
    specs: &[&'a Scheduled],
    instance: &str,
    client: &Client,
) -> (Found<'a>, Vec<String>) {
    let (mut found, mut wrong) = (Found::new(), Vec::new());
    for spec in specs {
        for resource in spec.case.resources() {
            match runner::orphans(resource, spec, instance, client).await {
                Ok(orphans) => found.extend(
                    orphans
                        .into_iter()
                        .map(|orphan| (key(spec, &orphan), (*spec, orphan))),
                ),
                Err(failure) => wrong.push(format!("{}: {failure}", spec.info.identity)),
            }
        }
    }
    (found, wrong)
}

fn key(spec: &Scheduled, orphan: &Orphan) -> [String; 5] {
    let Record { undo, captures, .. } = &orphan.record;
    [
        spec.target.name.clone(),
        orphan.name.clone(),
        undo.kind.clone(),
        undo.arguments.to_string(),
        format!("{captures:?}"),
    ]
}

async fn find_orphans(plan: &Plan, wish: Orphans) -> Exit {
    let client = Client::new();
    let mut exit = Exit::Done;
    let specs: Vec<_> = plan.scheduled.iter().map(AsRef::as_ref).collect();
    let instance = &plan.settings.instance;
    let (mut found, wrong) = list(&specs, instance, &client).await;
    for wrong in &wrong {
        complain(wrong);
        exit = Exit::Ours;
    }
    // After the targets were asked: what a daemon makes meanwhile is written down first, so that
    // nothing is found here that a run has in hand and the journal does not tell.
    let folder = &plan.settings.state_dir;
    let owed = DiskJournal::look(folder).and_then(|mut owed| {
        owed.extend(run_folders::owed(&plan.settings)?);
        Ok(owed)
    });
    let owed = match owed {
        Ok(owed) => owed,
        Err(error) => return failed("cannot read what runs have in hand", &error),
    };
    let is_owed = |orphan: &Orphan| owed.iter().any(|owed| owed.record.run == orphan.record.run);
    found.retain(|_, (_, orphan)| orphan.age >= wish.older_than && !is_owed(orphan));
    let found: Vec<_> = found.into_values().collect();
    for (spec, orphan) in &found {
        say(&format!("{}\n", describe(spec, orphan)));
    }
    if found.is_empty() {
        say("no leftovers found\n");
        return exit;
    }
    if !wish.delete {
        say("nothing was deleted; --delete does it\n");
        return exit;
    }
    let is_meant = |(_, orphan): &(&Scheduled, Orphan)| orphan.checked || wish.unchecked;
    let (meant, left): (Vec<_>, Vec<_>) = found.into_iter().partition(is_meant);
    if !left.is_empty() {
        let count = left.len();
        say(&format!(
            "{count} perhaps ours: left alone; --unchecked deletes them too\n"
        ));
    }
    if meant.is_empty() {
        return exit;
    }
    if !wish.yes && !is_confirmed(meant.len()) {
        say("nothing was deleted\n");
        return Exit::Ours;
    }
    let failed = delete(&meant, &client).await;
    let is_deleted = |one: &&(&Scheduled, Orphan)| {
        let is_same = |(key_failed, _): &([String; 5], Failure)| *key_failed == key(one.0, &one.1);
        !failed.iter().any(is_same)
    };
    let deleted: Vec<_> = meant.iter().filter(is_deleted).collect();
    let still = look_again(&deleted, instance, &client).await;
    for (spec, orphan) in &meant {
        let key = key(spec, orphan);
        let failure = failed.iter().find(|(failed, _)| *failed == key);
        let (what, is_gone) = match (failure, &still) {
            (Some((_, failure)), _) => (failure.to_string(), false),
            (None, Ok(still)) if still.contains_key(&key) => (STILL_LISTED.to_owned(), false),
            (None, Ok(_)) => ("deleted".to_owned(), true),
            (None, Err(wrong)) => (format!("{UNSEEN}: {wrong}"), false),
        };
        say(&format!("{}: {what}\n", describe(spec, orphan)));
        exit = if is_gone { exit } else { Exit::Ours };
    }
    exit
}

const STILL_LISTED: &str =
    "the target accepted the delete, but still lists it: look yourself, then delete it again";
const UNSEEN: &str = "the target accepted the delete, but cannot be asked whether it is gone";

/// What is still listed of what was deleted. Some targets list for a moment what is gone.
async fn look_again<'a>(
    deleted: &[&(&'a Scheduled, Orphan)],
    instance: &str,
    client: &Client,
) -> Result<Found<'a>, String> {
    let keys: BTreeSet<_> = deleted.iter().map(|one| key(one.0, &one.1)).collect();
    let mut specs: Vec<&Scheduled> = Vec::new();
    for (spec, _) in deleted {
        if !specs.iter().any(|known| std::ptr::eq(*known, *spec)) {
            specs.push(spec);
        }
    }
    let mut pauses = [250, 500, 1000, 2000]
        .map(Duration::from_millis)
        .into_iter();
    loop {
        if keys.is_empty() {
            return Ok(Found::new());
        }
        let (mut found, wrong) = list(&specs, instance, client).await;
        found.retain(|key, _| keys.contains(key));
        match pauses.next() {
            Some(pause) if !found.is_empty() || !wrong.is_empty() => {
                tokio::time::sleep(pause).await;
            }
            _ if wrong.is_empty() => return Ok(found),
            _ => return Err(wrong.join("; ")),
        }
    }
}

/// Asks whoever sits there, after everything was shown.
fn is_confirmed(count: usize) -> bool {
    let input = std::io::stdin();
    if !input.is_terminal() {
        complain("there is no terminal to ask on: --yes deletes them without being asked");
        return false;
    }
    say(&format!("delete these {count}? [y/N] "));
    let mut answer = String::new();
    let read = input.read_line(&mut answer);
    read.is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

/// Deletes leftovers, and returns those that cannot be deleted. What fails is tried again when
/// others are gone: a session has to end before a folder that it has mounted can be deleted.
async fn delete(found: &[(&Scheduled, Orphan)], client: &Client) -> Vec<([String; 5], Failure)> {
    let never = CancellationToken::new();
    let office = Office {
        undoer: catalog::undoer,
        searches: &Searches::default(),
        exporters: &Exporters::default(),
        journal: None,
        // The list has just told name and id, and nobody else comes back to it.
        hands: Hands::Run,
    };
    let mut left: Vec<_> = found.iter().collect();
    loop {
        let mut failed = Vec::new();
        for one @ (spec, orphan) in &left {
            let (record, target) = (&orphan.record, &spec.target);
            if let Err(failure) = runner::undo(record, office, target, client, &never).await {
                failed.push((*one, failure));
            }
        }
        if failed.is_empty() || failed.len() == left.len() {
            let told = failed.into_iter();
            return told
                .map(|((spec, orphan), failure)| (key(spec, orphan), failure))
                .collect();
        }
        left = failed.into_iter().map(|(one, _)| one).collect();
    }
}

fn describe(spec: &Scheduled, orphan: &Orphan) -> String {
    let age = humantime::format_duration(Duration::from_secs(orphan.age.as_secs()));
    let (kind, name, target) = (&orphan.record.undo.kind, &orphan.name, &spec.target.name);
    let perhaps = if orphan.checked {
        ""
    } else {
        ", perhaps ours: its name has no check"
    };
    format!("{kind} {name} on {target}, {age} old{perhaps}")
}

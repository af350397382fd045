//! Kills at random instants while the API lies: deletes that are answered well and do nothing, ids
//! that go to strangers at once, lists in pages, names that come back cut or in small letters,
//! creates that come late or twice, errors that pass, and times at which all is answered with 404.
//!
//! Then it tells the truth again. Nothing of ours may be there that nobody owes and says why; of
//! what others made nothing may have been touched. `TESTERD_KILLS` and `TESTERD_SEED` as in `kills`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::chance::{Chance, number};
use super::kills::live_and_die;
use super::site::Site;
use super::{LONG, probe};
use crate::rig::{Change, Fault, Lies};

/// As in `kills`: well before it is settled as never made.
const LATE: std::ops::Range<Duration> = Duration::from_millis(320)..Duration::from_millis(600);

/// How the lists are told while so many kills go on.
const CHAPTERS: [Lies; 4] = [
    Lies {
        page: None,
        cut: None,
        lower: false,
    },
    Lies {
        page: Some(2),
        cut: None,
        lower: false,
    },
    // `crash-` and a half of what follows.
    Lies {
        page: None,
        cut: Some(12),
        lower: false,
    },
    Lies {
        page: Some(3),
        cut: None,
        lower: true,
    },
];

/// Where what is not confirmed must not be settled before a run has shown that its search is blind.
const BLIND: &str = "cleanup.settle = \"1m\"\ncleanup.max_owed = 10000\ntester.stop_grace = \"2s\"";
const SEES: &str = "cleanup.settle = \"1s\"\ncleanup.max_owed = 10000\ntester.stop_grace = \"2s\"";
/// At the end there is time to try everything; what fails again and again is not waited for.
const END: &str = "cleanup.settle = \"1s\"\ncleanup.max_owed = 10000\ntester.stop_grace = \"1m\"";

/// Three of them, one in another; small letters are not their own.
const SPECS: &str = r#"
[[spec]]
name = "nested"
timeout = "20s"
[[spec.matrix]]
variant = "quick"
pause = "1ms"
[[spec.matrix]]
variant = "slow"
pause = "80ms"
[[spec.wrap]]
name = "outer"
use = "http.resource"
timeout = "300ms"
teardown_timeout = "2s"
create = { path = "/items", json = { name = "${run.name}-OUT" }, expect = { status = 201 }, capture = { id = "json:/id" } }
find = { path = "/items?name=${run.name}", items = "/found", match = { "/name" = "${run.name}-OUT" }, capture = { id = "json:/id" }, next = { address = "/next" } }
delete = { path = "/items/${outer.id}", gone = [404] }
[[spec.steps]]
name = "inner"
use = "http.resource"
timeout = "300ms"
teardown_timeout = "2s"
create = { path = "/items", json = { name = "${run.name}-IN" }, expect = { status = 201 }, capture = { id = "json:/id" } }
find = { path = "/items?name=${run.name}", items = "/found", match = { "/name" = "${run.name}-IN" }, capture = { id = "json:/id" }, next = { address = "/next" } }
delete = { path = "/items/${inner.id}", gone = [404] }
[[spec.steps]]
name = "pause"
use = "sleep"
for = "${pause}"

[[spec]]
name = "idle"
[[spec.steps]]
name = "look"
use = "http"
path = "/ok"
"#;

/// Whether nobody can find what bears one of our names.
fn is_blind(lies: Lies) -> bool {
    lies.cut.is_some() || lies.lower
}

/// Lets it lie by chance. Where no search finds anything, the words of creates and deletes are all
/// that there is: they then tell the truth, or nothing that could be taken for it.
fn lie(site: &Site, lies: Lies, seed: u64) {
    let rig = &site.rig;
    rig.tell_the_truth();
    rig.lie(lies);
    rig.reuse_ids();
    rig.sometimes_late("POST /items", 3, LATE, seed);
    let idle =
        |status, permille| rig.sometimes("DELETE /items/{id}", permille, Fault::Status(status));
    idle(302, 20);
    idle(503, 30);
    if !is_blind(lies) {
        for (status, permille) in [(200, 40), (202, 40), (204, 60), (404, 40)] {
            idle(status, permille);
        }
        rig.sometimes("POST /items", 3, Fault::Twice);
    }
    rig.sometimes("DELETE /items/{id}", 40, Fault::FailAfterEffect(502));
    rig.sometimes("DELETE /items/{id}", 40, Fault::ResetAfterEffect);
    rig.sometimes("POST /items", 20, Fault::FailAfterEffect(500));
    rig.sometimes("GET /items", 30, Fault::FailBeforeEffect(503));
    rig.sometimes("GET /items", 10, Fault::Unreadable2xx);
}

/// A line of `sweep --list`.
struct Line {
    /// What it is about, as it is called on the target.
    name: String,
    why: Why,
}

/// Why something is still owed.
#[derive(Clone, Copy)]
enum Why {
    /// What the last try came to.
    Tried,
    /// The search is blind: a person has to look.
    Blind,
    /// This record comes first.
    Waits(u64),
    Unsaid,
}

fn read(line: &str) -> Option<(u64, Line)> {
    let (id, rest) = line.split_once("  ")?;
    let (_, rest) = rest.split_once(" ago by step ")?;
    let (step, rest) = rest.split_once(" of run ")?;
    let (run, why) = rest.split_once("; ").unwrap_or((rest, ""));
    let end = if step == "outer" { "OUT" } else { "IN" };
    let why = if let Some((_, inner)) = why.split_once("waits for record ") {
        let (inner, _) = inner.split_once(',')?;
        Why::Waits(inner.parse().ok()?)
    } else if why.contains("last: ") {
        if why.contains("blind") {
            Why::Blind
        } else {
            Why::Tried
        }
    } else {
        Why::Unsaid
    };
    let name = format!("crash-{run}-{end}");
    Some((id.parse().ok()?, Line { name, why }))
}

/// Whether it is said of a record why it is owed, or of the one that it waits for.
fn is_told(lines: &BTreeMap<u64, Line>, id: u64) -> bool {
    match lines.get(&id).map(|line| &line.why) {
        Some(Why::Tried | Why::Blind) => true,
        Some(Why::Waits(inner)) => *inner > id && is_told(lines, *inner),
        Some(Why::Unsaid) | None => false,
    }
}

/// What `sweep --list` says, by record.
fn list(site: &Site) -> BTreeMap<u64, Line> {
    let lines = site.owed();
    let owed: BTreeMap<_, _> = lines.iter().filter_map(|line| read(line)).collect();
    assert_eq!(owed.len(), lines.len(), "not all can be read: {lines:?}");
    owed
}

/// A person does what is asked of persons: looks for what no search can tell, and forgets it if it
/// is not there. What it was made in is then swept.
fn see_to(site: &Site) {
    let alive = site.rig.alive();
    let owed = list(site);
    let for_persons = owed
        .iter()
        .filter(|(_, line)| matches!(line.why, Why::Blind) && !alive.contains(&line.name));
    for (id, _) in for_persons {
        site.sweep(&["--forget", &id.to_string()])
            .says(0, "forgotten");
    }
}

/// How often each name was made.
fn made(history: &[(Change, String)]) -> BTreeMap<&str, usize> {
    let mut made = BTreeMap::new();
    for (change, name) in history {
        *made.entry(name.as_str()).or_default() += usize::from(*change == Change::Created);
    }
    made
}

#[test]
fn nothing_is_silent_against_an_api_that_lies() {
    let kills = number("TESTERD_KILLS", 24);
    let seed = number("TESTERD_SEED", u64::from(std::process::id()));
    let began = Instant::now();
    println!("seed {seed}");
    let mut chance = Chance(seed);
    let site = Site::new(SEES, &probe("nested", "100ms"));
    site.write("specs.toml", SPECS);
    let strangers = ["crash", "crash-", "crash-0", "crashed-0123456789abc"];
    for name in strangers {
        site.rig.seed(name);
    }
    for kill in 0..kills {
        let chapter = usize::try_from(kill * CHAPTERS.len() as u64 / kills).unwrap();
        let lies = CHAPTERS[chapter];
        let settings = if is_blind(lies) { BLIND } else { SEES };
        site.configure(settings, &probe("nested", "100ms"));
        lie(&site, lies, seed ^ kill);
        // Now and then a proxy before it knows nothing, and says so of everything.
        let away = !is_blind(lies) && chance.below(6) == 0;
        if away {
            site.rig
                .fail("DELETE /items/{id}", Fault::FailBeforeEffect(404));
            site.rig.fail("GET /items", Fault::FailBeforeEffect(404));
        }
        live_and_die(&site, &mut chance);
        if away {
            site.rig.heal("DELETE /items/{id}");
            site.rig.heal("GET /items");
        }
    }
    let before = site.owed().len();
    site.rig.tell_the_truth();
    site.configure(END, &probe("idle", "1h"));
    assert!(site.rig.is_quiet(LONG));
    site.sweep(&[]);
    see_to(&site);
    let swept = site.sweep(&[]);
    judge(&site, &strangers, seed);
    let owed = site.owed().len();
    println!(
        "{kills} kills in {:.0?}: {} creates, {} deletes; {before} owed after the last, {owed} after the truth; sweep ended with {:?}",
        began.elapsed(),
        site.rig.created().len(),
        site.rig.deleted().len(),
        swept.code,
    );
    assert_eq!(swept.code, Some(if owed == 0 { 0 } else { 4 }), "{swept:?}");
    // Were it not so, the test would prove nothing.
    assert!(
        site.rig.created().len() as u64 >= kills,
        "too little was made"
    );
    assert!(before > 0, "nothing was ever owed");
}

/// What is left, and of whom.
fn judge(site: &Site, strangers: &[&str], seed: u64) {
    let history = site.rig.history();
    let theirs = |name: &str| name.starts_with("theirs-") || strangers.contains(&name);
    let touched: Vec<_> = history
        .iter()
        .filter(|(change, name)| *change == Change::Deleted && theirs(name))
        .collect();
    assert!(
        touched.is_empty(),
        "seed {seed}: others' things are gone: {touched:?}"
    );
    let owed = list(site);
    let silent: Vec<_> = owed.keys().filter(|id| !is_told(&owed, **id)).collect();
    assert!(
        silent.is_empty(),
        "seed {seed}: owed without a word: {silent:?} of {:?}",
        site.owed()
    );
    let owed: BTreeSet<_> = owed.into_values().map(|line| line.name).collect();
    let alive = site.rig.alive();
    let left: BTreeSet<_> = alive.iter().filter(|name| !theirs(name)).collect();
    let made = made(&history);
    let lost: Vec<_> = left
        .iter()
        .filter(|name| !owed.contains(**name))
        .map(|name| (name, made.get(name.as_str())))
        .collect();
    assert!(
        lost.is_empty(),
        "seed {seed}: left, and nobody owes it: {lost:?}"
    );
    // What was made once, or is inside of nothing that was made twice, is gone.
    let twice = |name: &str| made.get(name).is_some_and(|times| *times > 1);
    let inner = |name: &str| name.replace("-OUT", "-IN");
    let stays: Vec<_> = left
        .iter()
        .filter(|name| !twice(name) && !twice(&inner(name)))
        .collect();
    assert!(
        stays.is_empty(),
        "seed {seed}: could have been deleted: {stays:?}; {:?}",
        site.owed()
    );
}

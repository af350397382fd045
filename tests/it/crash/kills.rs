//! Kills at random instants, again and again: each start sweeps what the kill before it left, while
//! new runs make more, and at the end nothing of ours is there.
//!
//! `TESTERD_KILLS` says how often, `TESTERD_SEED` where chance begins (it is printed; the machine's
//! own timing cannot be repeated). `scripts/crash-test` runs it in the release build.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::chance::{Chance, number, pause};
use super::site::Site;
use super::{LONG, probe};
use crate::rig::Change;

/// A late create comes after its step's 300 ms and well before it is settled as never made: what
/// comes later than `settle` cannot be found by anybody.
const LATE: std::ops::Range<Duration> = Duration::from_millis(320)..Duration::from_millis(600);
const SETTINGS: &str = "cleanup.settle = \"1s\"\ncleanup.max_owed = 1000";

/// The numbers that are printed.
#[derive(Debug, Default)]
struct Books {
    kills: usize,
    /// Kills after which something of ours lay on the target.
    kills_with_leftovers: usize,
    /// Everything of ours that lay there after some kill, by name.
    leftovers: BTreeSet<String>,
    /// What others made, by name.
    strangers: BTreeSet<String>,
}

impl Books {
    /// Puts in something that others made.
    fn stranger(&mut self, site: &Site, name: &str) {
        if self.strangers.insert(name.to_owned()) {
            site.rig.seed(name);
        }
    }

    /// Looks at what a kill has left, and lets others make things with names like that.
    fn look(&mut self, site: &Site) {
        self.kills += 1;
        let alive = site.rig.alive();
        let ours: Vec<_> = alive
            .into_iter()
            .filter(|name| !self.strangers.contains(name))
            .collect();
        if let Some(name) = ours.last() {
            self.kills_with_leftovers += 1;
            let cut = &name[..name.len() - 1];
            self.stranger(site, &format!("{name}-of-others"));
            self.stranger(site, &format!("{name}0"));
            self.stranger(site, cut);
            self.stranger(site, &name.replace("crash-", "crash-b-"));
        }
        self.leftovers.extend(ours);
    }
}

/// What was deleted while something that was made inside it was alive.
fn too_early(history: &[(Change, String)]) -> Vec<&str> {
    let mut alive = BTreeSet::new();
    let mut early = Vec::new();
    for (change, name) in history {
        match change {
            Change::Created => {
                alive.insert(name.clone());
            }
            Change::Deleted => {
                alive.remove(name);
                let inside = ["-in", "-step", "-in-step"].map(|inner| format!("{name}{inner}"));
                if inside.iter().any(|inner| alive.contains(inner)) {
                    early.push(name.as_str());
                }
            }
        }
    }
    early
}

/// One life of the daemon. It begins with the sweep of what the last one left.
pub(super) fn live_and_die(site: &Site, chance: &mut Chance) {
    let made = site.rig.count("POST /items");
    let mut daemon = site.begin();
    // A quarter dies at any time after its birth, perhaps before it has swept or opened its files;
    // a few live long enough to settle what was never made.
    let kind = chance.below(20);
    let longest = if kind < 5 {
        600
    } else {
        assert!(
            site.rig.reaches("POST /items", made + 1, LONG),
            "no run begins: {:?}",
            daemon.said()
        );
        if kind == 5 { 3000 } else { 300 }
    };
    pause(Duration::from_micros(chance.below(longest * 1000)));
    assert!(daemon.lives(), "it ended by itself: {:?}", daemon.said());
    drop(daemon);
}

#[test]
fn nothing_is_left_after_kills_at_any_time() {
    let kills = number("TESTERD_KILLS", 60);
    let seed = number("TESTERD_SEED", u64::from(std::process::id()));
    let began = Instant::now();
    println!("seed {seed}");
    let mut chance = Chance(seed);
    let site = Site::new(SETTINGS, &probe("nested", "100ms"));
    site.rig.sometimes_late("POST /items", 5, LATE, seed);
    let mut books = Books::default();
    for name in [
        "crash",
        "crash-",
        "crash-0",
        "crashed-0123456789abc",
        "b-crash",
    ] {
        books.stranger(&site, name);
    }
    for _ in 0..kills {
        live_and_die(&site, &mut chance);
        books.look(&site);
    }
    let owed = site.owed().len();
    let swept = site.sweep(&[]);
    // What is still to come now would come after it was given up.
    assert!(site.rig.is_quiet(LONG));
    let alive: BTreeSet<_> = site.rig.alive().into_iter().collect();
    let left: Vec<_> = alive.difference(&books.strangers).collect();
    let lost: Vec<_> = books.strangers.difference(&alive).collect();
    let created = site.rig.created().len();
    let swept_things = books.leftovers.iter().filter(|name| !alive.contains(*name));
    println!(
        "{} kills in {:.0?}: {created} creates, {} of them late; {} kills left {} things, {} of them swept; \
         {owed} records owed after the last kill; left {}; {} strangers, {} of them touched",
        books.kills,
        began.elapsed(),
        site.rig.late(),
        books.kills_with_leftovers,
        books.leftovers.len(),
        swept_things.count(),
        left.len(),
        books.strangers.len(),
        lost.len(),
    );
    assert_eq!(left, Vec::<&String>::new(), "seed {seed}");
    assert_eq!(lost, Vec::<&String>::new(), "seed {seed}");
    assert_eq!(
        too_early(&site.rig.history()),
        Vec::<&str>::new(),
        "seed {seed}"
    );
    assert_eq!(swept.code, Some(0), "{swept:?}");
    assert_eq!(site.owed(), Vec::<String>::new());
    assert!(!site.path("state").read_dir().unwrap().any(|entry| {
        entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .contains("damaged")
    }));
    // Were it not so, the test would prove nothing.
    assert_eq!(books.kills as u64, kills);
    assert!(created as u64 >= 3 * kills, "only {created} creates");
    assert!(books.kills_with_leftovers as u64 >= kills / 4);
    assert!(site.rig.late() as u64 >= kills / 20);
}

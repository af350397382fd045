//! What the rig keeps: which requests came and when, which items live, what is out of order.
//!
//! A request is entered under several keys, from the most to the least specific, and the same
//! keys say where a fault applies: `DELETE /items/7`, `/items/7`, `DELETE /items/{id}`,
//! `/items/{id}`. With `?id=NAME` each of them also exists as `KEY#NAME`. Every request is under `*`.
//! Requests are also numbered as they come (`faults`), so that a blow can fall on exactly one.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::bend::Overdue;
use super::faults::{Blows, Fault};

/// The books, as the server and the test share them.
#[derive(Default)]
pub(super) struct Shared {
    books: Mutex<Books>,
    changed: Condvar,
    /// Effects that come later than their request. Gone with the server.
    pub(super) late: Mutex<JoinSet<()>>,
    pub(super) overdue: Overdue,
}

impl Shared {
    /// Reads or corrects the books.
    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }

    /// Enters something, and wakes whoever waits for it.
    pub(super) fn enter<T>(&self, entry: impl FnOnce(&mut Books) -> T) -> T {
        let entered = entry(&mut self.books());
        self.changed.notify_all();
        entered
    }

    /// Waits until the books say so; whether they did in time.
    pub(super) fn until(&self, within: Duration, mut is_so: impl FnMut(&Books) -> bool) -> bool {
        let waited = self
            .changed
            .wait_timeout_while(self.books(), within, |books| !is_so(books))
            .unwrap();
        !waited.1.timed_out()
    }
}

/// One item of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) id: u64,
    pub(super) name: String,
}

/// Everything that is kept.
#[derive(Default)]
pub(super) struct Books {
    pub(super) connections: usize,
    arrivals: HashMap<String, Vec<Instant>>,
    faults: HashMap<String, Fault>,
    /// What falls on one request of all.
    pub(super) blows: Blows,
    /// Pieces and price of what is in a cart of the shop.
    pub(super) carts: HashMap<u64, (u64, u64)>,
    items: BTreeMap<u64, String>,
    last_id: u64,
    /// What requests made and deleted.
    history: Vec<(Change, String)>,
    dice: u64,
    snare: Option<Snare>,
    chances: Vec<Chance>,
    /// How the list of items is told.
    pub(super) lies: Lies,
    /// Whether an id that is free goes to a stranger at once.
    pub(super) reuses_ids: bool,
    /// Effects that came or are to come later than their request, and those still to come.
    pub(super) late: usize,
    pub(super) to_come: usize,
}

/// What a request did to an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Created,
    Deleted,
}

/// Waits for one request.
struct Snare {
    key: String,
    /// How many more requests pass before it closes, and this one with it; 0 once it is closed.
    left: usize,
    fault: Option<Fault>,
}

/// Makes some requests fail, or be late.
struct Chance {
    key: String,
    permille: u32,
    what: Misfortune,
}

enum Misfortune {
    Late(Range<Duration>),
    Fault(Fault),
}

/// How the list of items is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lies {
    /// In pages of so many, with the address of the next one in the body.
    pub(crate) page: Option<usize>,
    /// Names end after so many characters.
    pub(crate) cut: Option<usize>,
    /// Names have no capitals.
    pub(crate) lower: bool,
}

impl Lies {
    /// A name as it is told.
    pub(super) fn name(self, name: &str) -> String {
        let cut: String = name.chars().take(self.cut.unwrap_or(usize::MAX)).collect();
        if self.lower { cut.to_lowercase() } else { cut }
    }
}

/// What a request finds when it comes in.
pub(super) struct Arrival {
    /// The how-manieth it is of its path, or of its `PATH#NAME`.
    pub(super) nth: usize,
    /// What is out of order.
    pub(super) fault: Option<Fault>,
}

impl Books {
    /// Enters a request.
    pub(super) fn arrived(
        &mut self,
        method: &str,
        path: &str,
        id: Option<&str>,
        at: Instant,
    ) -> Arrival {
        let keys = keys(method, path, id);
        let struck = self.blows.fall(&format!("{method} {}", kind(path)));
        let fault = keys.iter().find_map(|key| self.faults.get(key)).copied();
        let fault = struck.or(self.snared(&keys)).or(fault);
        let fault = fault.or_else(|| self.by_chance(&keys));
        if let Some(Fault::LateEffect(_)) = fault {
            self.late += 1;
            self.to_come += 1;
        }
        for key in keys {
            self.arrivals.entry(key).or_default().push(at);
        }
        let counted = id.map_or(path.to_owned(), |id| format!("{path}#{id}"));
        Arrival {
            nth: self.arrivals(&counted).len(),
            fault,
        }
    }

    pub(super) fn arrivals(&self, key: &str) -> &[Instant] {
        self.arrivals.get(key).map_or(&[], Vec::as_slice)
    }

    pub(super) fn fail(&mut self, key: &str, fault: Fault) {
        self.faults.insert(key.to_owned(), fault);
    }

    pub(super) fn heal(&mut self, key: &str) {
        let was_ill = self.faults.remove(key).is_some();
        assert!(was_ill, "nothing was out of order under `{key}`");
    }

    pub(super) fn snare(&mut self, key: &str, nth: usize, fault: Option<Fault>) {
        self.snare = Some(Snare {
            key: key.to_owned(),
            left: nth,
            fault,
        });
    }

    pub(super) fn has_snared(&self) -> bool {
        self.snare.as_ref().is_some_and(|snare| snare.left == 0)
    }

    fn snared(&mut self, keys: &[String]) -> Option<Fault> {
        let snare = self.snare.as_mut()?;
        if snare.left == 0 || !keys.contains(&snare.key) {
            return None;
        }
        snare.left -= 1;
        snare.fault.filter(|_| snare.left == 0)
    }

    pub(super) fn sometimes_late(&mut self, key: &str, percent: u32, delays: Range<Duration>) {
        self.chances.push(Chance {
            key: key.to_owned(),
            permille: percent * 10,
            what: Misfortune::Late(delays),
        });
    }

    pub(super) fn sometimes(&mut self, key: &str, permille: u32, fault: Fault) {
        self.chances.push(Chance {
            key: key.to_owned(),
            permille,
            what: Misfortune::Fault(fault),
        });
    }

    /// Nothing goes wrong by chance any more, and lists are told as they are.
    pub(super) fn tell_the_truth(&mut self) {
        self.chances.clear();
        self.lies = Lies::default();
        self.reuses_ids = false;
    }

    fn by_chance(&mut self, keys: &[String]) -> Option<Fault> {
        for nth in 0..self.chances.len() {
            let share = f64::from(self.chances[nth].permille) / 1000.0;
            if !keys.contains(&self.chances[nth].key) || self.roll() >= share {
                continue;
            }
            let spread = self.roll();
            return Some(match &self.chances[nth].what {
                Misfortune::Fault(fault) => *fault,
                Misfortune::Late(Range { start, end }) => {
                    Fault::LateEffect(*start + end.saturating_sub(*start).mul_f64(spread))
                }
            });
        }
        None
    }

    /// Where the sequence of [`Self::roll`] begins.
    pub(super) fn shake(&mut self, seed: u64) {
        self.dice = seed;
    }

    pub(super) fn heal_all(&mut self) {
        self.faults.clear();
        self.blows.heal();
    }

    /// Takes away the oldest item of this name, as a person would.
    pub(super) fn take_away(&mut self, name: &str) {
        let found = self.items.iter().find(|(_, known)| *known == name);
        let id = found.map(|(id, _)| *id);
        id.and_then(|id| self.items.remove(&id));
    }

    /// A new number, for items and chains.
    pub(super) fn number(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// An item that somebody else made.
    pub(super) fn seed(&mut self, name: &str) -> u64 {
        let id = self.number();
        self.items.insert(id, name.to_owned());
        id
    }

    pub(super) fn create(&mut self, name: &str) -> Item {
        self.history.push((Change::Created, name.to_owned()));
        Item {
            id: self.seed(name),
            name: name.to_owned(),
        }
    }

    pub(super) fn item(&self, id: u64) -> Option<Item> {
        let name = self.items.get(&id)?.clone();
        Some(Item { id, name })
    }

    /// Whether it was there.
    pub(super) fn delete(&mut self, id: u64) -> bool {
        let name = self.items.remove(&id);
        let was_there = name.is_some();
        if was_there && self.reuses_ids {
            self.items
                .insert(id, format!("theirs-{id}-{}", self.history.len()));
        }
        let deleted = name.map(|name| (Change::Deleted, name));
        self.history.extend(deleted);
        was_there
    }

    /// By prefix and the newest first, as many real searches do: strangers with similar names come
    /// back too, and often before what was looked for.
    pub(super) fn find(&self, prefix: &str) -> Vec<Item> {
        let items = self.items.iter().rev();
        let found = items.filter(|(_, name)| name.starts_with(prefix));
        let item = |(&id, name): (&u64, &String)| Item {
            id,
            name: name.clone(),
        };
        found.map(item).collect()
    }

    pub(super) fn alive(&self) -> Vec<String> {
        let mut names: Vec<String> = self.items.values().cloned().collect();
        names.sort_unstable();
        names
    }

    pub(super) fn history(&self) -> &[(Change, String)] {
        &self.history
    }

    /// The names of the items that requests made, or deleted, in that order.
    pub(super) fn names(&self, wanted: Change) -> Vec<String> {
        let history = self.history.iter();
        history
            .filter(|(change, _)| *change == wanted)
            .map(|(_, name)| name.clone())
            .collect()
    }

    /// The next of a fixed sequence of numbers in [0, 1): a test can be repeated.
    pub(super) fn roll(&mut self) -> f64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let high = u32::try_from(mix(self.dice) >> 32).unwrap();
        f64::from(high) / (f64::from(u32::MAX) + 1.0)
    }
}

/// A path with `{id}` for whatever stands for one thing of many.
fn kind(path: &str) -> String {
    if path.starts_with("/items/") {
        return "/items/{id}".into();
    }
    let is_id = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts = path
        .split('/')
        .map(|part| if is_id(part) { "{id}" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// The keys of a request, the most specific first.
fn keys(method: &str, path: &str, id: Option<&str>) -> Vec<String> {
    let mut paths = vec![path.to_owned()];
    let kind = kind(path);
    if kind != path {
        paths.push(kind);
    }
    let mut keys = Vec::new();
    for path in paths {
        if let Some(id) = id {
            keys.push(format!("{method} {path}#{id}"));
            keys.push(format!("{path}#{id}"));
        }
        keys.push(format!("{method} {path}"));
        keys.push(path);
    }
    keys.push("*".into());
    keys
}

/// Scrambles a number (the finalizer of splitmix64).
pub(super) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

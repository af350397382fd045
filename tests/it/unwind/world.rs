//! What trials need of a target: that it keeps books of what is there, and that it can be struck.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use testerd::client::Endpoint;
use testerd::spec::{Record, Target};

use super::trial::{INSTANCE, RUN};
use crate::rig::{Blow, Rig};

/// Something on a target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Thing {
    /// What it is.
    pub(crate) kind: &'static str,
    /// As its maker called it.
    pub(crate) name: String,
    /// Tells it from others of its name; empty where nothing does.
    pub(crate) id: String,
}

impl Thing {
    /// Whether this is the same thing, under whatever name.
    fn is(&self, other: &Self) -> bool {
        let same_name = !self.id.is_empty() || self.name == other.name;
        self.kind == other.kind && self.id == other.id && same_name
    }

    pub(crate) fn is_among(&self, others: &[Self]) -> bool {
        others.iter().any(|other| self.is(other))
    }
}

/// A target for one trial.
pub(crate) trait World: Sized + Send + Sync + 'static {
    /// How long a step of a disturbed run may take.
    const PATIENT: Duration;
    /// How long "not found" must hold. The late effects wait for a look, not for a time.
    const SETTLE: Duration;
    /// Far longer than any sweep: only what is stuck is left by it.
    const LONG: Duration;
    /// How many trials go on at once; most of their time they wait.
    const AT_ONCE: usize;

    /// Starts one.
    fn start() -> Self;

    /// The target of a configuration, here.
    fn target(&self, declared: &Target) -> Target;

    /// Puts in things of others with names like ours, and says which.
    fn seed_strangers(&self) -> BoxFuture<'_, BTreeSet<Thing>>;

    /// Everything that is there, sorted.
    fn alive(&self) -> Vec<Thing>;

    /// What requests made, in that order.
    fn created(&self) -> Vec<Thing>;

    /// What requests removed, in that order.
    fn deleted(&self) -> Vec<Thing>;

    /// The kind of every request, as they came.
    fn log(&self) -> Vec<String>;

    /// Lets something fall on the request that is the `nth` of all, counted from 0.
    fn strike(&self, nth: usize, blow: Blow);

    /// Ends every fault.
    fn heal(&self);

    /// A person takes this away.
    fn take_away<'a>(&'a self, thing: &'a Thing) -> BoxFuture<'a, ()>;

    /// Whether this record, if it is carried out, leaves nothing of this thing.
    fn is_owed_by(&self, thing: &Thing, record: &Record) -> bool;

    /// Whether all that was there before anybody came is as it was; the error says what is not.
    fn intact(&self) -> BoxFuture<'_, Result<(), String>> {
        ready(Ok(())).boxed()
    }

    /// Names under which several things were made, and one of those that are still there.
    fn twins(&self) -> Vec<Thing> {
        let mut made: BTreeMap<(&str, String), Vec<String>> = BTreeMap::new();
        for Thing { kind, name, id } in self.created() {
            made.entry((kind, name)).or_default().push(id);
        }
        made.retain(|_, ids| ids.len() > 1);
        let mut alive = self.alive();
        alive.retain(|thing| made.contains_key(&(thing.kind, thing.name.clone())));
        alive.dedup_by(|one, other| (one.kind, &one.name) == (other.kind, &other.name));
        alive
    }
}

fn item(name: String) -> Thing {
    Thing {
        kind: "item",
        name,
        id: String::new(),
    }
}

impl World for Rig {
    const PATIENT: Duration = Duration::from_millis(300);
    const SETTLE: Duration = Duration::from_millis(150);
    const LONG: Duration = Duration::from_secs(20);
    const AT_ONCE: usize = 48;

    fn start() -> Self {
        Rig::start()
    }

    fn target(&self, declared: &Target) -> Target {
        Target {
            endpoint: Endpoint::parse(&self.url()).unwrap(),
            ..declared.clone()
        }
    }

    fn seed_strangers(&self) -> BoxFuture<'_, BTreeSet<Thing>> {
        let names = [
            format!("{INSTANCE}-{RUN}-"),
            format!("{INSTANCE}-{RUN}-outer-of-somebody"),
            format!("{INSTANCE}-01j0000000abb"),
            format!("extra-{RUN}-not"),
            INSTANCE.to_owned(),
        ];
        for name in &names {
            self.seed(name);
        }
        ready(names.map(item).into()).boxed()
    }

    fn alive(&self) -> Vec<Thing> {
        Rig::alive(self).into_iter().map(item).collect()
    }

    fn created(&self) -> Vec<Thing> {
        Rig::created(self).into_iter().map(item).collect()
    }

    fn deleted(&self) -> Vec<Thing> {
        Rig::deleted(self).into_iter().map(item).collect()
    }

    fn log(&self) -> Vec<String> {
        Rig::log(self)
    }

    fn strike(&self, nth: usize, blow: Blow) {
        Rig::strike(self, nth, blow);
    }

    fn heal(&self) {
        self.heal_all();
    }

    fn take_away<'a>(&'a self, thing: &'a Thing) -> BoxFuture<'a, ()> {
        Rig::take_away(self, &thing.name);
        ready(()).boxed()
    }

    fn is_owed_by(&self, thing: &Thing, record: &Record) -> bool {
        let matches = record.undo.arguments["find"]["matches"].to_string();
        matches.contains(&format!("\"{}\"", thing.name))
    }
}

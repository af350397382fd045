//! What all requests share: the state behind its lock, the clock, and the agenda of what is still
//! to happen. Nothing runs in the background: what has fallen due is carried out by whoever looks
//! next, at the time it was due.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::accounts::Accounts;
use super::books::{Change, Entry};
use super::folder::{Folder, Invitation, Passes};
use super::gate::Caller;
use super::images::Image;
use super::services::Service;
use super::session::{Session, Status};
use super::tasks::Task;
use super::templates::Template;
use super::{Pace, RELEASES, Setup};
use crate::demo::dice::Dice;

const SEED: u64 = 0x00ba_c4e4_da15_0026;
/// So many notices are kept for streams that are slow to read.
const KEPT_NOTICES: usize = 10_000;

/// A lower-case UUID.
pub(super) type Id = String;

/// The state, its clock, and who waits for changes.
#[derive(Debug)]
pub(super) struct Hall {
    opened: Instant,
    state: Mutex<State>,
    changed: watch::Sender<()>,
    /// Conversations over WebSocket; they end when the hall closes.
    talks: Mutex<JoinSet<()>>,
    closing: CancellationToken,
}

impl Hall {
    pub(super) fn open(setup: &Setup) -> Self {
        Self {
            opened: Instant::now(),
            state: Mutex::new(State::new(setup)),
            changed: watch::Sender::default(),
            talks: Mutex::default(),
            closing: CancellationToken::new(),
        }
    }

    /// Carries out what is due and looks.
    pub(super) fn look<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        state.advance(self.opened.elapsed());
        with(&mut state)
    }

    /// Carries out what is due, makes a change, and wakes those who wait for one.
    pub(super) fn enter<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        let done = self.look(with);
        self.changed.send_replace(());
        done
    }

    /// Tells of changes from now on.
    pub(super) fn listen(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Waits until a time since the opening, or until the hall closes.
    pub(super) async fn until(&self, at: Duration) {
        tokio::select! {
            () = tokio::time::sleep_until(self.opened + at) => {}
            () = self.closed() => {}
        }
    }

    /// Ends all streams and conversations, so that a server can stop.
    pub(super) fn close(&self) {
        self.closing.cancel();
        let mut talks = self.talks.lock().unwrap_or_else(PoisonError::into_inner);
        talks.abort_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closing.is_cancelled()
    }

    pub(super) async fn closed(&self) {
        self.closing.cancelled().await;
    }

    /// Holds a conversation beside the requests.
    pub(super) fn talk(&self, talk: impl Future<Output = ()> + Send + 'static) {
        let mut talks = self.talks.lock().unwrap_or_else(PoisonError::into_inner);
        while talks.try_join_next().is_some() {}
        talks.spawn(talk);
    }

    /// A request that panicked has changed nothing by halves that others would trip over.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that will happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Due {
    /// A session goes on, if it is still where it was.
    Session(Id, Status),
    /// A batch session's command ends, if it still runs.
    Batch(Id, &'static str),
}

/// Something about a session that streams tell.
#[derive(Debug, Clone)]
pub(super) struct Notice {
    pub(super) number: u64,
    pub(super) event: String,
    pub(super) reason: String,
    pub(super) session: Id,
    pub(super) name: String,
    pub(super) owner: String,
}

/// Everything there is.
#[derive(Debug)]
pub(super) struct State {
    /// Since the opening; of what is being carried out, when it was due.
    pub(super) now: Duration,
    pub(super) pace: Pace,
    pub(super) accounts: Accounts,
    pub(super) sessions: BTreeMap<Id, Session>,
    pub(super) tasks: BTreeMap<Id, Task>,
    pub(super) folders: BTreeMap<Id, Folder>,
    pub(super) invitations: BTreeMap<Id, Invitation>,
    pub(super) passes: Passes,
    /// Folders that were purged with their files: those stay on the storage, ids and names.
    pub(super) orphans: Vec<(Id, String)>,
    pub(super) templates: BTreeMap<Id, Template>,
    /// Whether a session from a template is made and then said to have failed.
    pub(super) templates_fail: bool,
    pub(super) images: BTreeMap<Id, Image>,
    pub(super) services: BTreeMap<Id, Service>,
    /// Cookies, and whom they stand for.
    pub(super) logins: BTreeMap<String, Option<Caller>>,
    pub(super) history: VecDeque<(Change, Entry)>,
    /// What was there in the beginning.
    pub(super) seeded: BTreeSet<Id>,
    notices: VecDeque<Notice>,
    noticed: u64,
    began: SystemTime,
    /// Of what falls due at one time, the first planned comes first.
    agenda: BTreeMap<(Duration, u64), Due>,
    planned: u64,
    dice: Dice,
}

impl State {
    fn new(setup: &Setup) -> Self {
        let mut state = Self {
            now: Duration::ZERO,
            pace: setup.pace,
            accounts: Accounts::default(),
            sessions: BTreeMap::new(),
            tasks: BTreeMap::new(),
            folders: BTreeMap::new(),
            invitations: BTreeMap::new(),
            passes: Passes::new(),
            orphans: Vec::new(),
            templates: BTreeMap::new(),
            templates_fail: setup.templates_fail,
            images: BTreeMap::new(),
            services: BTreeMap::new(),
            logins: BTreeMap::new(),
            history: VecDeque::new(),
            seeded: BTreeSet::new(),
            notices: VecDeque::new(),
            noticed: 0,
            began: crate::text::wall_clock(),
            agenda: BTreeMap::new(),
            planned: 0,
            dice: Dice::new(SEED),
        };
        state.settle_in(setup);
        state
    }

    fn advance(&mut self, to: Duration) {
        while let Some(first) = self.agenda.first_entry() {
            let (at, _) = *first.key();
            if at > to {
                break;
            }
            let due = first.remove();
            self.now = at;
            match due {
                Due::Session(id, from) => self.go_on(&id, from),
                Due::Batch(id, reason) => self.end_batch(&id, reason),
            }
        }
        self.now = to;
    }

    /// Puts something on the agenda.
    pub(super) fn later(&mut self, after: Duration, due: Due) {
        self.planned += 1;
        self.agenda.insert((self.now + after, self.planned), due);
    }

    /// When something happens next.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.agenda.keys().next().map(|(at, _)| *at)
    }

    /// A time since the opening as one of the calendar.
    pub(super) fn calendar(&self, at: Duration) -> SystemTime {
        self.began + at
    }

    /// The release that it says it is.
    pub(super) fn release(&self) -> &'static str {
        RELEASES[usize::from(self.templates_fail)]
    }

    /// A new id.
    pub(super) fn new_id(&mut self) -> Id {
        let (high, low) = (self.dice.number(), self.dice.number());
        let high = (high & !0xf000) | 0x4000;
        let low = (low & !(0b11 << 62)) | (0b10 << 62);
        let hex = format!("{high:016x}{low:016x}");
        dashed(&hex)
    }

    /// Letters and digits that nobody else knows.
    pub(super) fn new_word(&mut self, length: usize) -> String {
        let mut word = String::new();
        while word.len() < length {
            let _ = write!(word, "{:016X}", self.dice.number());
        }
        word.truncate(length);
        word
    }

    /// Tells streams.
    pub(super) fn notice(&mut self, event: &str, reason: &str, session: &Id) {
        let Some(told) = self.sessions.get(session) else {
            return;
        };
        self.noticed += 1;
        self.notices.push_back(Notice {
            number: self.noticed,
            event: event.to_owned(),
            reason: reason.to_owned(),
            session: session.clone(),
            name: told.name.clone(),
            owner: told.owner.access_key.clone(),
        });
        while self.notices.len() > KEPT_NOTICES {
            self.notices.pop_front();
        }
    }

    /// The number of the last notice.
    pub(super) fn noticed(&self) -> u64 {
        self.noticed
    }

    /// The notices after one.
    pub(super) fn notices(&self, after: u64) -> impl Iterator<Item = &Notice> {
        self.notices
            .iter()
            .filter(move |notice| notice.number > after)
    }
}

/// A UUID with its dashes, from 32 digits with or without them.
pub(super) fn dashed(text: &str) -> Id {
    let hex = text.chars().filter(|letter| *letter != '-');
    let mut id = String::new();
    for (index, digit) in hex.enumerate() {
        if matches!(index, 8 | 12 | 16 | 20) {
            id.push('-');
        }
        id.push(digit.to_ascii_lowercase());
    }
    id
}

/// Whether a text is a UUID, with or without dashes.
pub(super) fn is_id(text: &str) -> bool {
    let digits = text.chars().filter(|letter| *letter != '-');
    matches!(text.len(), 32 | 36)
        && digits.clone().count() == 32
        && digits.into_iter().all(|digit| digit.is_ascii_hexdigit())
}

//! The thread that writes: everything that waits becomes one transaction. Before each, the files are
//! looked at; where they are gone or were changed by something else, a new journal is written from
//! what is known in memory, and it is said.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};

use rusqlite::Connection;
use tracing::error;

use super::file::{self, Opened};
use super::mark::Mark;
use super::watch::{Found, Watch};
use super::{Change, Done, FILE, LOCK, OpenError, QUEUE, QUIET, Write, lock, locked};
use crate::journal::state_dir::StateDir;
use crate::journal::store::Store;
use crate::journal::{JournalError, Owed};
use crate::outcome::chain;
use crate::spec::RecordId;

/// Whoever writes, with all that it holds.
pub(super) struct Writer {
    dir: StateDir,
    /// Held for as long as it lives.
    lock: File,
    /// Who holds it, for people.
    owner: String,
    connection: Connection,
    mark: Mark,
    /// How many changes there were in all.
    changes: u64,
    watch: Watch,
    store: Arc<Mutex<Store>>,
    /// How often the files had to be written anew.
    replaced: Arc<AtomicU64>,
    /// The error that was told last: one that stays is told once.
    told: Option<String>,
}

/// How the files are.
enum Standing {
    /// As we left them.
    Whole,
    /// Written anew just now.
    Replaced,
    /// They are gone, and cannot be written.
    Broken(String),
}

impl Writer {
    pub(super) fn new(
        dir: StateDir,
        (lock, owner): (File, &str),
        opened: Opened,
        store: Arc<Mutex<Store>>,
        replaced: Arc<AtomicU64>,
    ) -> Result<Self, OpenError> {
        let watch = Watch::new(dir.path()).map_err(|error| OpenError::of(dir.path(), error))?;
        Ok(Self {
            dir,
            lock,
            owner: owner.to_owned(),
            connection: opened.connection,
            mark: opened.mark,
            changes: opened.last,
            watch,
            store,
            replaced,
            told: None,
        })
    }

    /// Writes until nobody can ask any more.
    pub(super) fn serve(mut self, waiting: &mpsc::Receiver<Write>) {
        let (mut quiet, mut written) = (true, true);
        loop {
            match waiting.recv_timeout(QUIET) {
                Ok(first) => {
                    let more = waiting.try_iter().take(QUEUE);
                    let batch = std::iter::once(first).chain(more).collect();
                    let batch = self.admit(batch);
                    if !written {
                        // What a failed commit left in the log would look like damage one day.
                        self.checkpoint();
                    }
                    written = self.write(batch);
                    quiet = false;
                }
                Err(RecvTimeoutError::Timeout) => {
                    let is_whole = matches!(self.stand(), Standing::Whole);
                    if is_whole && !quiet {
                        self.checkpoint();
                        quiet = true;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    // A clean end leaves what is owed behind as well.
                    self.stand();
                    break;
                }
            }
        }
    }

    /// Looks at the files first, and answers what cannot be written now. What was made already is
    /// noted in the new journal; nothing more is made until the next look.
    fn admit(&mut self, batch: Vec<Write>) -> Vec<Write> {
        let (why, notes_too) = match self.stand() {
            Standing::Whole => return batch,
            Standing::Replaced => (
                "its files had to be written anew just now".to_owned(),
                false,
            ),
            Standing::Broken(why) => (why, true),
        };
        let refuse = |write: &Write| notes_too || matches!(write.change, Change::Arm(_));
        let (refused, admitted): (Vec<_>, Vec<_>) = batch.into_iter().partition(refuse);
        for Write { done, .. } in refused {
            let _ = done.send(Err(JournalError::Unwritable(why.clone())));
        }
        admitted
    }

    fn checkpoint(&mut self) {
        file::checkpoint(&self.connection);
        self.watch.renew();
    }

    /// Says whether the file took all of it.
    fn write(&mut self, batch: Vec<Write>) -> bool {
        let mut accepted: Vec<(RecordId, Change, Done)> = Vec::new();
        let mut written = true;
        for Write { change, done } in batch {
            // A second note of a record is judged by what the first has made of it: a note after the
            // last one would be damage at the next start.
            if let Change::Note(id, _) = &change
                && accepted.iter().any(|(other, ..)| other == id)
            {
                written &= self.commit(std::mem::take(&mut accepted));
            }
            // What is refused needs no disk.
            let admitted = match &change {
                Change::Arm(record) => locked(&self.store).admit(record),
                Change::Note(id, note) => locked(&self.store).check(*id, note).map(|()| *id),
            };
            match admitted {
                Ok(id) => accepted.push((id, change, done)),
                Err(error) => drop(done.send(Err(error))),
            }
        }
        self.commit(accepted) && written
    }

    fn commit(&mut self, accepted: Vec<(RecordId, Change, Done)>) -> bool {
        if accepted.is_empty() {
            return true;
        }
        let changes = accepted.iter().map(|(id, change, _)| (*id, change));
        let written = file::commit(&mut self.connection, changes);
        if let Ok(changes) = &written {
            self.changes = *changes;
            // It then says less than the file holds, which is no damage.
            if let Err(error) = self.mark.set(*changes) {
                tracing::debug!(%error, "the journal's mark stays for now");
            }
        }
        self.watch.renew();
        for (id, change, done) in accepted {
            let answer = match &written {
                Ok(_) => {
                    let mut store = locked(&self.store);
                    match change {
                        Change::Arm(record) => store.insert(id, *record, true),
                        Change::Note(id, note) => store.apply(id, note),
                    }
                    Ok(id)
                }
                Err(error) => Err(JournalError::Unwritable(chain(error))),
            };
            if done.send(answer).is_err() {
                // Whoever waited was dropped meanwhile, and will not hand the record over.
                locked(&self.store).release(id);
            }
        }
        written.is_ok()
    }

    /// Looks at the files, and writes them anew if they are not what we left.
    fn stand(&mut self) -> Standing {
        let why = match self.watch.look() {
            Found::Same => return Standing::Whole,
            Found::Touched if self.says_what_we_know() => {
                // An operator's look, a copy, a checkpoint of somebody else.
                self.watch.renew();
                return Standing::Whole;
            }
            Found::Touched => "its files were changed by something else".to_owned(),
            Found::Gone(what) => what,
        };
        match self.replace() {
            Ok(kept) => {
                self.told = None;
                self.replaced.fetch_add(1, Ordering::Relaxed);
                let owed = locked(&self.store).all().len();
                let kept = kept.map(|kept| kept.display().to_string());
                error!(
                    why,
                    owed,
                    kept,
                    "the journal was removed or changed under the daemon: what is owed was written anew, and what was found there is kept"
                );
                Standing::Replaced
            }
            Err(error) => {
                let error = format!("{why}, and it cannot be written anew: {}", chain(&error));
                if self.told.as_ref() != Some(&error) {
                    error!(
                        error,
                        "the journal is gone: nothing that must be undone is made until it can be written"
                    );
                }
                self.told = Some(error.clone());
                Standing::Broken(error)
            }
        }
    }

    /// Whether the files, read anew, say what is known in memory.
    fn says_what_we_know(&self) -> bool {
        let path = self.dir.path().join(FILE);
        let Ok(records) = file::examine(&path) else {
            return false;
        };
        let mut read = Store::default();
        read.restore(records);
        let kept = |owed: Owed| Owed {
            held: false,
            ..owed
        };
        let known = locked(&self.store).all();
        read.all() == known.into_iter().map(kept).collect::<Vec<_>>()
    }

    /// Writes a new journal from what is known. What lies in its place is kept under another name.
    fn replace(&mut self) -> Result<Option<PathBuf>, OpenError> {
        let dir = self.dir.again()?;
        if !self.has_lock(&dir) {
            // The directory is another, or its lock: somebody else may have it by now.
            self.lock = lock(&dir, &self.owner)?;
        }
        let (records, last) = {
            let store = locked(&self.store);
            (store.all(), store.last())
        };
        self.connection = file::let_go(&self.connection)?;
        let kept = file::put_aside(&dir)?;
        let opened = file::begin(&dir, &records, self.changes.max(last))?;
        self.watch = Watch::new(dir.path()).map_err(|error| OpenError::of(dir.path(), error))?;
        (self.connection, self.mark) = (opened.connection, opened.mark);
        (self.changes, self.dir) = (opened.last, dir);
        Ok(kept)
    }

    /// Whether the lock that we hold is the one that lies in the directory.
    fn has_lock(&self, dir: &StateDir) -> bool {
        let there = dir.path().join(LOCK).symlink_metadata();
        let same = self.lock.metadata().and_then(|ours| Ok((ours, there?)));
        same.is_ok_and(|(ours, there)| (ours.dev(), ours.ino()) == (there.dev(), there.ino()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::sync::oneshot;

    use super::*;
    use crate::journal::Note;
    use crate::journal::state_dir::Whose;
    use crate::spec::{Record, Undo};

    fn record() -> Record {
        Record {
            undo: Undo {
                kind: "k".into(),
                arguments: serde_json::Value::Null,
            },
            step: "s".into(),
            captures: BTreeMap::new(),
            created: false,
            delete_sent: false,
            search_is_blind: false,
            parent: None,
            target: "t".into(),
            endpoint: "e".into(),
            instance: "i".into(),
            run: "r".into(),
            timeout_ms: 1,
            armed_at: crate::text::wall_clock(),
            may_show_secrets: false,
        }
    }

    /// Writes one batch; what became of each change.
    fn write(writer: &mut Writer, changes: Vec<Change>) -> Vec<Option<RecordId>> {
        let (batch, told): (Vec<_>, Vec<_>) = changes
            .into_iter()
            .map(|change| {
                let (done, told) = oneshot::channel();
                (Write { change, done }, told)
            })
            .unzip();
        writer.write(batch);
        let told = told.into_iter().map(|mut told| told.try_recv().unwrap());
        told.map(Result::ok).collect()
    }

    #[test]
    fn notes_of_one_batch_follow_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let dir = StateDir::make(folder.path(), Whose::Ours).unwrap();
            let (lock, opened) = (lock(&dir, "a test").unwrap(), file::open(&dir).unwrap());
            Writer::new(
                dir,
                (lock, "a test"),
                opened,
                Arc::default(),
                Arc::default(),
            )
            .unwrap()
        };
        let mut writer = open();
        let armed = vec![
            Change::Arm(Box::new(record())),
            Change::Arm(Box::new(record())),
        ];
        let (first, second) = (RecordId(1), RecordId(2));
        assert_eq!(write(&mut writer, armed), [Some(first), Some(second)]);
        let notes = vec![
            Change::Note(second, Note::Created(BTreeMap::new())),
            Change::Note(first, Note::Settled),
            Change::Note(first, Note::Tried("late".into())),
            Change::Note(second, Note::Settled),
        ];
        assert_eq!(
            write(&mut writer, notes),
            [Some(second), Some(first), None, Some(second)]
        );
        drop(writer);
        let again = open();
        assert!(again.changes >= 2, "an id would be given twice");
        assert!(again.says_what_we_know(), "nothing is owed");
        assert!(file::set_aside(folder.path()).unwrap().is_empty());
    }
}

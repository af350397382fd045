//! The durable journal: `journal.db` in the state directory, SQLite in WAL mode, every commit
//! synced to disk.
//!
//! One thread writes (`writer`). It takes whatever waits as one transaction, so that many runs share one
//! sync. Everything is read from memory, which is changed only after the commit. The folder is
//! locked for one process at a time; an operator may read the file meanwhile.

mod file;
mod mark;
mod trouble;
mod wal;
mod watch;
mod writer;

use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rustix::fs::{FlockOperation, flock};
use tokio::sync::oneshot;

use super::state_dir::{OpenError, StateDir, Whose, no_follow};
use super::store::Store;
use super::{Journal, JournalError, Note, Owed};
use crate::spec::{Record, RecordId};
use writer::Writer;

/// The file in the state directory.
const FILE: &str = "journal.db";

/// The file whose lock is held by whoever has the directory.
const LOCK: &str = "lock";

/// A process that is being started has all our descriptors for a moment, and so the lock of a journal
/// that was just closed.
const LOCK_TRIES: u32 = 5;

/// From one try to the next.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// How many writes may wait for the disk; more wait in their callers.
const QUEUE: usize = 1024;

/// When nothing was written for so long, the log is made part of the file.
const QUIET: Duration = Duration::from_secs(1);

/// The journal on disk.
pub struct DiskJournal {
    path: PathBuf,
    store: Arc<Mutex<Store>>,
    /// `None` once it is closing.
    writes: Option<mpsc::SyncSender<Write>>,
    thread: Option<JoinHandle<()>>,
    set_aside: Vec<PathBuf>,
    replaced: Arc<AtomicU64>,
}

/// One change that waits for the disk.
struct Write {
    change: Change,
    done: Done,
}

/// Who waits for it.
type Done = oneshot::Sender<Result<RecordId, JournalError>>;

/// What is changed.
enum Change {
    Arm(Box<Record>),
    Note(RecordId, Note),
}

impl DiskJournal {
    /// Opens the journal in a state directory of ours, which is made if it is not there.
    ///
    /// # Errors
    /// As [`Self::open_in`], and if the directory is not ours alone.
    pub fn open(folder: &Path, max_owed: usize, owner: &str) -> Result<Self, OpenError> {
        Self::open_in(StateDir::make(folder, Whose::Ours)?, max_owed, owner)
    }

    /// Opens the journal in a state directory. A damaged file is set aside under another name, and
    /// kept.
    ///
    /// # Errors
    /// If the directory cannot be used, is in use, or the file is of a later version.
    pub fn open_in(dir: StateDir, max_owed: usize, owner: &str) -> Result<Self, OpenError> {
        let lock = lock(&dir, owner)?;
        let path = dir.path().join(FILE);
        let mut opened = file::open(&dir)?;
        let mut store = Store::with_max_owed(Some(max_owed));
        store.begin_after(opened.last);
        store.restore(std::mem::take(&mut opened.records));
        let store = Arc::new(Mutex::new(store));
        let replaced = Arc::default();
        let set_aside = file::set_aside(dir.path())?;
        let failed = {
            let folder = dir.path().to_owned();
            move |source| OpenError::of(&folder, source)
        };
        let (asked, waiting) = mpsc::sync_channel(QUEUE);
        let (known, counted) = (Arc::clone(&store), Arc::clone(&replaced));
        let writer = Writer::new(dir, (lock, owner), opened, known, counted)?;
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || writer.serve(&waiting))
            .map_err(failed)?;
        Ok(Self {
            set_aside,
            replaced,
            path,
            store,
            writes: Some(asked),
            thread: Some(thread),
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Damaged journals that lie beside it, set aside now or earlier: what they owe is not known.
    #[must_use]
    pub fn damaged(&self) -> &[PathBuf] {
        &self.set_aside
    }

    /// How often its files were removed or changed under it, so that they were written anew.
    #[must_use]
    pub fn replaced(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.replaced)
    }

    /// Reads what is owed without the lock: for a look at the journal of a running daemon.
    ///
    /// # Errors
    /// As [`Self::open`], but a damaged file is left where it is.
    pub fn look(folder: &Path) -> Result<Vec<Owed>, OpenError> {
        let mut store = Store::default();
        store.restore(file::look(folder)?);
        Ok(store.all())
    }

    /// Damaged journals that lie in a state directory: what they owe is not known.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn set_aside(folder: &Path) -> Result<Vec<PathBuf>, OpenError> {
        file::set_aside(folder)
    }

    /// Whether some process has this state directory.
    ///
    /// # Errors
    /// If that cannot be known.
    pub fn is_in_use(folder: &Path) -> Result<bool, OpenError> {
        let path = folder.join(LOCK);
        let mut options = File::options();
        let file = match options.read(true).custom_flags(no_follow()).open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            file => file.map_err(|error| OpenError::of(&path, error))?,
        };
        Ok(flock(&file, FlockOperation::NonBlockingLockShared).is_err())
    }

    /// Removes a state directory that nobody has and that owes nothing. Says whether it is gone.
    ///
    /// # Errors
    /// If what it owes cannot be known, or it cannot be removed.
    pub fn discard(folder: &Path, owner: &str) -> Result<bool, OpenError> {
        let dir = StateDir::find(folder, Whose::OursOrServed)?;
        let _lock = match lock(&dir, owner) {
            Err(OpenError::Locked { .. }) => return Ok(false),
            lock => lock?,
        };
        if !Self::look(folder)?.is_empty() || !file::set_aside(dir.path())?.is_empty() {
            return Ok(false);
        }
        // First: without its mark a journal that is gone is not missed by who looks meanwhile.
        mark::remove(&dir)?;
        std::fs::remove_dir_all(dir.path()).map_err(|error| OpenError::of(folder, error))?;
        Ok(true)
    }

    fn write(&self, change: Change) -> BoxFuture<'_, Result<RecordId, JournalError>> {
        async move {
            let closing = || JournalError::Unwritable("its thread has ended".into());
            let (done, written) = oneshot::channel();
            let writes = self.writes.as_ref().ok_or_else(closing)?;
            let mut write = Write { change, done };
            // The queue is as long as there can be runs; a full one means a disk that hangs.
            while let Err(refused) = writes.try_send(write) {
                match refused {
                    mpsc::TrySendError::Full(back) => {
                        write = back;
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    mpsc::TrySendError::Disconnected(_) => return Err(closing()),
                }
            }
            written.await.unwrap_or_else(|_| Err(closing()))
        }
        .boxed()
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        locked(&self.store)
    }
}

fn locked(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for DiskJournal {
    /// Waits for the thread, so that the file is closed before the lock is given back.
    fn drop(&mut self) {
        self.writes = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Journal for DiskJournal {
    fn arm(&self, record: Record) -> BoxFuture<'_, Result<RecordId, JournalError>> {
        self.write(Change::Arm(Box::new(record)))
    }

    fn note(&self, id: RecordId, note: Note) -> BoxFuture<'_, Result<(), JournalError>> {
        self.write(Change::Note(id, note))
            .map(|noted| noted.map(|_| ()))
            .boxed()
    }

    fn read(&self, id: RecordId) -> Result<Record, JournalError> {
        self.store().read(id)
    }

    fn release(&self, id: RecordId) {
        self.store().release(id);
    }

    fn release_run(&self, run: &str) {
        self.store().release_run(run);
    }

    fn owed(&self) -> Vec<Owed> {
        self.store().all()
    }
}

/// Takes the lock of the directory, or says who has it.
#[expect(
    clippy::disallowed_methods,
    reason = "a journal is opened before anything runs, or on the writing thread"
)]
fn lock(dir: &StateDir, owner: &str) -> Result<File, OpenError> {
    let mut tried = 0;
    loop {
        tried += 1;
        let mut file = dir.open(LOCK)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            if tried < LOCK_TRIES {
                std::thread::sleep(LOCK_PAUSE);
                continue;
            }
            let mut owner = String::new();
            let _ = file.read_to_string(&mut owner);
            let owner = match owner.trim() {
                "" => "another process",
                owner => owner,
            };
            return Err(OpenError::Locked {
                path: dir.path().to_owned(),
                owner: owner.to_owned(),
            });
        }
        // Whoever had it before may have removed it: then it is the lock of nothing.
        let is_there = |file: &File| -> std::io::Result<bool> {
            let (ours, there) = (file.metadata()?, dir.path().join(LOCK).symlink_metadata()?);
            Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino()))
        };
        if !is_there(&file).map_err(|source| OpenError::of(dir.path(), source))? {
            continue;
        }
        // Only for people: who cannot write it here finds the disk full when it matters.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(owner.as_bytes()));
        return Ok(file);
    }
}

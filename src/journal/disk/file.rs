//! The SQLite file: its schema and versions, what is read at start, what one commit writes.
//!
//! One row per note, deleted together when the record is closed; the view `owed` is for operators.
//!
//! Damage is told from everything else: what was read is exactly what was written, or the file is
//! set aside. Pages are checked by SQLite, notes by a sum, the log by `wal`, and how far all of them
//! have come by `mark`. Every change counts: `sqlite_sequence` grows with each commit.

use std::ffi::OsString;
use std::hash::Hasher;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::mark::{self, Mark, Said};
use super::trouble::Trouble;
use super::{Change, FILE, OpenError, wal};
use crate::journal::state_dir::{StateDir, plain};
use crate::journal::store::Replayed;
use crate::journal::{Note, Owed, State};
use crate::spec::{Record, RecordId};
use crate::text::json::from_text;

/// The version of the schema, kept in `user_version`.
const VERSION: i64 = 1;

/// A new journal, until it is whole.
const DRAFT: &str = "journal.new";

/// How every SQLite file begins.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// A damaged file gets this and the time behind its name.
const SET_ASIDE: &str = ".damaged-";

/// How long a write waits for an operator's own transaction, in milliseconds.
const BUSY: u64 = 5000;

/// The row that counts the tries before the last.
const TRIES: &str = "tries";

/// The endings of the files that make one journal, the file itself first.
const PARTS: [&str; 4] = ["", "-wal", "-shm", mark::END];

/// The schema, and one day its migrations.
const SCHEMA: &str = "
CREATE TABLE notes (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    record INTEGER NOT NULL,
    at     INTEGER NOT NULL,            -- seconds since the Unix epoch; for people
    note   TEXT NOT NULL,               -- armed, created, deleting, blind, tried; tries: how often before
    body   TEXT NOT NULL,               -- JSON
    sum    INTEGER NOT NULL             -- FNV-1a over the rest: damage that is still JSON shows
);
CREATE INDEX notes_record ON notes (record);
CREATE VIEW owed AS
    SELECT record AS id,
           datetime(at, 'unixepoch') AS armed,
           json_extract(body, '$.target') AS target,
           json_extract(body, '$.undo.kind') AS kind,
           json_extract(body, '$.run') AS run,
           json_extract(body, '$.step') AS step,
           (SELECT count(*) FROM notes t WHERE t.record = n.record AND t.note = 'created') AS created,
           (SELECT json_extract(t.body, '$.Tried') FROM notes t
             WHERE t.record = n.record AND t.note = 'tried' ORDER BY seq DESC LIMIT 1) AS last_try
      FROM notes n WHERE note = 'armed';
";

/// An opened file and what it says.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) records: Vec<Replayed>,
    /// So many changes there were, and no record with a later id.
    pub(super) last: u64,
    pub(super) mark: Mark,
}

/// Opens the file for writing; a damaged one is set aside and a new one begun.
pub(super) fn open(dir: &StateDir) -> Result<Opened, OpenError> {
    let path = &dir.path().join(FILE);
    check_parts(dir, path)?;
    let said = match Mark::read(dir.path())? {
        Said::Nothing => 0,
        Said::Changes(changes) => changes,
        Said::Nonsense => {
            let kept = put_aside_parts(dir, &[mark::END])?;
            tracing::error!(
                kept = kept.map(|kept| kept.display().to_string()),
                "the journal's mark is unreadable and kept under another name: whether the journal's end is missing is not known"
            );
            0
        }
    };
    match try_open(dir, path, said) {
        Err(Trouble::Damaged(why)) => {
            let kept = put_aside(dir)?;
            tracing::error!(
                kept = kept.map(|kept| kept.display().to_string()),
                error = why,
                "the journal is damaged: it is kept under another name, and what it owed may be left on the targets"
            );
            begin(dir, &[], said)
        }
        opened => opened.map_err(|trouble| trouble.into_error(path)),
    }
}

/// A new journal that owes these, after so many changes. Nothing lies in its place.
pub(super) fn begin(dir: &StateDir, owed: &[Owed], changes: u64) -> Result<Opened, OpenError> {
    let path = &dir.path().join(FILE);
    create(dir, path, owed, changes)
        .and_then(|()| try_open(dir, path, changes))
        .map_err(|trouble| trouble.into_error(path))
}

/// What takes the place of a connection to files that are not ours any more: SQLite must not put its
/// log into whatever lies there now.
pub(super) fn let_go(connection: &Connection) -> Result<Connection, OpenError> {
    let none = || {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        Connection::open_in_memory()
    };
    none().map_err(|source| OpenError::Database {
        path: FILE.into(),
        source,
    })
}

/// Reads everything anew, as it is on the disk, and checks it.
pub(super) fn examine(path: &Path) -> Result<Vec<Replayed>, OpenError> {
    let read = || {
        let connection = connect(path)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        check(&connection)?;
        replay(&connection)
    };
    read().map_err(|trouble: Trouble| trouble.into_error(path))
}

/// Whether all that is there can be written, and is what it seems. SQLite opens for reading what it
/// cannot write, and then every arm fails.
fn check_parts(dir: &StateDir, path: &Path) -> Result<(), OpenError> {
    let may_write = |path: &Path| match accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(rustix::io::Errno::ACCESS) => Err(match path.symlink_metadata() {
            Ok(file) => dir.not_writable(path, &file),
            Err(error) => OpenError::of(path, error),
        }),
        Err(error) => Err(OpenError::of(path, error.into())),
    };
    may_write(dir.path())?;
    for end in PARTS {
        dir.check(&format!("{FILE}{end}"))?;
        may_write(&beside(path, end))?;
        dir.keep_private(&format!("{FILE}{end}"))?;
    }
    Ok(())
}

/// Whether there is a file, also one that cannot be read.
fn is_there(path: &Path) -> std::io::Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads the journal of somebody else.
pub(super) fn look(folder: &Path) -> Result<Vec<Replayed>, OpenError> {
    let folder = match folder.canonicalize() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        canonical => canonical.map_err(|error| OpenError::of(folder, error))?,
    };
    let path = &folder.join(FILE);
    // SQLite opens whatever lies there, and waits for the other end of a pipe.
    for end in PARTS.iter().chain(&["-journal"]) {
        plain(&beside(path, end))?;
    }
    // Before the file, which never has fewer changes than the mark says.
    let said = match Mark::read(&folder)? {
        Said::Changes(changes) => changes,
        // The next start says that it is unreadable.
        Said::Nothing | Said::Nonsense => 0,
    };
    let read = || {
        if !is_there(path)? {
            return match said {
                0 => Ok(Vec::new()),
                _ => Err(gone(said)),
            };
        }
        // Not by opening it, which would take SQLite's locks in this process away.
        accessat(CWD, path, Access::READ_OK, AtFlags::EACCESS)
            .map_err(|error| Trouble::Io(error.into()))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(path, flags)?;
        version(&connection, path)?;
        let records = replay(&connection)?;
        reaches(&connection, said)?;
        Ok(records)
    };
    read().map_err(|trouble: Trouble| trouble.into_error(path))
}

/// A journal that is not there, though it was.
fn gone(said: u64) -> Trouble {
    Trouble::Damaged(format!("it is gone, after {said} changes"))
}

/// How many changes the file has, if that is not less than the mark says.
fn reaches(connection: &Connection, said: u64) -> Result<u64, Trouble> {
    let last = last(connection)?;
    if last < said {
        let missing = format!("its end is missing: of {said} changes it has {last}");
        return Err(Trouble::Damaged(missing));
    }
    Ok(last)
}

fn try_open(dir: &StateDir, path: &Path, said: u64) -> Result<Opened, Trouble> {
    if let Some(what) = wal::damage(&beside(path, "-wal")).map_err(Trouble::Io)? {
        return Err(Trouble::Damaged(what));
    }
    if !is_there(path).map_err(Trouble::Io)? {
        if is_there(&beside(path, "-wal")).map_err(Trouble::Io)? {
            // SQLite would put it into whatever file comes next.
            return Err(Trouble::Damaged("there is only its log".into()));
        }
        if said > 0 {
            return Err(gone(said));
        }
        create(dir, path, &[], 0)?;
    }
    if !begins_like_one(path).map_err(Trouble::Io)? {
        // SQLite takes it for an empty file, and removes the log beside it.
        return Err(Trouble::Damaged("it does not begin like a database".into()));
    }
    let connection = connect(path)?;
    if connection.is_readonly("main")? {
        let file = path.symlink_metadata().map_err(Trouble::Io)?;
        return Err(Trouble::Refused(dir.not_writable(path, &file)));
    }
    // As long as it may be damaged, nothing is changed in it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    if version(&connection, path)? < 1 {
        // A file of ours is never without one, see `create`.
        return Err(Trouble::Damaged("it has no version".into()));
    }
    check(&connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let records = replay(&connection)?;
    let last = reaches(&connection, said)?;
    let mark = Mark::begin(dir, last).map_err(Trouble::Refused)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    checkpoint(&connection);
    Ok(Opened {
        connection,
        records,
        last,
        mark,
    })
}

/// No link is followed on the way to it.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    Connection::open_with_flags(path, flags)
}

fn begins_like_one(path: &Path) -> std::io::Result<bool> {
    let mut begin = Vec::new();
    std::fs::File::open(path)?
        .take(MAGIC.len() as u64)
        .read_to_end(&mut begin)?;
    Ok(begin == MAGIC)
}

/// Makes the log part of the file, and empties it. If a reader is in the way, or the disk is full,
/// the log just stays.
pub(super) fn checkpoint(connection: &Connection) {
    let patience = |millis| connection.busy_timeout(Duration::from_millis(millis));
    let done = patience(0)
        .and_then(|()| {
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                row.get::<_, i64>(0)
            })
        })
        .and_then(|_| patience(BUSY));
    if let Err(error) = done {
        tracing::debug!(%error, "the journal's log stays for now");
    }
}

/// Makes an empty journal under another name first: a file under the right name is whole, so one
/// that was cut to nothing is told from a new one.
fn create(dir: &StateDir, path: &Path, owed: &[Owed], changes: u64) -> Result<(), Trouble> {
    let draft = dir.path().join(DRAFT);
    let unusable = |error: std::io::Error| Trouble::Io(error);
    dir.create(DRAFT).map_err(Trouble::Refused)?;
    let connection = connect(&draft)?;
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION};"
    ))?;
    // So that no number is given twice.
    let changes = i64::try_from(changes).unwrap_or(i64::MAX);
    let begin = "INSERT INTO sqlite_sequence (name, seq) VALUES ('notes', ?)";
    connection.execute(begin, params![changes])?;
    for owed in owed {
        let put = |name: &str, body: &str| insert(&connection, owed.id, name, body);
        // As it is now: what was noted of it stands in it.
        put("armed", &json(&owed.record)?)?;
        if let Some(why) = &owed.last {
            put(TRIES, &owed.tries.saturating_sub(1).to_string())?;
            let tried = Note::Tried(why.clone());
            put(tried.name(), &json(&tried)?)?;
        }
    }
    connection.execute_batch("COMMIT;")?;
    connection.close().map_err(|(_, error)| error)?;
    std::fs::rename(&draft, path).map_err(unusable)?;
    std::fs::File::open(dir.path())
        .and_then(|folder| folder.sync_all())
        .map_err(unusable)
}

fn version(connection: &Connection, path: &Path) -> Result<i64, Trouble> {
    let found = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > VERSION {
        return Err(Trouble::Refused(OpenError::Newer {
            path: path.to_owned(),
            found,
            known: VERSION,
        }));
    }
    Ok(found)
}

/// The whole file, page by page: it is tiny.
fn check(connection: &Connection) -> Result<(), Trouble> {
    let word: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if word == "ok" {
        Ok(())
    } else {
        Err(Trouble::Damaged(word))
    }
}

/// A bound of all ids there ever were, so that none is given twice: a person may act on a list that
/// was printed before a restart. Each record has one note at least, whose number is never reused.
fn last(connection: &Connection) -> rusqlite::Result<u64> {
    let counter = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'notes'";
    let last: i64 = connection
        .prepare_cached(counter)?
        .query_row([], |row| row.get(0))?;
    Ok(u64::try_from(last).unwrap_or_default())
}

/// All records with their notes; a history that cannot be is damage.
fn replay(connection: &Connection) -> Result<Vec<Replayed>, Trouble> {
    let damaged = |what: String| Trouble::Damaged(what);
    let mut rows =
        connection.prepare("SELECT record, note, body, sum FROM notes ORDER BY record, seq")?;
    let mut rows = rows.query([])?;
    let mut records: Vec<(Replayed, State)> = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, note, body): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if row.get::<_, i64>(3)? != sum(id, &note, &body) {
            return Err(damaged(format!(
                "a note of record {id} does not match its sum"
            )));
        }
        let id = RecordId(u64::try_from(id).map_err(|error| damaged(error.to_string()))?);
        if note == "armed" {
            let record: Record =
                from_text(&body).map_err(|error| damaged(format!("record {}: {error}", id.0)))?;
            let state = State::of(&record);
            let (tries, notes) = (0, Vec::new());
            let read = Replayed {
                id,
                record,
                tries,
                notes,
            };
            records.push((read, state));
            continue;
        }
        let Some((read, state)) = records.last_mut().filter(|(read, _)| read.id == id) else {
            return Err(damaged(format!("record {} was never armed", id.0)));
        };
        if note == TRIES {
            read.tries = body
                .parse()
                .map_err(|error| damaged(format!("the tries of record {}: {error}", id.0)))?;
            continue;
        }
        let note: Note = from_text(&body)
            .map_err(|error| damaged(format!("a note of record {}: {error}", id.0)))?;
        *state = state
            .next(&note)
            .map_err(|error| damaged(error.to_string()))?;
        read.notes.push(note);
    }
    Ok(records.into_iter().map(|(replayed, _)| replayed).collect())
}

/// Writes a batch, all of it or nothing, and returns when it is on disk: how many changes there were
/// by then.
pub(super) fn commit<'a>(
    connection: &mut Connection,
    changes: impl Iterator<Item = (RecordId, &'a Change)>,
) -> rusqlite::Result<u64> {
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for (id, change) in changes {
        let insert = |name: &str, body: &str| insert(&transaction, id, name, body);
        match change {
            Change::Arm(armed) => insert("armed", &json(armed)?)?,
            Change::Note(_, note @ (Note::Created(_) | Note::Deleting | Note::SearchIsBlind)) => {
                insert(note.name(), &json(note)?)?;
            }
            Change::Note(_, Note::NotDeleted) => {
                delete(&transaction, id, "record = ? AND note = 'deleting'")?;
            }
            // Only the last try is kept, or a target that is down for months would fill the disk.
            Change::Note(_, note @ Note::Tried(_)) => {
                count_try(&transaction, id)?;
                insert(note.name(), &json(note)?)?;
            }
            Change::Note(_, Note::Refused | Note::Settled) => {
                delete(&transaction, id, "record = ?")?;
                // It is a change as well: without it a log that lost its end would owe it again.
                transaction
                    .prepare_cached(
                        "UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'notes'",
                    )?
                    .execute([])?;
            }
        }
    }
    let changes = last(&transaction)?;
    transaction.commit()?;
    Ok(changes)
}

/// Takes the last try away, and counts it.
fn count_try(connection: &Connection, id: RecordId) -> rusqlite::Result<()> {
    let before: Option<u32> = connection
        .prepare_cached("SELECT body FROM notes WHERE record = ? AND note = 'tries'")?
        .query_row(params![row(id)], |row| row.get::<_, String>(0))
        .optional()?
        .and_then(|count| count.parse().ok());
    let last = delete(connection, id, "record = ? AND note = 'tried'")?;
    if last > 0 {
        delete(connection, id, "record = ? AND note = 'tries'")?;
        let count = before.unwrap_or_default().saturating_add(1);
        insert(connection, id, TRIES, &count.to_string())?;
    }
    Ok(())
}

fn delete(connection: &Connection, id: RecordId, which: &str) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(&format!("DELETE FROM notes WHERE {which}"))?
        .execute(params![row(id)])
}

fn insert(connection: &Connection, id: RecordId, note: &str, body: &str) -> rusqlite::Result<()> {
    let now = crate::text::wall_clock()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let record = row(id);
    connection
        .prepare_cached("INSERT INTO notes (record, at, note, body, sum) VALUES (?, ?, ?, ?, ?)")?
        .execute(params![record, now, note, body, sum(record, note, body)])
        .map(|_| ())
}

/// The number of a record in the file.
fn row(id: RecordId) -> i64 {
    i64::try_from(id.0).unwrap_or(i64::MAX)
}

fn sum(record: i64, note: &str, body: &str) -> i64 {
    let mut hasher = fnv::FnvHasher::default();
    hasher.write_i64(record);
    hasher.write(note.as_bytes());
    hasher.write(body.as_bytes());
    hasher.finish().cast_signed()
}

fn json(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// Renames a journal and all that belongs to it. Says under which name it is kept, if anything was
/// there.
pub(super) fn put_aside(dir: &StateDir) -> Result<Option<PathBuf>, OpenError> {
    put_aside_parts(dir, &PARTS)
}

fn put_aside_parts(dir: &StateDir, parts: &[&str]) -> Result<Option<PathBuf>, OpenError> {
    let path = &dir.path().join(FILE);
    let now = crate::text::wall_clock()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    // No clock is certain to say something new: what was set aside before stays.
    let mut suffixes = (now.as_nanos()..).map(|number| format!("{SET_ASIDE}{number}"));
    let free = |suffix: &String| {
        let mut ends = parts.iter();
        ends.all(|end| !beside(path, &format!("{suffix}{end}")).exists())
    };
    let suffix = suffixes.find(free);
    let suffix = suffix.ok_or_else(|| OpenError::of(path, ErrorKind::AlreadyExists.into()))?;
    let mut kept = None;
    // The file first: a log that is left alone is seen at the next start, a file without its log
    // would look whole.
    for end in parts {
        let (from, to) = (beside(path, end), beside(path, &format!("{suffix}{end}")));
        match std::fs::rename(from, to) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(OpenError::of(path, error)),
            Ok(()) => kept = Some(beside(path, &suffix)),
        }
    }
    Ok(kept)
}

/// A file's name with something behind it.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    PathBuf::from(name)
}

/// The damaged files that lie in a state directory.
pub(super) fn set_aside(folder: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let mut files = Vec::new();
    let failed = |error| OpenError::of(folder, error);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path().to_string_lossy().into_owned();
        if path.contains(SET_ASIDE) {
            // A file and what belongs to it are one.
            let whole = PARTS.iter().skip(1).find_map(|end| path.strip_suffix(end));
            files.push(PathBuf::from(whole.unwrap_or(&path)));
        }
    }
    files.sort();
    files.dedup();
    Ok(files)
}

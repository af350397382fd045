//! Why a journal's file cannot be used: whether it is damaged, or only cannot be opened now. What is
//! done about it is the business of `file`.

use std::path::Path;

use rusqlite::ErrorCode;

use super::OpenError;

/// Why a file cannot be used.
pub(super) enum Trouble {
    Damaged(String),
    Refused(OpenError),
    Other(rusqlite::Error),
    Io(std::io::Error),
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        let short = rusqlite::ffi::SQLITE_IOERR_SHORT_READ;
        if error
            .sqlite_error()
            .is_some_and(|error| error.extended_code == short)
        {
            return Self::Damaged("it ends too early".into());
        }
        match error.sqlite_error_code() {
            // What is wrong with the machine, now, and not with the bytes.
            Some(
                ErrorCode::CannotOpen
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::NoLargeFileSupport
                | ErrorCode::OutOfMemory
                | ErrorCode::PermissionDenied
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure,
            ) => Self::Other(error),
            // A table that is missing, a text that is none.
            _ => Self::Damaged(error.to_string()),
        }
    }
}

impl Trouble {
    pub(super) fn into_error(self, path: &Path) -> OpenError {
        let path = path.to_owned();
        match self {
            Self::Refused(error) => error,
            Self::Other(source) => OpenError::Database { path, source },
            Self::Io(source) => OpenError::of(&path, source),
            Self::Damaged(why) => OpenError::Database {
                path,
                source: rusqlite::Error::SqliteFailure(
                    rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
                    Some(why),
                ),
            },
        }
    }
}

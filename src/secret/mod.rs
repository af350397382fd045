//! Secrets: values that cannot be printed, where they are read from, and texts from which they are
//! taken out (`redact`).

mod escapes;
mod layers;
mod redact;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

pub use redact::Redactor;

/// A secret value: `Debug` shows nothing of it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps a value.
    #[must_use]
    pub fn new(value: &str) -> Self {
        Self(value.into())
    }

    /// The value itself; whoever calls this keeps it out of every output.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Where a secret comes from. Files and credentials are read at each use, so that a rotated one
/// needs no restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// Written in the configuration itself; allowed with a warning.
    Literal(Secret),
    /// A file; blanks, ends of lines and a byte order mark around it are not part of the secret.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// A file of this name in `$CREDENTIALS_DIRECTORY`, see systemd's `LoadCredential=`.
    Credential(String),
}

/// A secret that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file could not be read.
    #[error("cannot read the secret in {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There are no credentials here.
    #[error(
        "{name} is a credential, and there are none: $CREDENTIALS_DIRECTORY is not set; \
         systemd sets it for a unit with LoadCredential={name}:PATH; elsewhere set it to a directory \
         with a file {name}"
    )]
    Credential {
        /// What was asked for.
        name: String,
    },
    /// The variable is not set, or not text.
    #[error("cannot read the secret in the environment variable {name}")]
    Env {
        /// The variable.
        name: String,
        /// Why.
        source: std::env::VarError,
    },
    /// There is nothing in it.
    #[error("the secret is empty")]
    Empty,
}

impl SecretSource {
    /// Reads the secret.
    ///
    /// # Errors
    /// If the file or variable cannot be read, or is empty.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let text = match self {
            Self::Literal(secret) => return Ok(secret.clone()),
            Self::File(path) => file(path.clone())?,
            Self::Env(name) => variable(name)?,
            Self::Credential(name) => {
                let folder = std::env::var_os("CREDENTIALS_DIRECTORY");
                let none = || SecretError::Credential { name: name.clone() };
                file(PathBuf::from(folder.ok_or_else(none)?).join(name))?
            }
        };
        let text = match self {
            // Whoever sets a variable writes no more than the value.
            Self::Env(_) => text.trim_end_matches(['\n', '\r']),
            _ => text.trim_start_matches('\u{feff}').trim(),
        };
        match text {
            "" => Err(SecretError::Empty),
            text => Ok(Secret::new(text)),
        }
    }
}

fn variable(name: &str) -> Result<String, SecretError> {
    std::env::var(name).map_err(|source| SecretError::Env {
        name: name.to_owned(),
        source,
    })
}

fn file(path: PathBuf) -> Result<String, SecretError> {
    std::fs::read_to_string(&path).map_err(|source| SecretError::File { path, source })
}

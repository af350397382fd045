//! Secrets: values that cannot be printed, and texts from which they are taken out.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

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
    /// A file; a trailing newline is not part of the secret.
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
                let folder = PathBuf::from(variable("CREDENTIALS_DIRECTORY")?);
                file(folder.join(name))?
            }
        };
        match text.trim_end_matches(['\n', '\r']) {
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

/// Takes secrets out of texts, in the forms in which they travel.
#[derive(Debug, Default, Clone)]
pub struct Redactor {
    needles: Vec<Secret>,
}

impl Redactor {
    /// Learns a secret and its derived forms: percent-encoded and JSON-escaped. (Base64 has no
    /// form that is found for sure inside a longer text: what is sent encoded is learned as sent.)
    pub fn learn(&mut self, secret: &str) {
        // Shorter ones would tear holes into every text and are not secret anyhow.
        if secret.len() < 4 {
            return;
        }
        let json = serde_json::Value::from(secret).to_string();
        let forms = [
            secret.to_owned(),
            utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
            json[1..json.len() - 1].to_owned(),
        ];
        for form in forms {
            let form = Secret::new(&form);
            if !self.needles.contains(&form) {
                self.needles.push(form);
            }
        }
    }

    /// The text without them.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        self.needles.iter().fold(text.to_owned(), |text, needle| {
            text.replace(needle.expose(), "[secret]")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_form_of_a_secret_gets_out() {
        let mut redactor = Redactor::default();
        redactor.learn("pa ss\"word/1");
        let text = "a pa ss\"word/1 b pa%20ss%22word%2F1 c pa ss\\\"word/1 d";
        assert_eq!(redactor.redact(text), "a [secret] b [secret] c [secret] d");
        assert_eq!(format!("{:?}", Secret::new("hush")), "[secret]");
    }
}

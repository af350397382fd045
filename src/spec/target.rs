//! What specs are run on.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;

use crate::client::Endpoint;
use crate::outcome::{Cause, Failure};
use crate::secret::{Redactor, SecretSource};

/// What a target speaks: actions that need another kind cannot run on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TargetKind {
    /// Any HTTP API.
    Http,
}

impl TargetKind {
    /// Every kind, by its `type` in the configuration.
    pub const ALL: [(&'static str, Self); 1] = [("http", Self::Http)];
}

/// How requests to a target are authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer …`, RFC 6750.
    Bearer(SecretSource),
    /// `Authorization: Basic …`, RFC 7617.
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: SecretSource,
    },
}

impl Auth {
    /// The value of the `Authorization` header; `redactor` learns every form of the secret.
    ///
    /// # Errors
    /// If the secret cannot be read: our fault, not the target's.
    pub fn header(&self, redactor: &mut Redactor) -> Result<HeaderValue, Failure> {
        let read = |source: &SecretSource, redactor: &mut Redactor| {
            let secret = source.read().map_err(|error| {
                Failure::new(Cause::Secret, crate::outcome::chain(&error)).without_effect()
            })?;
            redactor.learn(secret.expose());
            Ok::<_, Failure>(secret)
        };
        let text = match self {
            Self::Bearer(token) => format!("Bearer {}", read(token, redactor)?.expose()),
            Self::Basic { username, password } => {
                let password = read(password, redactor)?;
                let pair = BASE64_STANDARD.encode(format!("{username}:{}", password.expose()));
                redactor.learn(&pair);
                format!("Basic {pair}")
            }
        };
        let mut value = HeaderValue::try_from(text).map_err(|_| {
            Failure::new(Cause::Secret, "the secret cannot be put into a header").without_effect()
        })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// One target of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// What it speaks.
    pub kind: TargetKind,
    /// Where it is.
    pub endpoint: Endpoint,
    /// How requests are authenticated.
    pub auth: Option<Auth>,
    /// How many runs may use it at once.
    pub concurrency: u32,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.endpoint)
    }
}

//! What specs are run on.

use std::fmt;

use crate::client::Endpoint;
use crate::secret::SecretSource;

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

//! What specs are run on.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::identity::Auth;
use crate::client::Endpoint;
use crate::secret::SecretSource;

/// What a target speaks: actions that need another kind cannot run on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TargetKind {
    /// Any HTTP API.
    Http,
    /// The manager of a Backend.AI cluster.
    BackendAi,
    /// The web server before such a manager, where people log in.
    BackendAiWeb,
    /// Anything that is reached over TCP, and perhaps TLS.
    Tcp,
}

impl TargetKind {
    /// Every kind, by its `type` in the configuration.
    pub const ALL: [(&'static str, Self); 4] = [
        ("http", Self::Http),
        ("backendai", Self::BackendAi),
        ("backendai-web", Self::BackendAiWeb),
        ("tcp", Self::Tcp),
    ];

    /// The kind that this word means.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|(name, _)| *name == word)
            .map(|(_, kind)| kind)
    }

    /// Whether it speaks HTTP.
    #[must_use]
    pub const fn speaks_http(self) -> bool {
        !matches!(self, Self::Tcp)
    }

    /// What to write for a kind.
    #[must_use]
    pub fn help() -> String {
        Self::ALL
            .map(|(word, _)| format!("\"{word}\""))
            .join(" or ")
    }
}

impl fmt::Display for TargetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::ALL.into_iter().find(|(_, kind)| kind == self);
        f.write_str(word.map_or("", |(word, _)| word))
    }
}

/// What an action needs of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// That it speaks HTTP.
    Http,
    /// That it is of this kind.
    Kind(TargetKind),
}

impl Needs {
    /// Whether a target of this kind will do.
    #[must_use]
    pub fn fits(self, kind: TargetKind) -> bool {
        match self {
            Self::Http => kind.speaks_http(),
            Self::Kind(needed) => needed == kind,
        }
    }

    /// The stricter of two.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match self {
            Self::Http => other,
            Self::Kind(_) => self,
        }
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http => f.write_str("a target that speaks HTTP"),
            Self::Kind(kind) => write!(f, "a target of type \"{kind}\""),
        }
    }
}

/// One target of the configuration.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// What it speaks.
    pub kind: TargetKind,
    /// Where it is.
    pub endpoint: Endpoint,
    /// How requests are authenticated.
    pub auth: Arc<dyn Auth>,
    /// What specs read as `${secret.NAME}`, for instance a password to log in with.
    pub secrets: BTreeMap<String, SecretSource>,
    /// How many runs may use it at once.
    pub concurrency: u32,
}

impl Target {
    /// Whether `name` means it: its own name, or that of the table that it comes from with others.
    #[must_use]
    pub fn is_called(name: &str, by: &str) -> bool {
        let rest = name.strip_prefix(by);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.endpoint)
    }
}

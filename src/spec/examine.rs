//! What `testerd check --online` asks a target before anything runs on it.

use futures_util::future::BoxFuture;

use super::action::Context;
use crate::text::Params;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub subject: &'static str,
    /// What was found.
    pub found: String,
    /// What to do about it; `None` if it is as it should be.
    pub remedy: Option<String>,
}

impl Finding {
    /// Something that is as it should be.
    pub fn good(subject: &'static str, found: impl Into<String>) -> Self {
        Self {
            subject,
            found: found.into(),
            remedy: None,
        }
    }

    /// Something that is not.
    pub fn bad(subject: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            subject,
            found: found.into(),
            remedy: Some(remedy.into()),
        }
    }
}

/// Code that examines targets of one kind; it is also told the target's `vars`.
pub type Examiner = for<'a> fn(&'a mut Context<'_>, &'a Params) -> BoxFuture<'a, Vec<Finding>>;

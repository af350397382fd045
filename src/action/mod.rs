//! What a step can do on any target: the general actions and resources.
//!
//! To add one: a file here with its `build` function, and one line in `catalog`. An action parses
//! its own keys, performs once, and leaves deadlines, retries and recording to the runner.

mod arrival;
mod capture;
mod certificate;
mod charset;
mod content;
mod examine;
mod expect;
mod http;
mod http_resource;
mod items;
mod keys;
pub mod kind;
mod manner;
mod multipart;
mod place;
mod poll;
mod request;
mod schema;
mod sleep;
mod sse;
mod starttls;
mod tcp;
mod tls;
mod websocket;
mod wire;

use std::fmt;

pub use self::certificate::{Certificate, Unreadable, valid_for};
pub use self::examine::{examine, examine_tcp};
pub use self::http::{KEYS as HTTP_KEYS, build as build_http};
pub use self::http_resource::{
    KEYS as HTTP_RESOURCE_KEYS, KIND as HTTP_RESOURCE, build as build_http_resource,
    undoer as undo_http_resource,
};
pub use self::keys::{Key, Part};
pub use self::poll::UNTIL;
pub use self::sleep::{KEYS as SLEEP_KEYS, build as build_sleep};
pub use self::sse::{KEYS as SSE_KEYS, build as build_sse};
pub use self::tcp::{KEYS as TCP_KEYS, build as build_tcp};
pub use self::tls::{KEYS as TLS_KEYS, build as build_tls};
pub use self::websocket::{KEYS as WEBSOCKET_KEYS, build as build_websocket};

// For the actions of one kind of target, which live beside this module.
pub(crate) use self::capture::{CAPTURE, Captures};
pub(crate) use self::content::excerpt;
pub(crate) use self::examine::reach;
pub(crate) use self::expect::{Expectation, REFUSED, Reply};
pub(crate) use self::http_resource::refusal_is_certain;
pub(crate) use self::keys::Keys;
pub(crate) use self::poll::{EXPECT, Judge};
pub(crate) use self::request::broken_record;

use crate::outcome::{Cause, Failure};
use crate::spec::{Needs, Undoer, Work};
use crate::text::{Fields, Refused};

/// What a builder must know of the step whose keys it reads.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'a> {
    /// The step's name, `-` written as `_`.
    pub own: &'a str,
    /// Whether it polls: what does not hold is then "not yet".
    pub polls: bool,
}

/// A built action, and what the plan must know of it.
pub struct Built {
    /// The action or resource.
    pub work: Work,
    /// The captures it writes, and whether they are secret.
    pub writes: Vec<(String, bool)>,
    /// Captures of others that its undo record would hold.
    pub recorded: Vec<(crate::text::Read, crate::text::At)>,
}

/// One thing that a step can do.
pub struct Entry {
    /// The name that specs write after `use`.
    pub name: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// What it needs of a target, if anything.
    pub needs: Option<Needs>,
    /// Whether it is undone.
    pub is_resource: bool,
    /// Whether it may poll.
    pub polls: bool,
    /// Whether its attempts have the phases of HTTP, or the first of them.
    pub speaks_http: bool,
    /// Its own keys, beside those that every step has.
    pub keys: &'static [Part],
    /// A spec that uses it, for readers to copy.
    pub example: &'static str,
    /// Reads its keys.
    pub build: fn(&mut Fields<'_, '_>, Shape<'_>) -> Option<Built>,
    /// Carries out the undos whose kind is its name.
    pub undo: Option<Undoer>,
}

impl fmt::Debug for Built {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Built")
            .field("writes", &self.writes)
            .finish_non_exhaustive()
    }
}

/// A value that was refused before anything was sent.
fn refused(error: &Refused) -> Failure {
    Failure::new(Cause::Input, error.to_string()).without_effect()
}

//! Backend.AI: what is its own about requests, sessions, folders, users and model services.
//!
//! What any HTTP API could need is in `client` and `action`; here is only what this cluster's
//! manager does differently. The facts are those of the managers of 24.09 and 26, see
//! `docs/backendai.md`.
//!
//! To add an action: a file here, and an entry below. To add something that is made and removed:
//! a [`thing::Thing`].

mod api;
mod examine;
mod graphql;
mod identity;
mod session;
pub mod signing;
mod thing;
mod version;

pub use examine::examine;
pub use identity::KeyPair;

use crate::action::Entry;
use crate::spec::TargetKind;
use thing::Thing;

const fn thing<T: Thing>(summary: &'static str) -> Entry {
    Entry {
        name: T::KIND,
        summary,
        needs: Some(TargetKind::BackendAi),
        is_resource: true,
        polls: false,
        speaks_http: true,
        build: thing::build::<T>,
        undo: Some(thing::undo::<T>),
    }
}

/// All of them.
pub const ENTRIES: [Entry; 2] = [
    Entry {
        name: "backendai.graphql",
        summary: "asks or changes something by the GraphQL API and checks the answer",
        needs: Some(TargetKind::BackendAi),
        is_resource: false,
        polls: true,
        speaks_http: true,
        build: graphql::build,
        undo: None,
    },
    thing::<session::Session>("enqueues a compute session, and destroys it whatever happens"),
];

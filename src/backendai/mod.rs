//! Backend.AI: what is its own about requests, sessions, folders, users and model services.
//!
//! What any HTTP API could need is in `client` and `action`; here is only what this cluster's
//! manager does differently. The facts are those of the managers of 24.09 and 26, see
//! `docs/backendai.md`.
//!
//! To add an action: a [`deed::Deed`] in a file here, and an entry below. To add something that is
//! made and removed: a [`thing::Thing`].

mod api;
mod deed;
mod events;
mod examine;
mod execute;
mod folder;
mod graphql;
mod group;
mod identity;
mod image;
mod logs;
mod member;
mod service;
mod session;
mod sharing;
pub mod signing;
mod task;
mod template;
mod thing;
mod transfer;
mod user;
mod version;
mod watch;

pub use examine::examine;
pub use identity::KeyPair;

use crate::action::{Built, Entry, Part, Shape};
use crate::spec::{Needs, TargetKind};
use crate::text::Fields;
use deed::Deed;
use thing::Thing;

/// The example of an action, by its name without `backendai.`.
macro_rules! example {
    ($name:literal) => {
        include_str!(concat!("examples/", $name, ".toml"))
    };
}

const fn thing<T: Thing>(summary: &'static str, example: &'static str) -> Entry {
    Entry {
        name: T::KIND,
        summary,
        needs: Some(Needs::Kind(TargetKind::BackendAi)),
        is_resource: true,
        polls: false,
        speaks_http: true,
        keys: T::TABLE,
        example,
        build: thing::build::<T>,
        undo: Some(thing::undoer::<T>),
    }
}

const fn deed<D: Deed>(summary: &'static str, example: &'static str) -> Entry {
    act(D::NAME, summary, D::TABLE, example, deed::build::<D>)
}

const fn act(
    name: &'static str,
    summary: &'static str,
    keys: &'static [Part],
    example: &'static str,
    build: fn(&mut Fields<'_, '_>, Shape<'_>) -> Option<Built>,
) -> Entry {
    Entry {
        name,
        summary,
        needs: Some(Needs::Kind(TargetKind::BackendAi)),
        is_resource: false,
        polls: false,
        speaks_http: true,
        keys,
        example,
        build,
        undo: None,
    }
}

/// All of them.
pub const ENTRIES: [Entry; 18] = [
    Entry {
        polls: true,
        ..act(
            "backendai.graphql",
            "asks or changes something by the GraphQL API and checks the answer",
            graphql::TABLE,
            example!("graphql"),
            graphql::build,
        )
    },
    deed::<watch::Await>(
        "waits until a session runs, or has ended one way or the other",
        example!("await"),
    ),
    deed::<execute::Execute>(
        "runs code in a session and checks what it prints",
        example!("execute"),
    ),
    deed::<task::Task>("waits until a background task is done", example!("task")),
    deed::<logs::Logs>(
        "reads the log of every container of a session",
        example!("logs"),
    ),
    deed::<service::Replicas>(
        "waits until as many sessions of a model service run as should",
        example!("replicas"),
    ),
    deed::<transfer::Upload>(
        "puts files into a folder, piece by piece, by tus",
        example!("upload"),
    ),
    act(
        "backendai.download",
        "fetches a file of a folder from the storage and checks it",
        transfer::DOWNLOAD,
        example!("download"),
        transfer::build_download,
    ),
    thing::<service::Service>("makes a model service", example!("service")),
    thing::<image::Image>("makes an image of a session", example!("image")),
    thing::<template::Template>("makes a session template", example!("template")),
    thing::<session::Session>(
        "enqueues a compute session, and destroys it whatever happens",
        example!("session"),
    ),
    thing::<folder::Folder>(
        "makes a storage folder, and removes it with all that is in it",
        example!("folder"),
    ),
    thing::<user::User>(
        "makes a user to act as, and purges it with all that it owns",
        example!("user"),
    ),
    thing::<group::Group>(
        "makes a project, and purges it when the sessions in it have ended",
        example!("group"),
    ),
    thing::<member::Member>(
        "makes a user a member of a project, and takes them out again",
        example!("member"),
    ),
    thing::<sharing::Invitation>(
        "invites a user to a folder, and takes back what came of it",
        example!("invitation"),
    ),
    thing::<sharing::Share>(
        "shares a project's folder with users, and unshares it",
        example!("share"),
    ),
];

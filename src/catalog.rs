//! The one list of actions and resources by name, and of the code that carries out undos.

use crate::action::{self, Built, Shape};
use crate::spec::{TargetKind, Undoer};
use crate::text::Fields;

/// One thing that a step can do.
pub struct Entry {
    /// The name that specs write after `use`.
    pub name: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// The kind of target it needs, if any.
    pub needs: Option<TargetKind>,
    /// Whether it is undone.
    pub is_resource: bool,
    /// Whether it may poll.
    pub polls: bool,
    /// Whether its attempts speak HTTP.
    pub speaks_http: bool,
    /// Reads its keys.
    pub build: fn(&mut Fields<'_, '_>, Shape<'_>) -> Option<Built>,
    /// Carries out the undos whose kind is its name.
    pub undo: Option<Undoer>,
}

/// Every action and resource.
pub const CATALOG: [Entry; 5] = [
    Entry {
        name: "http",
        summary: "sends one HTTP request and checks the answer",
        needs: Some(TargetKind::Http),
        is_resource: false,
        polls: true,
        speaks_http: true,
        build: action::build_http,
        undo: None,
    },
    Entry {
        name: action::HTTP_RESOURCE,
        summary: "creates something by an HTTP request, and deletes it whatever happens",
        needs: Some(TargetKind::Http),
        is_resource: true,
        polls: false,
        speaks_http: true,
        build: action::build_http_resource,
        undo: Some(action::undo_http_resource),
    },
    Entry {
        name: "sse",
        summary: "waits for an event on a stream of server-sent events",
        needs: Some(TargetKind::Http),
        is_resource: false,
        polls: false,
        speaks_http: true,
        build: action::build_sse,
        undo: None,
    },
    Entry {
        name: "websocket",
        summary: "exchanges messages over a WebSocket",
        needs: Some(TargetKind::Http),
        is_resource: false,
        polls: false,
        speaks_http: true,
        build: action::build_websocket,
        undo: None,
    },
    Entry {
        name: "sleep",
        summary: "waits",
        needs: None,
        is_resource: false,
        polls: false,
        speaks_http: false,
        build: action::build_sleep,
        undo: None,
    },
];

/// The entry called `name`.
pub fn find(name: &str) -> Option<&'static Entry> {
    CATALOG.iter().find(|entry| entry.name == name)
}

/// The code that carries out undos of `kind`.
pub fn undoer(kind: &str) -> Option<Undoer> {
    find(kind)?.undo
}

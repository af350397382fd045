//! The one list of actions and resources by name, and of the code that carries out undos.

use crate::action::{self, Entry};
use crate::backendai;
use crate::spec::{Examiner, Needs, TargetKind, Undoer};

/// What any target can be asked for.
const GENERAL: [Entry; 7] = [
    Entry {
        name: "http",
        summary: "sends one HTTP request and checks the answer",
        needs: Some(Needs::Http),
        is_resource: false,
        polls: true,
        speaks_http: true,
        keys: action::HTTP_KEYS,
        example: include_str!("action/examples/http.toml"),
        build: action::build_http,
        undo: None,
    },
    Entry {
        name: action::HTTP_RESOURCE,
        summary: "creates something by an HTTP request, and deletes it whatever happens",
        needs: Some(Needs::Http),
        is_resource: true,
        polls: false,
        speaks_http: true,
        keys: action::HTTP_RESOURCE_KEYS,
        example: include_str!("action/examples/http.resource.toml"),
        build: action::build_http_resource,
        undo: Some(action::undo_http_resource),
    },
    Entry {
        name: "sse",
        summary: "waits for an event on a stream of server-sent events",
        needs: Some(Needs::Kind(TargetKind::Http)),
        is_resource: false,
        polls: false,
        speaks_http: true,
        keys: action::SSE_KEYS,
        example: include_str!("action/examples/sse.toml"),
        build: action::build_sse,
        undo: None,
    },
    Entry {
        name: "websocket",
        summary: "exchanges messages over a WebSocket",
        needs: Some(Needs::Kind(TargetKind::Http)),
        is_resource: false,
        polls: false,
        speaks_http: true,
        keys: action::WEBSOCKET_KEYS,
        example: include_str!("action/examples/websocket.toml"),
        build: action::build_websocket,
        undo: None,
    },
    Entry {
        name: "tcp",
        summary: "says and hears lines over TCP or TLS",
        needs: None,
        is_resource: false,
        polls: false,
        speaks_http: true,
        keys: action::TCP_KEYS,
        example: include_str!("action/examples/tcp.toml"),
        build: action::build_tcp,
        undo: None,
    },
    Entry {
        name: "tls",
        summary: "shakes hands, and looks at the certificates",
        needs: None,
        is_resource: false,
        polls: false,
        speaks_http: true,
        keys: action::TLS_KEYS,
        example: include_str!("action/examples/tls.toml"),
        build: action::build_tls,
        undo: None,
    },
    Entry {
        name: "sleep",
        summary: "waits",
        needs: None,
        is_resource: false,
        polls: false,
        speaks_http: false,
        keys: action::SLEEP_KEYS,
        example: include_str!("action/examples/sleep.toml"),
        build: action::build_sleep,
        undo: None,
    },
];

/// Every action and resource.
pub fn all() -> impl Iterator<Item = &'static Entry> {
    GENERAL.iter().chain(&backendai::ENTRIES)
}

/// The entry called `name`.
pub fn find(name: &str) -> Option<&'static Entry> {
    all().find(|entry| entry.name == name)
}

/// The code that carries out undos of `kind`.
pub fn undoer(kind: &str) -> Option<Undoer> {
    find(kind)?.undo
}

/// The code that examines targets of a kind.
pub fn examiner(kind: TargetKind) -> Examiner {
    match kind {
        TargetKind::Http | TargetKind::BackendAiWeb => action::examine,
        TargetKind::BackendAi => backendai::examine,
        TargetKind::Tcp => action::examine_tcp,
    }
}

//! A stand-in for a Backend.AI manager of line 26, with its web server, storage proxy and app proxy,
//! all on one port. It serves the demo and the tests; there are no containers behind it, and what
//! looks like progress is computed from the clock (`hall`).
//!
//! It answers as the real one does, refusals and oddities included, as far as the specs ask;
//! everything else is 404 in the real one's words. Faults are not its business: whoever needs some
//! puts a layer around [`StandIn::router`]. What is alive, and what came and went, stands in its books.
//!
//! | request | answer |
//! |---|---|
//! | `GET /`, `/health` | the version, unsigned |
//! | `POST /auth`, `GET /auth/role`, `/manager/status` | who asks, and that the signature holds |
//! | `POST /session`, `GET`, `DELETE /session/{s}` | enqueues, tells, ends; the state follows from the [`Pace`] |
//! | `GET /session/_/match`, `…/logs`, `…/status-history`, `…/dependency-graph` | |
//! | `GET /session/{s}/files`, `POST …/download` | what the bootstrap script made, and mounted folders |
//! | `POST /session/{s}`, `GET /stream/session/{s}/execute` | runs a little Python, by requests or over WebSocket |
//! | `POST …/rename`, `…/interrupt`, `…/complete`, `…/commit`, `…/imagify` | the last only [with a registry](StandIn::with_registry) |
//! | `GET /events/session`, `/events/background-task` | event streams |
//! | `/template/session`, `POST /session/_/create-from-template` | 500 after it was made, if [so set](Setup::templates_fail) |
//! | `/folders`, `/folders/{f}` and its files, trash, sharing, invitations | as `folder` lists them |
//! | `/storage/upload`, `/storage/download` | tus, ranges, zip; with a token |
//! | `/services`, `/services/{id}`, `…/scale`, `…/token` | each replica is a session |
//! | `GET /apps/{service}/health` | 200, or 401 without a token |
//! | `GET /scaling-groups`, `…/{name}/wsproxy-version` | |
//! | `POST /admin/gql` | what `graphql::schema` lists |
//! | `/server/login`, `…/login-check`, `…/logout`, `/func/…` | the web server, with a cookie |
//!
//! It is kinder than 26.9.6 in this: sessions on several nodes run, files in sessions are there,
//! model services come up, and a project that had one can be purged when it has gone.

mod accounts;
mod books;
mod dates;
mod folder;
mod gate;
mod graphql;
mod hall;
mod images;
mod refusal;
mod services;
mod session;
mod stream;
mod tasks;
mod templates;
mod web;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State as Here};
use axum::http::header::{CONTENT_TYPE, SERVER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub use books::{Change, Entry};

use gate::{Caller, Sent};
use hall::Hall;
use refusal::{Refusal, no_method, no_path, no_privilege};

/// The API version of line 26.
const VERSION: &str = "v9.20250722";
/// What it calls itself: a release that has the fault of [`Setup::templates_fail`], or one without.
const RELEASES: [&str; 2] = ["26.10.0 stand-in", "26.9.6 stand-in"];
/// The only image there is.
pub const IMAGE: &str = "registry.invalid/stable/python:3.13-ubuntu24.04";
const ARCHITECTURE: &str = "x86_64";
const SCALING_GROUP: &str = "default";
const AGENTS: u32 = 4;
/// The only volume, as folders name their host.
const HOST: &str = "local:volume1";
/// Of a user's policy.
const MOST_REPLICAS: u64 = 10;

/// How fast things go.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// From one state of a session to the next.
    pub state: Duration,
    /// A background task takes so long.
    pub task: Duration,
    /// So long a request waits for the end of what it executes before it says that it goes on.
    pub flush: Duration,
}

impl Pace {
    /// About that of a cluster with nothing else to do.
    pub const CALM: Self = Self {
        state: Duration::from_secs(2),
        task: Duration::from_secs(1),
        flush: Duration::from_secs(2),
    };
    /// For demonstrations.
    pub const BRISK: Self = Self {
        state: Duration::from_millis(120),
        task: Duration::from_millis(300),
        flush: Duration::from_secs(2),
    };
    /// For tests on the wall clock.
    pub const QUICK: Self = Self {
        state: Duration::from_millis(10),
        task: Duration::from_millis(10),
        flush: Duration::from_millis(100),
    };
}

/// What a stand-in begins with: one superadmin.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Their name at the web server.
    pub email: String,
    /// Their password there.
    pub password: String,
    /// Their key pair's public part.
    pub access_key: String,
    /// And its other part.
    pub secret_key: String,
    /// How fast things go.
    pub pace: Pace,
    /// Whether making a session from a template answers 500 after it has made the session, as
    /// 26.9.6 does.
    pub templates_fail: bool,
}

/// A stand-in's state and its calls.
#[derive(Debug, Clone)]
pub struct StandIn {
    hall: Arc<Hall>,
}

impl StandIn {
    /// As it is before anybody has asked for anything.
    #[must_use]
    pub fn new(setup: &Setup) -> Self {
        let hall = Arc::new(Hall::open(setup));
        Self { hall }
    }

    /// Gives the default project a registry, into which sessions can be made images.
    #[must_use]
    pub fn with_registry(self) -> Self {
        self.hall.enter(hall::State::add_registry);
        self
    }

    /// All calls, to be served by anybody; connections must allow upgrades.
    pub fn router(&self) -> Router {
        let hall = Arc::clone(&self.hall);
        let through_web = axum::middleware::from_fn_with_state(hall, web::recognize);
        Self::manager()
            .merge(web::routes())
            .nest("/func", Self::manager().layer(through_web))
            .fallback(unknown)
            .method_not_allowed_fallback(async || no_method())
            .layer(axum::middleware::map_response(usual_headers))
            .merge(folder::storage_routes())
            .merge(services::proxied_routes())
            .with_state(Arc::clone(&self.hall))
    }

    fn manager() -> Router<Arc<Hall>> {
        Router::new()
            .route("/", get(version))
            .route("/health", get(health))
            .route("/auth", post(auth))
            .route("/auth/role", get(role))
            .route("/manager/status", get(status))
            .merge(session::routes())
            .merge(folder::routes())
            .merge(tasks::routes())
            .merge(services::routes())
            .merge(templates::routes())
            .merge(graphql::routes())
    }

    /// Serves until `shutdown`; streams and conversations end then, other requests are answered.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let router = self.router();
        let stop = async move {
            shutdown.cancelled().await;
            self.hall.close();
        };
        axum::serve(listener, router)
            .with_graceful_shutdown(stop)
            .await
    }
}

/// Takes an address for [`StandIn::serve`]; port 0 is any free one.
pub fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(addr)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn told(status: StatusCode, value: &Value) -> Response {
    let json = [(CONTENT_TYPE, "application/json; charset=utf-8")];
    (status, json, value.to_string()).into_response()
}

async fn usual_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(SERVER, HeaderValue::from_static("BackendAI"));
    for (name, value) in [
        ("X-RateLimit-Limit", "30000"),
        ("X-RateLimit-Remaining", "29999"),
        ("X-RateLimit-Reset", "900"),
        ("X-RateLimit-Window", "900"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn unknown(request: Request) -> Refusal {
    no_path(request.uri().path())
}

async fn version(Here(hall): Here<Arc<Hall>>) -> Response {
    let manager = hall.look(|state| state.release());
    told(
        StatusCode::OK,
        &json!({ "version": VERSION, "manager": manager }),
    )
}

async fn health(Here(hall): Here<Arc<Hall>>) -> Response {
    let manager = hall.look(|state| state.release());
    told(
        StatusCode::OK,
        &json!({ "status": "ok", "version": manager }),
    )
}

async fn auth(_caller: Caller, sent: Sent) -> Result<Response, Refusal> {
    let echo = sent.text(&["echo"])?;
    Ok(told(
        StatusCode::OK,
        &json!({ "authorized": "yes", "echo": echo }),
    ))
}

async fn role(caller: Caller) -> Response {
    let domain = if caller.is_superadmin() {
        "admin"
    } else {
        "user"
    };
    let roles = json!({
        "global_role": caller.role.word(), "domain_role": domain, "group_role": null,
    });
    told(StatusCode::OK, &roles)
}

async fn status(caller: Caller) -> Result<Response, Refusal> {
    if !caller.is_superadmin() {
        return Err(no_privilege());
    }
    let status = json!({ "nodes": [], "status": "running", "active_sessions": 0 });
    Ok(told(StatusCode::OK, &status))
}

#[cfg(test)]
mod tests;

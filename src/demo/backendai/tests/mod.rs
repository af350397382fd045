//! The stand-in as a client meets it: requests go through its router, signed, on a clock that the
//! tests move.

mod accounts;
mod folders;
mod sessions;
mod streams;

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};

use super::{Change, Entry, IMAGE, Pace, Setup, StandIn, VERSION, dates};
use crate::backendai::signing::{Signed, authorization, signature};

const HOST: &str = "stand-in.test:1";
/// So long a session stays in each of its states.
const STATE: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
struct Keys(String, String);

/// What was answered.
#[derive(Debug)]
struct Told {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
    json: Value,
}

impl Told {
    fn code(&self) -> &str {
        self.json["error_code"].as_str().unwrap_or_default()
    }
}

/// A stand-in and its operator's key pair.
struct Site {
    stand_in: StandIn,
    service: TowerToHyperService<Router>,
    operator: Keys,
}

impl Site {
    fn open() -> Self {
        Self::of(|_| ())
    }

    fn of(change: impl FnOnce(&mut Setup)) -> Self {
        let operator = Keys("AKIAOPERATOR".into(), "secret".into());
        let mut setup = Setup {
            email: "operator@site.test".into(),
            password: "password".into(),
            access_key: operator.0.clone(),
            secret_key: operator.1.clone(),
            pace: Pace::CALM,
            templates_fail: true,
        };
        change(&mut setup);
        let stand_in = StandIn::new(&setup);
        let service = TowerToHyperService::new(stand_in.router());
        Self {
            stand_in,
            service,
            operator,
        }
    }

    async fn send(&self, request: Request<Body>) -> Response {
        self.service.call(request).await.unwrap()
    }

    async fn answer(&self, request: Request<Body>) -> Told {
        let response = self.send(request).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Told {
            status: head.status.as_u16(),
            headers: head.headers,
            json: serde_json::from_slice(&body).unwrap_or_default(),
            body,
        }
    }

    /// As somebody with these keys.
    async fn ask_as(&self, keys: &Keys, call: &str, body: Value) -> Told {
        let (method, path) = call.split_once(' ').unwrap();
        let body = (!body.is_null()).then_some(body);
        self.answer(signed(keys, method, path, body.as_ref())).await
    }

    /// As the operator.
    async fn ask(&self, call: &str, body: Value) -> Told {
        self.ask_as(&self.operator, call, body).await
    }

    async fn get(&self, path: &str) -> Told {
        self.ask(&format!("GET {path}"), Value::Null).await
    }

    /// The root field of a GraphQL answer, or the code of its error.
    async fn graphql(&self, query: &str, variables: Value) -> Result<Value, String> {
        let body = json!({ "query": query, "variables": variables });
        let told = self.ask("POST /admin/gql", body).await;
        assert_eq!(told.status, 200, "{query}");
        let code = told.json.pointer("/errors/0/extensions/code");
        match code {
            Some(code) => Err(code.as_str().unwrap().to_owned()),
            None => Ok(told.json["data"]
                .as_object()
                .unwrap()
                .values()
                .next()
                .unwrap()
                .clone()),
        }
    }

    /// Enqueues a session and tells its id.
    async fn enqueue(&self, name: &str, more: Value) -> String {
        let told = self.ask("POST /session", session(name, more)).await;
        assert_eq!(
            (told.status, &told.json["status"]),
            (201, &json!("PENDING")),
            "{name}"
        );
        told.json["sessionId"].as_str().unwrap().to_owned()
    }

    async fn status_of(&self, id: &str) -> String {
        let query = "query($id: UUID!) { compute_session(id: $id) { status } }";
        let found = self.graphql(query, json!({ "id": id })).await.unwrap();
        found["status"].as_str().unwrap().to_owned()
    }

    fn alive(&self) -> Vec<(&'static str, String)> {
        let alive = self.stand_in.alive().into_iter();
        alive.map(|Entry { kind, name, .. }| (kind, name)).collect()
    }
}

/// A request as its sender must sign it.
fn signed(keys: &Keys, method: &str, path: &str, body: Option<&Value>) -> Request<Body> {
    let date = dates::written(crate::text::wall_clock());
    let day: String = date[..10].split('-').collect();
    let signed = Signed {
        method,
        path,
        date: &date,
        day: &day,
        host: HOST,
        content_type: body.map_or("application/octet-stream", |_| "application/json"),
        version: VERSION,
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("Host", HOST)
        .header("Date", &date)
        .header("X-BackendAI-Version", VERSION)
        .header(
            "Authorization",
            authorization(&keys.0, &signature(&keys.1, signed)),
        );
    let request = match body {
        Some(_) => request.header("Content-Type", "application/json; charset=utf-8"),
        None => request,
    };
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    request.body(body).unwrap()
}

/// A request to create a session.
fn session(name: &str, more: Value) -> Value {
    let mut body = json!({
        "name": name, "image": IMAGE, "group": "default", "enqueueOnly": true, "reuse": false,
        "config": { "resources": { "cpu": "1", "mem": "512m" } },
    });
    if let Value::Object(more) = more {
        body.as_object_mut().unwrap().extend(more);
    }
    body
}

async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn signatures_are_checked() {
    let site = Site::open();
    let (echo, keys) = (json!({ "echo": "hi" }), &site.operator);
    let signed = || signed(keys, "POST", "/auth", Some(&echo));
    let told = site.answer(signed()).await;
    assert_eq!(
        (told.status, &told.json),
        (200, &json!({ "authorized": "yes", "echo": "hi" }))
    );
    assert!(told.headers.contains_key("x-ratelimit-limit"));

    let stranger = Keys("AKIAUNKNOWN".into(), keys.1.clone());
    let liar = Keys(keys.0.clone(), "guess".into());
    for (wrong, msg) in [
        (stranger, "Access key not found in HMAC"),
        (liar, "HMAC signature mismatch"),
    ] {
        let told = site.ask_as(&wrong, "POST /auth", echo.clone()).await;
        assert_eq!((told.status, told.code()), (401, "user_auth_unauthorized"));
        assert_eq!(told.json["msg"], msg);
    }
    let late = dates::written(crate::text::wall_clock() - Duration::from_secs(16 * 60));
    for (header, value, status, msg) in [
        ("Authorization", None, 401, "Unauthorized access"),
        (
            "Authorization",
            Some("Basic YTpi"),
            400,
            "Invalid authorization type name",
        ),
        ("Date", Some(&*late), 400, "Date/time sync error"),
        ("Date", None, 400, "Date/time sync error"),
        (
            "X-BackendAI-Version",
            None,
            400,
            "API version missing in request headers",
        ),
        ("Host", Some("elsewhere"), 401, "HMAC signature mismatch"),
    ] {
        let mut request = signed();
        request.headers_mut().remove(header);
        if let Some(value) = value {
            request.headers_mut().insert(header, value.parse().unwrap());
        }
        let told = site.answer(request).await;
        assert_eq!(
            (told.status, &told.json["msg"]),
            (status, &json!(msg)),
            "{header}: {value:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_refused_in_the_real_ones_words() {
    let site = Site::open();
    let told = site.get("/no/such/path").await;
    assert_eq!((told.status, told.code()), (404, "api_read_not-found"));
    assert_eq!(
        told.headers["content-type"],
        "application/problem+json; charset=utf-8"
    );
    assert_eq!(
        told.json["type"],
        "https://api.backend.ai/probs/url-not-found"
    );
    let told = site.ask("PUT /auth", Value::Null).await;
    assert_eq!((told.status, told.code()), (405, "api_access_forbidden"));
    let told = site.ask("POST /auth", json!({})).await;
    assert_eq!(
        (told.status, told.code()),
        (400, "api_parsing_invalid-parameters")
    );
    let version = site
        .answer(Request::get("/").body(Body::empty()).unwrap())
        .await;
    assert_eq!(
        version.json,
        json!({ "version": VERSION, "manager": "26.9.6 stand-in" })
    );
    assert_eq!(version.status, StatusCode::OK);
}

/// Whoever needs a target that misbehaves puts a layer around the router, as here.
#[tokio::test(start_paused = true)]
async fn faults_go_around_it() {
    let mut site = Site::open();
    let lost = async |request: axum::extract::Request, next: axum::middleware::Next| {
        let is_create = request.method() == "POST" && request.uri().path() == "/folders";
        let answer = next.run(request).await;
        if is_create {
            StatusCode::GATEWAY_TIMEOUT.into_response()
        } else {
            answer
        }
    };
    let router = site
        .stand_in
        .router()
        .layer(axum::middleware::from_fn(lost));
    site.service = TowerToHyperService::new(router);
    let told = site.ask("POST /folders", json!({ "name": "a" })).await;
    assert_eq!(told.status, 504);
    assert_eq!(site.alive(), [("folder", "a".to_owned())]);
    let (change, made) = site.stand_in.history().pop().unwrap();
    assert_eq!(
        (change, made.kind, &*made.name),
        (Change::Made, "folder", "a")
    );
    assert_eq!(site.get("/folders/a").await.status, 200);
}

//! The web server in front of the manager: logging in gives a cookie, with which `/func/…` passes
//! calls on unsigned.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State as Here};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::gate::{Caller, Sent, Stranger};
use super::hall::{Hall, State};
use super::refusal::Refusal;
use super::told;

const COOKIE_NAME: &str = "AIOHTTP_SESSION";
/// In seconds.
const LASTS: u32 = 604_800;
/// So many cookies are remembered.
const KEPT: usize = 1000;

type Hallway = Here<Arc<Hall>>;

pub(super) fn routes() -> Router<Arc<Hall>> {
    Router::new()
        .route("/server/login", post(login))
        .route("/server/login-check", post(check))
        .route("/server/logout", post(logout))
        .route("/func/ping", get(ping))
}

/// Tells the calls behind `/func` who asks.
pub(super) async fn recognize(Here(hall): Hallway, mut request: Request, next: Next) -> Response {
    let cookie = cookie(request.headers());
    let caller = hall.look(|state| state.logged_in(cookie.as_deref()).cloned());
    match caller {
        Some(caller) => request.extensions_mut().insert(caller).is_some(),
        None => request.extensions_mut().insert(Stranger).is_some(),
    };
    next.run(request).await
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    let all = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|text| text.split(';'));
    pairs.find_map(|pair| {
        let value = pair.trim().strip_prefix(COOKIE_NAME)?.strip_prefix('=')?;
        Some(value.trim_matches('"').to_owned())
    })
}

impl State {
    fn logged_in(&self, cookie: Option<&str>) -> Option<&Caller> {
        self.logins.get(cookie?)?.as_ref()
    }

    /// A new cookie; one that stands for nobody is made, too.
    fn new_cookie(&mut self, caller: Option<Caller>) -> String {
        while self.logins.len() >= KEPT {
            self.logins.pop_first();
        }
        let cookie = self.new_id().replace('-', "");
        self.logins.insert(cookie.clone(), caller);
        cookie
    }

    /// Whom a name and a password stand for.
    fn by_password(&self, name: &str, password: &str) -> Option<Caller> {
        let user = self.accounts.user(name)?;
        let key = self.accounts.keys_of(&user.id).next()?;
        let is_right = user.password == password;
        let caller = is_right.then(|| self.accounts.caller(&key.access_key));
        caller?.ok()
    }
}

fn refused(problem: &'static str, status: StatusCode, title: &'static str) -> Refusal {
    Refusal::new(status, problem, title, "")
}

fn shown(caller: &Caller) -> Value {
    json!({ "access_key": caller.access_key, "role": caller.role.word(), "status": "active" })
}

/// A wrong password gives a cookie as well, but one that is good for nothing.
async fn login(Here(hall): Hallway, headers: HeaderMap, sent: Sent) -> Result<Response, Refusal> {
    let missing = |title| refused("invalid-api-params", StatusCode::BAD_REQUEST, title);
    let name = sent.maybe(&["username"]);
    let name = name.ok_or_else(|| missing("You must provide the username field."))?;
    let password = sent.maybe(&["password"]);
    let password = password.ok_or_else(|| missing("You must provide the password field."))?;
    let (caller, cookie) = hall.enter(|state| {
        if state.logged_in(cookie(&headers).as_deref()).is_some() {
            let title = "You have already logged in.";
            return Err(refused(
                "generic-bad-request",
                StatusCode::BAD_REQUEST,
                title,
            ));
        }
        let caller = state.by_password(name, password);
        let cookie = state.new_cookie(caller.clone());
        Ok((caller, cookie))
    })?;
    let answer = if let Some(caller) = &caller {
        let answer = json!({ "authenticated": true, "data": shown(caller) });
        told(StatusCode::OK, &answer)
    } else {
        let data = json!({
            "type": "https://api.backend.ai/probs/auth-failed",
            "title": "Credential/signature mismatch.",
            "details": "User credential mismatch.",
        });
        let answer = json!({ "authenticated": false, "data": data });
        told(StatusCode::UNAUTHORIZED, &answer)
    };
    let told_cookie = format!("{COOKIE_NAME}={cookie}; HttpOnly; Max-Age={LASTS}; Path=/");
    Ok(with_headers(
        answer,
        &[
            ("X-BackendAI-SessionID", &cookie),
            (SET_COOKIE.as_str(), &told_cookie),
        ],
    ))
}

fn with_headers(mut response: Response, headers: &[(&'static str, &str)]) -> Response {
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(*name, value);
        }
    }
    response
}

async fn check(Here(hall): Hallway, headers: HeaderMap) -> Response {
    let cookie = cookie(&headers);
    let caller = hall.look(|state| state.logged_in(cookie.as_deref()).cloned());
    let data = caller.as_ref().map(shown);
    let answer = json!({ "authenticated": caller.is_some(), "data": data, "session_id": cookie });
    told(StatusCode::OK, &answer)
}

async fn logout(Here(hall): Hallway, headers: HeaderMap) -> Response {
    if let Some(cookie) = cookie(&headers) {
        hall.enter(|state| state.logins.remove(&cookie));
    }
    let unset =
        format!("{COOKIE_NAME}=\"\"; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/");
    with_headers(
        StatusCode::OK.into_response(),
        &[(SET_COOKIE.as_str(), &unset)],
    )
}

async fn ping(Here(hall): Hallway) -> Response {
    let manager = hall.look(|state| state.release());
    told(
        StatusCode::OK,
        &json!({ "version": manager, "details": "Success" }),
    )
}

//! Who asks: a request is either signed or comes through the web server with its cookie. Also how
//! its parameters are read. What the caller may do is up to the calls.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{AUTHORIZATION, AsHeaderName, CONTENT_TYPE, DATE, HOST};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::accounts::{Accounts, Role};
use super::hall::{Hall, Id, dashed, is_id};
use super::refusal::{Refusal, bad_auth, internal, malformed, schema, unauthorized};
use super::{VERSION, dates};
use crate::backendai::signing::{Signed, signature};

/// A signed date may be off by so much.
const SKEW: Duration = Duration::from_secs(15 * 60);

/// Versions that a manager of this age takes.
const VERSIONS: [&str; 9] = [
    "v5.20191215",
    "v6.20200815",
    "v6.20220615",
    "v6.20230315",
    "v7.20230615",
    "v8.20240315",
    "v8.20240915",
    "v9.20250722",
    VERSION,
];

/// Somebody whom the manager knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) user: Id,
    pub(super) email: String,
    pub(super) access_key: String,
    pub(super) role: Role,
}

impl Caller {
    pub(super) fn is_superadmin(&self) -> bool {
        self.role == Role::Superadmin
    }
}

/// Put on a request by the web server when its cookie stands for nobody.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stranger;

impl FromRequestParts<Arc<Hall>> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, hall: &Arc<Hall>) -> Result<Self, Refusal> {
        // Put there by the web server, which has looked at the cookie.
        if let Some(known) = parts.extensions.get::<Self>() {
            return Ok(known.clone());
        }
        if parts.extensions.get::<Stranger>().is_some() {
            let title = "Unauthorized access";
            return Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "auth-failed",
                title,
                "",
            ));
        }
        hall.look(|state| admit(parts, &state.accounts, crate::text::wall_clock()))
    }
}

fn header(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Checks a signature.
fn admit(parts: &Parts, accounts: &Accounts, now: SystemTime) -> Result<Caller, Refusal> {
    let headers = &parts.headers;
    let given =
        header(headers, AUTHORIZATION).ok_or_else(|| unauthorized("Unauthorized access"))?;
    let given = match given.split_once(' ') {
        Some(("BackendAI", given)) => given,
        Some(_) => return Err(bad_auth("Invalid authorization type name")),
        None => return Err(internal()),
    };
    let date = header(headers, DATE).or_else(|| header(headers, "X-BackendAI-Date"));
    let (date, (_, day)) = date
        .and_then(|text| Some((text, dates::read(text)?)))
        .filter(|(_, (time, _))| apart(*time, now) <= SKEW)
        .ok_or_else(|| bad_auth("Date/time sync error"))?;
    let version = header(headers, "X-BackendAI-Version")
        .ok_or_else(|| bad_auth("API version missing in request headers"))?;
    let credential = given
        .split(',')
        .find_map(|part| part.trim().strip_prefix("credential="));
    let (access_key, signed) = credential
        .and_then(|text| text.split_once(':'))
        .ok_or_else(internal)?;
    let key = accounts
        .key(access_key)
        .ok_or_else(|| unauthorized("Access key not found in HMAC"))?;
    let media_type = header(headers, CONTENT_TYPE).and_then(|text| text.split(';').next());
    let expected = signature(
        &key.secret_key,
        Signed {
            method: parts.method.as_str(),
            path: parts.uri.path_and_query().map_or("/", |path| path.as_str()),
            date,
            day: &day,
            host: header(headers, HOST).unwrap_or_default(),
            content_type: media_type.unwrap_or("application/octet-stream").trim(),
            version,
        },
    );
    if signed != expected {
        return Err(unauthorized("HMAC signature mismatch"));
    }
    if !VERSIONS.contains(&version) {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "generic-bad-request",
            "Bad request.",
            "backendai_generic_bad-request",
        )
        .said("Unsupported API version."));
    }
    accounts.caller(access_key)
}

fn apart(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other)
        .unwrap_or_else(|behind| behind.duration())
}

/// The parameters in a JSON body.
#[derive(Debug, Clone, Default)]
pub(super) struct Sent(pub(super) Value);

impl FromRequest<Arc<Hall>> for Sent {
    type Rejection = Refusal;

    async fn from_request(request: Request, hall: &Arc<Hall>) -> Result<Self, Refusal> {
        let body = Bytes::from_request(request, hall).await;
        let body = body.map_err(|_| malformed())?;
        match serde_json::from_slice(&body) {
            Ok(sent @ Value::Object(_)) => Ok(Self(sent)),
            _ => Err(malformed()),
        }
    }
}

impl Sent {
    /// The first of these keys that has a value.
    pub(super) fn any(&self, keys: &[&str]) -> Option<&Value> {
        let mut found = keys.iter().map(|key| &self.0[*key]);
        found.find(|value| !value.is_null())
    }

    pub(super) fn maybe(&self, keys: &[&str]) -> Option<&str> {
        self.any(keys)?.as_str()
    }

    pub(super) fn text(&self, keys: &[&str]) -> Result<&str, Refusal> {
        self.maybe(keys).ok_or_else(|| missing(keys))
    }

    pub(super) fn id(&self, keys: &[&str]) -> Result<Id, Refusal> {
        let text = self.text(keys)?;
        if is_id(text) {
            Ok(dashed(text))
        } else {
            Err(schema(keys[0], "Input should be a valid UUID"))
        }
    }

    pub(super) fn flag(&self, keys: &[&str], default: bool) -> bool {
        self.any(keys).and_then(Value::as_bool).unwrap_or(default)
    }

    pub(super) fn number(&self, keys: &[&str]) -> Option<u64> {
        let value = self.any(keys)?;
        value.as_u64().or_else(|| value.as_str()?.parse().ok())
    }

    /// The texts of a list; a text alone is a list of one.
    pub(super) fn texts(&self, keys: &[&str]) -> Vec<String> {
        match self.any(keys) {
            Some(Value::String(text)) => vec![text.clone()],
            Some(Value::Array(all)) => {
                let texts = all.iter().filter_map(Value::as_str);
                texts.map(str::to_owned).collect()
            }
            _ => Vec::new(),
        }
    }
}

pub(super) fn missing(keys: &[&str]) -> Refusal {
    schema(keys.first().unwrap_or(&""), "Field required")
}

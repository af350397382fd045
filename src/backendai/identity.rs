//! A Backend.AI user, by a key pair: signs requests, reads refusals, keeps to the rate limit.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use super::signing::{Signed, authorization, signature};
use super::version::Agreed;
use crate::client::{Answer, Client, Request};
use crate::outcome::{Cause, Failure, Reason};
use crate::secret::{Redactor, Secret, SecretSource};
use crate::spec::{Auth, Identity, Wire, open_secret};
use crate::text::json;

pub(super) const VERSION: HeaderName = HeaderName::from_static("x-backendai-version");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-backendai-requestid");

/// What the manager assumes, and therefore what is signed, where there is no `Content-Type`.
const NO_CONTENT_TYPE: &str = "application/octet-stream";

/// How long nothing is sent after the manager's rate limit was reached, when it does not tell when
/// its window ends (before 26 it does not). The window is 15 minutes.
const PAUSE: Duration = Duration::from_secs(60);
const WINDOW: Duration = Duration::from_secs(900);

/// The key pair of a target, still closed.
#[derive(Debug)]
pub struct KeyPair {
    access_key: SecretSource,
    secret_key: SecretSource,
    manager: Arc<Known>,
}

/// What is remembered of a manager from run to run.
#[derive(Debug, Default)]
struct Known {
    agreed: Agreed,
    /// No request before this, because the limit of requests is used up.
    paused: Mutex<Option<Instant>>,
}

impl KeyPair {
    /// The key pair of the user that testerd is.
    #[must_use]
    pub fn new(access_key: SecretSource, secret_key: SecretSource) -> Self {
        Self {
            access_key,
            secret_key,
            manager: Arc::default(),
        }
    }
}

impl Auth for KeyPair {
    fn open<'a>(
        &'a self,
        redactor: &'a mut Redactor,
        _: &'a Client,
    ) -> BoxFuture<'a, Result<Arc<dyn Identity>, Failure>> {
        let user = self.user(redactor);
        ready(user.map(|user| Arc::new(user) as _)).boxed()
    }

    fn is_like(&self, other: &dyn Auth) -> bool {
        let other = (other as &dyn Any).downcast_ref::<Self>();
        other.is_some_and(|other| {
            (&self.access_key, &self.secret_key) == (&other.access_key, &other.secret_key)
        })
    }
}

impl KeyPair {
    fn user(&self, redactor: &mut Redactor) -> Result<User, Failure> {
        let access_key = self.access_key.read().map_err(|error| {
            Failure::new(Cause::Secret, crate::outcome::chain(&error)).without_effect()
        })?;
        Ok(User {
            access_key,
            secret_key: open_secret(&self.secret_key, redactor)?,
            manager: Arc::clone(&self.manager),
        })
    }
}

struct User {
    access_key: Secret,
    secret_key: Secret,
    manager: Arc<Known>,
}

impl Identity for User {
    fn dress<'a>(
        &'a self,
        request: &'a mut Request,
        wire: Wire<'a>,
    ) -> BoxFuture<'a, Result<Option<String>, Failure>> {
        async move {
            if self.manager.is_paused() {
                let what = "the manager's limit of requests is used up: nothing is sent until it lets us again";
                return Err(Failure::new(Reason::Quota, what).without_effect());
            }
            let host = wire.endpoint.authority();
            let path = wire.endpoint.base_path().to_owned() + &request.path;
            let version = self.manager.agreed.version(wire).await?;
            let name = Uuid::new_v4().to_string();
            self.sign(request, &host, &path, version, &name, crate::text::wall_clock())
                .ok_or_else(|| {
                    let what = "the keys cannot be put into a header";
                    Failure::new(Cause::Secret, what).without_effect()
                })?;
            Ok(Some(name))
        }
        .boxed()
    }

    fn heard(&self, answer: &Answer) {
        let number = |name: &str| -> Option<u64> {
            let text = answer.headers.get(name)?.to_str().ok()?;
            text.trim().parse().ok()
        };
        if answer.status == 429 || number("x-ratelimit-remaining") == Some(0) {
            let reset = number("x-ratelimit-reset").map(Duration::from_secs);
            let pause = reset.map_or(PAUSE, |reset| reset.min(WINDOW));
            *self.manager.pause() = Some(Instant::now() + pause);
        }
        if answer.status == 400 && problem(answer).is_some_and(|p| p.names_version) {
            self.manager.agreed.forget();
        }
    }

    /// By status, then by `error_code` (since 25.8), then by `type`.
    fn reason(&self, answer: &Answer) -> Reason {
        match Reason::of_status(answer.status) {
            Reason::Status => problem(answer).map_or(Reason::Status, |problem| problem.reason),
            reason => reason,
        }
    }

    fn other(&self, keys: &Value) -> Result<Arc<dyn Identity>, Failure> {
        let key = |name: &str| keys.get(name).and_then(Value::as_str).map(Secret::new);
        let (Some(access_key), Some(secret_key)) = (key("access_key"), key("secret_key")) else {
            let what = "`as` is no key pair: it has no access_key or no secret_key";
            return Err(Failure::new(Cause::Input, what).without_effect());
        };
        Ok(Arc::new(Self {
            access_key,
            secret_key,
            manager: Arc::clone(&self.manager),
        }))
    }
}

impl User {
    fn sign(
        &self,
        request: &mut Request,
        host: &str,
        path: &str,
        version: &'static str,
        name: &str,
        now: SystemTime,
    ) -> Option<()> {
        // RFC 3339 in UTC: `2026-11-22T19:22:54Z`.
        let date = humantime::format_rfc3339_seconds(now).to_string();
        let day: String = date.chars().take(10).filter(|c| *c != '-').collect();
        let signed = Signed {
            method: request.method.as_str(),
            path,
            date: &date,
            day: &day,
            host,
            content_type: content_type(&request.headers),
            version,
        };
        let signature = signature(self.secret_key.expose(), signed);
        let mut authorization =
            HeaderValue::try_from(authorization(self.access_key.expose(), &signature)).ok()?;
        authorization.set_sensitive(true);
        let headers = &mut request.headers;
        headers.insert(HOST, HeaderValue::try_from(host).ok()?);
        headers.insert(DATE, HeaderValue::try_from(date).ok()?);
        headers.insert(VERSION, HeaderValue::from_static(version));
        headers.insert(REQUEST_ID, HeaderValue::try_from(name).ok()?);
        headers.insert(AUTHORIZATION, authorization);
        Some(())
    }
}

/// The media type that is signed: without its parameters.
fn content_type(headers: &HeaderMap) -> &str {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map_or(NO_CONTENT_TYPE, str::trim)
}

impl Known {
    fn pause(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_paused(&self) -> bool {
        self.pause().is_some_and(|until| Instant::now() < until)
    }
}

/// What a problem document (RFC 9457) of a manager says.
struct Problem {
    reason: Reason,
    names_version: bool,
}

/// The error codes that mean a limit, not a mistake.
const QUOTA_CODES: [&str; 2] = [
    "session_create_unavailable",
    "vfolder_create_quota-exceeded",
];

fn problem(answer: &Answer) -> Option<Problem> {
    let json = json::parse(&answer.body).ok()?;
    let kind = json["type"].as_str().unwrap_or_default();
    let kind = kind.rsplit('/').next().unwrap_or_default();
    let is = |word: &str| kind.contains(word);
    let reason = match json["error_code"].as_str() {
        Some(code) if QUOTA_CODES.contains(&code) => Reason::Quota,
        Some(code) if code.starts_with("user_auth_") => Reason::Auth,
        None if is("auth") => Reason::Auth,
        None if is("quota") || is("rate-limit") => Reason::Quota,
        _ => Reason::Status,
    };
    let text = json["msg"].as_str().or(json["title"].as_str());
    Some(Problem {
        reason,
        names_version: text.is_some_and(|text| text.contains("API version")),
    })
}

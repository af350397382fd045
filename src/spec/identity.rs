//! Who a run is to its target: what is put on its requests, and how refusals are read.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use http::HeaderValue;
use http::header::AUTHORIZATION;
use serde_json::Value;

use crate::client::{Answer, Client, Endpoint, Request};
use crate::event::HttpPhases;
use crate::outcome::{Cause, Failure, Reason, chain};
use crate::secret::{Redactor, Secret, SecretSource};

/// How a target is authenticated to, its secrets still closed.
pub trait Auth: Any + fmt::Debug + Send + Sync {
    /// Reads the secrets, and asks for what has to be asked for; the redactor learns every form of
    /// them. Nothing of it is in any step's time, so it has deadlines of its own.
    ///
    /// # Errors
    /// If a secret cannot be read, our fault, not the target's; or if we are refused.
    fn open<'a>(
        &'a self,
        redactor: &'a mut Redactor,
        client: &'a Client,
    ) -> BoxFuture<'a, Result<Arc<dyn Identity>, Failure>>;

    /// Whether `other` authenticates in the same way with the same secrets, so that what it
    /// remembers is as good here. Who remembers nothing need not answer.
    fn is_like(&self, _other: &dyn Auth) -> bool {
        false
    }
}

/// An opened [`Auth`]. One belongs to one run.
pub trait Identity: Send + Sync {
    /// Whether it is still good. If not, it is opened anew before the next step.
    fn is_good(&self) -> bool {
        true
    }

    /// Puts on a request what the target wants to see of us. Returns what names this one request
    /// in the target's own logs, if anything does.
    fn dress<'a>(
        &'a self,
        request: &'a mut Request,
        wire: Wire<'a>,
    ) -> BoxFuture<'a, Result<Option<String>, Failure>>;

    /// Hears every answer to a dressed request, for instance how much of a quota is left.
    fn heard(&self, _answer: &Answer) {}

    /// What a status that was not expected says.
    fn reason(&self, answer: &Answer) -> Reason {
        Reason::of_status(answer.status)
    }

    /// The same target, as somebody else.
    ///
    /// # Errors
    /// If the keys are none, or the target knows only one of us.
    fn other(&self, _keys: &Value) -> Result<Arc<dyn Identity>, Failure> {
        let what = "this type of target cannot be used as somebody else";
        Err(Failure::new(Cause::Input, what).without_effect())
    }
}

/// With what an identity may ask the target something itself.
pub struct Wire<'a> {
    /// The measured client.
    pub client: &'a Client,
    /// The target's endpoint.
    pub endpoint: &'a Endpoint,
    /// Where its attempts note their phases.
    pub http: &'a mut Vec<HttpPhases>,
}

/// Reads a secret and lets the redactor learn it.
///
/// # Errors
/// If it cannot be read.
pub fn open_secret(source: &SecretSource, redactor: &mut Redactor) -> Result<Secret, Failure> {
    let secret = source
        .read()
        .map_err(|error| Failure::new(Cause::Secret, chain(&error)).without_effect())?;
    redactor.learn(secret.expose());
    Ok(secret)
}

/// The same `Authorization` on every request, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderAuth {
    /// Nothing is put on requests.
    Nobody,
    /// `Authorization: Bearer …`, RFC 6750.
    Bearer(SecretSource),
    /// `Authorization: Basic …`, RFC 7617.
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: SecretSource,
    },
}

impl Auth for HeaderAuth {
    fn open<'a>(
        &'a self,
        redactor: &'a mut Redactor,
        _: &'a Client,
    ) -> BoxFuture<'a, Result<Arc<dyn Identity>, Failure>> {
        let header = self.header(redactor);
        ready(header.map(|header| Arc::new(header) as _)).boxed()
    }
}

impl HeaderAuth {
    fn header(&self, redactor: &mut Redactor) -> Result<Header, Failure> {
        let text = match self {
            Self::Nobody => return Ok(Header(None)),
            Self::Bearer(token) => format!("Bearer {}", open_secret(token, redactor)?.expose()),
            Self::Basic { username, password } => {
                let password = open_secret(password, redactor)?;
                let pair = BASE64_STANDARD.encode(format!("{username}:{}", password.expose()));
                redactor.learn(&pair);
                format!("Basic {pair}")
            }
        };
        Ok(Header(Some(secret_header(&text)?)))
    }
}

/// A header that holds a secret.
///
/// # Errors
/// If the secret has a character that no header can have.
pub(super) fn secret_header(text: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::try_from(text).map_err(|_| {
        Failure::new(Cause::Secret, "the secret cannot be put into a header").without_effect()
    })?;
    value.set_sensitive(true);
    Ok(value)
}

struct Header(Option<HeaderValue>);

impl Identity for Header {
    fn dress<'a>(
        &'a self,
        request: &'a mut Request,
        _: Wire<'a>,
    ) -> BoxFuture<'a, Result<Option<String>, Failure>> {
        if let Some(value) = &self.0 {
            let headers = &mut request.headers;
            headers
                .entry(AUTHORIZATION)
                .or_insert_with(|| value.clone());
        }
        ready(Ok(None)).boxed()
    }
}

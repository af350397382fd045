//! OAuth2 client credentials (RFC 6749, 4.4): an id and a secret are changed for a token, which all
//! runs of a target use (`tokens`).

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method};
use serde_json::Value;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::identity::{Auth, Identity, Wire, open_secret, secret_header};
use super::tokens::{Fetched, Tokens};
use crate::client::{Answer, Client, Endpoint, Request};
use crate::outcome::{Failure, Reason};
use crate::secret::{Redactor, Secret, SecretSource};
use crate::text::json;

/// How long a token lives if the answer does not say.
const DEFAULT_LIFE: Duration = Duration::from_secs(300);

const FORM: &str = "application/x-www-form-urlencoded";

/// The longest answer that is read.
const ANSWER_LIMIT: u64 = 1 << 20;

/// How much of what the token endpoint says a message shows.
const EXCERPT: usize = 200;

/// Where a token is asked for, and with what.
#[derive(Debug, PartialEq, Eq)]
pub struct Grant {
    /// Where the token endpoint is, and how it is reached.
    pub endpoint: Endpoint,
    /// Its path and query.
    pub path: String,
    /// Who we are to it.
    pub client_id: String,
    /// What proves it.
    pub client_secret: SecretSource,
    /// What the token is to be good for.
    pub scopes: Vec<String>,
    /// What else this endpoint wants to know.
    pub params: Vec<(String, String)>,
    /// How id and secret are told.
    pub style: AuthStyle,
    /// How long asking may take.
    pub timeout: Duration,
}

/// How id and secret are told (RFC 6749, 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuthStyle {
    /// In a header, each of them form-encoded first.
    #[default]
    Basic,
    /// In the body.
    Body,
}

/// A target's OAuth2 client credentials, still closed.
#[derive(Debug)]
pub struct ClientCredentials {
    grant: Grant,
    tokens: Arc<Tokens>,
}

impl ClientCredentials {
    /// The credentials; no token is known yet.
    #[must_use]
    pub fn new(grant: Grant) -> Self {
        let tokens = Tokens::new(grant.endpoint.to_string(), grant.timeout);
        let tokens = Arc::new(tokens);
        Self { grant, tokens }
    }

    async fn bearer(&self, redactor: &mut Redactor, client: &Client) -> Result<Bearer, Failure> {
        let secret = open_secret(&self.grant.client_secret, redactor)?;
        // Base64 of it is another text than base64 of the secret.
        redactor.learn(&encoded(secret.expose()));
        let fetch = self.grant.fetch(&secret, client, redactor);
        let token = self.tokens.get(fetch).await?;
        redactor.learn(token.expose());
        Ok(Bearer {
            header: secret_header(&format!("Bearer {}", token.expose()))?,
            token,
            tokens: Arc::clone(&self.tokens),
        })
    }
}

impl Auth for ClientCredentials {
    fn open<'a>(
        &'a self,
        redactor: &'a mut Redactor,
        client: &'a Client,
    ) -> BoxFuture<'a, Result<Arc<dyn Identity>, Failure>> {
        let bearer = self.bearer(redactor, client);
        bearer
            .map(|bearer| bearer.map(|bearer| Arc::new(bearer) as _))
            .boxed()
    }

    fn is_like(&self, other: &dyn Auth) -> bool {
        let other = (other as &dyn Any).downcast_ref::<Self>();
        other.is_some_and(|other| self.grant == other.grant)
    }
}

/// Who shows the token.
struct Bearer {
    header: HeaderValue,
    token: Secret,
    tokens: Arc<Tokens>,
}

impl Identity for Bearer {
    fn is_good(&self) -> bool {
        self.tokens.is_good(&self.token)
    }

    fn dress<'a>(
        &'a self,
        request: &'a mut Request,
        _: Wire<'a>,
    ) -> BoxFuture<'a, Result<Option<String>, Failure>> {
        let headers = &mut request.headers;
        headers
            .entry(AUTHORIZATION)
            .or_insert_with(|| self.header.clone());
        ready(Ok(None)).boxed()
    }

    fn heard(&self, answer: &Answer) {
        if answer.status == 401 {
            self.tokens.refused(&self.token);
        }
    }
}

impl Grant {
    /// Asks for a token. What the failure says has been through the redactor.
    async fn fetch(
        &self,
        secret: &Secret,
        client: &Client,
        redactor: &Redactor,
    ) -> Result<Fetched, Failure> {
        let answer = client.fetch(&self.endpoint, self.request(secret)?).await;
        let read = answer
            .map_err(Failure::from)
            .and_then(|answer| read(&answer));
        read.map_err(|failure| {
            let what = format!("no token from {}: {}", self.endpoint, failure.message);
            Failure::new(failure.fault, what)
                .redacted(redactor)
                .without_effect()
        })
    }

    fn request(&self, secret: &Secret) -> Result<Request, Failure> {
        let mut request = Request::new(Method::POST, &self.path);
        request.body_limit = ANSWER_LIMIT;
        let headers = &mut request.headers;
        let form = HeaderValue::from_static(FORM);
        headers.insert(CONTENT_TYPE, form);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let agent = concat!("testerd/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        let mut body = Serializer::new(String::new());
        body.append_pair("grant_type", "client_credentials");
        if !self.scopes.is_empty() {
            body.append_pair("scope", &self.scopes.join(" "));
        }
        body.extend_pairs(&self.params);
        match self.style {
            AuthStyle::Basic => {
                let pair = [self.client_id.as_str(), secret.expose()].map(encoded);
                let pair = BASE64_STANDARD.encode(pair.join(":"));
                headers.insert(AUTHORIZATION, secret_header(&format!("Basic {pair}"))?);
            }
            AuthStyle::Body => {
                body.append_pair("client_id", &self.client_id);
                body.append_pair("client_secret", secret.expose());
            }
        }
        request.body = body.finish().into();
        Ok(request)
    }
}

fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

/// What the token endpoint answers (RFC 6749, 5.1 and 5.2), and what others answer instead: any
/// 2xx, an error in a success, numbers as texts, a form.
fn read(answer: &Answer) -> Result<Fetched, Failure> {
    let read = value(answer);
    let json = read.as_ref().unwrap_or(&Value::Null);
    let text = |key: &str| json[key].as_str();
    let is_success = (200..300).contains(&answer.status);
    if !is_success || text("error").is_some_and(|_| text("access_token").is_none()) {
        let reason = match answer.status {
            // Whatever it does not like about us or our request.
            200..=299 | 400 => Reason::Auth,
            status => Reason::of_status(status),
        };
        let status = format!("it answers with status {}", answer.status);
        let redactor = tokens_in(json);
        let said = [text("error"), text("error_description")];
        let said = said.into_iter().flatten();
        let said = said.map(|said| redactor.redact(&excerpt(said)));
        let what = [status].into_iter().chain(said).collect::<Vec<_>>();
        return Err(Failure::new(reason, what.join(": ")));
    }
    let wrong = |what: &'static str| Err(Failure::new(Reason::Protocol, what));
    let Some(token) = text("access_token").filter(|token| !token.is_empty()) else {
        let Err(error) = read else {
            return wrong("its answer is no JSON with an `access_token`");
        };
        let what = format!("its answer is not JSON: {error}");
        return Err(Failure::new(Reason::Protocol, what));
    };
    // It should always be there, but who leaves it out means this one.
    let kind = text("token_type").unwrap_or("bearer");
    if !["bearer", "bearertoken"].contains(&kind.to_ascii_lowercase().as_str()) {
        // Where others have a type, a token may stand.
        let is_word = kind.len() <= 16 && kind.bytes().all(|byte| byte.is_ascii_alphabetic());
        if !is_word {
            return wrong("its `token_type` is not `bearer`");
        }
        let what = format!("it gives a token of type `{kind}`");
        return Err(Failure::new(Reason::Protocol, what));
    }
    let Some(life) = life(&json["expires_in"]) else {
        return wrong("its `expires_in` is no number of seconds");
    };
    let token = Secret::new(token);
    Ok(Fetched { token, life })
}

/// What stands in the answer, which some give as a form.
fn value(answer: &Answer) -> Result<Value, json::Unread> {
    let media_type = answer.headers.get(CONTENT_TYPE);
    let media_type = media_type.map_or(&b""[..], HeaderValue::as_bytes);
    if media_type.starts_with(FORM.as_bytes()) {
        let pairs = url::form_urlencoded::parse(&answer.body);
        let pairs = pairs.map(|(key, value)| (key.into_owned(), Value::from(value)));
        return Ok(pairs.collect());
    }
    json::parse(&answer.body).map(json::Json::into_value)
}

/// Takes everything out of texts that may be a token in an answer.
fn tokens_in(json: &Value) -> Redactor {
    let mut redactor = Redactor::default();
    for (key, value) in json.as_object().into_iter().flatten() {
        let is_said = ["error", "error_description", "error_uri", "scope"].contains(&key.as_str());
        if !is_said {
            redactor.learn_value(value);
        }
    }
    redactor
}

/// Some write the number as a text, or with a fraction.
fn life(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Null => return Some(DEFAULT_LIFE),
        Value::String(text) => text.trim().parse().ok(),
        value => value.as_f64(),
    };
    seconds.and_then(|seconds: f64| Duration::try_from_secs_f64(seconds).ok())
}

/// The beginning of a text, on one line.
fn excerpt(text: &str) -> String {
    let mut short: String = text.chars().take(EXCERPT).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use serde_json::json;

    use super::*;

    fn grant(style: AuthStyle) -> Grant {
        Grant {
            endpoint: Endpoint::parse("https://login.example").unwrap(),
            path: "/token".into(),
            client_id: "a b".into(),
            client_secret: SecretSource::Env(String::new()),
            scopes: vec!["one".into(), "two".into()],
            params: vec![("audience".into(), "https://api".into())],
            style,
            timeout: Duration::from_secs(10),
        }
    }

    #[test]
    fn id_and_secret_are_told_as_the_rfc_says() {
        let secret = Secret::new("p:w+%ö");
        let request = grant(AuthStyle::Basic).request(&secret).unwrap();
        let pair = BASE64_STANDARD.encode("a+b:p%3Aw%2B%25%C3%B6");
        let header = &request.headers[AUTHORIZATION];
        assert_eq!(header, &format!("Basic {pair}"));
        assert!(header.is_sensitive());
        let form = "grant_type=client_credentials&scope=one+two&audience=https%3A%2F%2Fapi";
        assert_eq!(request.body, form);

        let request = grant(AuthStyle::Body).request(&secret).unwrap();
        assert!(!request.headers.contains_key(AUTHORIZATION));
        let both = format!("{form}&client_id=a+b&client_secret=p%3Aw%2B%25%C3%B6");
        assert_eq!(request.body, both);
    }

    fn answer(status: u16, body: &Value) -> Result<(String, u64), String> {
        let answer = Answer::part(status, HeaderMap::new(), body.to_string().into());
        let read = read(&answer);
        read.map(|fetched| (fetched.token.expose().to_owned(), fetched.life.as_secs()))
            .map_err(|failure| failure.to_string())
    }

    #[test]
    fn what_a_token_endpoint_gives() {
        for (more, life) in [
            (json!({ "token_type": "Bearer", "expires_in": 3600 }), 3600),
            (json!({ "token_type": "bearer", "expires_in": "60" }), 60),
            (json!({ "expires_in": null }), 300),
            (json!({ "expires_in": 3599.9 }), 3599),
            (json!({ "expires_in": "3600.0" }), 3600),
            (json!({ "expires_in": 0 }), 0),
            (json!({ "token_type": "BearerToken" }), 300),
            (json!({ "token_type": "BEARER", "error": null }), 300),
            (json!({}), 300),
        ] {
            let mut body = more;
            body["access_token"] = "t0ken".into();
            for status in [200, 201, 203] {
                assert_eq!(answer(status, &body), Ok(("t0ken".into(), life)), "{body}");
            }
        }
    }

    #[test]
    fn an_answer_may_be_a_form_or_begin_with_a_mark() {
        for (media_type, body) in [
            (
                "application/x-www-form-urlencoded",
                "access_token=t0ken&token_type=bearer",
            ),
            (
                "application/x-www-form-urlencoded; charset=utf-8",
                "expires_in=60&access_token=t0ken",
            ),
            ("application/json", "\u{feff}{\"access_token\":\"t0ken\"}"),
        ] {
            let kind = (CONTENT_TYPE, HeaderValue::from_static(media_type));
            let answer = Answer::part(200, HeaderMap::from_iter([kind]), body.into());
            assert_eq!(read(&answer).unwrap().token.expose(), "t0ken", "{body}");
        }
    }

    /// Wherever the token stands in an answer that is no good, it is not told.
    #[test]
    fn a_token_in_a_broken_answer_is_not_told() {
        const LIVE: &str = "l1ve-t0ken-4711";
        for body in [
            json!({ "error": "invalid_grant", "error_description": LIVE, "access_token": LIVE }),
            json!({ "error": LIVE, "refresh_token": LIVE }),
            json!({ "error": "no", "error_description": format!("{LIVE} is old"), "id": [LIVE] }),
            json!({ "access_token": "Bearer", "token_type": LIVE }),
            json!({ "access_token": LIVE, "token_type": "mac" }),
            json!({ "access_token": LIVE, "expires_in": LIVE }),
            json!({ "access_token": { "value": LIVE } }),
            json!([{ "access_token": LIVE }]),
            json!(LIVE),
        ] {
            for status in [200, 202, 400, 401, 500] {
                let said = answer(status, &body).map_err(|said| said.contains(LIVE));
                assert_ne!(said, Err(true), "{status}: {body}");
            }
        }
    }

    #[test]
    fn what_a_token_endpoint_does_not_give() {
        let none = "protocol: its answer is no JSON with an `access_token`";
        let described = json!({ "error": "invalid_client", "error_description": "who\nis that" });
        for (status, body, said) in [
            (200, json!("t0ken"), none),
            (200, json!({ "access_token": "" }), none),
            (200, json!({ "access_token": 1 }), none),
            (
                200,
                json!({ "access_token": "t", "token_type": "mac" }),
                "protocol: it gives a token of type `mac`",
            ),
            (
                200,
                json!({ "access_token": "t", "expires_in": -1 }),
                "protocol: its `expires_in` is no number of seconds",
            ),
            (
                400,
                described,
                "auth: it answers with status 400: invalid_client: who is that",
            ),
            (
                200,
                json!({ "error": "invalid_client", "error_description": "it is locked" }),
                "auth: it answers with status 200: invalid_client: it is locked",
            ),
            (
                200,
                json!({ "access_token": "t", "expires_in": "soon" }),
                "protocol: its `expires_in` is no number of seconds",
            ),
            (401, json!(null), "auth: it answers with status 401"),
            (
                403,
                json!({ "error": ["?"] }),
                "auth: it answers with status 403",
            ),
            (429, json!({}), "quota: it answers with status 429"),
            (302, json!({}), "status: it answers with status 302"),
            (503, json!({}), "status: it answers with status 503"),
        ] {
            assert_eq!(answer(status, &body), Err(said.to_owned()), "{body}");
        }
    }
}

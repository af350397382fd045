//! One HTTP request as specs write it: keys in, request out.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use super::expect::{Reply, header_templates};
use super::refused;
use crate::client::{DEFAULT_BODY_LIMIT, Request, Stream, Upgrade};
use crate::event::HttpPhases;
use crate::outcome::{Cause, Failure};
use crate::spec::Context;
use crate::text::{Fields, Lookup, Params, Refused, Template, ValueTemplate, encode_path, plain};

/// The largest `body_limit`: a step holds no more of an answer than this in memory.
const LARGEST_BODY: u64 = 1 << 30;

/// A request with `${…}` in it.
pub(super) struct RequestTemplate {
    method: Method,
    path: Template,
    headers: Vec<(HeaderName, Template)>,
    body: Body,
    reuse: bool,
    body_limit: u64,
}

enum Body {
    None,
    Json(ValueTemplate),
    Text(Template),
}

/// A request as an undo record holds it: text in which only the resource's own captures are open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RequestData {
    method: String,
    path: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    json: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
}

impl RequestTemplate {
    /// Reads `method`, `path`, `headers`, `json` or `body`, `reuse` and `body_limit`.
    pub(super) fn read(fields: &mut Fields<'_, '_>, method: Method) -> Option<Self> {
        let method = read_method(fields).unwrap_or(method);
        let bare = Self::read_bare(fields);
        let body = match (fields.value("json"), fields.template("body")) {
            (Some(json), text) => {
                if text.is_some() {
                    fields.problem("body", "stands beside `json`", "keep one of the two");
                }
                Body::Json(json)
            }
            (None, Some(text)) => Body::Text(text),
            (None, None) => Body::None,
        };
        let reuse = fields.flag("reuse");
        Some(Self {
            method,
            body,
            reuse,
            ..bare?
        })
    }

    /// Reads `path`, `headers` and `body_limit`: a GET without a body.
    pub(super) fn read_bare(fields: &mut Fields<'_, '_>) -> Option<Self> {
        if !fields.has("path") {
            fields.missing("path", "say what to ask for, such as path = \"/health\"");
        }
        let path = fields.template("path");
        if let Some(path) = &path {
            check_path(path, fields);
        }
        let headers = fields
            .table("headers")
            .map(|mut headers| header_templates(&mut headers))
            .unwrap_or_default();
        let body_limit = fields.integer("body_limit", 1..=LARGEST_BODY);
        Some(Self {
            method: Method::GET,
            path: path?,
            headers,
            body: Body::None,
            reuse: false,
            body_limit: body_limit.unwrap_or(DEFAULT_BODY_LIMIT),
        })
    }

    /// The request, everything put in.
    fn render(&self, lookup: &dyn Lookup) -> Result<Request, Refused> {
        let mut headers = HeaderMap::new();
        let body = match &self.body {
            Body::None => Bytes::new(),
            Body::Text(text) => Bytes::from(text.text(lookup, plain)?),
            Body::Json(json) => {
                let media_type = HeaderValue::from_static("application/json");
                headers.insert(http::header::CONTENT_TYPE, media_type);
                Bytes::from(json.value(lookup)?.to_string())
            }
        };
        for (name, template) in &self.headers {
            let text = template.text(lookup, plain)?;
            let value = HeaderValue::try_from(text).map_err(|_| {
                Refused::Value(format!(
                    "the value of header {name} holds a control character"
                ))
            })?;
            headers.insert(name, value);
        }
        Ok(Request {
            method: self.method.clone(),
            path: self.path.text(lookup, encode_path)?,
            headers,
            body,
            body_limit: self.body_limit,
            reuse: self.reuse,
        })
    }

    /// What an undo record holds of it.
    pub(super) fn data(&self, lookup: &dyn Lookup, own: &str) -> Result<RequestData, Refused> {
        let headers = self
            .headers
            .iter()
            .map(|(name, template)| Ok((name.to_string(), template.partial(lookup, own, plain)?)));
        let (json, body) = match &self.body {
            Body::None => (None, None),
            Body::Json(json) => (Some(json.partial(lookup, own)?), None),
            Body::Text(text) => (None, Some(text.partial(lookup, own, plain)?)),
        };
        Ok(RequestData {
            method: self.method.to_string(),
            path: self.path.partial(lookup, own, encode_path)?,
            headers: headers.collect::<Result<_, Refused>>()?,
            json,
            body,
        })
    }

    /// The request that an undo record holds.
    pub(super) fn from_data(data: &RequestData) -> Result<Self, String> {
        let text = |text: &str| {
            Template::parse(text, &Params::default(), &mut Vec::new()).map_err(|(what, _)| what)
        };
        let headers = data.headers.iter().map(|(name, value)| {
            let name = HeaderName::try_from(name).map_err(|error| error.to_string())?;
            Ok((name, text(value)?))
        });
        let body = match (&data.json, &data.body) {
            (Some(json), _) => {
                Body::Json(ValueTemplate::from_value(json).map_err(|(what, _)| what)?)
            }
            (None, Some(body)) => Body::Text(text(body)?),
            (None, None) => Body::None,
        };
        Ok(Self {
            method: data
                .method
                .parse()
                .map_err(|_| format!("{} is no method", data.method))?,
            path: text(&data.path)?,
            headers: headers.collect::<Result<_, String>>()?,
            body,
            reuse: false,
            body_limit: DEFAULT_BODY_LIMIT,
        })
    }

    /// Whether `${name.key}` stands anywhere in it.
    pub(super) fn reads(&self, name: &str, key: &str) -> bool {
        self.path.reads(name, key)
            || self.headers.iter().any(|(_, value)| value.reads(name, key))
            || match &self.body {
                Body::None => false,
                Body::Json(json) => json.reads(name, key),
                Body::Text(text) => text.reads(name, key),
            }
    }

    /// Sends it once, with the target's authentication.
    pub(super) async fn send(
        &self,
        context: &mut Context<'_>,
        lookup: &dyn Lookup,
    ) -> Result<Reply, Failure> {
        let request = self.ready(context, lookup)?;
        let begun = Instant::now();
        let answer = context
            .client
            .send(
                &context.target.endpoint,
                request,
                context.connections,
                attempt(context.http),
            )
            .await?;
        Ok(Reply::new(answer, begun.elapsed()))
    }

    /// Sends it once, and reads the answer as it comes. The headers are added where the request
    /// has none of their name.
    pub(super) async fn open(
        &self,
        context: &mut Context<'_>,
        lookup: &dyn Lookup,
        headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    ) -> Result<Stream, Failure> {
        let mut request = self.ready(context, lookup)?;
        add(&mut request, headers);
        let opened = context
            .client
            .open(
                &context.target.endpoint,
                request,
                context.connections,
                attempt(context.http),
            )
            .await;
        Ok(opened?)
    }

    /// The same, as the handshake of a WebSocket.
    pub(super) async fn upgrade(
        &self,
        context: &mut Context<'_>,
        lookup: &dyn Lookup,
        headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    ) -> Result<Upgrade, Failure> {
        let mut request = self.ready(context, lookup)?;
        add(&mut request, headers);
        let upgraded = context
            .client
            .upgrade(
                &context.target.endpoint,
                request,
                context.connections,
                attempt(context.http),
            )
            .await;
        Ok(upgraded?)
    }

    /// Everything put in, with the target's authentication: afresh for each attempt.
    fn ready(&self, context: &Context<'_>, lookup: &dyn Lookup) -> Result<Request, Failure> {
        let mut request = self.render(lookup).map_err(|error| refused(&error))?;
        if let Some(authorization) = context.authorization.as_ref().map_err(Failure::clone)? {
            add(&mut request, [(AUTHORIZATION, authorization.clone())]);
        }
        Ok(request)
    }
}

/// In its place before the request is sent: an attempt that is dropped leaves its phases.
fn attempt(http: &mut Vec<HttpPhases>) -> &mut HttpPhases {
    let at = http.len();
    http.push(HttpPhases::default());
    &mut http[at]
}

fn add(request: &mut Request, headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>) {
    for (name, value) in headers {
        request.headers.entry(name).or_insert(value);
    }
}

fn read_method(fields: &mut Fields<'_, '_>) -> Option<Method> {
    let text = fields.string("method")?;
    match text.parse::<Method>() {
        Ok(method) if text.bytes().all(|byte| byte.is_ascii_uppercase()) => Some(method),
        _ => {
            fields.problem(
                "method",
                format!("`{text}` is not an HTTP method"),
                "write it in capitals, such as \"POST\"",
            );
            None
        }
    }
}

fn check_path(path: &Template, fields: &mut Fields<'_, '_>) {
    if !path.begins_with("/") {
        let help = "a path begins with `/` and is put behind the target's endpoint";
        fields.problem("path", "does not begin with `/`", help);
    }
    let strange = |byte: u8| !(0x21..=0x7e).contains(&byte) || b"#\"<>\\^`{|}".contains(&byte);
    if path.literals().any(|literal| literal.bytes().any(strange)) {
        let help = "percent-encode it (a space is %20); values of ${…} are encoded for you";
        fields.problem("path", "has a character that cannot stand in a path", help);
    }
}

/// A value that was refused, as a failure that certainly changed nothing.
pub(super) fn broken_record(what: impl std::fmt::Display) -> Failure {
    Failure::new(
        Cause::Input,
        format!("the undo record cannot be read: {what}"),
    )
    .without_effect()
}

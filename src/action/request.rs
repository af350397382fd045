//! One HTTP request as specs write it: keys in, request out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use super::expect::{Reply, header_templates};
use super::keys::{Key, Part};
use super::kind::{ANY, FILE, HEADERS, INTEGER, Kind, PATH, TABLES, TEXT};
use super::manner::{HTTP_VERSION, Manner, REUSE, TLS_RESUME};
use super::multipart::{FORM_PART, Form, FormPart, content_of};
use super::refused;
use crate::client::{
    DEFAULT_BODY_LIMIT, DEFAULT_MESSAGE_LIMIT, Endpoint, Request, Stream, Upgrade,
};
use crate::outcome::{Cause, Failure};
use crate::spec::{Context, Place};
use crate::text::json::exact_some;
use crate::text::{Fields, Lookup, Params, Refused, Template, ValueTemplate, encode_path, plain};

/// The keys of every request.
pub(super) const PLACE: Part = Part::shared(
    "a request",
    &[
        Key::optional(
            "path",
            PATH,
            "what is asked for, behind the target's endpoint and with its authentication; values put in are percent-encoded",
        ),
        Key::optional(
            "headers",
            HEADERS,
            "its headers, beside those of the target's authentication",
        ),
        Key::optional(
            "body_limit",
            INTEGER,
            "the most bytes that an answer may have, at most 1 GiB; what it has is held in memory, and while one of more than 12 MiB is read, others of more than 256 KiB wait up to 2 s for it",
        )
        .default("8 MiB; of an event or a message 512 KiB"),
    ],
);

/// The keys of those that may go elsewhere. No undo does.
pub(super) const ELSEWHERE: Part = Part::own(&[Key::optional(
    "url",
    TEXT,
    "instead of `path`: an address anywhere, which gets no authentication",
)]);

/// The keys of those that may send something.
pub(super) const SENDING: Part = Part::shared(
    "what a request sends",
    &[
        Key::optional("method", METHOD, "the method")
            .default("`\"GET\"`; in `create` `\"POST\"`, in `delete` `\"DELETE\"`"),
        Key::optional("json", ANY, "its body, as `application/json`"),
        Key::optional("body", TEXT, "its body, instead of `json`"),
        HTTP_VERSION,
    ],
);

/// The keys of those that no undo record holds: whoever carries one out has no files, and no run
/// whose connections he could use.
pub(super) const RUNNING: Part = Part::shared(
    "a request of a run",
    &[
        Key::optional("body_file", FILE, "a file that is its body"),
        Key::optional(
            "multipart",
            TABLES,
            "the parts of a form that is its body (RFC 7578)",
        )
        .of(&[FORM_PART]),
        REUSE,
        TLS_RESUME,
    ],
);

const METHOD: Kind = Kind::new("method", "'PUT'", "'put'");

/// The largest `body_limit`: a step holds no more of an answer than this in memory.
const LARGEST_BODY: u64 = 1 << 30;

/// A request with `${…}` in it.
pub(super) struct RequestTemplate {
    method: Method,
    place: Where,
    headers: Vec<(HeaderName, Template)>,
    body: Body,
    manner: Manner,
    body_limit: u64,
}

enum Where {
    /// Behind the target's endpoint, with the target's authentication.
    Path(Template),
    /// Anywhere, without it: an address that the target has told.
    Url(Template),
}

enum Body {
    None,
    Json(ValueTemplate),
    Text(Template),
    File(PathBuf),
    Form(Vec<FormPart>),
}

/// A body with everything put in; files are still to be read.
enum Rendered {
    Bytes(Bytes),
    File(PathBuf),
    Form(Form),
}

impl Rendered {
    async fn bytes(self) -> Result<Bytes, Failure> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::File(path) => content_of(&path).await.map(Bytes::from),
            Self::Form(form) => form.bytes().await,
        }
    }
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
    #[serde(deserialize_with = "exact_some")]
    json: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    http_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_limit: Option<u64>,
}

impl RequestTemplate {
    /// Reads `PLACE` and `SENDING`: a request that an undo record may hold.
    pub(super) fn read_recorded(fields: &mut Fields<'_, '_>, method: Method) -> Option<Self> {
        let place = read_path(fields);
        Self::read_sending(place, fields, method, false)
    }

    /// Reads `PLACE`, `ELSEWHERE`, `SENDING` and `RUNNING`.
    pub(super) fn read(fields: &mut Fields<'_, '_>, method: Method) -> Option<Self> {
        let place = read_place(fields);
        Self::read_sending(place, fields, method, true)
    }

    /// The same and `WHOLE`: an answer that is read whole may come packed, and from elsewhere.
    pub(super) fn read_whole(fields: &mut Fields<'_, '_>, method: Method) -> Option<Self> {
        let request = Self::read(fields, method);
        Self::or_whole(request, fields)
    }

    /// The same without `ELSEWHERE`.
    pub(super) fn read_list(fields: &mut Fields<'_, '_>, method: Method) -> Option<Self> {
        let place = read_path(fields);
        let request = Self::read_sending(place, fields, method, true);
        Self::or_whole(request, fields)
    }

    /// The same for what makes something: it is undone on the target, so it is made there.
    pub(super) fn read_create(fields: &mut Fields<'_, '_>, method: Method) -> Option<Self> {
        let request = Self::read_list(fields, method)?;
        let manner = request.manner.staying();
        Some(Self { manner, ..request })
    }

    /// The same for an answer that is read as it comes: an event or message may be so long if
    /// nobody says otherwise.
    pub(super) fn in_pieces(self, fields: &mut Fields<'_, '_>) -> Self {
        let body_limit = if fields.has("body_limit") {
            self.body_limit
        } else {
            DEFAULT_MESSAGE_LIMIT
        };
        Self { body_limit, ..self }
    }

    fn read_sending(
        place: Option<Where>,
        fields: &mut Fields<'_, '_>,
        method: Method,
        runs: bool,
    ) -> Option<Self> {
        let method = read_method(fields).unwrap_or(method);
        let bare = Self::read_at(place, fields);
        let mut bodies = read_texts(fields);
        let mut manner = Manner::read(fields);
        if runs {
            bodies.extend(read_files(fields));
            manner = manner.read_running(fields);
        }
        Some(Self {
            method,
            body: only_body(fields, bodies),
            manner,
            ..bare?
        })
    }

    fn or_whole(request: Option<Self>, fields: &mut Fields<'_, '_>) -> Option<Self> {
        let manner = request.as_ref().map(|request| request.manner);
        let manner = manner.unwrap_or_default().read_whole(fields);
        request.map(|request| Self { manner, ..request })
    }

    /// Reads `PLACE` and `ELSEWHERE`: a GET without a body.
    pub(super) fn read_bare(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let place = read_place(fields);
        Self::read_at(place, fields)
    }

    fn read_at(place: Option<Where>, fields: &mut Fields<'_, '_>) -> Option<Self> {
        let headers = fields
            .table("headers")
            .map(|mut headers| header_templates(&mut headers))
            .unwrap_or_default();
        let body_limit = fields.integer("body_limit", 1..=LARGEST_BODY);
        Some(Self {
            method: Method::GET,
            place: place?,
            headers,
            body: Body::None,
            manner: Manner::default(),
            body_limit: body_limit.unwrap_or(DEFAULT_BODY_LIMIT),
        })
    }

    /// The request, everything put in, and where it goes.
    pub(super) async fn render(
        &self,
        context: &Context<'_>,
        lookup: &dyn Lookup,
    ) -> Result<(Request, Place), Failure> {
        let rendered = self.put_in(lookup).map_err(|error| refused(&error));
        let (mut request, elsewhere, body) = rendered?;
        request.body = body.bytes().await?;
        let place = match elsewhere {
            None => context.home(),
            Some(endpoint) => context.elsewhere(endpoint),
        };
        Ok((self.manner.apply(request), place))
    }

    fn put_in(
        &self,
        lookup: &dyn Lookup,
    ) -> Result<(Request, Option<Endpoint>, Rendered), Refused> {
        let mut headers = HeaderMap::new();
        let mut media_type = |text: &str| {
            // One that is no header value is none of ours: it comes from this file.
            let value = HeaderValue::try_from(text);
            headers.extend(value.map(|value| (CONTENT_TYPE, value)));
        };
        let body = match &self.body {
            Body::None => Rendered::Bytes(Bytes::new()),
            Body::Text(text) => Rendered::Bytes(text.text(lookup, plain)?.into()),
            Body::Json(json) => {
                media_type("application/json");
                Rendered::Bytes(json.value(lookup)?.to_string().into())
            }
            Body::File(path) => Rendered::File(path.clone()),
            Body::Form(parts) => {
                let form = Form::of(parts, lookup)?;
                media_type(&form.media_type());
                Rendered::Form(form)
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
        let (path, elsewhere) = match &self.place {
            Where::Path(path) => (path.text(lookup, encode_path)?, None),
            Where::Url(url) => {
                let url = url.text(lookup, plain)?;
                let (endpoint, path) = Endpoint::split(&url)
                    .map_err(|error| Refused::Value(format!("`url` is no address: {error}")))?;
                (path, Some(endpoint))
            }
        };
        let request = Request {
            headers,
            body_limit: self.body_limit,
            ..Request::new(self.method.clone(), path)
        };
        Ok((request, elsewhere, body))
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
            Body::File(_) | Body::Form(_) => {
                return Err(Refused::Value("an undo sends no files".into()));
            }
        };
        Ok(RequestData {
            method: self.method.to_string(),
            path: match &self.place {
                Where::Path(path) => path.partial(lookup, own, encode_path)?,
                Where::Url(_) => {
                    let what = "an undo goes to the target: write `path`, not `url`";
                    return Err(Refused::Value(what.into()));
                }
            },
            headers: headers.collect::<Result<_, Refused>>()?,
            json,
            body,
            http_version: self.manner.version(),
            body_limit: Some(self.body_limit).filter(|limit| *limit != DEFAULT_BODY_LIMIT),
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
            place: Where::Path(text(&data.path)?),
            headers: headers.collect::<Result<_, String>>()?,
            body,
            manner: Manner::of_version(data.http_version.as_deref()),
            body_limit: data.body_limit.unwrap_or(DEFAULT_BODY_LIMIT),
        })
    }

    /// What it asks for, the same for every run.
    pub(super) fn describe(&self) -> String {
        let (Where::Path(place) | Where::Url(place)) = &self.place;
        let literals: Vec<_> = place.literals().collect();
        format!("{} {}", self.method, literals.join("…"))
    }

    /// Whether `${name.…}` stands anywhere in it.
    pub(super) fn reads_any_of(&self, name: &str, keys: &[String]) -> bool {
        keys.iter().any(|key| self.reads(name, key))
    }

    /// Whether `${name.key}` stands anywhere in it.
    pub(super) fn reads(&self, name: &str, key: &str) -> bool {
        let (Where::Path(place) | Where::Url(place)) = &self.place;
        place.reads(name, key)
            || self.headers.iter().any(|(_, value)| value.reads(name, key))
            || match &self.body {
                Body::None | Body::File(_) => false,
                Body::Form(parts) => parts.iter().any(|part| part.reads(name, key)),
                Body::Json(json) => json.reads(name, key),
                Body::Text(text) => text.reads(name, key),
            }
    }

    /// Sends it once, as who the run is to the target, and follows redirects as far as it says.
    pub(super) async fn send(
        &self,
        context: &mut Context<'_>,
        lookup: &dyn Lookup,
    ) -> Result<Reply, Failure> {
        let (request, place) = self.render(context, lookup).await?;
        self.exchange(context, request, place).await
    }

    /// Sends a request that was rendered.
    pub(super) async fn exchange(
        &self,
        context: &mut Context<'_>,
        request: Request,
        place: Place,
    ) -> Result<Reply, Failure> {
        let begun = Instant::now();
        let sent = self.manner.send(context, request, place).await;
        let (answer, from) = sent?;
        let (duration, reason) = (begun.elapsed(), context.reason(&answer));
        let phases = context.http.last().copied().unwrap_or_default();
        Ok(Reply::new(answer, duration, reason).from(from, phases))
    }

    /// Sends it once, and reads the answer as it comes. The headers are added where the request
    /// has none of their name.
    pub(super) async fn open(
        &self,
        context: &mut Context<'_>,
        lookup: &dyn Lookup,
        headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    ) -> Result<Stream, Failure> {
        let (mut request, place) = self.render(context, lookup).await?;
        add(&mut request, headers);
        context.open(&place, request).await
    }

    /// The same, as the handshake of a WebSocket.
    pub(super) async fn upgrade(
        &self,
        context: &mut Context<'_>,
        lookup: &dyn Lookup,
        headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    ) -> Result<Upgrade, Failure> {
        let (mut request, place) = self.render(context, lookup).await?;
        add(&mut request, headers);
        context.upgrade(&place, request).await
    }
}

fn add(request: &mut Request, headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>) {
    for (name, value) in headers {
        request.headers.entry(name).or_insert(value);
    }
}

/// Reads `json` and `body`.
fn read_texts(fields: &mut Fields<'_, '_>) -> Vec<Body> {
    let json = fields.value("json").map(Body::Json);
    let text = fields.template("body").map(Body::Text);
    json.into_iter().chain(text).collect()
}

/// Reads `body_file` and `multipart`.
fn read_files(fields: &mut Fields<'_, '_>) -> Vec<Body> {
    let mut bodies: Vec<_> = fields
        .path("body_file")
        .map(Body::File)
        .into_iter()
        .collect();
    let parts = fields.tables("multipart");
    if !parts.is_empty() {
        let parts = parts.into_iter();
        let parts = parts.filter_map(|part| FormPart::read(fields.one_of("multipart", part)));
        bodies.push(Body::Form(parts.collect()));
    }
    bodies
}

fn only_body(fields: &mut Fields<'_, '_>, mut bodies: Vec<Body>) -> Body {
    if bodies.len() > 1 {
        let help = "keep one of `json`, `body`, `body_file` and `multipart`";
        fields.problem("body", "is not the only body", help);
    }
    bodies.pop().unwrap_or(Body::None)
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

/// Reads `path` or `url`.
fn read_place(fields: &mut Fields<'_, '_>) -> Option<Where> {
    let Some(url) = fields.template("url") else {
        if fields.has("url") {
            return None;
        }
        return read_path(fields);
    };
    if fields.has("path") {
        fields.problem("url", "stands beside `path`", "keep one of the two");
        return None;
    }
    Some(Where::Url(url))
}

/// Reads `path`.
fn read_path(fields: &mut Fields<'_, '_>) -> Option<Where> {
    let Some(path) = fields.template("path") else {
        if !fields.has("path") {
            fields.missing("path", "say what to ask for, such as path = \"/health\"");
        }
        return None;
    };
    check_path(&path, fields);
    Some(Where::Path(path))
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
pub(crate) fn broken_record(what: impl std::fmt::Display) -> Failure {
    Failure::new(
        Cause::Input,
        format!("the undo record cannot be read: {what}"),
    )
    .without_effect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Scope;

    #[test]
    fn a_record_keeps_all_that_its_request_is_made_with() {
        let record = serde_json::json!({
            "method": "DELETE",
            "path": "/items/1",
            "headers": { "x-a": "b" },
            "body": "text",
            "http_version": "2",
            "body_limit": 100_000_000,
        });
        let data: RequestData = serde_json::from_value(record.clone()).unwrap();
        let request = RequestTemplate::from_data(&data).unwrap();
        let again = request.data(&Scope::default(), "item").unwrap();
        assert_eq!(serde_json::to_value(again).unwrap(), record);
    }
}

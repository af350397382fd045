//! How a request goes on its way: over which connection, in which HTTP, packed or not, and how far
//! redirects are followed.

use std::borrow::Cow;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE,
    LOCATION, USER_AGENT,
};
use http::{HeaderMap, HeaderName, Method};
use url::Url;

use super::keys::{Key, Part};
use super::kind::{FLAG, INTEGER, Kind};
use crate::client::{Answer, Endpoint, Request, Speak};
use crate::outcome::{Failure, Reason};
use crate::spec::{Context, Place};
use crate::text::Fields;

/// The most redirects that may be asked for.
const FARTHEST: u64 = 50;

/// What goes along to another origin: whatever else a request has may be a secret of ours.
const HARMLESS: [HeaderName; 6] = [
    ACCEPT,
    ACCEPT_ENCODING,
    ACCEPT_LANGUAGE,
    CONTENT_LANGUAGE,
    CONTENT_TYPE,
    USER_AGENT,
];

/// Which HTTP.
pub(super) const HTTP_VERSION: Key = Key::optional(
    "http_version",
    VERSION,
    "which HTTP is spoken; `\"any\"` lets the server choose in the TLS handshake, `\"2\"` without one is spoken unasked",
)
.default("`\"1.1\"`");

/// Connections that are kept.
pub(super) const REUSE: Key = Key::optional(
    "reuse",
    FLAG,
    "whether it may go over a connection that the run has open",
)
.default("false");

/// Sessions that are resumed.
pub(super) const TLS_RESUME: Key = Key::optional(
    "tls_resume",
    FLAG,
    "whether a new connection may resume a TLS session of an earlier request of the run that has this too",
)
.default("false");

/// The keys of those whose answer is read whole.
pub(super) const WHOLE: Part = Part::shared(
    "a whole answer",
    &[
        Key::optional(
            "redirects",
            INTEGER,
            "how many redirects are followed, at most 50; one more is a failure. Each request has its own phases. Credentials and headers of yours stay with the target's origin, a body that would have to leave it is a failure, and cookies go where they belong",
        )
        .default("0: a redirect is an answer"),
        Key::optional(
            "same_origin",
            FLAG,
            "whether a redirect to another scheme, host or port is a failure",
        )
        .default("false"),
        Key::optional(
            "compression",
            FLAG,
            "whether the body may come as gzip, br or zstd; it is unpacked, and `body_limit` bounds it before and after",
        )
        .default("false"),
    ],
);

const VERSION: Kind = Kind::new("`\"1.1\"`, `\"2\"` or `\"any\"`", "'2'", "'3'");

/// How a request goes on its way.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Manner {
    reuse: bool,
    resume: bool,
    speak: Speak,
    unpack: bool,
    redirects: Redirects,
}

/// How redirects are followed.
#[derive(Debug, Clone, Copy, Default)]
struct Redirects {
    /// How many.
    most: usize,
    /// Whether they have to stay where they are.
    same_origin: bool,
}

impl Manner {
    /// Reads `http_version`.
    pub(super) fn read(fields: &mut Fields<'_, '_>) -> Self {
        Self {
            speak: read_version(fields),
            ..Self::default()
        }
    }

    /// Reads `reuse` and `tls_resume` too.
    pub(super) fn read_running(self, fields: &mut Fields<'_, '_>) -> Self {
        Self {
            reuse: fields.flag("reuse"),
            resume: fields.flag("tls_resume"),
            ..self
        }
    }

    /// Reads `compression`, `redirects` and `same_origin` too.
    pub(super) fn read_whole(self, fields: &mut Fields<'_, '_>) -> Self {
        let redirects = fields.integer("redirects", 0..=FARTHEST).unwrap_or(0);
        Self {
            unpack: fields.flag("compression"),
            redirects: Redirects {
                most: usize::try_from(redirects).unwrap_or_default(),
                same_origin: fields.flag("same_origin"),
            },
            ..self
        }
    }

    /// What of it an undo record holds.
    pub(super) fn version(self) -> Option<String> {
        let known = VERSIONS.into_iter().find(|(_, speak)| *speak == self.speak);
        known
            .filter(|(_, speak)| *speak != Speak::default())
            .map(|(word, _)| word.to_owned())
    }

    /// What an undo record says of it.
    pub(super) fn of_version(version: Option<&str>) -> Self {
        let speak = VERSIONS
            .into_iter()
            .find(|(word, _)| Some(*word) == version);
        Self {
            speak: speak.map_or_else(Speak::default, |(_, speak)| speak),
            ..Self::default()
        }
    }

    /// The request, to be made in this manner.
    pub(super) fn apply(self, request: Request) -> Request {
        Request {
            reuse: self.reuse,
            resume: self.resume,
            speak: self.speak,
            unpack: self.unpack,
            ..request
        }
    }

    /// The same, but redirects must not leave the target: whatever is made is undone there.
    pub(super) fn staying(self) -> Self {
        let redirects = Redirects {
            same_origin: true,
            ..self.redirects
        };
        Self { redirects, ..self }
    }

    /// Sends the request, and goes where it is sent on. Returns the last answer, where it came
    /// from, and whether that is another request's. Each request of the chain notes phases of its
    /// own.
    pub(super) async fn send(
        self,
        context: &mut Context<'_>,
        request: Request,
        mut place: Place,
    ) -> Result<(Answer, (String, bool)), Failure> {
        let mut url = address(&place, &request);
        if self.redirects.most == 0 {
            return Ok((context.send_to(&place, request).await?, (url, false)));
        }
        let mut next = request;
        let mut chain = vec![shown(&url).into_owned()];
        let began_ours = place.ours;
        loop {
            let sent = context.send_to(&place, next.clone()).await;
            // Whatever came before the last request did reach somebody.
            let answer = sent.map_err(|failure| match chain.len() {
                1 => failure,
                _ => failure.with_unknown_effect(),
            })?;
            let Some(location) = location(&answer) else {
                return Ok((answer, (url, chain.len() > 1)));
            };
            let lost = |what: String, chain: &[String]| {
                let what = format!("{what}: {}", chain.join(" → "));
                Failure::new(Reason::Protocol, what)
            };
            let to = self.redirects.arrive(&url, &location, &mut chain);
            let to = to.and_then(|to| place_of(context, began_ours, to.as_str()));
            let (there, path) = to.map_err(|what| lost(what, &chain))?;
            next = follow(next, answer.status, path);
            if there.endpoint.origin() != place.endpoint.origin() {
                if !next.body.is_empty() {
                    let what = "a redirect that would take the body to another origin";
                    return Err(lost(what.into(), &chain));
                }
                next.headers = harmless(&next.headers);
            }
            place = there;
            url = address(&place, &next);
        }
    }
}

impl Redirects {
    /// Where a redirect leads, or why it is not followed.
    fn arrive(self, url: &str, location: &str, chain: &mut Vec<String>) -> Result<Url, String> {
        let from = Url::parse(url).map_err(|error| format!("a redirect from nowhere, {error}"))?;
        let to = from.join(location);
        let mut to = to.map_err(|error| format!("a redirect that leads nowhere, {error}"))?;
        to.set_fragment(None);
        let mut open = to.clone();
        // Not every address can have them; then it has none.
        let _ = open.set_username("").and_then(|()| open.set_password(None));
        chain.push(shown(open.as_str()).into_owned());
        if chain.len() > self.most + 1 {
            return Err(format!("more than {} redirects", self.most));
        }
        if self.same_origin && from.origin() != to.origin() {
            return Err("a redirect that leaves its origin".to_owned());
        }
        Ok(to)
    }
}

/// The place of an address, and the path there. Who began elsewhere is nobody at home either.
pub(super) fn place_of(
    context: &Context<'_>,
    ours: bool,
    url: &str,
) -> Result<(Place, String), String> {
    let (endpoint, path) =
        Endpoint::split(url).map_err(|error| format!("a redirect to no address, {error}"))?;
    let home = context.home();
    if !ours || endpoint.origin() != home.endpoint.origin() {
        return Ok((context.elsewhere(endpoint), path));
    }
    // Below the base path an identity knows what it signs.
    let below = path.strip_prefix(home.endpoint.base_path());
    if let Some(below) = below.filter(|path| path.starts_with('/')) {
        return Ok((home, below.to_owned()));
    }
    let endpoint = endpoint.via(home.endpoint.transport().clone());
    Ok((Place { endpoint, ..home }, path))
}

fn address(place: &Place, request: &Request) -> String {
    format!("{}{}", place.endpoint, request.path)
}

/// An address for people: its query may hold what is nobody's business. That something was cut off
/// is shown, also to who looks for parts of secrets.
pub(super) fn shown(url: &str) -> Cow<'_, str> {
    match url.split_once('?') {
        Some((open, _)) => format!("{open}…").into(),
        None => url.into(),
    }
}

/// Where an answer sends us, if it does (RFC 9110, 15.4).
fn location(answer: &Answer) -> Option<String> {
    if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = answer.headers.get(LOCATION)?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}

/// The request that follows an answer of this status, as browsers make it.
fn follow(request: Request, status: u16, path: String) -> Request {
    let mut request = Request { path, ..request };
    let post = request.method == Method::POST;
    if status == 303 && request.method != Method::HEAD || matches!(status, 301 | 302) && post {
        request.method = Method::GET;
        request.body.clear();
        for about_body in [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE] {
            request.headers.remove(about_body);
        }
    }
    request
}

/// What of these headers may be seen by anybody.
fn harmless(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for name in HARMLESS {
        for value in headers.get_all(&name) {
            kept.append(&name, value.clone());
        }
    }
    kept
}

const VERSIONS: [(&str, Speak); 3] = [
    ("1.1", Speak::Http1),
    ("2", Speak::Http2),
    ("any", Speak::Either),
];

fn read_version(fields: &mut Fields<'_, '_>) -> Speak {
    let Some(text) = fields.string("http_version") else {
        return Speak::default();
    };
    let known = VERSIONS.into_iter().find(|(word, _)| *word == text);
    if known.is_none() {
        let what = format!("`{text}` is not a version of HTTP that can be spoken");
        fields.problem("http_version", what, "write \"1.1\", \"2\" or \"any\"");
    }
    known.map_or_else(Speak::default, |(_, speak)| speak)
}

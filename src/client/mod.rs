//! The one measured HTTP client: one attempt at one address, its phases timed, its errors
//! classified. What we ask for ourselves goes the same way, but nobody looks at its phases
//! (`unmeasured`).
//!
//! It knows no deadline (the caller races it and drops it), no retry, no redirect and no meaning
//! of a status: that is the business of the actions. Dropping [`Client::send`], or what
//! [`Client::open`], [`Client::upgrade`] and [`Client::dial`] gave, drops everything it began, because the connection
//! is driven inside the caller's future and names are looked up there; only the system's resolver,
//! where it is asked for, cannot be called back.

mod connect;
mod cookies;
mod decode;
mod dialog;
mod endpoint;
mod error;
mod exchange;
mod heard;
mod names;
mod paced;
mod proxy;
mod room;
mod sse;
mod stopwatch;
mod stream;
mod tasks;
#[cfg(test)]
mod tests;
mod tls;
mod transport;
mod unmeasured;
mod verifier;
mod websocket;
mod zone;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use http_body_util::Full;
use rustls::RootCertStore;
use tokio::sync::OnceCell;

use self::connect::connect;
use self::cookies::Cookies;
use self::exchange::{Connection, Incoming, Message, relative};
use self::names::Names;
use self::room::{Room, Share};
use self::stopwatch::{Phase, Stopwatch};
use self::tls::{Sessions, Tls};
use self::verifier::Roots;
use crate::event::HttpPhases;
use crate::outcome::Failure;

pub use self::dialog::{Dialog, LONGEST_LINE};
pub use self::endpoint::{Endpoint, EndpointError, ascii};
pub use self::error::ClientError;
pub use self::proxy::{Proxy, ProxyKind};
pub use self::sse::{Event, EventStream, Parser as EventParser, TooLong};
pub use self::stream::Stream;
pub use self::tls::Session;
pub use self::transport::{Family, Resolver, Transport, Trust};
pub use self::websocket::{Message as WebSocketMessage, Upgrade, WebSocket};

/// How long a body may be when nobody says otherwise.
pub const DEFAULT_BODY_LIMIT: u64 = 8 * 1024 * 1024;

/// How long an event or a message may be when nobody says otherwise. Whole bodies share their room
/// (`room`); these do not, because nobody knows how long they are before they are there.
pub const DEFAULT_MESSAGE_LIMIT: u64 = 512 * 1024;

/// Which HTTP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Speak {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: agreed on in the TLS handshake, or in the clear without asking first.
    Http2,
    /// What the server likes best, if there is a TLS handshake to say it in; HTTP/1.1 otherwise.
    Either,
}

impl Speak {
    /// What is offered in a TLS handshake.
    const fn protocols(self) -> &'static [&'static str] {
        match self {
            Self::Http1 => &["http/1.1"],
            Self::Http2 => &["h2"],
            Self::Either => &["h2", "http/1.1"],
        }
    }
}

/// What to send.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Path and query, percent-encoded, beginning with `/`; the endpoint's base path is put before.
    pub path: String,
    /// The headers. `host` is added where it is missing; framing (`content-length`,
    /// `transfer-encoding`) is the client's.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Bytes,
    /// An answer with a longer body is an error, and not read to its end. In an answer that is read
    /// as it comes, no event and no message may be longer.
    pub body_limit: u64,
    /// Take the connection that the run kept for this endpoint, and keep it for the next.
    pub reuse: bool,
    /// Resume the TLS session of an earlier connection of the run, if there is one.
    pub resume: bool,
    /// Which HTTP.
    pub speak: Speak,
    /// Say that the body may come packed, and unpack it. Unpacked it may not be longer than
    /// `body_limit` either.
    pub unpack: bool,
}

impl Request {
    /// A request without headers and body, over a connection of its own.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            body_limit: DEFAULT_BODY_LIMIT,
            reuse: false,
            resume: false,
            speak: Speak::default(),
            unpack: false,
        }
    }

    fn into_message(self, endpoint: &Endpoint) -> Option<Message> {
        let uri = endpoint.uri(&self.path)?;
        let mut headers = self.headers;
        if !headers.contains_key(HOST) {
            headers.insert(HOST, HeaderValue::try_from(endpoint.authority()).ok()?);
        }
        headers.remove(TRANSFER_ENCODING);
        if self.unpack && !headers.contains_key(ACCEPT_ENCODING) {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(decode::ACCEPTED));
        }
        // A method that usually has a body says so when there is none (RFC 9110, 8.6): some
        // servers answer 411 otherwise.
        if self.body.is_empty()
            && ![Method::POST, Method::PUT, Method::PATCH].contains(&self.method)
        {
            headers.remove(CONTENT_LENGTH);
        } else {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        }
        let mut message = Message::new(Full::new(self.body));
        *message.method_mut() = self.method;
        *message.uri_mut() = uri;
        *message.headers_mut() = headers;
        Some(message)
    }
}

/// What came back. Any status is an answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// Which HTTP the answer is.
    pub version: Version,
    /// What the TLS handshake of its connection came to, if there was one.
    pub session: Option<Arc<Session>>,
    /// What the body takes of the room that all bodies have.
    share: Option<Arc<Share>>,
}

impl Answer {
    /// An answer that was not read by a client, or is a part of one that was.
    #[must_use]
    pub fn part(status: u16, headers: HeaderMap, body: Bytes) -> Self {
        Self {
            status,
            headers,
            body,
            version: Version::default(),
            session: None,
            share: None,
        }
    }
}

/// What one run keeps from one request for the next: connections, at most one per scheme, host,
/// port and version of HTTP, TLS sessions, and cookies.
#[derive(Default)]
pub struct Connections {
    kept: HashMap<String, (Arc<Transport>, Connection)>,
    /// Of the last request, which nobody needs any more. Closing it wakes its server, often on this
    /// very processor: that is put off until no clock runs.
    over: Option<Box<Connection>>,
    sessions: Sessions,
    cookies: Cookies,
}

impl Connections {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The failure without the value of any cookie that a target has set.
    #[must_use]
    pub fn redact(&self, failure: Failure) -> Failure {
        failure.redacted(&self.cookies.redactor())
    }

    /// Closes what the last request has left open. The next one would, too.
    pub async fn tidy(&mut self) {
        if let Some(over) = self.over.take() {
            over.close().await;
        }
    }

    async fn take(&mut self, endpoint: &Endpoint, speak: Speak) -> Option<Connection> {
        let (transport, mut kept) = self.kept.remove(&place(endpoint, speak))?;
        // Another way there, perhaps as somebody else, is another connection.
        if transport != *endpoint.transport() {
            return None;
        }
        // The runtime looks at its sockets before it comes back: a run goes from step to step
        // without a pause, and would not hear of a close that came right after the last answer.
        tokio::task::yield_now().await;
        kept.is_idle().await.then_some(kept)
    }

    fn keep(&mut self, endpoint: &Endpoint, speak: Speak, connection: Connection) {
        let kept = (Arc::clone(endpoint.transport()), connection);
        self.kept.insert(place(endpoint, speak), kept);
    }
}

fn place(endpoint: &Endpoint, speak: Speak) -> String {
    format!("{speak:?} {}", endpoint.origin())
}

/// The client: the roots that this machine trusts, who looks names up, and the room that bodies
/// have. One serves the whole process.
#[derive(Debug, Default)]
pub struct Client {
    /// Those that it was given, instead of this machine's.
    given: Option<Arc<Roots>>,
    /// This machine's. They are locked only to be taken out and replaced.
    machine: Mutex<Arc<OnceCell<Arc<Roots>>>>,
    names: Arc<Names>,
    room: Room,
}

impl Client {
    /// A client that trusts the roots of this machine (or of `SSL_CERT_FILE`), which are loaded
    /// when they are first needed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A client that trusts these roots and no others, where an endpoint's transport names none.
    #[must_use]
    pub fn with_roots(roots: RootCertStore) -> Self {
        Self {
            given: Some(Arc::new(roots.into())),
            ..Self::default()
        }
    }

    /// The roots of this machine are loaded again when they are needed next: some may have been
    /// replaced or withdrawn.
    pub fn forget_roots(&self) {
        *self.machine.lock().unwrap_or_else(PoisonError::into_inner) = Arc::default();
    }

    /// Makes one attempt. The phases are noted as they end, and the last one also when the
    /// attempt fails or is dropped in the middle of it.
    pub async fn send(
        &self,
        endpoint: &Endpoint,
        request: Request,
        connections: &mut Connections,
        phases: &mut HttpPhases,
    ) -> Result<Answer, ClientError> {
        let (reuse, speak) = (request.reuse, request.speak);
        let (unpack, limit) = (request.unpack, request.body_limit);
        let begun = self.begin(endpoint, request, connections, phases).await;
        let (mut stream, mut watch) = begun?;
        watch.enter(Phase::Transfer);
        let body = stream.read().await?;
        // The answer is complete; what becomes of it and of the connection is not in its time.
        drop(watch);
        let (mut answer, mut share, mut connection) = stream.end(body);
        if !reuse {
            connections.over = Some(Box::new(connection));
        } else if connection.is_idle().await {
            connections.keep(endpoint, speak, connection);
        }
        if unpack {
            (answer.body, share) = decode::decode(&answer.headers, answer.body, limit, share)
                .await
                .map_err(|broken| ClientError::coding(endpoint, broken, limit))?;
        }
        answer.share = Some(Arc::new(share));
        Ok(answer)
    }

    /// The same, but returns at the head of the answer, and its body is read as it comes, packed
    /// or not. The phases are those up to the head; [`Stream`] says why.
    pub async fn open(
        &self,
        endpoint: &Endpoint,
        request: Request,
        connections: &mut Connections,
        phases: &mut HttpPhases,
    ) -> Result<Stream, ClientError> {
        let begun = self.begin(endpoint, request, connections, phases).await;
        begun.map(|(stream, _)| stream)
    }

    /// Sends the request, and waits for the head of the answer.
    async fn begin<'a>(
        &self,
        endpoint: &Endpoint,
        request: Request,
        connections: &mut Connections,
        phases: &'a mut HttpPhases,
    ) -> Result<(Stream, Stopwatch<'a>), ClientError> {
        connections.tidy().await;
        // Before the clock starts: reading this machine's files says nothing about the target.
        let tls = if endpoint.is_tls() {
            let config = self.tls(endpoint).await?;
            let protocols = request.speak.protocols();
            let sessions = &mut connections.sessions;
            Some(sessions.configure(&config, protocols, request.resume))
        } else {
            None
        };
        let (limit, reuse, speak) = (request.body_limit, request.reuse, request.speak);
        let mut message = request.into_message(endpoint).ok_or(ClientError::Path)?;
        let uri = message.uri().clone();
        let cookies = &mut connections.cookies;
        cookies.add(endpoint, &uri, message.headers_mut());
        let upgrades = message.headers().contains_key(UPGRADE);
        let forwarder = proxy::forwarder(endpoint).filter(|_| speak != Speak::Http2 && !upgrades);
        if let Some(proxy) = forwarder {
            proxy.address(&mut message, endpoint)?;
        }

        let mut watch = Stopwatch::start(phases);
        let kept = if reuse {
            connections.take(endpoint, speak).await
        } else {
            None
        };
        let way = Way {
            names: &self.names,
            forwarder,
            endpoint,
            tls,
            speak,
        };
        // Boxed, because a handshake takes some room, and every future around it would have that.
        let asked = Box::pin(way.request_head(kept, message, &mut watch)).await;
        let (connection, head) = asked?;
        connections.cookies.keep(endpoint, &uri, head.headers());
        let stream = Stream::new(head, connection, endpoint, limit, &self.room);
        Ok((stream, watch))
    }

    /// The TLS configuration of an endpoint.
    async fn tls(&self, endpoint: &Endpoint) -> Result<Tls, ClientError> {
        let transport = endpoint.transport();
        let roots = match &self.given {
            _ if !transport.needs_roots() => None,
            Some(given) => Some(Arc::clone(given)),
            None => {
                let machine =
                    Arc::clone(&self.machine.lock().unwrap_or_else(PoisonError::into_inner));
                let loaded = machine.get_or_try_init(tls::roots_of_this_machine).await;
                Some(Arc::clone(loaded?))
            }
        };
        transport.tls(roots).await
    }
}

/// How often one request is sent at most.
const TRIES: usize = 3;

/// How a request goes to its endpoint.
struct Way<'a> {
    /// The proxy that makes the request, where it makes no tunnel.
    forwarder: Option<&'a Proxy>,
    names: &'a Names,
    endpoint: &'a Endpoint,
    tls: Option<Tls>,
    speak: Speak,
}

impl Way<'_> {
    /// Sends the message, over the kept connection if there is one, and waits for the head of the
    /// answer. What certainly was not processed is sent again over a fresh connection, and so is
    /// what does no harm, if the kept one was closed before anything came: that is no retry.
    async fn request_head(
        self,
        mut kept: Option<Connection>,
        mut message: Message,
        watch: &mut Stopwatch<'_>,
    ) -> Result<(Connection, Incoming), ClientError> {
        let mut tries = TRIES;
        loop {
            tries -= 1;
            let was_kept = kept.is_some();
            let mut connection = match kept.take() {
                Some(kept) => {
                    watch.enter(Phase::FirstByte);
                    kept
                }
                None => self.connect(watch).await?,
            };
            let harmless = was_kept && message.method().is_safe();
            let copy = (harmless || connection.may_refuse()).then(|| message.clone());
            let mut error = match connection.request(message).await {
                Ok(head) => return Ok((connection, self.checked(head)?)),
                Err(error) => error,
            };
            let unsent = error.take_message().filter(|_| was_kept).map(relative);
            let error = error.into_error();
            message = match (unsent, copy) {
                _ if tries == 0 => return Err(ClientError::answer(self.endpoint, error)),
                (Some(unsent), _) => unsent,
                (None, Some(copy)) if connection.may_be_repeated(&error, harmless) => copy,
                _ => return Err(ClientError::answer(self.endpoint, error)),
            };
        }
    }

    /// A proxy that wants to know who we are answers in the target's place.
    fn checked(&self, head: Incoming) -> Result<Incoming, ClientError> {
        match self.forwarder {
            Some(proxy) if head.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                let what = "it wants another login: status 407";
                Err(ClientError::proxy(&proxy.endpoint, what.into()))
            }
            _ => Ok(head),
        }
    }

    /// A connection that speaks what it should. The clock is then at the first byte.
    async fn connect(&self, watch: &mut Stopwatch<'_>) -> Result<Connection, ClientError> {
        let tls = self.tls.clone();
        let (pipe, session) =
            connect(self.names, self.endpoint, tls, self.forwarder, watch).await?;
        watch.enter(Phase::FirstByte);
        let agreed = session.as_ref().and_then(|s| s.protocol.as_deref()) == Some(b"h2");
        let opened = match (self.speak, &session) {
            (Speak::Http2, Some(_)) if !agreed => return Err(ClientError::version(self.endpoint)),
            (Speak::Http2, _) => Connection::http2(pipe).await,
            (Speak::Either, _) if agreed => Connection::http2(pipe).await,
            (Speak::Http1 | Speak::Either, _) => Connection::http1(pipe).await,
        };
        let opened = opened.map_err(|source| ClientError::answer(self.endpoint, source))?;
        Ok(opened.within(session))
    }
}

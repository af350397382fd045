//! The one measured HTTP client: one attempt at one address, its phases timed, its errors
//! classified.
//!
//! It knows no deadline (the caller races it and drops it), no retry, no redirect and no meaning
//! of a status: that is the business of the actions. Dropping [`Client::send`], or what
//! [`Client::open`] and [`Client::upgrade`] gave, drops everything it began, because the connection
//! is driven inside the caller's future; only a name being resolved by the system cannot be called
//! back.

mod connect;
mod cookies;
mod endpoint;
mod error;
mod exchange;
mod sse;
mod stopwatch;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod websocket;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::Full;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::OnceCell;

use self::connect::connect;
use self::cookies::Cookies;
use self::exchange::{Connection, Incoming, Message};
use self::stopwatch::{Phase, Stopwatch};
use crate::event::HttpPhases;

pub use self::endpoint::{Endpoint, EndpointError};
pub use self::error::ClientError;
pub use self::sse::{Event, EventStream, Parser as EventParser, TooLong};
pub use self::stream::Stream;
pub use self::websocket::{Message as WebSocketMessage, Upgrade, WebSocket};

/// How long a body may be when nobody says otherwise.
pub const DEFAULT_BODY_LIMIT: u64 = 8 * 1024 * 1024;

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
        }
    }

    fn into_message(self, endpoint: &Endpoint) -> Option<Message> {
        let uri = endpoint.uri(&self.path)?;
        let mut headers = self.headers;
        if !headers.contains_key(HOST) {
            headers.insert(HOST, HeaderValue::try_from(endpoint.authority()).ok()?);
        }
        headers.remove(TRANSFER_ENCODING);
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
}

/// What one run keeps from one request for the next: connections, at most one per scheme, host and
/// port, and cookies.
#[derive(Default)]
pub struct Connections {
    kept: HashMap<String, Connection>,
    cookies: Cookies,
}

impl Connections {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The text without the value of any cookie that a target has set.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        self.cookies.redact(text)
    }

    async fn take(&mut self, endpoint: &Endpoint) -> Option<Connection> {
        let mut kept = self.kept.remove(&endpoint.origin())?;
        // The runtime looks at its sockets before it comes back: a run goes from step to step
        // without a pause, and would not hear of a close that came right after the last answer.
        tokio::task::yield_now().await;
        kept.is_idle().await.then_some(kept)
    }

    fn keep(&mut self, endpoint: &Endpoint, connection: Connection) {
        self.kept.insert(endpoint.origin(), connection);
    }
}

/// The client: nothing but what TLS needs. One serves the whole process.
#[derive(Debug, Default)]
pub struct Client {
    tls: OnceCell<Arc<ClientConfig>>,
}

impl Client {
    /// A client that trusts the roots of this machine (or of `SSL_CERT_FILE`), which are loaded
    /// when they are first needed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A client that trusts these roots and no others.
    pub fn with_roots(roots: RootCertStore) -> Result<Self, rustls::Error> {
        let config = tls::trusting(roots)?;
        Ok(Self {
            tls: OnceCell::new_with(Some(config)),
        })
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
        let reuse = request.reuse;
        let begun = self.begin(endpoint, request, connections, phases).await;
        let (mut stream, mut watch) = begun?;
        watch.enter(Phase::Transfer);
        let body = stream.read().await?;
        // The answer is complete; what becomes of the connection is not in its time.
        drop(watch);
        let (answer, mut connection) = stream.end(body);
        if !reuse {
            connection.close().await;
        } else if connection.is_idle().await {
            connections.keep(endpoint, connection);
        }
        Ok(answer)
    }

    /// The same, but returns at the head of the answer, and its body is read as it comes. The
    /// phases are those up to the head; [`Stream`] says why.
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
        // Before the clock starts: reading this machine's files says nothing about the target.
        let tls = if endpoint.is_tls() {
            Some(self.tls.get_or_try_init(tls::of_this_machine).await?)
        } else {
            None
        };
        let (limit, reuse) = (request.body_limit, request.reuse);
        let mut message = request.into_message(endpoint).ok_or(ClientError::Path)?;
        let uri = message.uri().clone();
        let cookies = &mut connections.cookies;
        cookies.add(endpoint, &uri, message.headers_mut());

        let mut watch = Stopwatch::start(phases);
        let kept = if reuse {
            connections.take(endpoint).await
        } else {
            None
        };
        let (connection, head) = request_head(endpoint, tls, kept, message, &mut watch).await?;
        connections.cookies.keep(endpoint, &uri, head.headers());
        Ok((Stream::new(head, connection, endpoint, limit), watch))
    }
}

/// Sends the message, over the kept connection if there is one, and waits for the head of the
/// answer. What certainly never left a kept connection is sent over a fresh one: that is no retry.
async fn request_head(
    endpoint: &Endpoint,
    tls: Option<&Arc<ClientConfig>>,
    kept: Option<Connection>,
    mut message: Message,
    watch: &mut Stopwatch<'_>,
) -> Result<(Connection, Incoming), ClientError> {
    if let Some(mut kept) = kept {
        watch.enter(Phase::FirstByte);
        match kept.request(message).await {
            Ok(head) => return Ok((kept, head)),
            Err(mut error) => match error.take_message() {
                Some(unsent) => message = unsent,
                None => return Err(ClientError::answer(endpoint, error.into_error())),
            },
        }
    }
    let pipe = connect(endpoint, tls, watch).await?;
    watch.enter(Phase::FirstByte);
    let failed = |source| ClientError::answer(endpoint, source);
    let mut fresh = Connection::over(pipe).await.map_err(failed)?;
    let head = fresh.request(message).await;
    let head = head.map_err(|error| failed(error.into_error()))?;
    Ok((fresh, head))
}

//! An answer whose body is read piece by piece, as long as somebody wants to hear more.
//!
//! How long that is says nothing about the target, so a stream has no transfer phase: its phases
//! end with the head, and waiting for what it brings is in the step's own time.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Version};
use hyper::body::Body;

use super::Answer;
use super::connect::Pipe;
use super::endpoint::Endpoint;
use super::error::ClientError;
use super::exchange::{Connection, Incoming};
use super::room::{Crowded, Room, Share};

/// The head of an answer, and a body that is still to come. Dropping it ends the connection.
pub struct Stream {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    version: Version,
    body: hyper::body::Incoming,
    connection: Connection,
    endpoint: Endpoint,
    limit: u64,
    share: Share,
}

/// How a body that is read whole grows at once, at most.
pub(super) const LONGEST_GROWTH: usize = 1 << 20;

impl Stream {
    pub(super) fn new(
        head: Incoming,
        connection: Connection,
        endpoint: &Endpoint,
        limit: u64,
        room: &Room,
    ) -> Self {
        let (head, body) = head.into_parts();
        Self {
            status: head.status.as_u16(),
            headers: head.headers,
            version: head.version,
            body,
            connection,
            endpoint: endpoint.clone(),
            limit,
            share: room.share(),
        }
    }

    /// The answer as far as it is known: without a body.
    #[must_use]
    pub fn head(&self) -> Answer {
        Answer {
            status: self.status,
            headers: self.headers.clone(),
            body: Bytes::new(),
            version: self.version,
            session: self.connection.session().cloned(),
            share: None,
        }
    }

    /// The next piece, of whatever length it comes in; `None` at the end of the body. It may be
    /// dropped while it waits (the other branch of a `select!` won) and called again.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        let piece = self.connection.piece(&mut self.body).await;
        piece.map_err(|source| ClientError::body(&self.endpoint, source))
    }

    /// Whether this is a stream of events: status 200, and the media type says so.
    #[must_use]
    pub fn has_events(&self) -> bool {
        let media_type = self.headers.get(CONTENT_TYPE);
        let media_type = media_type.and_then(|value| value.to_str().ok()?.split(';').next());
        let is_it = |essence: &str| essence.trim().eq_ignore_ascii_case("text/event-stream");
        self.status == 200 && media_type.is_some_and(is_it)
    }

    /// The answer, its body read to the end after all.
    pub async fn into_answer(mut self) -> Result<Answer, ClientError> {
        let body = self.read().await?;
        let (mut answer, share, _) = self.end(body);
        answer.share = Some(Arc::new(share));
        Ok(answer)
    }

    /// Reads the rest of the body, but no more than the request's limit.
    pub(super) async fn read(&mut self) -> Result<Bytes, ClientError> {
        let limit = self.limit;
        if self.body.size_hint().lower() > limit {
            return Err(self.too_long("the http answer"));
        }
        // Copied, because each piece keeps alive the whole buffer that it was read into: a body
        // in tiny pieces would cost many times its length.
        let mut content = Vec::new();
        while let Some(piece) = self.next().await? {
            let length = content.len() + piece.len();
            if length as u64 > limit {
                return Err(self.too_long("the http answer"));
            }
            let grown = self.share.grow(length).await;
            grown.map_err(|Crowded| ClientError::crowded(&self.endpoint))?;
            // Not twice as long, as a vector grows by itself.
            if length > content.capacity() {
                content.reserve_exact(piece.len() + (length / 2).min(LONGEST_GROWTH));
            }
            content.extend_from_slice(&piece);
        }
        Ok(content.into())
    }

    /// What came, the room that it takes, and what it came over.
    pub(super) fn end(self, body: Bytes) -> (Answer, Share, Connection) {
        let answer = Answer {
            status: self.status,
            headers: self.headers,
            body,
            version: self.version,
            session: self.connection.session().cloned(),
            share: None,
        };
        (answer, self.share, self.connection)
    }

    /// Takes the pipe back from HTTP.
    pub(super) async fn into_pipe(self) -> Result<(Pipe, Bytes), ClientError> {
        let pipe = self.connection.into_pipe().await;
        let pipe = pipe.map_err(|source| ClientError::body(&self.endpoint, source))?;
        pipe.ok_or_else(|| ClientError::handshake(&self.endpoint, "the connection is shared"))
    }

    /// What one event or message of it may have.
    pub(super) fn limit(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }

    pub(super) fn too_long(&self, what: &'static str) -> ClientError {
        ClientError::too_long(&self.endpoint, what, self.limit)
    }
}

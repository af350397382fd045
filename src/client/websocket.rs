//! WebSocket, RFC 6455. The handshake is a request like any other, measured and classified like
//! any other; frames are tungstenite's. What the messages mean is left to the actions.

use std::future::poll_fn;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::task::Poll;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::task::consume_budget;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Error};

use super::connect::Pipe;
use super::endpoint::Endpoint;
use super::error::ClientError;
use super::stopwatch::Phase;
use super::{Answer, Client, Connections, Request, Speak};
use crate::event::HttpPhases;

/// What a server appends to the key before it hashes it (RFC 6455, 1.3).
const ACCEPTS: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Enough for most messages; a longer one is read in several turns.
const READ_BUFFER: usize = 16 * 1024;

/// What a server says to a WebSocket handshake.
pub enum Upgrade {
    /// Messages may be sent and received.
    Open(WebSocket),
    /// It answered with something else.
    Answered(Answer),
}

/// One whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Bytes),
    /// The other side has closed; nothing comes after it.
    Closed {
        /// The close code, if it gave one.
        code: Option<u16>,
        /// Its words; often empty.
        reason: String,
    },
}

/// An open WebSocket. Dropping it ends the connection, without a goodbye.
pub struct WebSocket {
    /// The headers of the answer that opened it.
    pub headers: HeaderMap,
    frames: Box<WebSocketStream<Pipe>>,
    endpoint: Endpoint,
    limit: u64,
    /// How much of our answers to pings may wait to be sent.
    waiting: usize,
}

/// More of it than this is not kept: whoever reads none of it does not want any.
const MOST_WAITING: usize = 256 * 1024;

/// What a frame takes beside its payload, at most.
const FRAME: usize = 14;

impl Client {
    /// Makes one attempt to open a WebSocket, over a connection of its own. The request's method
    /// and body do not count; subprotocols are offered by its `sec-websocket-protocol`, and the
    /// server must then choose one. The answer's head is the end of the phase `first_byte`, and no
    /// other comes after it.
    pub async fn upgrade(
        &self,
        endpoint: &Endpoint,
        request: Request,
        connections: &mut Connections,
        phases: &mut HttpPhases,
    ) -> Result<Upgrade, ClientError> {
        let key = new_key();
        let offered = request.headers.get(SEC_WEBSOCKET_PROTOCOL).cloned();
        let request = asking(request, &key);

        let begun = self.begin(endpoint, request, connections, phases).await;
        let (stream, mut watch) = begun?;
        if stream.status != 101 {
            watch.enter(Phase::Transfer);
            return stream.into_answer().await.map(Upgrade::Answered);
        }
        drop(watch);
        check(&stream.headers, &key, offered.as_ref())
            .map_err(|what| ClientError::handshake(endpoint, what))?;
        let (headers, limit) = (stream.headers.clone(), stream.limit());
        let (pipe, read) = stream.into_pipe().await?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .max_message_size(Some(limit))
            .max_frame_size(Some(limit));
        let role = Role::Client;
        let frames = WebSocketStream::from_partially_read(pipe, read.into(), role, Some(config));
        Ok(Upgrade::Open(WebSocket {
            headers,
            frames: Box::new(frames.await),
            endpoint: endpoint.clone(),
            limit: limit as u64,
            waiting: 0,
        }))
    }
}

impl WebSocket {
    /// Sends one text.
    pub async fn send(&mut self, text: impl Into<String>) -> Result<(), ClientError> {
        let message = tungstenite::Message::text(text.into());
        let sent = self.frames.send(message).await;
        sent.map_err(|error| self.broken(error))
    }

    /// The next message. Pings are answered meanwhile. It may be dropped while it waits and called
    /// again.
    pub async fn receive(&mut self) -> Result<Message, ClientError> {
        loop {
            // One piece may bring thousands.
            consume_budget().await;
            let next = self.frames.next().await;
            // After the close there is nothing; the caller was told of it.
            let next = next.unwrap_or(Err(Error::ConnectionClosed));
            match next.map_err(|error| self.broken(error))? {
                tungstenite::Message::Text(text) => return Ok(Message::Text(text.to_string())),
                tungstenite::Message::Binary(bytes) => return Ok(Message::Binary(bytes)),
                tungstenite::Message::Close(frame) => {
                    // The reply is a courtesy; who closed need not wait for it.
                    let _ = self.frames.flush().await;
                    let (code, reason) = frame.map_or((None, String::new()), |frame| {
                        (Some(frame.code.into()), frame.reason.to_string())
                    });
                    return Ok(Message::Closed { code, reason });
                }
                tungstenite::Message::Ping(payload) => self.answer(payload.len()).await?,
                tungstenite::Message::Pong(_) | tungstenite::Message::Frame(_) => {}
            }
        }
    }

    /// Sends the answer to a ping, which tungstenite has made and keeps until it is sent, as far as
    /// that goes without waiting: the next message may be here already.
    async fn answer(&mut self, payload: usize) -> Result<(), ClientError> {
        self.waiting += payload + FRAME;
        let flushed = poll_fn(|context| Poll::Ready(self.frames.poll_flush_unpin(context))).await;
        match flushed {
            Poll::Ready(Ok(())) => self.waiting = 0,
            Poll::Ready(Err(error)) => return Err(self.broken(error)),
            Poll::Pending if self.waiting > MOST_WAITING => {
                return Err(ClientError::unread(&self.endpoint, self.waiting));
            }
            Poll::Pending => {}
        }
        Ok(())
    }

    /// Says goodbye, but does not wait for an answer.
    pub async fn close(mut self) {
        // However that goes, the conversation is over.
        let _ = self.frames.close().await;
    }

    fn broken(&self, error: Error) -> ClientError {
        match error {
            Error::Capacity(CapacityError::MessageTooLong { .. }) => {
                ClientError::too_long(&self.endpoint, "a websocket message", self.limit)
            }
            error => ClientError::web_socket(&self.endpoint, error),
        }
    }
}

/// Sixteen bytes that no cache between here and there has seen before; nobody has to guess them.
fn new_key() -> String {
    let half = || RandomState::new().build_hasher().finish().to_ne_bytes();
    BASE64_STANDARD.encode([half(), half()].concat())
}

/// The request as a handshake.
fn asking(mut request: Request, key: &str) -> Request {
    let headers = &mut request.headers;
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    // Base64 is always a header value.
    headers.extend(HeaderValue::try_from(key).map(|key| (SEC_WEBSOCKET_KEY, key)));
    Request {
        method: Method::GET,
        body: Bytes::new(),
        reuse: false,
        speak: Speak::Http1,
        ..request
    }
}

/// Whether a 101 agrees to this handshake, or what is wrong with it.
fn check(
    headers: &HeaderMap,
    key: &str,
    offered: Option<&HeaderValue>,
) -> Result<(), &'static str> {
    let words = |name: HeaderName| headers.get_all(name).into_iter().flat_map(list);
    let is = |word: &'static str| move |other: &str| other.eq_ignore_ascii_case(word);
    if !words(UPGRADE).any(is("websocket")) || !words(CONNECTION).any(is("upgrade")) {
        return Err("the answer upgrades to something else");
    }
    let expected = digest(
        &SHA1_FOR_LEGACY_USE_ONLY,
        format!("{key}{ACCEPTS}").as_bytes(),
    );
    let accept = headers.get(SEC_WEBSOCKET_ACCEPT);
    if accept.is_none_or(|accept| *accept != BASE64_STANDARD.encode(expected)) {
        return Err("the answer does not belong to our key");
    }
    if words(SEC_WEBSOCKET_EXTENSIONS).next().is_some() {
        return Err("the answer has an extension that was not offered");
    }
    let mut chosen = words(SEC_WEBSOCKET_PROTOCOL);
    match (offered, chosen.next(), chosen.next()) {
        (None, None, _) => Ok(()),
        (Some(_), None, _) => Err("the answer has none of the subprotocols that were offered"),
        (Some(offered), Some(chosen), None) if list(offered).any(|word| word == chosen) => Ok(()),
        _ => Err("the answer has a subprotocol that was not offered"),
    }
}

/// The words of a header whose value is a list.
fn list(value: &HeaderValue) -> impl Iterator<Item = &str> {
    let words = value.to_str().unwrap_or_default().split(',');
    words.map(str::trim).filter(|word| !word.is_empty())
}

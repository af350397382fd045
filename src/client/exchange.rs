//! One HTTP connection, driven inside the future of whoever uses it: no task of its own, so
//! dropping that future ends it. When to open, keep and close it is decided in `mod`.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::HOST;
use http::uri::{Authority, Parts, Scheme};
use http::{HeaderValue, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::TokioIo;
use tokio::task::consume_budget;

use super::connect::Pipe;
use super::heard::{Ear, Heard};
use super::tasks::{Spawner, Tasks};
use super::tls::Session;

/// A request as hyper takes it, in the form of HTTP/1.1: a path, and a `host` header.
pub(super) type Message = http::Request<Full<Bytes>>;

/// The head of an answer, its body still to be read.
pub(super) type Incoming = http::Response<hyper::body::Incoming>;

/// How much of a body a server may send in HTTP/2 before it is read.
const WINDOW: u32 = 512 * 1024;

/// The longest head of an answer, in either version. Browsers and curl take about as much.
const LONGEST_HEAD: u32 = 256 * 1024;

/// The most lines in it, in HTTP/1.1: room for them is made with each answer.
const MOST_LINES: usize = 2000;

/// A connection, and what drives it.
pub(super) struct Connection {
    speaks: Speaks,
    ear: Ear,
    session: Option<Arc<Session>>,
    /// It may end before the body is read, and must not be driven any more.
    ended: bool,
    /// What it ended with; it knows more than the body does.
    broken: Option<hyper::Error>,
}

enum Speaks {
    One {
        sender: http1::SendRequest<Full<Bytes>>,
        driver: Box<http1::Connection<TokioIo<Heard<Pipe>>, Full<Bytes>>>,
    },
    Two {
        sender: http2::SendRequest<Full<Bytes>>,
        driver: Box<http2::Connection<TokioIo<Heard<Pipe>>, Full<Bytes>, Spawner>>,
        tasks: Tasks,
    },
}

impl Connection {
    /// Speaks HTTP/1.1 over this pipe, and hears it as browsers and curl do: a line of the head
    /// that is none is passed over, a folded one is one (RFC 9112, 5.2). Some devices know the names
    /// of headers only as `Host` and `Content-Length` are usually written.
    pub(super) async fn http1(pipe: Pipe) -> hyper::Result<Self> {
        let (pipe, ear) = Heard::new(pipe);
        let (sender, driver) = http1::Builder::new()
            .max_headers(MOST_LINES)
            .max_header_size(LONGEST_HEAD as usize)
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .ignore_invalid_headers_in_responses(true)
            .title_case_headers(true)
            .handshake(TokioIo::new(pipe))
            .await?;
        let driver = Box::new(driver);
        Ok(Self::new(Speaks::One { sender, driver }, ear))
    }

    /// Speaks HTTP/2 over this pipe, to a server that is known to understand it.
    pub(super) async fn http2(pipe: Pipe) -> hyper::Result<Self> {
        let tasks = Tasks::default();
        let (pipe, ear) = Heard::new(pipe);
        let (sender, driver) = http2::Builder::new(tasks.spawner())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(LONGEST_HEAD)
            .handshake(TokioIo::new(pipe))
            .await?;
        let driver = Box::new(driver);
        let speaks = Speaks::Two {
            sender,
            driver,
            tasks,
        };
        Ok(Self::new(speaks, ear))
    }

    fn new(speaks: Speaks, ear: Ear) -> Self {
        Self {
            speaks,
            ear,
            session: None,
            ended: false,
            broken: None,
        }
    }

    /// The connection, with what its handshake came to.
    pub(super) fn within(self, session: Option<Arc<Session>>) -> Self {
        Self { session, ..self }
    }

    /// What its handshake came to.
    pub(super) fn session(&self) -> Option<&Arc<Session>> {
        self.session.as_ref()
    }

    /// Sends the message and waits for the head of the answer. The error has the message in it if
    /// nothing of it was sent.
    pub(super) async fn request(
        &mut self,
        message: Message,
    ) -> Result<Incoming, TrySendError<Message>> {
        self.ear.take();
        match &mut self.speaks {
            Speaks::One { sender, .. } => {
                let head = sender.try_send_request(message);
                self.drive(head).await
            }
            Speaks::Two { sender, .. } => {
                let scheme = match self.session {
                    Some(_) => Scheme::HTTPS,
                    None => Scheme::HTTP,
                };
                let head = sender.try_send_request(absolute(message, scheme));
                self.drive(head).await
            }
        }
    }

    /// Whether a request that failed so may be sent again over another connection, though it was
    /// sent: the server says that it did nothing with it, or it is harmless and the server closed a
    /// connection that had been kept, which it may do at any moment.
    pub(super) fn may_be_repeated(&self, error: &hyper::Error, harmless: bool) -> bool {
        let source = error.source().and_then(|source| source.downcast_ref());
        let unprocessed = source.is_some_and(|error: &h2::Error| {
            let (went, refused) = (h2::Reason::NO_ERROR, h2::Reason::REFUSED_STREAM);
            // Of streams up to the last one that it names, a GOAWAY says nothing: they go on.
            error.is_remote()
                && (error.is_go_away() && error.reason() == Some(went)
                    || error.is_reset() && error.reason() == Some(refused))
        });
        unprocessed || harmless && !self.ear.take()
    }

    /// Whether its server may say that it did nothing with a request.
    pub(super) fn may_refuse(&self) -> bool {
        matches!(self.speaks, Speaks::Two { .. })
    }

    /// The next piece of the body, trailers passed over. It can be dropped and called again.
    pub(super) async fn piece(
        &mut self,
        body: &mut hyper::body::Incoming,
    ) -> hyper::Result<Option<Bytes>> {
        loop {
            // A body may come byte by byte. Before the next piece, so that none is dropped here.
            consume_budget().await;
            let Some(frame) = self.drive(body.frame()).await else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| self.broken.take().unwrap_or(error))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// Whether another request can be sent over it, as far as the runtime has heard. Between two
    /// requests nothing else drives it: here it is noticed that the server closed it.
    pub(super) async fn is_idle(&mut self) -> bool {
        once(|context| {
            self.advance(context);
            self.ended
        })
        .await;
        !self.ended
            && match &self.speaks {
                Speaks::One { sender, .. } => sender.is_ready(),
                Speaks::Two { sender, .. } => sender.is_ready(),
            }
    }

    /// Says goodbye, as TLS wants it, but does not wait for an answer.
    pub(super) async fn close(self) {
        // However that goes, the exchange is over.
        match self.speaks {
            _ if self.ended => {}
            Speaks::One { sender, mut driver } => {
                drop(sender);
                once(|context| Pin::new(&mut driver).poll(context).is_ready()).await;
            }
            Speaks::Two {
                sender,
                mut driver,
                tasks,
            } => {
                drop(sender);
                once(|context| {
                    tasks.poll(context);
                    Pin::new(&mut driver).poll(context).is_ready()
                })
                .await;
            }
        }
    }

    /// Takes the pipe back, and what came over it already, when both sides have agreed to go on
    /// with something else than HTTP. Nobody agrees to that in HTTP/2.
    pub(super) async fn into_pipe(self) -> hyper::Result<Option<(Pipe, Bytes)>> {
        let Speaks::One { mut driver, .. } = self.speaks else {
            return Ok(None);
        };
        if !self.ended {
            poll_fn(|context| driver.poll_without_shutdown(context)).await?;
        }
        let parts = driver.into_parts();
        Ok(Some((parts.io.into_inner().into_inner(), parts.read_buf)))
    }

    /// Waits for something that happens on the connection, and drives the connection meanwhile. What
    /// has happened already comes first: a server could have the connection read thousands of
    /// small frames for each that is taken from it.
    async fn drive<T>(&mut self, event: impl Future<Output = T>) -> T {
        let mut event = pin!(event);
        poll_fn(|context| {
            if let Poll::Ready(happened) = event.as_mut().poll(context) {
                return Poll::Ready(happened);
            }
            self.advance(context);
            event.as_mut().poll(context)
        })
        .await
    }

    fn advance(&mut self, context: &mut Context<'_>) {
        if !self.ended
            && let Poll::Ready(end) = self.speaks.poll(context)
        {
            self.ended = true;
            self.broken = end.err();
        }
    }
}

impl Speaks {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        match self {
            Self::One { driver, .. } => Pin::new(driver).poll(context),
            Self::Two { driver, tasks, .. } => {
                let end = Pin::new(driver).poll(context);
                tasks.poll(context);
                end
            }
        }
    }
}

/// Polls something once, and is content with that.
async fn once(mut poll: impl FnMut(&mut Context<'_>) -> bool) {
    poll_fn(|context| {
        poll(context);
        Poll::Ready(())
    })
    .await;
}

/// The message with its host in the address, where HTTP/2 and proxies want it.
pub(super) fn absolute(mut message: Message, scheme: Scheme) -> Message {
    let host = message.headers_mut().remove(HOST);
    let authority = host
        .as_ref()
        .and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let mut parts = Parts::from(message.uri().clone());
    parts.scheme = Some(scheme);
    parts.authority = authority;
    if let Ok(uri) = Uri::from_parts(parts) {
        *message.uri_mut() = uri;
    }
    message
}

/// The message as it was before [`absolute`] had its host for HTTP/2. A proxy is told the whole
/// address, but the host as well.
pub(super) fn relative(mut message: Message) -> Message {
    if message.headers().contains_key(HOST) {
        return message;
    }
    let host = message.uri().authority().map(Authority::as_str);
    let host = host.and_then(|host| HeaderValue::try_from(host).ok());
    if let Some(host) = host {
        message.headers_mut().insert(HOST, host);
        let path = message.uri().path_and_query().cloned();
        *message.uri_mut() = path.map(Uri::from).unwrap_or_default();
    }
    message
}

//! One HTTP/1 connection, driven inside the future of whoever uses it: no task of its own, so
//! dropping that future ends it. When to open, keep and close it is decided in `mod`.

use std::future::{Future, poll_fn, ready};
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;

use super::connect::Stream;
use super::endpoint::Endpoint;
use super::error::ClientError;

/// A request as hyper takes it.
pub(super) type Message = http::Request<Full<Bytes>>;

/// The head of an answer, its body still to be read.
pub(super) type Incoming = http::Response<hyper::body::Incoming>;

/// A connection, and what drives it.
pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` once it has ended, which it may before the body is read.
    driver: Option<http1::Connection<TokioIo<Stream>, Full<Bytes>>>,
    /// What it ended with; it knows more than the body does.
    broken: Option<hyper::Error>,
}

impl Connection {
    /// Speaks HTTP over this stream.
    pub(super) async fn over(stream: Stream) -> hyper::Result<Self> {
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Self {
            sender,
            driver: Some(driver),
            broken: None,
        })
    }

    /// Sends the message and waits for the head of the answer. The error has the message in it if
    /// nothing of it was sent.
    pub(super) async fn request(
        &mut self,
        message: Message,
    ) -> Result<Incoming, TrySendError<Message>> {
        let head = self.sender.try_send_request(message);
        self.drive(head).await
    }

    /// Reads the body, but no more than the limit.
    pub(super) async fn read(
        &mut self,
        mut body: hyper::body::Incoming,
        limit: u64,
        endpoint: &Endpoint,
    ) -> Result<Bytes, ClientError> {
        let too_long = || ClientError::too_long(endpoint, limit);
        if body.size_hint().lower() > limit {
            return Err(too_long());
        }
        // Copied, because each frame keeps alive the whole buffer that it was read into: a body
        // in tiny frames would cost many times its length.
        let mut content = Vec::new();
        while let Some(frame) = self.drive(body.frame()).await {
            let frame = frame.map_err(|error| {
                ClientError::body(endpoint, self.broken.take().unwrap_or(error))
            })?;
            let Ok(data) = frame.into_data() else {
                continue; // trailers
            };
            if (content.len() + data.len()) as u64 > limit {
                return Err(too_long());
            }
            content.extend_from_slice(&data);
        }
        Ok(content.into())
    }

    /// Whether another request can be sent over it, as far as the runtime has heard. Between two
    /// requests nothing else drives it: here it is noticed that the server closed it.
    pub(super) async fn is_idle(&mut self) -> bool {
        self.drive(ready(())).await;
        self.driver.is_some() && self.sender.is_ready()
    }

    /// Says goodbye, as TLS wants it, but does not wait for an answer.
    pub(super) async fn close(mut self) {
        let mut driver = self.driver.take();
        drop(self.sender);
        poll_fn(|context| {
            // However that goes, the exchange is over.
            let _ = driver.as_mut().map(|driver| Pin::new(driver).poll(context));
            Poll::Ready(())
        })
        .await;
    }

    /// Waits for something that happens on the connection, and drives the connection meanwhile.
    async fn drive<T>(&mut self, event: impl Future<Output = T>) -> T {
        let mut event = pin!(event);
        poll_fn(|context| {
            if let Some(driver) = &mut self.driver
                && let Poll::Ready(end) = Pin::new(driver).poll(context)
            {
                self.driver = None;
                self.broken = end.err();
            }
            event.as_mut().poll(context)
        })
        .await
    }
}

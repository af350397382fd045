//! One HTTP/1 connection, driven inside the future of whoever uses it: no task of its own, so
//! dropping that future ends it. When to open, keep and close it is decided in `mod`.

use std::future::{Future, poll_fn, ready};
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;

use super::connect::Pipe;

/// A request as hyper takes it.
pub(super) type Message = http::Request<Full<Bytes>>;

/// The head of an answer, its body still to be read.
pub(super) type Incoming = http::Response<hyper::body::Incoming>;

/// A connection, and what drives it.
pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: http1::Connection<TokioIo<Pipe>, Full<Bytes>>,
    /// It may end before the body is read, and must not be driven any more.
    ended: bool,
    /// What it ended with; it knows more than the body does.
    broken: Option<hyper::Error>,
}

impl Connection {
    /// Speaks HTTP over this pipe.
    pub(super) async fn over(pipe: Pipe) -> hyper::Result<Self> {
        let (sender, driver) = http1::handshake(TokioIo::new(pipe)).await?;
        Ok(Self {
            sender,
            driver,
            ended: false,
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

    /// The next piece of the body, trailers passed over. It can be dropped and called again.
    pub(super) async fn piece(
        &mut self,
        body: &mut hyper::body::Incoming,
    ) -> hyper::Result<Option<Bytes>> {
        while let Some(frame) = self.drive(body.frame()).await {
            let frame = frame.map_err(|error| self.broken.take().unwrap_or(error))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// Whether another request can be sent over it, as far as the runtime has heard. Between two
    /// requests nothing else drives it: here it is noticed that the server closed it.
    pub(super) async fn is_idle(&mut self) -> bool {
        self.drive(ready(())).await;
        !self.ended && self.sender.is_ready()
    }

    /// Says goodbye, as TLS wants it, but does not wait for an answer.
    pub(super) async fn close(self) {
        let Self {
            sender, mut driver, ..
        } = self;
        let ended = self.ended;
        drop(sender);
        poll_fn(|context| {
            if !ended {
                // However that goes, the exchange is over.
                let _ = Pin::new(&mut driver).poll(context);
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Takes the pipe back, and what came over it already, when both sides have agreed to go on
    /// with something else than HTTP.
    pub(super) async fn into_pipe(mut self) -> hyper::Result<(Pipe, Bytes)> {
        if !self.ended {
            poll_fn(|context| self.driver.poll_without_shutdown(context)).await?;
        }
        let parts = self.driver.into_parts();
        Ok((parts.io.into_inner(), parts.read_buf))
    }

    /// Waits for something that happens on the connection, and drives the connection meanwhile.
    async fn drive<T>(&mut self, event: impl Future<Output = T>) -> T {
        let mut event = pin!(event);
        poll_fn(|context| {
            if !self.ended
                && let Poll::Ready(end) = Pin::new(&mut self.driver).poll(context)
            {
                self.ended = true;
                self.broken = end.err();
            }
            event.as_mut().poll(context)
        })
        .await
    }
}

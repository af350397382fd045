//! One connection to the web port: what its peer is at, and how long that may take.
//!
//! A peer that sends half a head, or does not read its answer, costs a descriptor and a share of a
//! page. So each connection has a deadline for whatever it is at. Leaves to `server` how many
//! connections there are.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::host::Arrived;

/// How long a request head may take, from the opening of the connection or its first byte.
const HEAD: Duration = Duration::from_secs(10);

/// How long an answer may take, from the end of the head to its last byte.
const ANSWER: Duration = Duration::from_secs(30);

/// How long a connection may lie between two requests: longer than scrapers pause.
const IDLE: Duration = Duration::from_secs(150);

/// The longest head.
const LONGEST_HEAD: usize = 64 * 1024;

/// Called when the answer that carries it, as an extension, has left entirely.
#[derive(Clone)]
pub(super) struct WhenSent(pub(super) Arc<dyn Fn() + Send + Sync>);

/// What the peer of a connection is at, and since when.
pub(super) struct Phase {
    doing: Doing,
    since: Instant,
}

enum Doing {
    /// Its last request was answered.
    Idle,
    /// It sends a head.
    Asking,
    /// It waits for an answer that is being made.
    Waiting,
    /// It reads an answer.
    Reading(Option<WhenSent>),
}

impl Phase {
    /// A connection was opened.
    pub(super) fn new() -> Self {
        Self {
            doing: Doing::Asking,
            since: Instant::now(),
        }
    }

    fn end(&self) -> Instant {
        let at_most = match self.doing {
            Doing::Idle => IDLE,
            Doing::Asking => HEAD,
            Doing::Waiting | Doing::Reading(_) => ANSWER,
        };
        self.since + at_most
    }

    /// Where it stands among those to be closed when there are too many: those that asked for
    /// nothing come first, then those that take long for their answer.
    pub(super) fn worth(&self) -> (bool, Instant) {
        let answered = matches!(self.doing, Doing::Waiting | Doing::Reading(_));
        (answered, self.since)
    }
}

/// Serves a connection until its peer is done, or too slow.
pub(super) async fn serve(
    stream: TcpStream,
    routes: Router,
    phase: Arc<watch::Sender<Phase>>,
    shutdown: CancellationToken,
) {
    let mut changes = phase.subscribe();
    // An address that is not known is taken for the one that tells the least.
    let arrived = Arrived {
        at_loopback: stream
            .local_addr()
            .map_or(true, |address| address.ip().to_canonical().is_loopback()),
    };
    let io = TokioIo::new(Observed {
        stream,
        phase: phase.clone(),
    });
    let routes = TowerToHyperService::new(routes);
    let service = service_fn(move |mut request: hyper::Request<_>| {
        request.extensions_mut().insert(arrived);
        let phase = phase.clone();
        phase.send_replace(Phase {
            doing: Doing::Waiting,
            since: Instant::now(),
        });
        let answer = routes.call(request);
        async move {
            let mut answer = answer.await?;
            let sent = answer.extensions_mut().remove::<WhenSent>();
            phase.send_modify(|phase| phase.doing = Doing::Reading(sent));
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let mut http = http1::Builder::new();
    // The deadlines are ours, because hyper has none for an answer.
    http.header_read_timeout(None).max_buf_size(LONGEST_HEAD);
    let mut connection = std::pin::pin!(http.serve_connection(io, service));
    let mut stopping = false;
    loop {
        let end = changes.borrow_and_update().end();
        tokio::select! {
            // A peer that goes away or speaks something else is no concern of ours.
            _ = &mut connection => return,
            _ = changes.changed() => {}
            () = sleep_until(end) => return,
            () = shutdown.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// A stream that tells when a head begins and when an answer has left.
struct Observed {
    stream: TcpStream,
    phase: Arc<watch::Sender<Phase>>,
}

impl Observed {
    fn received(&self) {
        self.phase.send_if_modified(|phase| {
            let begins = matches!(phase.doing, Doing::Idle);
            if begins {
                *phase = Phase::new();
            }
            begins
        });
    }

    fn flushed(&self) {
        self.phase.send_if_modified(|phase| {
            let Doing::Reading(sent) = &mut phase.doing else {
                return false;
            };
            if let Some(WhenSent(tell)) = sent.take() {
                tell();
            }
            *phase = Phase {
                doing: Doing::Idle,
                since: Instant::now(),
            };
            true
        });
    }
}

impl AsyncRead for Observed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.received();
        }
        read
    }
}

impl AsyncWrite for Observed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes the stream only when all that it holds was written.
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    // Whole pages are handed on without being copied.
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }
}

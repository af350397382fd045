//! A TCP stream that can be made to end with a reset instead of a clean close, and in the middle.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Thrown by a request to have its connection reset when it is dropped, or by somebody else to
/// have it cut.
#[derive(Clone, Default)]
pub(crate) struct Switch(Arc<AtomicU8>);

const RESET: u8 = 1;
const CUT: u8 = 2;

impl Switch {
    pub(crate) fn reset_on_drop(&self) {
        self.0.fetch_or(RESET, Ordering::Relaxed);
    }

    /// Ends the connection with whatever is written next.
    pub(crate) fn cut(&self) {
        self.0.fetch_or(RESET | CUT, Ordering::Relaxed);
    }

    fn is_thrown(&self) -> bool {
        self.0.load(Ordering::Relaxed) & RESET != 0
    }

    fn is_cut(&self) -> bool {
        self.0.load(Ordering::Relaxed) & CUT != 0
    }
}

/// The stream, with its switch.
pub(crate) struct Resettable {
    stream: TcpStream,
    switch: Switch,
}

impl Resettable {
    pub(crate) fn new(stream: TcpStream, switch: Switch) -> Self {
        Self { stream, switch }
    }
}

impl Drop for Resettable {
    fn drop(&mut self) {
        if self.switch.is_thrown() {
            // Linger 0: the kernel drops what is unsent and sends RST on close.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Resettable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Resettable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.switch.is_cut() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.switch.is_thrown() {
            return Poll::Ready(Ok(())); // no FIN ahead of the RST
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

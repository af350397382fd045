//! A pipe that knows whether anything came over it: a request that got no byte of an answer may be
//! worth another try.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The pipe.
pub(super) struct Heard<P> {
    pipe: P,
    ear: Ear,
}

/// Whether anything came since somebody asked last.
#[derive(Clone, Default)]
pub(super) struct Ear(Arc<AtomicBool>);

impl Ear {
    /// Whether anything came; nothing did from now on.
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl<P> Heard<P> {
    pub(super) fn new(pipe: P) -> (Self, Ear) {
        let ear = Ear::default();
        let heard = Self {
            pipe,
            ear: ear.clone(),
        };
        (heard, ear)
    }

    pub(super) fn into_inner(self) -> P {
        self.pipe
    }
}

impl<P: AsyncRead + Unpin> AsyncRead for Heard<P> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.pipe).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.ear.0.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<P: AsyncWrite + Unpin> AsyncWrite for Heard<P> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.pipe.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(context)
    }
}

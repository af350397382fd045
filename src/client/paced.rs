//! A TCP connection that is read in small portions: a peer that sends without a pause does not keep
//! the task that reads it from giving way to others, or to the deadline of its step.
//!
//! tokio counts reads, not what they bring, and a parser may find thousands of frames in one read.
//! Here each KiB counts, so that everything above (TLS, HTTP, WebSocket, dialogs) comes back to the
//! runtime after at most 128 KiB. Loops that do more than parsing with each item of their input
//! give way by [`tokio::task::consume_budget`] as well.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};
use tokio::net::TcpStream;
use tokio::task::coop;

/// The most that one read brings.
const PORTION: u64 = 16 * 1024;

/// So many bytes cost one of the 128 units that a task may use before it gives way.
const UNIT: usize = 1024;

/// A TCP connection, read in small portions.
#[derive(Debug)]
pub(super) struct Paced(Take<TcpStream>);

impl Paced {
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self(tcp.take(PORTION))
    }

    fn tcp(&mut self) -> Pin<&mut TcpStream> {
        Pin::new(self.0.get_mut())
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        self.0.set_limit(PORTION);
        let read = Pin::new(&mut self.0).poll_read(context, buffer);
        // The read itself was a unit.
        for _ in 0..(buffer.filled().len() - before) / UNIT {
            match coop::poll_proceed(context) {
                Poll::Ready(unit) => unit.made_progress(),
                Poll::Pending => break,
            }
        }
        read
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.tcp().poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.tcp().poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.get_ref().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp().poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    /// How much comes before the reader has to give way, read in pieces of this length.
    async fn before_it_gives_way(piece: usize) -> usize {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sender = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            // Until the reader is gone.
            while peer.write_all(&[0; 0x1000]).is_ok() {}
        });
        let tcp = TcpStream::connect(address).await.unwrap();
        let mut paced = Paced::new(tcp);
        // So much waits in the socket that only the budget can be what ends.
        let mut most = 0;
        for _ in 0..20 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            let came = poll_fn(|context| {
                let mut came = 0;
                loop {
                    let mut bytes = vec![0; piece];
                    let mut buffer = ReadBuf::new(&mut bytes);
                    match Pin::new(&mut paced).poll_read(context, &mut buffer) {
                        Poll::Ready(read) => {
                            read.unwrap();
                            assert!(buffer.filled().len() as u64 <= PORTION);
                            came += buffer.filled().len();
                        }
                        Poll::Pending => return Poll::Ready(came),
                    }
                }
            });
            most = most.max(came.await);
        }
        drop(paced);
        sender.join().unwrap();
        most
    }

    #[tokio::test]
    async fn a_peer_that_never_pauses_is_read_128_kib_at_a_time() {
        for piece in [100, 1000, 0x1000, 0x4000, 0x10_0000] {
            let most = before_it_gives_way(piece).await;
            let bound = 128 * UNIT + usize::try_from(PORTION).unwrap();
            assert!(most > 0 && most <= bound, "{piece}: {most}");
        }
    }
}

//! Response bodies: whole, of a given length, trickled out over time, or piece by piece. None of them is kept in
//! memory, so that a test may ask for more than it has.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::bend::Dropped;

static FILL: [u8; 65536] = [b'x'; 65536];

/// The body of an answer.
pub(super) enum Answer {
    Whole(Full<Bytes>),
    Fill { left: u64, announced: bool },
    Trickle(Trickle),
    Pieces { left: VecDeque<Bytes>, end: End },
}

/// How a body in pieces ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// As it should.
    Orderly,
    /// With its connection, once all before it is written.
    Cut {
        written: bool,
    },
    Never,
}

/// Pieces of one size, with a pause before each.
pub(super) struct Trickle {
    piece: usize,
    pieces_left: u64,
    gap: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Answer {
    /// These bytes.
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Full::new(bytes.into()))
    }

    /// So many bytes, announced in `Content-Length` or not.
    pub(super) fn fill(bytes: u64, announced: bool) -> Self {
        Self::Fill {
            left: bytes,
            announced,
        }
    }

    /// These pieces, each in a chunk of its own.
    pub(super) fn pieces(pieces: impl IntoIterator<Item = Bytes>, end: End) -> Self {
        let left = pieces.into_iter().filter(|piece| !piece.is_empty());
        Self::Pieces {
            left: left.collect(),
            end,
        }
    }

    /// `pieces` pieces of `piece` bytes, `gap` apart, the first after one gap.
    pub(super) fn trickle(piece: u64, pieces: u64, gap: Duration) -> Self {
        let piece = usize::try_from(piece).map_or(FILL.len(), |piece| piece.min(FILL.len()));
        Self::Trickle(Trickle {
            piece,
            pieces_left: pieces,
            gap,
            sleep: Box::pin(tokio::time::sleep(gap)),
        })
    }
}

impl From<String> for Answer {
    fn from(text: String) -> Self {
        Self::whole(text)
    }
}

fn piece(length: usize) -> Poll<Option<Result<Frame<Bytes>, Dropped>>> {
    let bytes = Bytes::from_static(&FILL[..length]);
    Poll::Ready(Some(Ok(Frame::data(bytes))))
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Dropped;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Dropped>>> {
        match self.get_mut() {
            Self::Whole(full) => Pin::new(full)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Self::Fill { left: 0, .. } => Poll::Ready(None),
            Self::Fill { left, .. } => {
                let length = usize::try_from(*left).map_or(FILL.len(), |left| left.min(FILL.len()));
                *left -= length as u64;
                piece(length)
            }
            Self::Trickle(trickle) => {
                if trickle.pieces_left == 0 {
                    return Poll::Ready(None);
                }
                if trickle.sleep.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                trickle.pieces_left -= 1;
                let next = trickle.sleep.deadline() + trickle.gap;
                trickle.sleep.as_mut().reset(next);
                piece(trickle.piece)
            }
            Self::Pieces { left, end } => match (left.pop_front(), end) {
                (Some(piece), _) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                (None, End::Orderly) => Poll::Ready(None),
                (None, End::Cut { written: true }) => Poll::Ready(Some(Err(Dropped))),
                (None, End::Cut { written }) => {
                    *written = true;
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                (None, End::Never) => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(full) => full.is_end_stream(),
            Self::Fill { left, .. } => *left == 0,
            Self::Trickle(trickle) => trickle.pieces_left == 0,
            Self::Pieces { left, end } => left.is_empty() && matches!(end, End::Orderly),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(full) => full.size_hint(),
            Self::Fill {
                announced: false, ..
            }
            | Self::Pieces { .. } => SizeHint::default(),
            Self::Fill { left, .. } => SizeHint::with_exact(*left),
            Self::Trickle(trickle) => {
                SizeHint::with_exact(trickle.pieces_left * trickle.piece as u64)
            }
        }
    }
}

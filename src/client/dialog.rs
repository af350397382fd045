//! A connection over which anything may be said, in the clear or not: bytes out, lines in.
//!
//! It is made as one for HTTP is, and timed as far as it is the same: resolving, connecting,
//! shaking hands, also in the middle (`STARTTLS`). How long the talk itself takes depends on what
//! is said, so it is in no phase. What is said is left to the actions.

use std::io;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::either::Either;

use super::Client;
use super::connect::{Pipe, connect, shake};
use super::endpoint::Endpoint;
use super::error::ClientError;
use super::stopwatch::Stopwatch;
use super::tls::{Session, Sessions};
use crate::event::HttpPhases;

/// The longest line, its end included. Protocols that have lines have far shorter ones.
pub const LONGEST_LINE: usize = 64 * 1024;

/// How much is read at once, at least.
const PIECE: usize = 4096;

/// An open connection. Dropping it ends it, without a goodbye.
pub struct Dialog {
    pipe: Pipe,
    session: Option<Arc<Session>>,
    endpoint: Endpoint,
    /// What came; what stands before `taken` was taken.
    came: Vec<u8>,
    taken: usize,
    /// How much may still come.
    left: u64,
    limit: u64,
}

impl Client {
    /// Makes one attempt to connect, and shakes hands where the endpoint's scheme has it; these
    /// protocols are offered then. At most `limit` bytes may come over it.
    pub async fn dial(
        &self,
        endpoint: &Endpoint,
        protocols: &[&str],
        limit: u64,
        phases: &mut HttpPhases,
    ) -> Result<Dialog, ClientError> {
        // Before the clock starts: reading this machine's files says nothing about the target.
        let tls = if endpoint.is_tls() {
            let config = self.tls(endpoint).await?;
            Some(Sessions::default().configure(&config, protocols, false))
        } else {
            None
        };
        let mut watch = Stopwatch::start(phases);
        let (pipe, session) = connect(&self.names, endpoint, tls, None, &mut watch).await?;
        Ok(Dialog {
            pipe,
            session,
            endpoint: endpoint.clone(),
            came: Vec::new(),
            taken: 0,
            left: limit,
            limit,
        })
    }

    /// Goes on in TLS, as both sides have agreed. What came before and was not taken is an error:
    /// it could be anybody's.
    pub async fn secure(
        &self,
        dialog: Dialog,
        protocols: &[&str],
        phases: &mut HttpPhases,
    ) -> Result<Dialog, ClientError> {
        let endpoint = dialog.endpoint.wire(true);
        if !dialog.unread().is_empty() {
            return Err(ClientError::injected(&endpoint));
        }
        // Within TLS there is nothing to do.
        let Either::Left(tcp) = dialog.pipe else {
            return Ok(dialog);
        };
        let config = self.tls(&endpoint).await?;
        let config = Sessions::default().configure(&config, protocols, false);
        let mut watch = Stopwatch::start(phases);
        let (stream, session) = shake(&endpoint, tcp, config, &mut watch).await?;
        drop(watch);
        Ok(Dialog {
            pipe: Either::Right(stream),
            session: Some(session),
            endpoint,
            ..dialog
        })
    }
}

impl Dialog {
    /// What the handshake came to, if there was one.
    #[must_use]
    pub fn session(&self) -> Option<&Arc<Session>> {
        self.session.as_ref()
    }

    /// Says this.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        let sent = async {
            self.pipe.write_all(bytes).await?;
            self.pipe.flush().await
        };
        let sent = sent.await;
        sent.map_err(|source| ClientError::lost(&self.endpoint, source))
    }

    /// What came and was not taken yet.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        &self.came[self.taken..]
    }

    /// Waits for more to come; false if there will be none.
    pub async fn more(&mut self) -> Result<bool, ClientError> {
        // Only here: moving the rest for each of many short lines would take long.
        self.came.drain(..self.taken);
        self.taken = 0;
        self.came.reserve(PIECE);
        let read = match self.pipe.read_buf(&mut self.came).await {
            Ok(read) => read,
            // Closed without the goodbye that TLS wants: closed.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(source) => return Err(ClientError::lost(&self.endpoint, source)),
        };
        let Some(left) = self.left.checked_sub(read as u64) else {
            let what = "what came";
            return Err(ClientError::too_long(&self.endpoint, what, self.limit));
        };
        self.left = left;
        Ok(read > 0)
    }

    /// Takes the next whole line that has come, without its end (a line feed, perhaps after a
    /// carriage return).
    pub fn line(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        let unread = self.unread();
        let end = unread.iter().position(|byte| *byte == b'\n');
        if end.unwrap_or(unread.len()) >= LONGEST_LINE {
            let limit = LONGEST_LINE as u64;
            return Err(ClientError::too_long(&self.endpoint, "a line", limit));
        }
        let line = end.map(|end| self.take(end + 1));
        Ok(line.map(|mut line| {
            line.pop();
            line.pop_if(|last| *last == b'\r');
            line
        }))
    }

    /// Takes so many of the bytes that have come, or all if there are fewer.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        let unread = self.unread();
        let taken = unread[..count.min(unread.len())].to_vec();
        self.taken += taken.len();
        taken
    }

    /// Says goodbye, but does not wait for an answer.
    pub fn close(mut self) {
        // However that goes, the dialog is over.
        let _ = self.pipe.shutdown().now_or_never();
    }
}

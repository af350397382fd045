//! Listens, serves until told to stop, and lets answers under way finish.
//!
//! Whoever connects takes nothing that probing needs: connections are bounded, some descriptors are
//! left alone, and the oldest idle connection makes room for a new one, so that a scrape gets in.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_send_buffer_size};
use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{self, AbortHandle, JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::connection::{self, Phase};
use super::{Site, routes};

/// The most connections, also where there are descriptors for more.
const MOST: usize = 128;

/// So many are always served.
const LEAST: usize = 4;

/// How much of an answer the system keeps for a connection.
const SEND_BUFFER: usize = 256 * 1024;

/// How long to wait after a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// How long answers under way may take after the stop.
const GRACE: Duration = Duration::from_secs(2);

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address:?}")]
pub struct BindError {
    address: String,
    source: io::Error,
}

/// Bound, but not serving yet.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<TcpListener>,
}

impl Server {
    /// Listens on all of these: `127.0.0.1:10061`, `[::1]:10061`, `localhost:10061`, or `:10061`
    /// for every address of the machine, IPv4 and IPv6.
    ///
    /// # Errors
    /// If one of them cannot be listened on.
    pub async fn bind(addresses: &[impl AsRef<str>]) -> Result<Self, BindError> {
        let mut listeners = Vec::new();
        for address in addresses {
            let address = address.as_ref();
            let listener = match address.strip_prefix(':').map(str::parse) {
                Some(Ok(port)) => every_address(port),
                _ => TcpListener::bind(address).await,
            };
            listeners.push(listener.map_err(|source| BindError {
                address: address.to_owned(),
                source,
            })?);
        }
        Ok(Self { listeners })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(TcpListener::local_addr).collect()
    }

    /// Serves until `shutdown` is cancelled and all answers under way are finished, or have had
    /// their time.
    pub async fn serve(self, site: Arc<Site>, shutdown: CancellationToken) {
        let mut connections = Connections::new(routes(site), shutdown.clone());
        // Told once, not at each attempt.
        let mut failing = false;
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(ended) = connections.tasks.join_next_with_id() => connections.forget(ended),
                accepted = self.accept() => match accepted {
                    Ok(stream) => {
                        failing = false;
                        connections.serve(stream).await;
                    }
                    Err(error) if is_of_the_peer(&error) => {}
                    Err(error) => {
                        if !std::mem::replace(&mut failing, true) {
                            tracing::error!(%error, "cannot accept a connection to the web port; trying on");
                        }
                        connections.close_one().await;
                        tokio::select! {
                            () = shutdown.cancelled() => break,
                            () = sleep(PAUSE) => {}
                        }
                    }
                }
            }
        }
        drop(self);
        let finished = async { while connections.tasks.join_next().await.is_some() {} };
        // What is not finished by then is closed with the set.
        let _ = timeout(GRACE, finished).await;
    }

    /// The next connection of any listener.
    async fn accept(&self) -> io::Result<TcpStream> {
        poll_fn(|cx| {
            for listener in &self.listeners {
                if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                    return Poll::Ready(accepted.map(|(stream, _)| stream));
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// A peer that left before it was accepted.
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// All open connections, so many and no more.
struct Connections {
    routes: Router,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
    open: HashMap<task::Id, Open>,
    /// How many there may be.
    most: usize,
    /// A descriptor of this number or above says that few are left.
    scarce: i32,
}

struct Open {
    phase: watch::Receiver<Phase>,
    task: AbortHandle,
}

impl Connections {
    fn new(routes: Router, shutdown: CancellationToken) -> Self {
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let descriptors = i32::try_from(descriptors).unwrap_or(i32::MAX);
        Self {
            routes,
            shutdown,
            tasks: JoinSet::new(),
            open: HashMap::new(),
            most: usize::try_from(descriptors / 4)
                .unwrap_or(MOST)
                .clamp(LEAST, MOST),
            scarce: descriptors - descriptors / 8,
        }
    }

    /// Serves one more, in the place of another one if there are too many.
    async fn serve(&mut self, stream: TcpStream) {
        // The system gives the lowest number that is free.
        let scarce = stream.as_raw_fd() >= self.scarce && self.tasks.len() >= LEAST;
        if scarce || self.tasks.len() >= self.most {
            self.close_one().await;
        }
        // Without a bound a peer that does not read could have some megabytes of each answer in
        // the kernel. If this fails, it has.
        let _ = set_socket_send_buffer_size(&stream, SEND_BUFFER);
        let phase = Arc::new(watch::Sender::new(Phase::new()));
        let seen = phase.subscribe();
        let (routes, shutdown) = (self.routes.clone(), self.shutdown.clone());
        let task = self
            .tasks
            .spawn(connection::serve(stream, routes, phase, shutdown));
        let id = task.id();
        self.open.insert(id, Open { phase: seen, task });
    }

    /// Closes the one that has been waited for the longest.
    async fn close_one(&mut self) {
        let open = self.open.iter();
        let Some((&id, Open { task, .. })) =
            open.min_by_key(|(_, open)| open.phase.borrow().worth())
        else {
            return;
        };
        tracing::debug!("too many connections to the web port: the oldest idle one is closed");
        task.abort();
        while self.open.contains_key(&id) {
            match self.tasks.join_next_with_id().await {
                Some(ended) => self.forget(ended),
                None => return,
            }
        }
    }

    fn forget(&mut self, ended: Result<(task::Id, ()), JoinError>) {
        let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
        self.open.remove(&id);
    }
}

/// One socket for both families, whatever the system's default; IPv4 alone where there is no IPv6.
fn every_address(port: u16) -> io::Result<TcpListener> {
    let both = TcpSocket::new_v6().and_then(|socket| {
        set_ipv6_v6only(&socket, false)?;
        listen(&socket, (Ipv6Addr::UNSPECIFIED, port).into())?;
        socket.listen(BACKLOG)
    });
    match both {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            let socket = TcpSocket::new_v4()?;
            listen(&socket, (Ipv4Addr::UNSPECIFIED, port).into())?;
            socket.listen(BACKLOG)
        }
        both => both,
    }
}

fn listen(socket: &TcpSocket, address: SocketAddr) -> io::Result<()> {
    // A restart must not wait until the last connections of its predecessor are forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)
}

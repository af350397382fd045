//! Listens, serves until told to stop, and lets answers under way finish.

use std::future::IntoFuture;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use rustix::net::sockopt::set_ipv6_v6only;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

use super::{Site, routes};

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
    ///
    /// # Errors
    /// If listening fails for good.
    pub async fn serve(self, site: Arc<Site>, shutdown: CancellationToken) -> io::Result<()> {
        let app = routes(site);
        let serving = try_join_all(self.listeners.into_iter().map(|listener| {
            axum::serve(listener, app.clone())
                .with_graceful_shutdown(shutdown.clone().cancelled_owned())
                .into_future()
        }));
        let overdue = async {
            shutdown.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            ended = serving => ended.map(drop),
            () = overdue => Ok(()),
        }
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

//! The system's resolver, on threads of its own: it cannot be interrupted, and whoever waits for
//! it must not hold a thread that others need.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::thread;

use tokio::sync::{Semaphore, oneshot};

/// So many look-ups may hang in the system's resolver; the next one waits for its turn, or until
/// its deadline.
const THREADS: usize = 64;

#[derive(Debug)]
pub(super) struct System(Arc<Semaphore>);

impl Default for System {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(THREADS)))
    }
}

impl System {
    pub(super) async fn find(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let turn = Arc::clone(&self.0).acquire_owned().await;
        let turn = turn.map_err(io::Error::other)?;
        let (tell, told) = oneshot::channel();
        let host = host.to_owned();
        // It is left alone when nobody waits any more, and ends when the system's resolver does.
        thread::Builder::new()
            .name("resolver".to_owned())
            .spawn(move || {
                let found = (host.as_str(), 0).to_socket_addrs();
                let found = found.map(|found| found.map(|address| address.ip()).collect());
                drop(turn);
                // Nobody waits any more.
                let _ = tell.send(found);
            })?;
        told.await.map_err(io::Error::other)?.map_err(|source| {
            // Without a descriptor the C library cannot ask, and says that the name is unknown.
            let any: SocketAddr = ([127, 0, 0, 1], 0).into();
            TcpListener::bind(any).err().unwrap_or(source)
        })
    }
}

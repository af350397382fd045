//! From an endpoint to a pipe that requests can be sent over: one address, no second choice.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::endpoint::Endpoint;
use super::error::ClientError;
use super::stopwatch::{Phase, Stopwatch};

/// Bytes in both directions, in the clear or not.
pub(super) type Pipe = Either<TcpStream, TlsStream<TcpStream>>;

/// Resolves, connects, and shakes hands when there is a TLS configuration.
pub(super) async fn connect(
    endpoint: &Endpoint,
    tls: Option<&Arc<ClientConfig>>,
    watch: &mut Stopwatch<'_>,
) -> Result<Pipe, ClientError> {
    let address = if let Some(ip) = endpoint.ip() {
        SocketAddr::new(ip, endpoint.port())
    } else {
        watch.enter(Phase::Resolve);
        resolve(endpoint).await?
    };

    watch.enter(Phase::Connect);
    let tcp = open(address)
        .await
        .map_err(|source| ClientError::connect(endpoint, address, source))?;
    let Some(config) = tls else {
        return Ok(Either::Left(tcp));
    };

    watch.enter(Phase::Tls);
    let name = endpoint.server_name().clone();
    let shaken = TlsConnector::from(Arc::clone(config)).connect(name, tcp);
    let stream = shaken
        .await
        .map_err(|source| ClientError::tls(endpoint, source))?;
    Ok(Either::Right(stream))
}

/// The system puts the address that it thinks is best first.
async fn resolve(endpoint: &Endpoint) -> Result<SocketAddr, ClientError> {
    let found = lookup_host((endpoint.host(), endpoint.port())).await;
    found
        .and_then(|mut addresses| {
            let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            addresses.next().ok_or_else(none)
        })
        .map_err(|source| {
            // Without a descriptor the C library cannot ask, and says that the name is unknown.
            let source = TcpSocket::new_v4().err().unwrap_or(source);
            ClientError::resolve(endpoint, source)
        })
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect(address).await?;
    // A request in two segments would otherwise wait for the other side's delayed ACK.
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

//! From an endpoint to a pipe that something can be sent over: one address, no second choice.

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
use super::paced::Paced;
use super::stopwatch::{Phase, Stopwatch};
use super::tls::Session;

/// Bytes in both directions, in the clear or not.
pub(super) type Pipe = Either<Paced, TlsStream<Paced>>;

/// Resolves, connects, goes through a proxy if there is one, and shakes hands when there is a TLS
/// configuration.
pub(super) async fn connect(
    endpoint: &Endpoint,
    tls: Option<Arc<ClientConfig>>,
    watch: &mut Stopwatch<'_>,
) -> Result<(Pipe, Option<Arc<Session>>), ClientError> {
    let tcp = reach(endpoint, watch).await?;
    let Some(config) = tls else {
        return Ok((Either::Left(tcp), None));
    };
    let (stream, session) = shake(endpoint, tcp, config, watch).await?;
    Ok((Either::Right(stream), Some(session)))
}

/// Resolves and connects, to the endpoint or through its proxy.
pub(super) async fn reach(
    endpoint: &Endpoint,
    watch: &mut Stopwatch<'_>,
) -> Result<Paced, ClientError> {
    let proxy = endpoint.transport().proxy.as_ref();
    let first = proxy.map_or(endpoint, |proxy| &proxy.endpoint);
    let address = if let Some(ip) = first.ip() {
        let address = SocketAddr::new(ip, first.port());
        of_family(endpoint, [address]).map_err(|source| ClientError::resolve(first, source))?
    } else {
        watch.enter(Phase::Resolve);
        resolve(first, endpoint).await?
    };
    watch.enter(Phase::Connect);
    let tcp = open(address)
        .await
        .map_err(|source| ClientError::connect(first, address, source))?;
    let tcp = match proxy {
        Some(proxy) => proxy.tunnel(tcp, endpoint).await?,
        None => tcp,
    };
    Ok(Paced::new(tcp))
}

/// Shakes hands.
pub(super) async fn shake(
    endpoint: &Endpoint,
    tcp: Paced,
    config: Arc<ClientConfig>,
    watch: &mut Stopwatch<'_>,
) -> Result<(TlsStream<Paced>, Arc<Session>), ClientError> {
    watch.enter(Phase::Tls);
    let name = endpoint.server_name().clone();
    let shaken = TlsConnector::from(config).connect(name, tcp);
    let stream = shaken
        .await
        .map_err(|source| ClientError::tls(endpoint, source))?;
    let session = Session::of(stream.get_ref().1);
    Ok((stream, Arc::new(session)))
}

/// The system puts the address that it thinks is best first.
async fn resolve(host: &Endpoint, endpoint: &Endpoint) -> Result<SocketAddr, ClientError> {
    let found = lookup_host((host.host(), host.port())).await;
    found
        .and_then(|addresses| of_family(endpoint, addresses))
        .map_err(|source| {
            // Without a descriptor the C library cannot ask, and says that the name is unknown.
            let source = TcpSocket::new_v4().err().unwrap_or(source);
            ClientError::resolve(host, source)
        })
}

/// The first that may be used.
fn of_family(
    endpoint: &Endpoint,
    addresses: impl IntoIterator<Item = SocketAddr>,
) -> io::Result<SocketAddr> {
    let family = endpoint.transport().family;
    let fits = |address: &SocketAddr| family.is_none_or(|family| family.has(*address));
    addresses.into_iter().find(fits).ok_or_else(|| {
        let family = family.map_or(String::new(), |family| format!("{family} "));
        let what = format!("it has no {family}address");
        io::Error::new(io::ErrorKind::NotFound, what)
    })
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect(address).await?;
    // A request in two segments would otherwise wait for the other side's delayed ACK.
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

//! From an endpoint to a pipe that something can be sent over: one address, no second choice.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::endpoint::Endpoint;
use super::error::ClientError;
use super::names::{Names, Unresolved};
use super::paced::Paced;
use super::proxy::Proxy;
use super::stopwatch::{Phase, Stopwatch};
use super::tls::{Session, Tls};
use super::transport::Family;
use super::zone;

/// Bytes in both directions, in the clear or not.
pub(super) type Pipe = Either<Paced, TlsStream<Paced>>;

/// Resolves, connects, goes through a proxy if there is one (or, with a forwarder, only to it), and shakes hands when there is a TLS
/// configuration.
pub(super) async fn connect(
    names: &Names,
    endpoint: &Endpoint,
    tls: Option<Tls>,
    forwarder: Option<&Proxy>,
    watch: &mut Stopwatch<'_>,
) -> Result<(Pipe, Option<Arc<Session>>), ClientError> {
    let tcp = reach(names, endpoint, forwarder.is_none(), watch).await?;
    let Some(tls) = tls else {
        return Ok((Either::Left(tcp), None));
    };
    let (stream, session) = shake(endpoint, tcp, tls, watch).await?;
    Ok((Either::Right(stream), Some(session)))
}

/// Resolves and connects, to the endpoint or through its proxy; or to the proxy alone, if it needs
/// no tunnel.
async fn reach(
    names: &Names,
    endpoint: &Endpoint,
    tunnels: bool,
    watch: &mut Stopwatch<'_>,
) -> Result<Paced, ClientError> {
    let proxy = endpoint.transport().proxy.as_ref();
    let first = proxy.map_or(endpoint, |proxy| &proxy.endpoint);
    let (family, resolver) = (endpoint.transport().family, endpoint.transport().resolver);
    let ip = if let Some(ip) = first.ip() {
        of_family(ip, family)
    } else {
        watch.enter(Phase::Resolve);
        let found = names.find(first.host(), family, resolver).await;
        // One address, no second choice: what is measured is the way there.
        found.and_then(|found| found.into_iter().next().ok_or(Unresolved::NoName))
    };
    let ip = ip.map_err(|source| ClientError::resolve(first, source))?;
    let mut address = SocketAddr::new(ip, first.port());
    if let (SocketAddr::V6(address), Some(zone)) = (&mut address, first.zone()) {
        let zone = zone::index(zone).map_err(Unresolved::Zone);
        address.set_scope_id(zone.map_err(|source| ClientError::resolve(first, source))?);
    }
    watch.enter(Phase::Connect);
    let tcp = open(address)
        .await
        .map_err(|source| ClientError::connect(first, address, source))?;
    let tcp = match proxy {
        Some(proxy) if tunnels => proxy.tunnel(tcp, endpoint).await?,
        _ => tcp,
    };
    Ok(Paced::new(tcp))
}

/// Shakes hands.
pub(super) async fn shake(
    endpoint: &Endpoint,
    tcp: Paced,
    tls: Tls,
    watch: &mut Stopwatch<'_>,
) -> Result<(TlsStream<Paced>, Arc<Session>), ClientError> {
    watch.enter(Phase::Tls);
    let name = endpoint.server_name().clone();
    let shaken = TlsConnector::from(Arc::clone(&tls.config)).connect(name, tcp);
    let stream = shaken
        .await
        .map_err(|source| ClientError::tls(endpoint, source))?;
    let session = Session::of(stream.get_ref().1, &tls);
    Ok((stream, Arc::new(session)))
}

fn of_family(ip: IpAddr, family: Option<Family>) -> Result<IpAddr, Unresolved> {
    match family {
        Some(family) if !family.has(ip) => Err(Unresolved::NoneOf(family)),
        _ => Ok(ip),
    }
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect(address).await?;
    // A request in two segments would otherwise wait for the other side's delayed ACK.
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

//! Proxies: a tunnel to the target through somebody else. HTTP proxies are asked by CONNECT
//! (RFC 9110, 9.3.6) for `http` too, SOCKS5 ones (RFC 1928) with the target's name, so that the
//! proxy resolves it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{HeaderValue, Method, Uri};
use http_body_util::Full;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_socks::tcp::Socks5Stream;
use tokio_util::either::Either;

use super::endpoint::Endpoint;
use super::error::ClientError;
use super::exchange::{Connection, Message};
use crate::secret::SecretSource;

/// Through whom a target is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// What it speaks.
    pub kind: ProxyKind,
    /// Where it is; only host and port count.
    pub endpoint: Box<Endpoint>,
    /// Who we are to it: user and password.
    pub login: Option<(String, SecretSource)>,
}

/// What a proxy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyKind {
    /// HTTP, its method CONNECT.
    Http,
    /// SOCKS 5.
    Socks5,
}

impl Proxy {
    /// Makes a tunnel to the endpoint of a connection to the proxy.
    pub(super) async fn tunnel(
        &self,
        tcp: TcpStream,
        to: &Endpoint,
    ) -> Result<TcpStream, ClientError> {
        let login = match &self.login {
            None => None,
            Some((user, password)) => {
                let password = password.read();
                let password = password.map_err(|source| ClientError::Secret { source })?;
                Some((user.as_str(), password))
            }
        };
        let login = login
            .as_ref()
            .map(|(user, password)| (*user, password.expose()));
        match self.kind {
            ProxyKind::Http => self.connect(tcp, to, login).await,
            ProxyKind::Socks5 => self.socks5(tcp, to, login).await,
        }
    }

    async fn connect(
        &self,
        tcp: TcpStream,
        to: &Endpoint,
        login: Option<(&str, &str)>,
    ) -> Result<TcpStream, ClientError> {
        let broken = |source| ClientError::proxy(&self.endpoint, source);
        let target = format!("{}:{}", to.host(), to.port());
        let mut message = Message::new(Full::default());
        *message.method_mut() = Method::CONNECT;
        *message.uri_mut() = Uri::try_from(&target).map_err(broken_as(&self.endpoint))?;
        let headers = message.headers_mut();
        headers.insert(
            HOST,
            HeaderValue::try_from(target).map_err(broken_as(&self.endpoint))?,
        );
        if let Some((user, password)) = login {
            let pair = BASE64_STANDARD.encode(format!("{user}:{password}"));
            // Base64 is always a header value.
            let value = HeaderValue::try_from(format!("Basic {pair}"));
            headers.extend(value.map(|value| (PROXY_AUTHORIZATION, value)));
        }
        let opened = Connection::http1(Either::Left(tcp)).await;
        let mut connection = opened.map_err(|source| broken(Box::new(source)))?;
        let answer = connection.request(message).await;
        let answer = answer.map_err(|error| broken(Box::new(error.into_error())))?;
        if !answer.status().is_success() {
            return Err(broken(
                format!("it answers CONNECT with status {}", answer.status()).into(),
            ));
        }
        let taken = connection.into_pipe().await;
        match taken.map_err(|source| broken(Box::new(source)))? {
            Some((Either::Left(tcp), read)) if read.is_empty() => Ok(tcp),
            _ => Err(broken(
                "it says something before we did, through the tunnel".into(),
            )),
        }
    }

    async fn socks5(
        &self,
        tcp: TcpStream,
        to: &Endpoint,
        login: Option<(&str, &str)>,
    ) -> Result<TcpStream, ClientError> {
        let port = to.port();
        let target = match to.own_name() {
            ServerName::IpAddress(ip) => {
                tokio_socks::TargetAddr::Ip(((std::net::IpAddr::from(*ip)), port).into())
            }
            _ => tokio_socks::TargetAddr::Domain(to.host().into(), port),
        };
        let opened = match login {
            None => Socks5Stream::connect_with_socket(tcp, target).await,
            Some((user, password)) => {
                Socks5Stream::connect_with_password_and_socket(tcp, target, user, password).await
            }
        };
        opened
            .map(Socks5Stream::into_inner)
            .map_err(|source| ClientError::proxy(&self.endpoint, Box::new(source)))
    }
}

fn broken_as<E: std::error::Error + Send + Sync + 'static>(
    endpoint: &Endpoint,
) -> impl Fn(E) -> ClientError + '_ {
    |source| ClientError::proxy(endpoint, Box::new(source))
}

//! Proxies: the way to the target through somebody else. HTTP proxies are asked for what is at the
//! target where it is `http`, and by CONNECT for a tunnel for all else (RFC 9110, 9.3.6), SOCKS5 ones
//! (RFC 1928) with the target's name, so that the proxy resolves it.

use std::error::Error;
use std::io;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::PROXY_AUTHORIZATION;
use http::uri::Scheme;
use http::{HeaderValue, Uri};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_socks::tcp::Socks5Stream;

use super::endpoint::Endpoint;
use super::error::ClientError;
use super::exchange::Message;
use crate::secret::{Secret, SecretSource};

/// Longer heads of an answer are none.
const LONGEST_HEAD: usize = 16 * 1024;

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

/// The proxy that is asked for what the endpoint is asked for, instead of a tunnel to it: one that
/// speaks HTTP, for `http` (RFC 9112, 3.2.2). Many allow tunnels to port 443 only.
pub(super) fn forwarder(endpoint: &Endpoint) -> Option<&Proxy> {
    let proxy = endpoint.transport().proxy.as_ref()?;
    (proxy.kind == ProxyKind::Http && endpoint.scheme() == "http").then_some(proxy)
}

impl Proxy {
    /// Addresses the message for it: with the whole address, and who we are.
    pub(super) fn address(&self, message: &mut Message, to: &Endpoint) -> Result<(), ClientError> {
        let mut parts = message.uri().clone().into_parts();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = to.authority().parse().ok();
        *message.uri_mut() = Uri::from_parts(parts).map_err(|_| ClientError::Path)?;
        let login = self.login()?;
        let login = login.and_then(|login| HeaderValue::try_from(login.basic()).ok());
        let login = login.map(|login| (PROXY_AUTHORIZATION, login));
        message.headers_mut().extend(login);
        Ok(())
    }

    /// Makes a tunnel to the endpoint of a connection to the proxy.
    pub(super) async fn tunnel(
        &self,
        tcp: TcpStream,
        to: &Endpoint,
    ) -> Result<TcpStream, ClientError> {
        let login = self.login()?;
        match self.kind {
            ProxyKind::Http => self.connect(tcp, to, login).await,
            ProxyKind::Socks5 => self.socks5(tcp, to, login).await,
        }
    }

    /// Who we are to it.
    pub(super) fn login(&self) -> Result<Option<Login>, ClientError> {
        let Some((user, password)) = &self.login else {
            return Ok(None);
        };
        let password = password.read();
        let password = password.map_err(|source| ClientError::Secret { source })?;
        let user = user.clone();
        Ok(Some(Login { user, password }))
    }

    async fn connect(
        &self,
        mut tcp: TcpStream,
        to: &Endpoint,
        login: Option<Login>,
    ) -> Result<TcpStream, ClientError> {
        let broken =
            |source: Box<dyn Error + Send + Sync>| ClientError::proxy(&self.endpoint, source);
        let target = format!("{}:{}", to.host(), to.port());
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(login) = login {
            request = format!("{request}Proxy-Authorization: {}\r\n", login.basic());
        }
        let asked = async {
            tcp.write_all(format!("{request}\r\n").as_bytes()).await?;
            read_head(&mut tcp).await
        };
        let head = asked.await.map_err(|source| broken(source.into()))?;
        match status(&head) {
            Some(200..=299) => Ok(tcp),
            Some(code) => Err(broken(
                format!("it answers CONNECT with status {code}").into(),
            )),
            None => Err(broken("its answer to CONNECT is not HTTP".into())),
        }
    }

    async fn socks5(
        &self,
        tcp: TcpStream,
        to: &Endpoint,
        login: Option<Login>,
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
            Some(Login { user, password }) => {
                let password = password.expose();
                Socks5Stream::connect_with_password_and_socket(tcp, target, &user, password).await
            }
        };
        opened
            .map(Socks5Stream::into_inner)
            .map_err(|source| ClientError::proxy(&self.endpoint, Box::new(source)))
    }
}

/// Who we are to a proxy, opened.
pub(super) struct Login {
    user: String,
    password: Secret,
}

impl Login {
    /// What `proxy-authorization` says (RFC 7617).
    pub(super) fn basic(&self) -> String {
        let pair = format!("{}:{}", self.user, self.password.expose());
        format!("Basic {}", BASE64_STANDARD.encode(pair))
    }
}

/// Reads the head of an answer and not a byte more: whoever is behind the proxy may have spoken
/// already. What it says before (RFC 9110, 15.2) is passed over.
async fn read_head(tcp: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut length = 0;
    loop {
        if length >= LONGEST_HEAD {
            return Err(io::Error::other("the head of its answer has no end"));
        }
        head.push(tcp.read_u8().await?);
        length += 1;
        // Lines may end with a line feed alone (RFC 9112, 2.2).
        if head.ends_with(b"\n\r\n") || head.ends_with(b"\n\n") {
            match status(&head) {
                Some(100..=199) => head.clear(),
                _ => return Ok(head),
            }
        }
    }
}

/// The status in a head.
fn status(head: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(head.split(|byte| b"\r\n".contains(byte)).next()?).ok()?;
    let rest = line
        .strip_prefix("HTTP/1.1 ")
        .or(line.strip_prefix("HTTP/1.0 "))?;
    rest.get(..3)?.parse().ok()
}

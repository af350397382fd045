//! Proxies: a tunnel to the target through somebody else. HTTP proxies are asked by CONNECT
//! (RFC 9110, 9.3.6) for `http` too, SOCKS5 ones (RFC 1928) with the target's name, so that the
//! proxy resolves it.

use std::error::Error;
use std::io;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_socks::tcp::Socks5Stream;

use super::endpoint::Endpoint;
use super::error::ClientError;
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

impl Proxy {
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
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n");
        if let Some(login) = login {
            request = format!("{request}proxy-authorization: {}\r\n", login.basic());
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
/// already.
async fn read_head(tcp: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= LONGEST_HEAD {
            return Err(io::Error::other("the head of its answer has no end"));
        }
        head.push(tcp.read_u8().await?);
    }
    Ok(head)
}

/// The status in a head.
fn status(head: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(head.split(|byte| *byte == b'\r').next()?).ok()?;
    let rest = line
        .strip_prefix("HTTP/1.1 ")
        .or(line.strip_prefix("HTTP/1.0 "))?;
    rest.get(..3)?.parse().ok()
}

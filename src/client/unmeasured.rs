//! Requests that the daemon makes for itself, such as for a token: through reqwest, because nobody
//! measures them. They go the way that the endpoint's transport says, over a connection of their
//! own, and are sent on nowhere: a redirect is an answer.
//!
//! reqwest drives the connection in a task of its own, which ends with the connection, and that
//! with the answer.

use std::error::Error;
use std::fmt;
use std::io;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::retry;
use tokio::net::lookup_host;

use super::endpoint::Endpoint;
use super::error::ClientError;
use super::proxy::{Proxy, ProxyKind};
use super::transport::Family;
use super::{Answer, Client, Request, tls};

impl Client {
    /// Makes one request that is not measured. Of the request's manner only `body_limit` counts:
    /// it is HTTP/1.1, over a new connection.
    pub async fn fetch(
        &self,
        endpoint: &Endpoint,
        request: Request,
    ) -> Result<Answer, ClientError> {
        let path = endpoint.uri(&request.path).ok_or(ClientError::Path)?;
        let url = format!("{}{path}", endpoint.origin());
        let client = self.dressed(endpoint).await?;
        let broken = |source: reqwest::Error| ClientError::fetch(endpoint, source.without_url());
        let sent = client
            .request(request.method, url)
            .headers(request.headers)
            .body(request.body)
            .send();
        let mut answer = sent.await.map_err(broken)?;
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(broken)? {
            body.extend_from_slice(&piece);
            if body.len() as u64 > request.body_limit {
                let limit = request.body_limit;
                return Err(ClientError::too_long(endpoint, "the http answer", limit));
            }
        }
        Ok(Answer {
            status: answer.status().as_u16(),
            headers: std::mem::take(answer.headers_mut()),
            body: body.into(),
            version: answer.version(),
            session: None,
        })
    }

    /// A client for one request, made anew: what it reads from files may have changed.
    async fn dressed(&self, endpoint: &Endpoint) -> Result<reqwest::Client, ClientError> {
        let transport = endpoint.transport();
        let tls = if endpoint.is_tls() {
            (*self.tls(endpoint).await?).clone()
        } else {
            // Or reqwest would make one of its own, for which it has no cryptography.
            tls::nobody()?
        };
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .dns_resolver(Resolver(transport.family))
            .redirect(Policy::none())
            .retry(retry::never())
            .http1_only()
            .pool_max_idle_per_host(0)
            // What the environment says is not what the configuration says.
            .no_proxy();
        let builder = match &transport.proxy {
            None => builder,
            Some(proxy) => builder.proxy(through(proxy)?),
        };
        builder.build().map_err(ClientError::roots)
    }
}

fn through(proxy: &Proxy) -> Result<reqwest::Proxy, ClientError> {
    let scheme = match proxy.kind {
        ProxyKind::Http => "http",
        ProxyKind::Socks5 => "socks5h",
    };
    let url = format!("{scheme}://{}", proxy.endpoint.host_port());
    let through = reqwest::Proxy::all(url).map_err(ClientError::roots)?;
    let Some((user, password)) = &proxy.login else {
        return Ok(through);
    };
    let password = password.read();
    let password = password.map_err(|source| ClientError::Secret { source })?;
    Ok(through.basic_auth(user, password.expose()))
}

/// The system's resolver, its answers of one family; its errors can be told from others'.
struct Resolver(Option<Family>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let family = self.0;
        Box::pin(async move {
            let found = lookup_host((name.as_str(), 0)).await.map_err(Unresolved)?;
            let fits = move |address: &_| family.is_none_or(|family| family.has(*address));
            let found: Vec<_> = found.filter(fits).collect();
            if found.is_empty() {
                let family = family.map_or(String::new(), |family| format!("{family} "));
                let what = format!("the name has no {family}address");
                return Err(Unresolved(io::Error::other(what)).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// A name that does not resolve.
#[derive(Debug)]
pub(super) struct Unresolved(io::Error);

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot resolve the name")
    }
}

impl Error for Unresolved {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

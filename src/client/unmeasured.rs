//! Requests that the daemon makes for itself, such as for a token. They go the way that the
//! endpoint's transport says, over a connection of their own, are sent on nowhere (a redirect is an
//! answer), and nobody looks at their phases.
//!
//! A proxy is asked for what goes in the clear (RFC 9112, 3.2.2), and for a tunnel for the rest.

use std::sync::Arc;

use http::header::{HOST, PROXY_AUTHORIZATION};
use http::uri::Scheme;
use http::{HeaderValue, Version};
use tokio_util::either::Either;

use super::connect::reach;
use super::endpoint::Endpoint;
use super::error::ClientError;
use super::exchange::{Connection, absolute};
use super::proxy::{Proxy, ProxyKind};
use super::stopwatch::Stopwatch;
use super::stream::Stream;
use super::transport::{Transport, Trust};
use super::{Answer, Client, Connections, Request, Speak};
use crate::event::HttpPhases;

impl Client {
    /// Makes one request that is not measured. Of the request's manner only `body_limit` counts:
    /// it is HTTP/1.1, over a new connection.
    pub async fn fetch(
        &self,
        endpoint: &Endpoint,
        request: Request,
    ) -> Result<Answer, ClientError> {
        let request = Request {
            reuse: false,
            resume: false,
            speak: Speak::Http1,
            unpack: false,
            ..request
        };
        if let (Some(proxy), false) = (&endpoint.transport().proxy, endpoint.is_tls())
            && proxy.kind == ProxyKind::Http
        {
            return self.forward(endpoint, request, proxy).await;
        }
        let mut connections = Connections::new();
        let mut phases = HttpPhases::default();
        let answer = self.send(endpoint, request, &mut connections, &mut phases);
        let answer = answer.await?;
        connections.tidy().await;
        Ok(answer)
    }

    /// Makes a request in the clear of a proxy, who makes it of the endpoint.
    async fn forward(
        &self,
        endpoint: &Endpoint,
        request: Request,
        proxy: &Proxy,
    ) -> Result<Answer, ClientError> {
        let limit = request.body_limit;
        let host = HeaderValue::try_from(endpoint.authority()).map_err(|_| ClientError::Path)?;
        let message = request.into_message(endpoint).ok_or(ClientError::Path)?;
        let mut message = absolute(message, Scheme::HTTP);
        *message.version_mut() = Version::HTTP_11;
        message.headers_mut().insert(HOST, host);
        let login = proxy.login()?;
        let login = login.and_then(|login| HeaderValue::try_from(login.basic()).ok());
        let login = login.map(|login| (PROXY_AUTHORIZATION, login));
        message.headers_mut().extend(login);

        let way = Transport::new(endpoint.transport().family, None, Trust::default());
        let way = way.looking_up(endpoint.transport().resolver);
        let hop = proxy.endpoint.as_ref().clone().via(Arc::new(way));
        let mut phases = HttpPhases::default();
        let tcp = reach(&self.names, &hop, &mut Stopwatch::start(&mut phases)).await?;
        let broken = |source| ClientError::answer(endpoint, source);
        let mut connection = Connection::http1(Either::Left(tcp)).await.map_err(broken)?;
        let head = connection.request(message).await;
        let head = head.map_err(|error| broken(error.into_error()))?;
        Stream::new(head, connection, endpoint, limit, &self.room)
            .into_answer()
            .await
    }
}

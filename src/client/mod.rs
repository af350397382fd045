//! stub to be replaced
use crate::event::HttpPhases;
use crate::outcome::*;
use std::fmt;
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(String);
impl Endpoint {
    pub fn parse(s: &str) -> Result<Self, EndpointError> {
        Ok(Self(s.into()))
    }
}
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct EndpointError;
pub struct Client;
#[derive(Default)]
pub struct Connections;
pub const DEFAULT_BODY_LIMIT: u64 = 8 << 20;
pub struct Request {
    pub method: http::Method,
    pub path: String,
    pub headers: http::HeaderMap,
    pub body: bytes::Bytes,
    pub body_limit: u64,
    pub reuse: bool,
}
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: bytes::Bytes,
}
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct ClientError;
impl From<ClientError> for Failure {
    fn from(_: ClientError) -> Self {
        Failure::new(Reason::Dns, "x")
    }
}
impl Client {
    pub fn new() -> Self {
        Self
    }
    pub async fn send(
        &self,
        _: &Endpoint,
        _: Request,
        _: &mut Connections,
        _: &mut HttpPhases,
    ) -> Result<Answer, ClientError> {
        Err(ClientError)
    }
}

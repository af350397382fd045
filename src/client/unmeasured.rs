//! Requests that the daemon makes for itself, such as for a token. They go the way that the
//! endpoint's transport says, over a connection of their own, are sent on nowhere (a redirect is an
//! answer), and nobody looks at their phases.

use super::endpoint::Endpoint;
use super::error::ClientError;
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
        let mut connections = Connections::new();
        let mut phases = HttpPhases::default();
        let answer = self.send(endpoint, request, &mut connections, &mut phases);
        let answer = answer.await?;
        connections.tidy().await;
        Ok(answer)
    }
}

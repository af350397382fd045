//! Why an attempt failed, whose fault that is, and whether the target may have changed.
//!
//! The classification walks typed causes and never reads a message. What a status or a body means
//! is said elsewhere.

use std::error::Error;
use std::io;
use std::iter::successors;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use tokio_tungstenite::tungstenite;

use super::decode::Broken;
use super::endpoint::Endpoint;
use super::names::Unresolved;
use super::room;
use super::tls::blame;
use crate::outcome::{Cause, Effect, Failure, Fault, Reason};
use crate::secret::SecretError;

/// A failed attempt. Messages name host and port, never a header, a body or a query.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// This machine's roots of trust cannot be used.
    #[error("cannot load the root certificates of this machine")]
    Roots {
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A file that says whom to trust, or who we are, cannot be used.
    #[error("cannot use {file}")]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The proxy's password cannot be read.
    #[error("cannot log in at the proxy")]
    Secret {
        /// Why.
        source: SecretError,
    },
    /// The path of the request is none.
    #[error(
        "the path does not begin with `/`, is not percent-encoded, or has a `.` or `..` for a segment"
    )]
    Path,
    /// The name does not resolve.
    #[error("cannot resolve {to}")]
    Resolve {
        /// Host and port.
        to: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// No TCP connection.
    #[error("cannot connect to {to}")]
    Connect {
        /// Host and port, and the address if it was resolved.
        to: String,
        /// Why.
        source: io::Error,
    },
    /// The proxy makes no tunnel to the target.
    #[error("no way through the proxy {via}")]
    Proxy {
        /// Its host and port.
        via: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// No TLS session.
    #[error("no tls handshake with {to}")]
    Tls {
        /// Host and port.
        to: String,
        /// Why.
        source: io::Error,
    },
    /// The request may have been sent, but no head of an answer came.
    #[error("no http answer from {to}")]
    Answer {
        /// Host and port.
        to: String,
        /// Why.
        source: hyper::Error,
    },
    /// The answer broke off.
    #[error("the http answer from {to} broke off")]
    Body {
        /// Host and port.
        to: String,
        /// Why.
        source: hyper::Error,
    },
    /// The server does not speak the version of HTTP that was asked for.
    #[error("{to} speaks no http/2")]
    Version {
        /// Host and port.
        to: String,
    },
    /// The body cannot be unpacked.
    #[error("the http answer from {to} cannot be unpacked")]
    Coding {
        /// Host and port.
        to: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The answer to a WebSocket handshake does not keep to the protocol.
    #[error("no websocket handshake with {to}: {what}")]
    Handshake {
        /// Host and port.
        to: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The WebSocket broke off, or did not keep to the protocol.
    #[error("the websocket to {to} broke off")]
    WebSocket {
        /// Host and port.
        to: String,
        /// Why.
        source: Box<tungstenite::Error>,
    },
    /// A connection that no HTTP is spoken over broke off.
    #[error("the connection to {to} broke off")]
    Lost {
        /// Host and port.
        to: String,
        /// Why.
        source: io::Error,
    },
    /// Something came in the clear that nobody had asked for, right before a handshake: what it
    /// says would pass for a part of what comes after, and anybody could have put it in.
    #[error("{to} said more than was asked for before the tls handshake")]
    Injected {
        /// Host and port.
        to: String,
    },
    /// The answers that are read at this moment take too much memory.
    #[error(
        "the http answer from {to} was not read: answers that are read now take {} MiB, and no more is \
         allowed; let fewer long ones be read at once",
        room::ALL >> 20
    )]
    Crowded {
        /// Host and port.
        to: String,
    },
    /// The other side sends pings and reads no answers to them.
    #[error(
        "{to} sends websocket pings and does not read the answers: {waiting} bytes of them wait"
    )]
    Unread {
        /// Host and port.
        to: String,
        /// How much waits to be read.
        waiting: usize,
    },
    /// An answer, event or message is longer than allowed; the rest was not read.
    #[error("{what} from {to} is longer than {limit} bytes")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// Host and port.
        to: String,
        /// The request's limit.
        limit: u64,
    },
}

impl ClientError {
    pub(super) fn roots(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let source = source.into();
        Self::Roots { source }
    }

    pub(super) fn file(file: &Path, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let (file, source) = (file.to_owned(), source.into());
        Self::File { file, source }
    }

    pub(super) fn proxy(proxy: &Endpoint, source: Box<dyn Error + Send + Sync>) -> Self {
        let via = proxy.host_port();
        Self::Proxy { via, source }
    }

    pub(super) fn version(endpoint: &Endpoint) -> Self {
        let to = endpoint.host_port();
        Self::Version { to }
    }

    pub(super) fn coding(endpoint: &Endpoint, broken: Broken, limit: u64) -> Self {
        let to = endpoint.host_port();
        match broken {
            Broken::TooLong => Self::too_long(endpoint, "the unpacked http answer", limit),
            Broken::Crowded => Self::crowded(endpoint),
            Broken::Garbage(source) => Self::Coding {
                to,
                source: source.into(),
            },
            Broken::Unknown(coding) => Self::Coding {
                to,
                source: format!("`{coding}` is not gzip, br or zstd").into(),
            },
        }
    }

    pub(super) fn resolve(endpoint: &Endpoint, source: Unresolved) -> Self {
        let (to, source) = (endpoint.host_port(), source.into());
        Self::Resolve { to, source }
    }

    pub(super) fn connect(endpoint: &Endpoint, address: SocketAddr, source: io::Error) -> Self {
        let mut to = endpoint.host_port();
        if endpoint.ip().is_none() {
            to = format!("{to} at {address}");
        }
        Self::Connect { to, source }
    }

    pub(super) fn tls(endpoint: &Endpoint, source: io::Error) -> Self {
        let to = endpoint.host_port();
        Self::Tls { to, source }
    }

    pub(super) fn answer(endpoint: &Endpoint, source: hyper::Error) -> Self {
        let to = endpoint.host_port();
        Self::Answer { to, source }
    }

    pub(super) fn body(endpoint: &Endpoint, source: hyper::Error) -> Self {
        let to = endpoint.host_port();
        Self::Body { to, source }
    }

    pub(super) fn handshake(endpoint: &Endpoint, what: &'static str) -> Self {
        let to = endpoint.host_port();
        Self::Handshake { to, what }
    }

    pub(super) fn web_socket(endpoint: &Endpoint, source: tungstenite::Error) -> Self {
        let (to, source) = (endpoint.host_port(), Box::new(source));
        Self::WebSocket { to, source }
    }

    pub(super) fn lost(endpoint: &Endpoint, source: io::Error) -> Self {
        let to = endpoint.host_port();
        Self::Lost { to, source }
    }

    pub(super) fn injected(endpoint: &Endpoint) -> Self {
        let to = endpoint.host_port();
        Self::Injected { to }
    }

    pub(super) fn crowded(endpoint: &Endpoint) -> Self {
        let to = endpoint.host_port();
        Self::Crowded { to }
    }

    pub(super) fn unread(endpoint: &Endpoint, waiting: usize) -> Self {
        let to = endpoint.host_port();
        Self::Unread { to, waiting }
    }

    pub(super) fn too_long(endpoint: &Endpoint, what: &'static str, limit: u64) -> Self {
        let to = endpoint.host_port();
        Self::TooLong { what, to, limit }
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        // Wherever it happens: a machine that has run out of something says nothing of the target.
        if self.errnos().any(is_exhaustion) {
            return Cause::Resources.into();
        }
        match self {
            Self::Roots { .. } | Self::Crowded { .. } => Cause::Resources.into(),
            Self::File { .. } | Self::Secret { .. } => Cause::Secret.into(),
            Self::Path => Cause::Input.into(),
            Self::Resolve { .. } => Reason::Dns.into(),
            Self::Connect { .. } if self.errnos().any(|errno| errno == Errno::TIMEDOUT) => {
                Reason::Timeout.into()
            }
            Self::Connect { .. } | Self::Proxy { .. } => Reason::Connect.into(),
            Self::Tls { .. } => Reason::Tls.into(),
            // In TLS 1.3 a server refuses our side of the handshake only after we think it done.
            Self::Answer { .. } | Self::Lost { .. }
                if causes(self).any(<dyn Error>::is::<rustls::Error>) =>
            {
                Reason::Tls.into()
            }
            Self::Answer { .. }
            | Self::Lost { .. }
            | Self::Injected { .. }
            | Self::Body { .. }
            | Self::Version { .. }
            | Self::Coding { .. }
            | Self::Handshake { .. }
            | Self::WebSocket { .. }
            | Self::Unread { .. }
            | Self::TooLong { .. } => Reason::Protocol.into(),
        }
    }

    /// Whether the target may have changed all the same.
    pub fn effect(&self) -> Effect {
        match self {
            Self::Roots { .. }
            | Self::File { .. }
            | Self::Secret { .. }
            | Self::Path
            | Self::Resolve { .. }
            | Self::Connect { .. }
            | Self::Proxy { .. }
            | Self::Tls { .. }
            | Self::Version { .. } => Effect::Nothing,
            Self::Answer { .. }
            | Self::Lost { .. }
            | Self::Injected { .. }
            | Self::Body { .. }
            | Self::Coding { .. }
            | Self::Handshake { .. }
            | Self::WebSocket { .. }
            | Self::Crowded { .. }
            | Self::Unread { .. }
            | Self::TooLong { .. } => Effect::Unknown,
        }
    }

    fn errnos(&self) -> impl Iterator<Item = Errno> {
        causes(self)
            .filter_map(|cause| cause.downcast_ref())
            .filter_map(Errno::from_io_error)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        // Errors tell how an answer is broken, not what stands in it.
        let failure = Self::new(error.fault(), chain(&error)).in_our_words();
        match error.effect() {
            Effect::Nothing => failure.without_effect(),
            Effect::Unknown => failure,
        }
    }
}

/// The error and its causes. An `io::Error` passes over the error that it wraps and names only
/// that one's source, so it is opened here.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |&error| cause(error))
}

fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

/// The error and its causes in one line; one that only repeats what was said is left out.
fn chain(error: &(dyn Error + 'static)) -> String {
    // An `io::Error` says what the error that it wraps says.
    let wraps = |error: &io::Error| error.get_ref().is_some();
    let own = causes(error).filter(|cause| !cause.downcast_ref().is_some_and(wraps));
    own.fold(String::new(), |text, cause| {
        let cause = match cause.downcast_ref() {
            Some(rustls::Error::InvalidCertificate(wrong)) => blame(wrong),
            _ => cause.to_string(),
        };
        match text.is_empty() {
            true => cause,
            false if text.contains(&cause) => text,
            false => format!("{text}: {cause}"),
        }
    })
}

pub(super) fn is_exhaustion(errno: Errno) -> bool {
    [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOMEM,
        Errno::NOBUFS,
        Errno::ADDRNOTAVAIL,
    ]
    .contains(&errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_classified() {
        for (errno, fault) in [
            (Errno::MFILE, Cause::Resources.into()),
            (Errno::NFILE, Cause::Resources.into()),
            (Errno::NOMEM, Cause::Resources.into()),
            (Errno::NOBUFS, Cause::Resources.into()),
            (Errno::ADDRNOTAVAIL, Cause::Resources.into()),
            (Errno::TIMEDOUT, Reason::Timeout.into()),
            (Errno::CONNREFUSED, Reason::Connect.into()),
            (Errno::CONNRESET, Reason::Connect.into()),
            (Errno::HOSTUNREACH, Reason::Connect.into()),
            (Errno::NETUNREACH, Reason::Connect.into()),
        ] {
            let endpoint = Endpoint::parse("http://shop.example").unwrap();
            let address = ([192, 0, 2, 1], 80).into();
            let wrapped = io::Error::other(io::Error::from(errno));
            for source in [errno.into(), wrapped] {
                let error = ClientError::connect(&endpoint, address, source);
                assert_eq!((error.fault(), error.effect()), (fault, Effect::Nothing));
                let text = chain(&error);
                let system = io::Error::from(errno);
                let expected =
                    format!("cannot connect to shop.example:80 at 192.0.2.1:80: {system}");
                assert_eq!(text, expected);
            }
        }
    }
}

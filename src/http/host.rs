//! By which names the daemon is called: a request for another host is refused.
//!
//! A page of somebody else's that runs in an operator's browser can have its own name resolved to
//! our address (DNS rebinding), and then read what we say: to the browser it is the same origin. The
//! name that it was loaded by is all that tells such a request from a good one. An address cannot be
//! rebound, and who is no browser is not asked at all (HTTP/1.0 without a name).

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, PoisonError};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::uri::Authority;
use http::{StatusCode, Version, header};

use super::Site;
use crate::config::{HostPattern, Settings, host_name};

/// What machines ask for, by whatever name they know this one.
const OF_MACHINES: [&str; 3] = ["/metrics", "/-/healthy", "/-/ready"];

/// How a connection came in, as an extension of its requests.
#[derive(Clone, Copy)]
pub(super) struct Arrived {
    /// At an address that only this machine reaches.
    pub(super) at_loopback: bool,
}

/// The names that are taken besides addresses and `localhost`.
#[derive(Debug, Default)]
pub struct Names(Vec<HostPattern>);

impl Names {
    /// Those of this machine, of the addresses that are listened on, and `[server] hosts`.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        let system = rustix::system::uname();
        let machine = system.nodename().to_string_lossy();
        Self::new(&machine, &settings.listen, &settings.hosts)
    }

    fn new(machine: &str, listen: &[String], hosts: &[HostPattern]) -> Self {
        let short = machine.split('.').next().unwrap_or_default();
        let listen = listen.iter().filter_map(|address| address.rsplit_once(':'));
        let own = [machine, short].into_iter();
        let own = own.chain(listen.map(|(name, _)| name));
        let own = own.filter_map(host_name).map(HostPattern::Name);
        Self(own.chain(hosts.iter().cloned()).collect())
    }

    fn take(&self, name: &str) -> bool {
        let local = HostPattern::Below(".localhost".to_owned());
        name == "localhost" || local.is(name) || self.0.iter().any(|own| own.is(name))
    }
}

/// What a request names as its host.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    /// An address, or nothing.
    Address,
    Name(String),
}

impl Named {
    /// Reads `name`, `name:port`, `192.0.2.1`, `[2001:db8::1]:80`; none if it is nothing like it.
    fn read(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::Address);
        }
        let (host, port) = match text.rfind(':').filter(|at| !text[*at..].contains(']')) {
            Some(at) => (&text[..at], &text[at + 1..]),
            None => (text, ""),
        };
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        if let Some(inner) = host.strip_prefix('[') {
            let inner = inner.strip_suffix(']')?;
            let address = inner.split_once('%').map_or(inner, |(address, _)| address);
            return address.parse::<Ipv6Addr>().ok().map(|_| Self::Address);
        }
        let name = host_name(host)?;
        Some(match name.parse::<IpAddr>() {
            Ok(_) => Self::Address,
            Err(_) => Self::Name(name),
        })
    }

    /// What this request names, in its line and in its one `Host`.
    fn all(request: &Request) -> Result<Vec<Self>, &'static str> {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let host = hosts.next();
        if hosts.next().is_some() {
            return Err("the request has several Host headers: send one\n");
        }
        if host.is_none() && request.version() > Version::HTTP_10 {
            return Err(
                "the request has no Host header: send the name or the address of this host\n",
            );
        }
        let host = host.map(|host| host.to_str().unwrap_or("?"));
        let line = request.uri().authority().map(Authority::as_str);
        let named = host.into_iter().chain(line).map(Self::read);
        let named: Option<Vec<_>> = named.collect();
        named.ok_or("the Host of the request is neither a name nor an address\n")
    }
}

/// Answers what asks for another host.
pub(super) async fn at_home(
    State(site): State<Arc<Site>>,
    request: Request,
    next: Next,
) -> Response {
    let named = match Named::all(&request) {
        Ok(named) => named,
        Err(wrong) => return (StatusCode::BAD_REQUEST, wrong).into_response(),
    };
    let is_local = |arrived: &Arrived| arrived.at_loopback;
    let by_any_name = OF_MACHINES.contains(&request.uri().path())
        && !request.extensions().get().is_none_or(is_local);
    let foreign = {
        let ours = site.names.read().unwrap_or_else(PoisonError::into_inner);
        named.into_iter().find_map(|named| match named {
            Named::Name(name) if !by_any_name && !ours.take(&name) => Some(name),
            _ => None,
        })
    };
    match foreign {
        Some(name) => {
            let what = format!(
                "testerd is not called {name} here: add the name to `hosts` in [server] if it is to answer to it\n"
            );
            (StatusCode::MISDIRECTED_REQUEST, what).into_response()
        }
        None => next.run(request).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_people_and_programs_write_them() {
        let name = |name: &str| Some(Named::Name(name.to_owned()));
        for (text, named) in [
            ("localhost", name("localhost")),
            ("LocalHost.:10061", name("localhost")),
            ("evil.example:80", name("evil.example")),
            ("evil.example:", name("evil.example")),
            ("127.0.0.1.evil.example", name("127.0.0.1.evil.example")),
            ("127.1.evil", name("127.1.evil")),
            ("127.0.0.1", Some(Named::Address)),
            ("10.0.0.7:10061", Some(Named::Address)),
            ("[::1]", Some(Named::Address)),
            ("[2001:db8::1]:10061", Some(Named::Address)),
            ("[fe80::1%eth0]:1", Some(Named::Address)),
            ("", Some(Named::Address)),
            ("::1", None),
            ("[::1", None),
            ("[evil.example]", None),
            ("[::1]evil.example", None),
            ("localhost:x", None),
            ("localhost:80:80", None),
            ("localhost@evil.example", None),
            ("localhost, evil.example", None),
            ("localhost/", None),
            ("..", None),
            (":80", None),
        ] {
            assert_eq!(Named::read(text), named, "{text:?}");
        }
    }

    #[test]
    fn the_names_of_this_machine_are_taken() {
        let hosts =
            ["status.example.org", "*.corp.example"].map(|host| HostPattern::new(host).unwrap());
        let listen = ["Mon.example:10061", "[::1]:1", ":1", "0.0.0.0:1"].map(str::to_owned);
        let names = Names::new("Probe1.example.org", &listen, &hosts);
        for name in [
            "localhost",
            "a.localhost",
            "probe1",
            "probe1.example.org",
            "mon.example",
            "status.example.org",
            "a.b.corp.example",
        ] {
            assert!(names.take(name), "{name}");
        }
        for name in [
            "evil.example",
            "localhost.evil.example",
            "evillocalhost",
            "probe1.evil.example",
            "example.org",
            "corp.example",
            "mon",
        ] {
            assert!(!names.take(name), "{name}");
        }
        assert!(!Names::new("", &[], &[]).take("evil.example"));
    }
}

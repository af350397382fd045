//! Where a target is, parsed once, so that nothing can be sent anywhere by mistake: the base URL of
//! one that speaks HTTP, or host and port. Who may be reached, and with which credentials, is the
//! configuration's business.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use http::Uri;
use http::uri::PathAndQuery;
use rustls::pki_types::ServerName;

use super::transport::Transport;

/// Where a target is: scheme, host, port and perhaps a base path; and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    scheme: Scheme,
    host: Host,
    port: u16,
    base_path: String,
    transport: Arc<Transport>,
}

/// A name or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Host {
    /// As a URL has it.
    text: String,
    /// As a certificate has it.
    name: ServerName<'static>,
    /// In which of this machine's networks an address is (RFC 4007, 11). Nobody else is told: it is
    /// the name of an interface here (RFC 6874, 4).
    zone: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
    Tcp,
    Tls,
}

impl Scheme {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    const fn default_port(self) -> Option<u16> {
        match self {
            Self::Http => Some(80),
            Self::Https => Some(443),
            Self::Tcp | Self::Tls => None,
        }
    }
}

/// A text that is no endpoint. It is never repeated in the message: what is wrong with it may be
/// that it holds a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// No scheme, or another one.
    #[error("an endpoint begins with http:// or https://: write \"http://shop.example:8080\"")]
    Scheme,
    /// The same, where no HTTP is spoken.
    #[error("it begins with tcp:// or tls://: write \"tcp://mail.example:25\"")]
    WireScheme,
    /// None, where there is none by default.
    #[error("the port is missing: write \"mail.example:25\"")]
    NoPort,
    /// Something after the port, where it is the end.
    #[error("it ends with its port: write \"mail.example:25\"")]
    NotOnlyHostAndPort,
    /// `user:password@`.
    #[error("an endpoint holds no user and no password: write them as the target's auth")]
    UserInfo,
    /// `?…` or `#…`.
    #[error("an endpoint has no query and no fragment: end it before the `?` or `#`")]
    Suffix,
    /// A zone at an address that has none, or without a name.
    #[error(
        "a zone is the name of a network interface at a link-local address: write \"[fe80::1%eth0]:8080\""
    )]
    Zone,
    /// An IPv6 address without brackets.
    #[error("an ipv6 address stands in brackets: write \"[2001:db8::1]:8080\"")]
    Brackets,
    /// Neither a name nor an address.
    #[error(
        "the host is neither a dns name nor an ip address: write \"shop.example\" or \"192.0.2.1\""
    )]
    Host,
    /// No number, or 0.
    #[error("the port is not a number from 1 to 65535: write \"shop.example:8080\"")]
    Port,
    /// Characters that no path can hold, or dot segments.
    #[error("the base path is not percent-encoded, or has a `.` or `..` for a segment")]
    Path,
}

impl Endpoint {
    /// Reads `http://host`, `https://host:port/base/path` and the like.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let (scheme, rest) = text.split_once("://").ok_or(EndpointError::Scheme)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(EndpointError::Scheme),
        };
        if rest.contains(['?', '#']) {
            return Err(EndpointError::Suffix);
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(EndpointError::UserInfo);
        }
        let (host, port) = host_and_port(authority)?;
        let base_path = path.trim_end_matches('/');
        if !base_path.is_empty() && path_and_query(base_path).is_none() {
            return Err(EndpointError::Path);
        }
        Ok(Self {
            scheme,
            host,
            port: port.or(scheme.default_port()).ok_or(EndpointError::Port)?,
            base_path: base_path.to_owned(),
            transport: Arc::default(),
        })
    }

    /// Reads `tcp://host:port` or `tls://host:port`.
    pub fn parse_wire(text: &str) -> Result<Self, EndpointError> {
        let (scheme, authority) = text.split_once("://").ok_or(EndpointError::WireScheme)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "tcp" => Scheme::Tcp,
            "tls" => Scheme::Tls,
            _ => return Err(EndpointError::WireScheme),
        };
        if authority.contains(['/', '?', '#', '@']) {
            return Err(EndpointError::NotOnlyHostAndPort);
        }
        let (host, port) = host_and_port(authority)?;
        Ok(Self {
            scheme,
            host,
            port: port.ok_or(EndpointError::NoPort)?,
            base_path: String::new(),
            transport: Arc::default(),
        })
    }

    /// Host and port of this endpoint, to say something else there than HTTP.
    #[must_use]
    pub fn wire(&self, tls: bool) -> Self {
        Self {
            scheme: if tls { Scheme::Tls } else { Scheme::Tcp },
            base_path: String::new(),
            ..self.clone()
        }
    }

    /// The same place, reached in this way.
    #[must_use]
    pub fn via(self, transport: Arc<Transport>) -> Self {
        Self { transport, ..self }
    }

    /// Reads a whole address: the endpoint, and path and query.
    pub fn split(url: &str) -> Result<(Self, String), EndpointError> {
        let begin = url.find("://").ok_or(EndpointError::Scheme)? + 3;
        let end = url[begin..]
            .find(['/', '?'])
            .map_or(url.len(), |at| begin + at);
        let path = match &url[end..] {
            path if path.starts_with('/') => path.to_owned(),
            query => format!("/{query}"),
        };
        Ok((Self::parse(&url[..end])?, path))
    }

    /// `http`, `https`, `tcp` or `tls`.
    pub fn scheme(&self) -> &'static str {
        self.scheme.as_str()
    }

    /// Whether TLS is spoken from the beginning: `https` or `tls`.
    pub fn is_tls(&self) -> bool {
        matches!(self.scheme, Scheme::Https | Scheme::Tls)
    }

    /// The host as a URL has it: in lower case, an IPv6 address in brackets and without its zone, a
    /// name of other letters as its ASCII form (RFC 5890, 2.3.2.1).
    pub fn host(&self) -> &str {
        &self.host.text
    }

    /// The port, also when it is the scheme's own.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port as the `host` header has them: without the scheme's own port.
    pub fn authority(&self) -> String {
        self.with_port(self.host.text.clone())
    }

    fn with_port(&self, host: String) -> String {
        if Some(self.port) == self.scheme.default_port() {
            return host;
        }
        format!("{host}:{}", self.port)
    }

    /// The host with its zone.
    fn zoned(&self) -> String {
        let text = &self.host.text;
        match (&self.host.zone, text.strip_suffix(']')) {
            (Some(zone), Some(address)) => format!("{address}%{zone}]"),
            _ => text.clone(),
        }
    }

    /// What stands before every path: empty, or `/…` without a slash at its end.
    pub fn base_path(&self) -> &str {
        &self.base_path
    }

    /// Host and port, for messages.
    pub(super) fn host_port(&self) -> String {
        format!("{}:{}", self.zoned(), self.port)
    }

    /// Scheme, host and port: what has to be equal for anything to be shared.
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme(), self.with_port(self.zoned()))
    }

    /// Whom the certificate has to name.
    pub(super) fn server_name(&self) -> &ServerName<'static> {
        let other = self.transport.trust.server_name.as_ref();
        other.unwrap_or(&self.host.name)
    }

    /// The host, whatever the certificate has to name.
    pub(super) fn own_name(&self) -> &ServerName<'static> {
        &self.host.name
    }

    /// How it is reached.
    pub fn transport(&self) -> &Arc<Transport> {
        &self.transport
    }

    /// The address, if the host is one.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        match self.host.name {
            ServerName::IpAddress(ip) => Some(ip.into()),
            _ => None,
        }
    }

    /// The interface that leads to its address, if it says so.
    pub(super) fn zone(&self) -> Option<&str> {
        self.host.zone.as_deref()
    }

    /// Whether a request may have this path and query.
    pub fn takes(&self, path: &str) -> bool {
        self.uri(path).is_some()
    }

    /// The request target of this path and query.
    pub(super) fn uri(&self, path: &str) -> Option<Uri> {
        // Looked at alone: after a base path, `.evil` or nothing at all would pass.
        path_and_query(path)?;
        path_and_query(&format!("{}{path}", self.base_path)).map(Uri::from)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.base_path)
    }
}

fn host_and_port(authority: &str) -> Result<(Host, Option<u16>), EndpointError> {
    if let Some(bracketed) = authority.strip_prefix('[') {
        let (host, port) = bracketed.split_once(']').ok_or(EndpointError::Brackets)?;
        let (ip, zone) = match host.split_once('%') {
            None => (host, None),
            // As RFC 6874 writes it in a URL, and as people do.
            Some((ip, "25")) => (ip, Some("25")),
            Some((ip, zone)) => (ip, Some(zone.strip_prefix("25").unwrap_or(zone))),
        };
        let ip: Ipv6Addr = ip.parse().map_err(|_| EndpointError::Brackets)?;
        let named = |zone: &str| {
            let letter = |byte: u8| byte.is_ascii_graphic() && !b"/[]%".contains(&byte);
            (1..16).contains(&zone.len()) && zone.bytes().all(letter)
        };
        if zone.is_some_and(|zone| !ip.is_unicast_link_local() || !named(zone)) {
            return Err(EndpointError::Zone);
        }
        let port = match port {
            "" => None,
            _ => Some(port.strip_prefix(':').ok_or(EndpointError::Port)?),
        };
        let port = port.map(parse_port).transpose()?;
        let host = Host {
            text: format!("[{ip}]"),
            name: IpAddr::V6(ip).into(),
            zone: zone.map(str::to_owned),
        };
        return Ok((host, port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((_, port)) if port.contains(':') => return Err(EndpointError::Brackets),
        Some((host, port)) => (host, Some(parse_port(port)?)),
        None => (authority, None),
    };
    let text = ascii(host).ok_or(EndpointError::Host)?;
    let name = ServerName::try_from(text.clone()).map_err(|_| EndpointError::Host)?;
    let host = Host {
        text,
        name,
        zone: None,
    };
    Ok((host, port))
}

/// A name in lower case and ASCII, whatever letters it is written in (UTS 46).
pub fn ascii(name: &str) -> Option<String> {
    if name.is_ascii() {
        return Some(name.to_ascii_lowercase());
    }
    idna::domain_to_ascii(name).ok()
}

fn parse_port(text: &str) -> Result<u16, EndpointError> {
    // `parse` alone would take a `+`.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port > 0 => Ok(port),
        _ => Err(EndpointError::Port),
    }
}

fn path_and_query(text: &str) -> Option<PathAndQuery> {
    // `http` would drop a fragment without a word, and a server would resolve `..`: the request
    // would hit something else than what was written.
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    let path = text.split('?').next()?.to_ascii_lowercase();
    let dots = |segment: &str| matches!(segment, "." | "..");
    let sound = text.starts_with('/')
        && text.bytes().all(plain)
        && !path.replace("%2e", ".").split('/').any(dots);
    sound.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_and_written_back() {
        for (text, shown, host, port, base_path) in [
            ("http://a", "http://a", "a", 80, ""),
            ("https://a/", "https://a", "a", 443, ""),
            (
                "HTTP://Shop.Example:80",
                "http://shop.example",
                "shop.example",
                80,
                "",
            ),
            ("https://a:80", "https://a:80", "a", 80, ""),
            (
                "http://a_b.c.:8080/v1/",
                "http://a_b.c.:8080/v1",
                "a_b.c.",
                8080,
                "/v1",
            ),
            (
                "http://192.0.2.1:1/a/b%20c//",
                "http://192.0.2.1:1/a/b%20c",
                "192.0.2.1",
                1,
                "/a/b%20c",
            ),
            (
                "https://[2001:DB8:0::1]/x",
                "https://[2001:db8::1]/x",
                "[2001:db8::1]",
                443,
                "/x",
            ),
            (
                "http://[fe80::1%eth0]:8080/a",
                "http://[fe80::1%eth0]:8080/a",
                "[fe80::1]",
                8080,
                "/a",
            ),
            (
                "https://[FE80::1%25br-0.7]",
                "https://[fe80::1%br-0.7]",
                "[fe80::1]",
                443,
                "",
            ),
            (
                "http://Bücher.example",
                "http://xn--bcher-kva.example",
                "xn--bcher-kva.example",
                80,
                "",
            ),
            (
                "http://XN--BCHER-KVA.Example.",
                "http://xn--bcher-kva.example.",
                "xn--bcher-kva.example.",
                80,
                "",
            ),
            (
                "http://[::1]:65535",
                "http://[::1]:65535",
                "[::1]",
                65535,
                "",
            ),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!(endpoint.to_string(), shown);
            assert_eq!((endpoint.host(), endpoint.port()), (host, port), "{text}");
            assert_eq!(endpoint.base_path(), base_path, "{text}");
            assert_eq!(Endpoint::parse(shown).unwrap(), endpoint);
        }
    }

    #[test]
    fn what_is_wrong_with_an_endpoint_is_said() {
        for (text, error) in [
            ("", EndpointError::Scheme),
            ("shop.example:80", EndpointError::Scheme),
            ("ftp://a", EndpointError::Scheme),
            ("http://user:secret@a", EndpointError::UserInfo),
            ("http://a?x=1", EndpointError::Suffix),
            ("http://a/b#c", EndpointError::Suffix),
            ("http://::1", EndpointError::Brackets),
            ("http://[::1", EndpointError::Brackets),
            ("http://[192.0.2.1]", EndpointError::Brackets),
            ("http://", EndpointError::Host),
            ("http:///x", EndpointError::Host),
            ("http://:80", EndpointError::Host),
            ("http://a b", EndpointError::Host),
            ("http://a%20b", EndpointError::Host),
            ("http://256.1.1.1", EndpointError::Host),
            ("http://bü cher.example", EndpointError::Host),
            ("http://[fe80::1%]", EndpointError::Zone),
            ("http://[fe80::1%a/b]", EndpointError::Brackets),
            ("http://[fe80::1%a%b]", EndpointError::Zone),
            ("http://[2001:db8::1%eth0]", EndpointError::Zone),
            ("http://a:", EndpointError::Port),
            ("http://a:0", EndpointError::Port),
            ("http://a:+1", EndpointError::Port),
            ("http://a:65536", EndpointError::Port),
            ("http://[::1]80", EndpointError::Port),
            ("http://a/b c", EndpointError::Path),
            ("http://a/ü", EndpointError::Path),
            ("http://a/b/../c", EndpointError::Path),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn what_speaks_no_http_has_host_and_port_and_nothing_else() {
        for (text, shown, tls) in [
            ("tcp://Mail.Example:25", "tcp://mail.example:25", false),
            ("TLS://[2001:db8::1]:443", "tls://[2001:db8::1]:443", true),
        ] {
            let endpoint = Endpoint::parse_wire(text).unwrap();
            assert_eq!((&*endpoint.to_string(), endpoint.is_tls()), (shown, tls));
        }
        let http = Endpoint::parse("https://a/v1").unwrap();
        assert_eq!(http.wire(false).to_string(), "tcp://a:443");
        assert_eq!(http.wire(true).to_string(), "tls://a:443");
        for (text, error) in [
            ("mail.example:25", EndpointError::WireScheme),
            ("http://mail.example:25", EndpointError::WireScheme),
            ("tcp://mail.example", EndpointError::NoPort),
            ("tls://[::1]", EndpointError::NoPort),
            ("tcp://::1", EndpointError::Brackets),
            ("tcp://a:0", EndpointError::Port),
            ("tcp://:25", EndpointError::Host),
            ("tcp://a:25/", EndpointError::NotOnlyHostAndPort),
            ("tcp://a:25?b", EndpointError::NotOnlyHostAndPort),
            ("tcp://user:hush@a:25", EndpointError::NotOnlyHostAndPort),
        ] {
            assert_eq!(Endpoint::parse_wire(text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn paths_stay_below_the_base_path() {
        let endpoint = Endpoint::parse("http://a/v1").unwrap();
        let uri = |path| endpoint.uri(path).map(|uri| uri.to_string());
        for kept in ["/", "/items?a=b%20c", "/.../a..b?x=/../"] {
            assert_eq!(uri(kept).unwrap(), format!("/v1{kept}"));
        }
        for refused in [
            "",
            "items",
            "*",
            "?a",
            "/a b",
            "/a#b",
            "/a\r\nx: y",
            "http://b/",
            "/items/..",
            "/.%2E/b?c",
        ] {
            assert_eq!(uri(refused), None, "{refused}");
        }
    }
}

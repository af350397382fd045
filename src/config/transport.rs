//! The keys of a target that say how it is reached: `address_family`, `resolver`, `proxy` and
//! `[tls]`.

use rustls::pki_types::ServerName;

use super::targets::read_secret;
use crate::client::{Endpoint, Family, Proxy, ProxyKind, Resolver, Transport, Trust, ascii};
use crate::text::{Fields, Raw};

/// Reads them; what is wrong is noted, and left out.
pub(super) fn read(fields: &mut Fields<'_, '_>) -> Transport {
    let family = fields.string("address_family").and_then(|text| {
        let family = match text.as_str() {
            "any" => return None,
            "ipv4" => Some(Family::V4),
            "ipv6" => Some(Family::V6),
            _ => None,
        };
        if family.is_none() {
            let what = format!("`{text}` is not a family of addresses");
            fields.problem(
                "address_family",
                what,
                "write \"any\", \"ipv4\" or \"ipv6\"",
            );
        }
        family
    });
    let resolver = fields.string("resolver").map_or(Resolver::Own, |text| {
        match text.as_str() {
            "own" => {}
            "system" => return Resolver::System,
            _ => {
                let what = format!("`{text}` is not who could look names up");
                fields.problem("resolver", what, "write \"own\" or \"system\"");
            }
        }
        Resolver::Own
    });
    let proxy = read_proxy(fields);
    let trust = fields.table("tls").map(read_trust).unwrap_or_default();
    Transport::new(family, proxy, trust).looking_up(resolver)
}

const PROXY_HELP: &str = "write \"http://proxy.example:3128\" or \"socks5://proxy.example:1080\", \
     or { url = \"…\", username = \"…\", password = { file = \"…\" } }";

/// Reads `proxy = "…"`, or a table with `url`, `username` and `password`.
fn read_proxy(fields: &mut Fields<'_, '_>) -> Option<Proxy> {
    if let Raw::String(_) = fields.entry("proxy")?.node.raw {
        let url = fields.string("proxy")?;
        return proxy_at(fields, "proxy", &url);
    }
    let mut fields = fields.table("proxy")?;
    let url = fields.required_string("url", PROXY_HELP);
    let proxy = url.and_then(|url| proxy_at(&mut fields, "url", &url));
    let username = fields.string("username");
    let password = fields
        .entry("password")
        .and_then(|entry| read_secret(&mut fields, entry));
    if fields.has("username") != fields.has("password") {
        let help = "give both, or none of them";
        fields.problem("", "has a user or a password, but not both", help);
    }
    fields.finish();
    Some(Proxy {
        login: username.zip(password),
        ..proxy?
    })
}

fn proxy_at(fields: &mut Fields<'_, '_>, key: &str, url: &str) -> Option<Proxy> {
    let (kind, rest) = match url.split_once("://") {
        Some(("http", rest)) => (ProxyKind::Http, rest),
        Some(("socks5" | "socks5h", rest)) => (ProxyKind::Socks5, rest),
        _ => {
            fields.problem(key, "is no http:// and no socks5:// address", PROXY_HELP);
            return None;
        }
    };
    let port = rest
        .rsplit_once(':')
        .map(|(_, port)| port.trim_end_matches('/'));
    if !port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit())) {
        fields.problem(key, "has no port", PROXY_HELP);
        return None;
    }
    match Endpoint::parse(&format!("http://{rest}")) {
        Ok(endpoint) => Some(Proxy {
            kind,
            endpoint: Box::new(endpoint),
            login: None,
        }),
        Err(error) => {
            fields.problem(key, error.to_string(), PROXY_HELP);
            None
        }
    }
}

fn read_trust(mut fields: Fields<'_, '_>) -> Trust {
    let ca_file = fields.path("ca_file");
    let (cert_file, key_file) = (fields.path("cert_file"), fields.path("key_file"));
    if cert_file.is_some() != key_file.is_some() {
        let help = "give both: cert_file = \"client.pem\", key_file = \"client.key\"";
        fields.problem("", "has a certificate or a key, but not both", help);
    }
    let server_name = fields.string("server_name").and_then(|text| {
        let name = ascii(&text).and_then(|text| ServerName::try_from(text).ok());
        if name.is_none() {
            let help = "write a DNS name such as \"shop.example\", or an IP address";
            fields.problem(
                "server_name",
                "is no name that a certificate could have",
                help,
            );
        }
        name
    });
    let only_1_3 = match fields.string("min_version").as_deref() {
        None | Some("1.2") => false,
        Some("1.3") => true,
        Some(other) => {
            let what = format!("`{other}` is not a version of TLS that can be asked for");
            fields.problem("min_version", what, "write \"1.2\" or \"1.3\"");
            false
        }
    };
    let anybody = fields.flag("insecure_skip_verify");
    if anybody && ca_file.is_some() {
        let help = "remove one of the two";
        fields.problem("insecure_skip_verify", "makes `ca_file` useless", help);
    }
    fields.finish();
    Trust {
        ca_file,
        cert_file,
        key_file,
        server_name,
        only_1_3,
        anybody,
    }
}

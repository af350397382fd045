//! Which of several addresses is best: the rules of RFC 6724 that need no knowledge of networks
//! far away (1, 2, 5, 6 and 8). Addresses of IPv4 alone stay in the order of the name server,
//! which may be what shares the load.

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// Sorts them, the best first.
pub(super) fn best_first(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    if addresses.len() > 1 && addresses.iter().any(IpAddr::is_ipv6) {
        addresses.sort_by_cached_key(|address| {
            let source = source(*address);
            let same = |of: fn(IpAddr) -> u8| source.is_some_and(|from| of(from) == of(*address));
            (
                source.is_none(),
                !same(scope),
                !same(label),
                Reverse(policy(*address).0),
                scope(*address),
            )
        });
    }
    addresses
}

/// Which address of ours a connection would come from, if there is a way at all. Nothing is sent.
fn source(to: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match to {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((to, 9)).ok()?;
    socket.local_addr().ok().map(|from| from.ip())
}

/// RFC 6724, 3.1 and 3.2, as the numbers of multicast scopes.
fn scope(address: IpAddr) -> u8 {
    const LINK: u8 = 2;
    const SITE: u8 = 5;
    const GLOBAL: u8 = 14;
    let near = match address {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
    };
    match address {
        _ if near => LINK,
        IpAddr::V6(ip) if ip.is_multicast() => ip.octets()[1] & 0xf,
        IpAddr::V6(ip) if ip.segments()[0] & 0xffc0 == 0xfec0 => SITE,
        IpAddr::V4(_) | IpAddr::V6(_) => GLOBAL,
    }
}

fn label(address: IpAddr) -> u8 {
    policy(address).1
}

/// Precedence and label, RFC 6724, 2.1.
fn policy(address: IpAddr) -> (u8, u8) {
    let ip = match address {
        IpAddr::V4(_) => return (35, 4),
        IpAddr::V6(ip) => ip,
    };
    let [first, second, ..] = ip.segments();
    match first {
        _ if ip.is_loopback() => (50, 0),
        _ if ip.to_ipv4_mapped().is_some() => (35, 4),
        _ if ip.segments()[..6] == [0; 6] => (1, 3),
        0x2002 => (30, 2),
        0x2001 if second == 0 => (5, 5),
        0x3ffe => (1, 12),
        _ if first & 0xfe00 == 0xfc00 => (3, 13),
        _ if first & 0xffc0 == 0xfec0 => (1, 11),
        _ => (40, 1),
    }
}

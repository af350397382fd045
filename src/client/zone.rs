//! Zones of IPv6 (RFC 4007): which network an address is in that every network has, such as
//! `fe80::1` on `eth0`.

use std::io;

use rustix::net::{AddressFamily, SocketType, netdevice, socket};

/// The number of a network interface, by its name or written as a number.
pub(super) fn index(name: &str) -> io::Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let any = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    Ok(netdevice::name_to_index(any, name)?)
}

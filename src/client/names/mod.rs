//! From the name of a host to its addresses, best first. No thread waits for a name server: a
//! look-up is part of the future of whoever needs it, and ends when that is dropped. Nothing is
//! remembered but the two files of this machine, so that a name that moves is followed at once.
//!
//! The order is that of most machines: `/etc/hosts`, `localhost` (RFC 6761, 6.3), then the name
//! servers of `/etc/resolv.conf`. Where a machine has other sources (mDNS, LDAP), the system's own
//! resolver can be asked for them (`system`).

mod ask;
mod files;
mod order;
mod system;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::RecordType;

use self::ask::Asked;
use self::files::{Files, Read};
use self::system::System;
use super::transport::{Family, Resolver};

/// Why a name has no address. The first words are those of the C library, which people know.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unresolved {
    /// NXDOMAIN.
    #[error("Name or service not known: the name server {0} knows no such name")]
    NoSuchName(String),
    /// No label can be written so, or nothing to ask.
    #[error("Name or service not known: it is no name that DNS can be asked for")]
    NoName,
    /// The name exists, but not for this.
    #[error("No address associated with hostname: the name server {0} has none for this name")]
    NoAddress(String),
    /// No server has answered, or each with a failure.
    #[error("Temporary failure in name resolution: {0}")]
    NoAnswer(String),
    /// There are addresses, but none that may be used.
    #[error("it has no {0} address")]
    NoneOf(Family),
    /// No network of this machine is called so.
    #[error("this machine has no such network interface")]
    Zone(#[source] io::Error),
    /// This machine could not ask.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Who looks names up. One serves the whole process.
#[derive(Debug, Default)]
pub(super) struct Names {
    files: Files,
    system: System,
}

impl Names {
    /// The addresses of a host, the best first; there is at least one.
    pub(super) async fn find(
        &self,
        host: &str,
        family: Option<Family>,
        resolver: Resolver,
    ) -> Result<Vec<IpAddr>, Unresolved> {
        let mut found = match resolver {
            Resolver::System => order::best_first(self.system.find(host).await?),
            Resolver::Own => own(&self.files.now(), host, family).await?,
        };
        found.retain(|address| family.is_none_or(|family| family.has(*address)));
        match (family, found.is_empty()) {
            (_, false) => Ok(found),
            (Some(family), true) => Err(Unresolved::NoneOf(family)),
            (None, true) => Err(Unresolved::NoName),
        }
    }
}

/// Looks a name up as these files say.
async fn own(files: &Read, host: &str, family: Option<Family>) -> Result<Vec<IpAddr>, Unresolved> {
    let bare = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if let Some(found) = files.hosts.get(&bare) {
        return Ok(order::best_first(found.clone()));
    }
    if bare == "localhost" || bare.ends_with(".localhost") {
        let found = vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
        return Ok(order::best_first(found));
    }
    let kinds: &[RecordType] = match family {
        Some(Family::V4) => &[RecordType::A],
        Some(Family::V6) => &[RecordType::AAAA],
        None if files.settings.no_aaaa => &[RecordType::A],
        None => &[RecordType::A, RecordType::AAAA],
    };
    // Of several names the one that exists is told, then the one whose server failed.
    let (mut nowhere, mut failed, mut empty) = (None, None, None);
    for name in files.candidates(host) {
        match ask::servers(files, &name, kinds).await? {
            Asked::Found(found) => return Ok(order::best_first(found)),
            Asked::NoSuchName(server) => nowhere = Some(Unresolved::NoSuchName(server)),
            Asked::NoAddress(server) => {
                empty = Some(match family {
                    Some(family) => Unresolved::NoneOf(family),
                    None => Unresolved::NoAddress(server),
                });
            }
            Asked::Failed(why) => failed = Some(Unresolved::NoAnswer(why)),
            // Every other name would be waited for as long.
            Asked::Silent(why) => return Err(Unresolved::NoAnswer(why)),
        }
    }
    Err(empty.or(failed).or(nowhere).unwrap_or(Unresolved::NoName))
}

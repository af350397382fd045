//! `/etc/resolv.conf` and `/etc/hosts`, read when they are first needed and again when they have
//! changed. They are looked at once a second at most.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_proto::rr::Name;
use resolv_conf::{Config, ScopedIp};

use crate::client::zone;

const SETTINGS: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";

/// How long what was read is good without another look.
const FRESH: Duration = Duration::from_secs(1);

/// Where name servers listen.
const PORT: u16 = 53;

/// The files, and what they said when they were looked at last.
#[derive(Debug, Default)]
pub(super) struct Files(Mutex<Option<Look>>);

#[derive(Debug)]
struct Look {
    at: Instant,
    stamp: [Stamp; 2],
    read: Arc<Read>,
}

/// Device, inode, length, and when it was written to the nanosecond; nothing if there is no file.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

fn stamp(file: &str) -> Stamp {
    let known = fs::metadata(file).ok()?;
    let (seconds, nanoseconds) = (known.mtime(), known.mtime_nsec());
    Some((known.dev(), known.ino(), known.len(), seconds, nanoseconds))
}

impl Files {
    /// What they say. The files are small and local: reading them needs no other thread.
    pub(super) fn now(&self) -> Arc<Read> {
        let mut looked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(look) = &*looked
            && look.at.elapsed() < FRESH
        {
            return Arc::clone(&look.read);
        }
        let stamp = [SETTINGS, HOSTS].map(stamp);
        let read = match looked.take() {
            Some(look) if look.stamp == stamp => look.read,
            // A file that is not there or cannot be read says nothing: the defaults hold.
            _ => {
                let text = |file| fs::read(file).unwrap_or_default();
                Arc::new(Read::of(&text(SETTINGS), &text(HOSTS)))
            }
        };
        let at = Instant::now();
        let look = looked.insert(Look { at, stamp, read });
        Arc::clone(&look.read)
    }
}

/// What stands in the files.
#[derive(Debug)]
pub(super) struct Read {
    /// Addresses by name, in lower case.
    pub(super) hosts: HashMap<String, Vec<IpAddr>>,
    /// What `/etc/resolv.conf` says.
    pub(super) settings: Config,
    servers: Vec<SocketAddr>,
    search: Vec<Name>,
    /// How many names were asked for, where the servers take turns.
    asked: AtomicUsize,
}

impl Read {
    pub(super) fn of(settings: &[u8], hosts: &[u8]) -> Self {
        // Who wrote a line that cannot be read meant something, but no other resolver stops at it.
        let (settings, _) = Config::parse_with_errors(settings);
        let servers = settings.get_nameservers_or_local();
        let search: Vec<_> = settings
            .get_last_search_or_domain()
            .map(String::as_str)
            .collect();
        let own = settings.get_system_domain();
        let domains = match &own {
            Some(own) if search.is_empty() => vec![own.as_str()],
            _ => search,
        };
        Self {
            search: domains
                .iter()
                .filter_map(|domain| absolute(domain))
                .collect(),
            servers: servers.iter().filter_map(address).collect(),
            hosts: read_hosts(&String::from_utf8_lossy(hosts)),
            settings,
            asked: AtomicUsize::new(0),
        }
    }

    #[cfg(test)]
    pub(super) fn at(self, servers: Vec<SocketAddr>) -> Self {
        Self { servers, ..self }
    }

    /// The name servers in the order in which they are asked now.
    pub(super) fn servers(&self) -> Vec<SocketAddr> {
        let mut servers = self.servers.clone();
        if self.settings.rotate && !servers.is_empty() {
            let first = self.asked.fetch_add(1, Ordering::Relaxed) % servers.len();
            servers.rotate_left(first);
        }
        servers
    }

    /// The names to ask for, one after the other: a name with enough dots as it is first, another
    /// one in the domains that are searched first.
    pub(super) fn candidates(&self, host: &str) -> Vec<Name> {
        let Some(whole) = absolute(host) else {
            return Vec::new();
        };
        if host.ends_with('.') {
            return vec![whole];
        }
        let relative = Name::from_ascii(host).ok();
        let within = |domain| relative.clone()?.append_domain(domain).ok();
        let mut names: Vec<_> = self.search.iter().filter_map(within).collect();
        let dots = host.bytes().filter(|byte| *byte == b'.').count();
        if dots >= self.settings.ndots as usize {
            names.insert(0, whole);
        } else {
            names.push(whole);
        }
        names
    }
}

fn absolute(name: &str) -> Option<Name> {
    let mut name = Name::from_ascii(name).ok()?;
    name.set_fqdn(true);
    Some(name)
}

fn address(server: &ScopedIp) -> Option<SocketAddr> {
    match server {
        ScopedIp::V4(ip) => Some((*ip, PORT).into()),
        ScopedIp::V6(ip, None) => Some((*ip, PORT).into()),
        ScopedIp::V6(ip, Some(name)) => {
            let zone = zone::index(name).ok()?;
            Some(SocketAddrV6::new(*ip, PORT, 0, zone).into())
        }
    }
}

/// An address and its names in each line, `#` before a remark.
fn read_hosts(text: &str) -> HashMap<String, Vec<IpAddr>> {
    let mut hosts = HashMap::<_, Vec<_>>::new();
    for line in text.lines() {
        let mut words = line
            .split('#')
            .next()
            .unwrap_or_default()
            .split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse) else {
            continue;
        };
        for name in words {
            let known = hosts.entry(name.to_ascii_lowercase()).or_default();
            if !known.contains(&address) {
                known.push(address);
            }
        }
    }
    hosts
}

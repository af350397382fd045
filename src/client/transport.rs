//! How the connections to a target are made: settings, and the TLS configuration made of them.
//!
//! Files are read when they are first needed, and again when they have changed: certificates are
//! renewed while the daemon runs. Who is reached is `endpoint`'s, the handshake itself `connect`'s.

use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use rustls::pki_types::ServerName;
use tokio::task::spawn_blocking;

use super::error::ClientError;
use super::proxy::Proxy;
use super::tls::{self, Tls};
use super::verifier::Roots;

/// Which addresses of a name are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

impl Family {
    pub(super) fn has(self, address: IpAddr) -> bool {
        match self {
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// Who looks names up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resolver {
    /// We do, in the files of this machine and at its name servers.
    #[default]
    Own,
    /// The system, which may know other sources.
    System,
}

/// Whom to trust, and who we are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// The roots that are trusted, as PEM, instead of this machine's.
    pub ca_file: Option<PathBuf>,
    /// Our certificate and its chain, as PEM.
    pub cert_file: Option<PathBuf>,
    /// The key of our certificate, as PEM.
    pub key_file: Option<PathBuf>,
    /// Whom the certificate has to name, instead of the endpoint's host; it is asked for by SNI too.
    pub server_name: Option<ServerName<'static>>,
    /// TLS 1.3 and nothing older, instead of 1.2.
    pub only_1_3: bool,
    /// Any certificate will do. What is read from it is then worth nothing but its date.
    pub anybody: bool,
}

impl Trust {
    fn files(&self) -> impl Iterator<Item = &Path> {
        let files = [&self.ca_file, &self.cert_file, &self.key_file];
        files.into_iter().flatten().map(PathBuf::as_path)
    }

    /// When each file was written last, and how long it is.
    fn stamp(&self) -> Stamp {
        let of = |file: &Path| {
            let known = fs::metadata(file).ok()?;
            Some((known.modified().ok()?, known.len()))
        };
        self.files().map(of).collect()
    }
}

type Stamp = Vec<Option<(SystemTime, u64)>>;

/// A configuration, and what it was made of.
#[derive(Debug)]
struct Loaded {
    stamp: Stamp,
    machine: Option<Arc<Roots>>,
    tls: Tls,
}

/// How the connections to a target are made.
#[derive(Debug, Default)]
pub struct Transport {
    /// Which addresses are used; without it the first that the system names.
    pub family: Option<Family>,
    /// Who looks its name up.
    pub resolver: Resolver,
    /// Through whom.
    pub proxy: Option<Proxy>,
    /// For `https` and `tls`.
    pub trust: Trust,
    loaded: Mutex<Option<Loaded>>,
    /// The way to others, made once: sessions are resumed only in the same configuration.
    elsewhere: OnceLock<Arc<Self>>,
}

impl PartialEq for Transport {
    fn eq(&self, other: &Self) -> bool {
        let of = |one: &Self| (one.family, one.resolver);
        of(self) == of(other) && (&self.proxy, &self.trust) == (&other.proxy, &other.trust)
    }
}

impl Eq for Transport {}

impl Transport {
    /// With these settings; the default is straight, trusting the roots of this machine.
    #[must_use]
    pub fn new(family: Option<Family>, proxy: Option<Proxy>, trust: Trust) -> Self {
        Self {
            family,
            resolver: Resolver::default(),
            proxy,
            trust,
            loaded: Mutex::default(),
            elsewhere: OnceLock::new(),
        }
    }

    /// The same way to somebody else: who we are, and whom the target's certificate names, is
    /// between the target and us.
    #[must_use]
    pub fn elsewhere(self: &Arc<Self>) -> Arc<Self> {
        let trust = Trust {
            cert_file: None,
            key_file: None,
            server_name: None,
            ..self.trust.clone()
        };
        if trust == self.trust {
            return Arc::clone(self);
        }
        Arc::clone(self.elsewhere.get_or_init(|| self.trusting(trust)))
    }

    /// The same way, but the certificate has to name somebody else.
    #[must_use]
    pub fn naming(&self, name: ServerName<'static>) -> Arc<Self> {
        let trust = Trust {
            server_name: Some(name),
            ..self.trust.clone()
        };
        self.trusting(trust)
    }

    fn trusting(&self, trust: Trust) -> Arc<Self> {
        Arc::new(Self::new(self.family, self.proxy.clone(), trust).looking_up(self.resolver))
    }

    /// The same way, its names looked up by this one.
    #[must_use]
    pub fn looking_up(self, resolver: Resolver) -> Self {
        Self { resolver, ..self }
    }

    /// The TLS configuration, without protocols and without resumption.
    pub(super) async fn tls(&self, machine: Option<Arc<Roots>>) -> Result<Tls, ClientError> {
        let stamp = self.trust.stamp();
        let loaded = || self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*loaded()
            && known.stamp == stamp
            && known.machine.as_ref().map(Arc::as_ptr) == machine.as_ref().map(Arc::as_ptr)
        {
            return Ok(known.tls.clone());
        }
        let (trust, roots) = (self.trust.clone(), machine.clone());
        let tls = spawn_blocking(move || tls::configure(&trust, roots)).await;
        let tls = tls.map_err(ClientError::roots)??;
        *loaded() = Some(Loaded {
            stamp,
            machine,
            tls: tls.clone(),
        });
        Ok(tls)
    }

    /// Whether this machine's roots are needed.
    pub(super) fn needs_roots(&self) -> bool {
        self.trust.ca_file.is_none() && !self.trust.anybody
    }
}
